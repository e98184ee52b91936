"""What is trained: an auxiliary model at the depths of a step, or a model of one depth."""

import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from tleg.data.sampler import derive_seed
from tleg.errors import InputError
from tleg.learngene.profile import Depth, Profile
from tleg.models.auxiliary import AuxiliaryModel
from tleg.recipes.distillation import Depths


class Output(NamedTuple):
    """What a student computes from N images.

    logits        (N, classes)
    token_logits  (N, classes) of the distillation token, or None
    features      (N, size) the teacher's features as the student guesses them, or None
    """

    logits: Tensor
    token_logits: Tensor | None = None
    features: Tensor | None = None


class Student(nn.Module):
    """A model with what its training adds: how deep it is at a step, and a projection to a teacher's features."""

    model: nn.Module
    projection: nn.Linear | None
    width: int
    sizes: tuple[tuple[int, int], ...] = ()  # Height and width of the inputs, where they are drawn.

    def __init__(self) -> None:
        super().__init__()
        # Not in the class, where it would hide the module that is put here.
        self.projection = None

    def depths(self, step: int) -> tuple[int | None, ...]:
        """The depths that a step trains, the one that teaches the others first; (None,) for a model of one depth."""
        raise NotImplementedError

    def image_size(self, step: int) -> tuple[int, int] | None:
        """The height and width of the images of a step, where they are others than those of the data."""
        return None

    def shown_depths(self) -> tuple[int | None, ...]:
        """The depths whose accuracy is measured during training."""
        raise NotImplementedError

    def make_ready(self) -> tuple[int | None, ...]:
        """Make what the depths of all steps need, on the device where the student is; return those depths."""
        raise NotImplementedError

    def forward(self, images: Tensor, depth: int | None, features: bool = False) -> Output:
        """Normalised images (N, C, H, W) at a depth -> Output, with features when they are wanted."""
        raise NotImplementedError

    def predict(self, model: nn.Module, images: Tensor, depth: int | None) -> Tensor:
        """Logits (N, classes) of this student's model, or of a copy such as its average."""
        raise NotImplementedError

    def project_to(self, size: int) -> None:
        """Add the projection to a teacher's features of this size."""
        self.projection = nn.Linear(self.width, size)

    def set_gradient_checkpointing(self) -> None:
        """Compute blocks a second time in the backward pass. Raises InputError for models that cannot."""
        raise NotImplementedError


class AuxiliaryStudent(Student):
    """An auxiliary model, at the paper's fixed depth or at depths drawn for (seed, step).

    steps  of the whole training, of which the first part may have one depth alone
    sizes  height and width of the inputs, drawn for (seed, step) as well; empty where there is one size
    profile_of  the blocks of every stage at a depth; None where the elastic stage alone has it
    """

    def __init__(
        self,
        model: AuxiliaryModel,
        depths: Depths,
        seed: int,
        steps: int,
        sizes: tuple[tuple[int, int], ...] = (),
        profile_of: Callable[[int], Depth] | None = None,
    ) -> None:
        super().__init__()
        self.model: AuxiliaryModel = model
        self.width = int(model.vit.num_features)
        self._depths = depths
        self.sizes = sizes
        self._profile_of = profile_of
        self._seed = seed
        self._warmup_steps = depths.warmup_steps(steps)
        self._coefficients: dict[tuple[int, torch.device], Tensor] = {}

    def depths(self, step: int) -> tuple[int, ...]:
        """The depths of a step."""
        if step < self._warmup_steps:
            return (self._depths.first,)
        return depths_of_step(self._depths, self._seed, step)

    def image_size(self, step: int) -> tuple[int, int] | None:
        """The size of a step, where sizes are drawn."""
        return random.Random(derive_seed(self._seed, "size", step)).choice(self.sizes) if self.sizes else None

    def shown_depths(self) -> tuple[int, ...]:
        """The shallowest, the auxiliary's own and the deepest."""
        choices = self._depths.choices
        return tuple(sorted({min(choices), self._depths.auxiliary, max(choices)}))

    def make_ready(self) -> tuple[int, ...]:
        """Coefficients that are made while a forward pass is compiled would have it compiled again."""
        first = {self._depths.first} if self._warmup_steps else set[int]()
        depths = tuple(sorted({*self._depths.choices, *self.shown_depths(), *first}))
        for depth in depths:
            self._at(depth)
        return depths

    def forward(self, images: Tensor, depth: int | None, features: bool = False) -> Output:
        """Images at a depth -> Output."""
        tokens = self.model.forward_features(images, *self._at(depth))
        logits: Tensor = self.model.vit.forward_head(tokens)
        if not features:
            return Output(logits)
        return Output(logits, features=self._projected(self.model.vit.forward_head(tokens, pre_logits=True)))

    def predict(self, model: nn.Module, images: Tensor, depth: int | None) -> Tensor:
        """Logits at a depth."""
        logits: Tensor = model(images, *self._at(depth))
        return logits

    def embed(self, model: nn.Module, images: Tensor, depth: int | None) -> Tensor:
        """Pooled features (N, size) of this student's model or a copy at a depth, projected where there is a projection."""
        own: Any = model
        return self._projected(own.forward_pooled(images, *self._at(depth)))

    def _projected(self, features: Tensor) -> Tensor:
        return features if self.projection is None else self.projection(features)

    def set_gradient_checkpointing(self) -> None:
        """Blocks are made from the same weights in both passes, because the coefficients are an argument."""
        self.model.gradient_checkpointing = True

    def _at(self, depth: int | None) -> tuple[Tensor, Profile]:
        """Coefficients of a depth, and the blocks of each stage."""
        assert depth is not None
        key = (depth, self.model.device)
        if key not in self._coefficients:
            # Kept for later steps, so it must not be one of inference mode's.
            with torch.inference_mode(False):
                self._coefficients[key] = self.model.coefficients(self._stages(depth))
        return self._coefficients[key], self.model.profile(self._stages(depth))

    def _stages(self, depth: int) -> Depth:
        return depth if self._profile_of is None else self._profile_of(depth)


