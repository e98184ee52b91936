"""How timm builds the models of a family: as its own modules, whose blocks can be taken out and stood in for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tleg.errors import ArchitectureError
from tleg.learngene.architecture import Architecture
from tleg.learngene.header import Profile
from tleg.learngene.running_statistics import is_statistic
from tleg.learngene.structure import Family
from tleg.models.timm_folder import input_size_of

# Runs the blocks of a stage, by its index, on what comes into it and what timm gives to each block beside that. The result
# is that of a block: a tensor, or all that the next block takes.
RunStage = Callable[..., Any]


class _Run(nn.Module):
    """Stands for the blocks of a stage."""

    def __init__(self, run: RunStage, stage: int) -> None:
        super().__init__()
        self._run, self._stage = run, stage

    def forward(self, x: Tensor, *given: Any, **named: Any) -> Any:
        return self._run(self._stage, x, *given, **named)


@dataclass(frozen=True, slots=True)
class Tiles:
    """Equal parts that an image has to divide into.

    called  what they are
    size    height and width, in pixels
    step    how far apart they begin, in pixels
    advice  which arguments make others
    """

    called: str
    size: tuple[int, int]
    step: tuple[int, int]
    advice: str


class BlocksInTurn(nn.Module):
    """Blocks of several kinds that follow one another, as one block: it takes what each of them takes.

    timm's own model has its members and runs them one by one.
    """

    def __init__(self, members: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for kind, member in members.items():
            self.add_module(kind, member)

    def forward(self, x: Any, *given: Any, **named: Any) -> Any:
        for member in self.children():
            x = member(x, *given, **named)
        return x


def ends_of(block: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The module that takes what comes into a block, and the one that gives what comes out, in timm's own model."""
    members = list(block.children()) if isinstance(block, BlocksInTurn) else [block]
    return members[0], members[-1]


