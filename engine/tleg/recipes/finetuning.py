"""The recipes of models: training a descendant, a timm model or an earlier result, and training one from scratch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from tleg.errors import InputError, concerning
from tleg.learngene.profile import Depth, parse_depth
from tleg.recipes import Kind
from tleg.recipes.checks import check_common
from tleg.recipes.distillation import Distillation
from tleg.recipes.fields import check_fields, option
from tleg.recipes.images import ImageReading
from tleg.recipes.initial_weights import parse_init, typed_baselines, weights_of_learngene
from tleg.recipes.options import (
    WEIGHTS,
    WEIGHTS_HELP,
    data_option,
    initial_matrices_option,
    model_arguments_option,
    teacher_option,
    validation_split_option,
)
from tleg.recipes.training import Compute, Keeping, Recipe
from tleg.text import read_image_size

# Defaults that differ from those of the fields, by the kind of training.
KIND_DEFAULTS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    "learn": {},
    "train": {"epochs": 10},
    "finetune": {"epochs": 10},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRecipe:
    """Training a descendant, a timm model or an earlier result.

    learngene, depth  start from a learngene's descendant (a learngene, or a run of `tleg learn`)
    init              with learngene: what the descendant is compared with instead of its expansion; with a trained model:
                      how it becomes a shallower one
    model             start from a timm model, with random weights or, pretrained, with those it has
    initial_matrices  with random weights: how the matrices of layers begin, see `tleg.models.initial`
    checkpoint        start from a folder that timm loads, 'TIMM_NAME:FILE', or an earlier run
    model_arguments   of the model, or given anew for those of a checkpoint
    image_size        pixels of the inputs, see `pixels`
    weights           with a file of weights: the model's own, or their average
    layer_decay       each layer's learning rate as a part of that of the layer above; 1 is off
    freeze            what is not trained: 'stem', 'blocks:N' (the first N), 'blocks', 'head', with commas
    drop_path         stochastic depth of a descendant
    """

    left_out: ClassVar[frozenset[str]] = frozenset()  # Fields that are no options of this kind.

    data: str = data_option(group="Data")
    validation_split: float | None = validation_split_option()
    images: ImageReading = field(default_factory=ImageReading)
    learngene: str | None = option(
        None,
        help="Start from the descendant of this learngene, or of the run that learned it.",
        group="Model",
        metavar="FILE|RUN",
    )
    depth: str | None = option(
        None, help="Depth of the descendant, or the blocks of every stage.", group="Model", metavar="DEPTH"
    )
    init: str | None = option(
        None,
        help="A baseline instead of a learngene's expansion, or of a trained model. One of " + typed_baselines() + ".",
        group="Model",
        metavar="BASELINE",
    )
    model: str | None = option(None, help="Start from a timm model, from scratch.", group="Model", metavar="TIMM_NAME")
    model_arguments: Mapping[str, Any] = model_arguments_option()
    image_size: str | None = option(
        None,
        help="Pixels of the inputs. Default: the data's, the weights', or timm's.",
        group="Model",
        metavar="N|HxW",
    )
    initial_matrices: str = initial_matrices_option("timm")
    pretrained: bool = option(False, help="Start from timm's pretrained weights (download).", group="Model")
    checkpoint: str | None = option(
        None, help="Start from a timm folder, TIMM_NAME:FILE, or an earlier run.", group="Model", metavar="PATH|RUN"
    )
    weights: str | None = option(None, help=WEIGHTS_HELP, group="Model", choices=WEIGHTS)
    drop_path: float = option(0.0, help="Stochastic depth of a descendant.", group="Model", least=0, most=0.99)
    freeze: str | None = option(
        None, help="Do not train these: stem, blocks, blocks:N (the first N), head; with commas.", group="Optimisation"
    )
    layer_decay: float = option(
        1.0,
        help="Each layer's learning rate as a part of the next one's; 1 is off.",
        group="Optimisation",
        least=0.01,
        most=1,
    )
    teacher: str | None = teacher_option()
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=lambda: Recipe(**KIND_DEFAULTS["finetune"]))
    compute: Compute = field(default_factory=Compute)
    keeping: Keeping = field(default_factory=Keeping)

    def __post_init__(self) -> None:
        check_fields(self)
        check_common(self)
        starts = {"learngene": self.learngene, "model": self.model, "checkpoint": self.checkpoint}
        if sum(value is not None for value in starts.values()) != 1:
            known = tuple(name for name in starts if name not in self.left_out)
            raise InputError(
                f"start from exactly one of {', '.join(f'--{name}' for name in known)}",
                field=known,
                code="conflict" if any(starts.values()) else "missing",
            )
        if (self.depth is None) == (self.learngene is not None):
            raise InputError(
                "--learngene needs --depth, and nothing else takes it",
                field=("depth", "learngene"),
                code="missing" if self.depth is None else "conflict",
            )
        self._check_init()
        if self.model is None and self.pretrained:
            raise InputError("--pretrained belongs to --model", field=("pretrained", "model"), code="conflict")
        if self.learngene is not None and self.model_arguments:
            raise InputError(
                "--model-arg belongs to --model and --checkpoint; a learngene has its own",
                field=("model-arg", "learngene"),
                code="conflict",
            )
        if (self.model is None or self.pretrained) and self.initial_matrices != "timm":
            raise InputError(
                "--initial-matrices belongs to --model, where its weights are random",
                field=("initial-matrices", "pretrained" if self.pretrained else "model"),
                code="conflict",
            )
        if self.checkpoint is None and self.weights is not None:
            raise InputError(
                "--weights belongs to --checkpoint TIMM_NAME:FILE", field=("weights", "checkpoint"), code="conflict"
            )
        if self.learngene is None and self.drop_path:
            raise InputError(
                "--drop-path belongs to --learngene; a timm model takes --model-arg drop_path_rate=…",
                field=("drop-path", "learngene"),
                code="conflict",
            )
        if self.distillation.method == "token" and self.learngene is not None:
            raise InputError(
                "token distillation needs a distillation token; start from --model deit_…_distilled_…",
                field=("distillation", "model"),
                code="unsupported",
            )
        _ = self.frozen, self.pixels, self.descends_to

    def _check_init(self) -> None:
        """Refuse a baseline that is not made of what the training starts from. Raises InputError."""
        if self.init is None:
            return
        weights, parameter = parse_init(self.init)
        if self.learngene is not None:
            weights_of_learngene(self.init)
        elif weights.origin == "learngene":
            raise InputError(
                f"--init {weights.name} belongs to --learngene; a timm model starts from scratch without it",
                field=("init", "learngene"),
                code="conflict",
            )
        elif self.checkpoint is None and not self.pretrained:
            raise InputError(
                f"--init {weights.typed} is made of a trained model: give --checkpoint, or --model with --pretrained",
                field=("init", "checkpoint"),
                code="conflict",
            )
        if weights.takes:
            with concerning("init"):
                parse_depth(parameter)

    @property
    def kind(self) -> Kind:
        """'finetune'."""
        return "finetune"

    @property
    def descends_to(self) -> Depth | None:
        """The depth of the descendant, or its profile; None without a learngene."""
        with concerning("depth"):
            return None if self.depth is None else parse_depth(self.depth)

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they were asked for."""
        return read_image_size(self.image_size)

    @property
    def frozen(self) -> tuple[tuple[str, int | None], ...]:
        """What is not trained: pairs of 'stem', 'blocks' or 'head' and, for blocks, how many (None: all)."""
        parts: list[tuple[str, int | None]] = []
        for text in (self.freeze or "").split(",") if self.freeze else ():
            match = re.fullmatch(r"\s*(stem|head|blocks(?::(\d{1,4}))?)\s*", text, re.ASCII)
            if match is None:
                raise InputError(
                    f"freeze takes stem, blocks, blocks:N or head, not '{text.strip()}'", field="freeze", code="malformed"
                )
            parts.append((match[1].partition(":")[0], int(match[2]) if match[2] else None))
        return tuple(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe(FinetuneRecipe):
    """Training a timm model from scratch, or from pretrained weights: an ancestry model, or what others are compared with.

    What fine-tuning does, without all that is about learngenes.
    """

    left_out: ClassVar[frozenset[str]] = frozenset({"learngene", "depth", "init", "drop_path"})

    model: str | None = option(
        None, help="The model, by timm's name; its weights are random.", group="Model", metavar="TIMM_NAME"
    )
    checkpoint: str | None = option(
        None,
        help="Instead of --model: from weights that you have, a timm folder, TIMM_NAME:FILE, or an earlier run.",
        group="Model",
        metavar="PATH|RUN",
    )

    @property
    def kind(self) -> Kind:
        """'train'."""
        return "train"