class PlainStudent(Student):
    """A timm model.

    token  train its distillation token on the teacher (DeiT, section 4); InputError when it has none
    """

    def __init__(self, model: nn.Module, *, token: bool = False) -> None:
        super().__init__()
        self.model = model
        width: Any = getattr(model, "head_hidden_size", None) or getattr(model, "num_features", 0)
        self.width = int(width)
        self.token = token
        if token:
            distilled: Any = getattr(model, "set_distilled_training", None)
            if distilled is None:
                raise InputError(
                    "token distillation needs a model with a distillation token, such as deit_tiny_distilled_patch16_224",
                    field=("distillation", "model"),
                    code="unsupported",
                )
            distilled(True)

    def depths(self, step: int) -> tuple[None]:
        """One, always the same."""
        return (None,)

    def shown_depths(self) -> tuple[None]:
        """One, always the same."""
        return (None,)

    def make_ready(self) -> tuple[None]:
        """It needs nothing."""
        return (None,)

    def forward(self, images: Tensor, depth: int | None = None, features: bool = False) -> Output:
        """Images -> Output."""
        model: Any = self.model
        if features and self.projection is not None:
            computed = model.forward_features(images)
            logits = model.forward_head(computed)
            return Output(logits, features=self.projection(model.forward_head(computed, pre_logits=True)))
        result = model(images)
        if isinstance(result, tuple):
            return Output(*result)
        return Output(result)

    def predict(self, model: nn.Module, images: Tensor, depth: int | None = None) -> Tensor:
        """Logits."""
        logits: Tensor = model(images)
        return logits

    def set_gradient_checkpointing(self) -> None:
        """timm's."""
        try:
            self.model.set_grad_checkpointing(True)  # type: ignore[operator]  # some models have it
        except (AttributeError, AssertionError, TypeError) as error:
            raise InputError(
                f"timm has no gradient checkpointing for {type(self.model).__name__}",
                field="gradient-checkpointing",
                code="unsupported",
            ) from error


_SANDWICH: Final = "sandwich"


def depths_of_step(depths: Depths, seed: int, step: int) -> tuple[int, ...]:
    """The depths of the auxiliary model at a step after the warm-up: the fixed one, or drawn for (seed, step).

    A sandwich is the deepest, the shallowest and one in between, which may be missing (Yu and Huang, arXiv 1903.05134).
    """
    chosen = random.Random(derive_seed(seed, "depth", step))
    if depths.sampling == "single":
        return (chosen.choice(depths.choices),)
    if depths.sampling != _SANDWICH:
        return tuple(chosen.choices(depths.choices, depths.odds))
    shallowest, *between, deepest = sorted(set(depths.choices))
    return (deepest, shallowest, *([chosen.choice(between)] if between else ()))


# For each depth, and each size of images, training and evaluation, and what torch compiles again on the way.
_GRAPHS_PER_DEPTH: Final = 4
_MORE_GRAPHS: Final = 64


def compile_student(student: Student, **options: Any) -> None:
    """Compile a student in place, with torch's options. Each of its depths is compiled by itself, at its first step."""
    depths = student.make_ready()
    graphs = _GRAPHS_PER_DEPTH * len(depths) * max(1, len(student.sizes)) + _MORE_GRAPHS
    config: Any = torch._dynamo.config
    # torch gives up after eight otherwise, and computes the others without a word as if nothing were compiled.
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(config, name, max(getattr(config, name), graphs))
    student.compile(**options)