class TimmFamily(Family):
    """A family with how timm builds it. Models are timm's own modules."""

    def auxiliary_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of an auxiliary model: what the family's have, and what was given, which wins."""
        return {**self.defaults, **given}

    def arguments_of(self, model: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of an auxiliary model that is as a model of timm's which was made with some arguments."""
        return dict(arguments)

    def examine(self, model: nn.Module, architecture: Architecture) -> Architecture:
        """Return the architecture of a model with its input size, and its structure where there is one.

        model  on 'meta', of depth 2

        Raises ArchitectureError, with the reason, when it cannot be expanded.
        """
        self.counted(model)
        self.check_blocks(model, architecture.name, architecture.profile(2))
        known: Any = getattr(model, "pretrained_cfg", None) or {}
        # Where timm's models take images of any size, the arguments still say for which one costs and exports are.
        size = input_size_of({**known, "fixed_input_size": True}, architecture.arguments)
        self.check_patches(model, size[1:])
        return replace(architecture, input_size=size)

    def check_patches(self, model: nn.Module, image_size: tuple[int, int]) -> None:
        """Refuse images whose last rows or columns no patch would see. Raises ArchitectureError.

        The size that timm has for a name is taken as it is: SigLIP's so400m see 378 of 384 pixels, in patches of 14.
        """
        known: Any = getattr(model, "pretrained_cfg", None) or {}
        if image_size == tuple(known.get("input_size", ()))[1:]:
            return
        tiles = self.tiles(model)
        if tiles is None:
            return
        axes = [*zip(image_size, tiles.size, tiles.step, strict=True)]
        if any((size - edge) % step for size, edge, step in axes):
            fits = (max(edge, edge + round((size - edge) / step) * step) for size, edge, step in axes)
            raise ArchitectureError(
                f"an image of {' x '.join(map(str, image_size))} pixels does not divide into {tiles.called} of "
                f"{tiles.size[0]} x {tiles.size[1]}; one of {' x '.join(map(str, fits))} does",
                field="model-arg",
                code="out-of-range",
                advice=tiles.advice,
            )

    def tiles(self, model: nn.Module) -> Tiles | None:
        """What images have to divide into; None where they are of any size."""
        first = dict(model.named_modules()).get(self.first_conv)
        if not self.sized or not isinstance(first, nn.Conv2d) or any(map(bool, first.padding)):
            return None  # Convolutions take images of any size.
        advice = "choose another patch_size or img_size, as in --model-arg patch_size=4"
        return Tiles("patches", (first.kernel_size[0], first.kernel_size[1]), (first.stride[0], first.stride[1]), advice)

    def state_by_stages(self, model: nn.Module) -> dict[str, Tensor]:
        """The state of a model under names by stages: see `Family.staged_name`."""
        profile = self.counted(model)
        return {self.staged_name(name, profile): value for name, value in model.state_dict().items()}

    def counted(self, model: nn.Module) -> Profile:
        """The blocks of each stage of a model. Raises ArchitectureError where it has no such stages."""
        try:
            return tuple(len(self.blocks(model, stage)) for stage in range(len(self.stages)))
        except AttributeError as error:
            raise ArchitectureError(f"this model has no stages as those of the family '{self.name}'") from error

    def refusal(self, architecture: Architecture, reason: str) -> str:
        """Why timm did not build a model, in one line: because of what was asked for, or because it is of no such kind."""
        return f"timm cannot build '{architecture.name}' with these arguments: {reason}"

    def features(self, model: Any, images: Tensor, run: RunStage) -> Tensor:
        """images (N, C, H, W) -> what `model.forward_head` takes, with `run` in place of each stage.

        By timm's own forward pass, whose empty stages are stood in for while it runs.
        """
        try:
            for stage in range(len(self.stages)):
                self._put(model, stage, _Run(run, stage))
            features: Tensor = model.forward_features(images)
        finally:
            for stage in range(len(self.stages)):
                self._put(model, stage)
        return features

    def takes_sizes(self, architecture: Architecture) -> bool:
        """Whether one auxiliary model can be run on images of several sizes, as training with drawn sizes does."""
        return not self.sized or self.resampled or (self.dynamic and bool(architecture.arguments.get("dynamic_img_size")))

    def inference_bytes(self, model: Any, input_size: tuple[int, int, int]) -> int:
        """The largest set of float32 activations that are alive at once in a forward pass of one image.

        An estimate: what a block is given, beside the largest input and output of a module inside of it.
        """
        largest = {"block": 0, "module": 0}

        def measure(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            values = given if module in blocks else (*given, result)
            kind = "block" if module in blocks else "module"
            largest[kind] = max(largest[kind], sum(value.numel() for value in values if isinstance(value, Tensor)))

        blocks = [block for stage in range(len(self.stages)) for block in self._first_of(model, stage)]
        leaves = [module for block in blocks for module in block.modules() if not any(True for _ in module.children())]
        hooks = [module.register_forward_hook(measure) for module in (*blocks, *leaves)]
        try:
            with torch.inference_mode():
                model(torch.zeros(1, *input_size))
        finally:
            for hook in hooks:
                hook.remove()
        return 4 * sum(largest.values())

    def options(self, architecture: Architecture) -> dict[str, Any]:
        """Arguments of `timm.create_model` for what an architecture says outside of its arguments."""
        return {}

    def blocks(self, model: nn.Module, stage: int) -> list[nn.Module]:
        """The blocks of a stage of a model. Raises ArchitectureError where those of kinds that take turns do not add up."""
        found = self.stages[stage]
        blocks = self._children(model, stage)[found.first :]
        if not found.kinds:
            return blocks
        if len(blocks) % found.group:
            after = f" after its first {found.first}" if found.first else ""
            raise ArchitectureError(
                f"'{found.prefix.rstrip('.')}' has {len(blocks)} blocks{after}, and blocks of {found.group} kinds take "
                f"turns there ({', '.join(found.kinds)}): take a number that {found.group} divides",
                field="model-arg",
                code="out-of-range",
            )
        starts = range(0, len(blocks), found.group)
        return [BlocksInTurn(dict(zip(found.kinds, blocks[start : start + found.group], strict=True))) for start in starts]

    def _first_of(self, model: nn.Module, stage: int) -> list[nn.Module]:
        """timm's blocks that are the first block of a stage."""
        found = self.stages[stage]
        return self._children(model, stage)[found.first : found.first + found.group]

    def take_blocks(self, model: nn.Module, stage: int) -> list[nn.Module]:
        """Take the blocks of a stage out of a model, which has none there afterwards."""
        blocks = self.blocks(model, stage)
        self._put(model, stage)
        return blocks

    def _children(self, model: nn.Module, stage: int) -> list[nn.Module]:
        """The blocks of a stage, and those before its first, which are stored once."""
        return list(model.get_submodule(self.stages[stage].prefix.rstrip(".")).children())

    def _put(self, model: nn.Module, stage: int, *modules: nn.Module) -> None:
        """Put modules in the place of a stage's blocks, after those before its first."""
        holder, _, name = self.stages[stage].prefix.rstrip(".").rpartition(".")
        before = self._children(model, stage)[: self.stages[stage].first]
        setattr(model.get_submodule(holder), name, nn.Sequential(*before, *modules))

    def check_blocks(self, model: nn.Module, name: str, profile: Profile) -> None:
        """Refuse stages of another number of blocks, and blocks that differ or keep more than parameters.

        Masks and indices that timm computes are no part of a model's state.

        Raises ArchitectureError.
        """

        def called(stage: int, layer: int) -> str:
            return self.timm_name(self.layer_name(stage, layer, ""), profile).rstrip(".")

        for stage, count in enumerate(profile):
            blocks = self.blocks(model, stage)
            if len(blocks) != count:
                raise ArchitectureError(f"'{name}' ignores its depth argument, so it cannot be expanded")
            shapes = [{key: value.shape for key, value in block.state_dict().items()} for block in blocks]
            for index, each in enumerate(shapes):
                if each != shapes[0]:
                    raise ArchitectureError(
                        f"the blocks of '{name}' differ from each other, so one rule cannot expand them: "
                        f"{called(stage, index)} is not as {called(stage, 0)}"
                    )
            period = self.stages[stage].period
            for index, (earlier, block) in enumerate(zip(blocks, blocks[period:], strict=False), period):
                if (settings := _settings(block)) != (before := _settings(earlier)):
                    differing = next(key for key in settings.keys() | before.keys() if settings.get(key) != before.get(key))
                    raise ArchitectureError(
                        f"the blocks of '{name}' compute differently, so one rule cannot expand them: '{differing}' of "
                        f"{called(stage, index)} follows from its place"
                    )
            known = {key for key, _ in blocks[0].named_parameters()}
            # Of a batch norm the running statistics have terms; how many batches they were counted from is of no use.
            known |= {key for key in shapes[0] if is_statistic(key) or key.endswith("num_batches_tracked")}
            if kept := sorted(shapes[0].keys() - known):
                raise ArchitectureError(
                    f"the blocks of '{name}' keep '{kept[0]}', which is no parameter and has no rule to expand it"
                )


def _settings(block: nn.Module) -> dict[str, float]:
    """The numbers by which a block computes and that are no parameters, but for the part of samples that it drops."""
    return {
        f"{path}.{key}".lstrip("."): value
        for path, module in block.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, int | float) and key != "drop_prob"
    }
