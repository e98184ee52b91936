"""The kinds of training: learning a learngene, training a model, and fine-tuning. Names and numbers alone, so that they can
be checked, shown and stored without loading a model or an image."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from tleg.errors import InputError, concerning
from tleg.learngene.basis import Basis, parse_basis, parse_depths, parse_parts
from tleg.learngene.basis_functions import grammar
from tleg.learngene.profile import Depth, parse_depth
from tleg.recipes import Kind as Kind
from tleg.recipes.distillation import SAMPLINGS, Depths, Distillation
from tleg.recipes.fields import PROFILES, PROFILES_HELP, check_fields, option
from tleg.recipes.images import UNLABELLED, ImageReading
from tleg.recipes.initial_weights import INITIAL_MATRICES, parse_init, typed_baselines, weights_of_learngene
from tleg.recipes.training import Compute, Keeping, Recipe
from tleg.text import parse_image_size, read_image_size

DEFAULT_DEPTH: Final = 12
_AUTO: Final = "auto"
# Where the layers begin of a model that starts from something.
START_LAYERS: Final = ("start", "initial")
_NONE: Final = "none"
# The depths that are drawn where nothing is said, and the part of the training that has the shallowest alone: docs/study.md.
SAMPLED: Final = "3-12"
DEPTH_WARMUP: Final = 0.5
WEIGHTS: Final = ("model", "ema")
WEIGHTS_HELP: Final = "Which weights of a file that holds an average (ema) as well. Default: the average, as timm takes."


# What both kinds of training take, and evaluation as well: each is one definition.


def data_option(group: str = "", *, unlabelled: bool = False) -> Any:
    """Declare --data; `unlabelled` where images without classes are taken as well."""
    more = f"{UNLABELLED}FOLDER, " if unlabelled else ""
    text = f"fashion-mnist, a folder with train/CLASS/* and val/CLASS/*, {more}or timm's name, such as torch/cifar10."
    return option(help=text, group=group, metavar="DATA")


def validation_split_option(help: str = "Part of the training images to validate on.", group: str = "Data") -> Any:  # noqa: A002  # As in `option`.
    """Declare --validation-split."""
    return option(None, help=help, group=group, least=0.0001, most=0.9)


def _teacher() -> Any:
    text = "Ancestry model: a folder that timm loads, TIMM_NAME:FILE, a run, or a timm name (download)."
    return option(None, help=text, group="Distillation", metavar="NAME|PATH")


def _model_arguments() -> Any:
    text = "An argument for timm, such as patch_size=4. May be repeated."
    return option({}, help=text, group="Model", name="model-arg", metavar="KEY=VALUE")


def _initial_matrices(default: str) -> Any:
    text = "How large the layers' matrices begin. timm: std 0.02; fan-in: std 1 / sqrt(inputs), more in narrow models."
    return option(default, help=text, group="Model", choices=INITIAL_MATRICES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnRecipe:
    """Learning a learngene: an auxiliary model is trained, by distillation where there is a teacher.

    architecture, model_arguments  timm's name and arguments of the model
    data, validation_split         a data set, and which part of its training images is kept for validation
    images                         how its files are read
    teacher                        the ancestry model; None learns from the labels alone
    start, start_layers            what the auxiliary model begins from, and whether its layers are taken as well
    basis, expand                  as people write them: 'polynomial:2', 'attention,mlp'
    initial_matrices               how the matrices of layers begin, see `tleg.models.initial`
    term_scale                     how large the matrices of the terms beyond the first begin, relative to the first's
    auxiliary_depth                None is 12, or the deepest of the sampled
    sample_depths, sampling        depths drawn at every step, as in '4,6,8-12', and how
    profiles                       of several stages: which of them change with the depth
    sample_sizes                   heights and widths of the inputs, drawn at every step, see `sizes`
    depth_warmup, warmup_depth     the first part of the steps, which have one depth alone, and that depth
    evaluate_depths                depths whose accuracy the learngene states: '1-16', or 'none'
    """

    architecture: str = option(help="The model, by timm's name.", group="Model", metavar="TIMM_NAME")
    data: str = data_option(group="Data", unlabelled=True)
    validation_split: float | None = validation_split_option()
    images: ImageReading = field(default_factory=ImageReading)
    teacher: str | None = _teacher()
    model_arguments: Mapping[str, Any] = _model_arguments()
    start: str | None = option(
        None,
        help="Begin from a learngene, or from a model of the same width: a timm folder, TIMM_NAME:FILE, a run, a timm name.",
        group="Model",
        metavar="NAME|PATH",
    )
    start_layers: str = option(
        "start",
        help="With --start: its layers (of a model, their least-squares fit), or initial ones beside its stem and head.",
        group="Model",
        choices=START_LAYERS,
    )
    basis: str = option("linear", help=f"{grammar()}; linear is the paper's.", group="Model")
    expand: str = option("attention,mlp,norm", help="Parts that follow the basis; the rest is shared.", group="Model")
    initial_matrices: str = _initial_matrices("fan-in")
    term_scale: float = option(
        1.0,
        help="Initial size of the terms beyond the first, relative to it: the larger, the more unlike the layers begin.",
        group="Model",
        least=0,
        most=100,
    )
    auxiliary_depth: int | None = option(
        None, help="Depth of the auxiliary model. Default: 12, or the deepest of the sampled.", group="Model"
    )
    sample_depths: str = option(
        _AUTO,
        help="Draw a depth at every step, as in 4,6,8-12; none: one depth. auto: 3-12, or the auxiliary depth where given.",
        group="Model",
    )
    sampling: str = option(
        "single",
        help="single: one depth a step. sandwich: deepest, shallowest and one between; the deepest teaches.",
        group="Model",
        choices=SAMPLINGS,
    )
    depth_warmup: float | None = option(
        None,
        help="First part of the training that has one depth alone. Default: 0.5 where depths are drawn.",
        group="Model",
        least=0,
        most=1,
    )
    warmup_depth: int | None = option(
        None, help="That depth. Default: the shallowest of the sampled, which costs least.", group="Model"
    )
    profiles: str = option("elastic", help=PROFILES_HELP, group="Model", choices=PROFILES)
    sample_sizes: str = option(
        _NONE,
        help="Draw the size of the inputs at every step too, as in 128,160,224; the largest is the model's. none: one size.",
        group="Model",
    )
    evaluate_depths: str = option(
        "1-16", help="Depths whose accuracy the learngene states; none for none.", group="Checkpoints"
    )
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=Recipe)
    compute: Compute = field(default_factory=Compute)
    keeping: Keeping = field(default_factory=Keeping)

    def __post_init__(self) -> None:
        check_fields(self)
        _check_common(self)
        # Each raises what is wrong with its text.
        _ = self.chosen_basis, self.depths, self.sizes, self.evaluated
        if self.start is None and self.start_layers != "start":
            raise InputError("--start-layers belongs to --start", field=("start-layers", "start"), code="conflict")

    @property
    def kind(self) -> Kind:
        """'learn'."""
        return "learn"

    @property
    def chosen_basis(self) -> Basis:
        """The basis with the parts that it expands."""
        return parse_basis(self.basis, parse_parts(self.expand))

    @property
    def depths(self) -> Depths:
        """At which depths the auxiliary model is trained."""
        text = self.sample_depths
        if text == _AUTO:
            text = SAMPLED if self.auxiliary_depth is None else _NONE
        with concerning("sample-depths"):
            sampled = () if text == _NONE else parse_depths(text)
        depth = max(sampled, default=DEFAULT_DEPTH) if self.auxiliary_depth is None else self.auxiliary_depth
        warmup = (DEPTH_WARMUP if sampled else 0.0) if self.depth_warmup is None else self.depth_warmup
        return Depths(depth, sampled, self.sampling, warmup, self.warmup_depth)

    @property
    def scales_all(self) -> bool:
        """Whether every stage is scaled with the depth."""
        return self.profiles == "all"

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the inputs that are drawn, the smallest first; empty where there is one size."""
        if self.sample_sizes == _NONE:
            return ()
        with concerning("sample-sizes"):
            return tuple(sorted({parse_image_size(text) for text in self.sample_sizes.split(",")}, key=math.prod))

    @property
    def evaluated(self) -> tuple[int, ...]:
        """Depths whose accuracy is measured at the end."""
        with concerning("evaluate-depths"):
            return () if self.evaluate_depths == _NONE else parse_depths(self.evaluate_depths)


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
    model_arguments: Mapping[str, Any] = _model_arguments()
    image_size: str | None = option(
        None,
        help="Pixels of the inputs. Default: the data's, the weights', or timm's.",
        group="Model",
        metavar="N|HxW",
    )
    initial_matrices: str = _initial_matrices("timm")
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
    teacher: str | None = _teacher()
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=lambda: Recipe(**KIND_DEFAULTS["finetune"]))
    compute: Compute = field(default_factory=Compute)
    keeping: Keeping = field(default_factory=Keeping)

    def __post_init__(self) -> None:
        check_fields(self)
        _check_common(self)
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


TrainingRecipe = LearnRecipe | TrainRecipe | FinetuneRecipe
# Defaults that differ from those of the fields.
KIND_DEFAULTS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    "learn": {},
    "train": {"epochs": 10},
    "finetune": {"epochs": 10},
}
RECIPES: Final[Mapping[Kind, type[LearnRecipe] | type[FinetuneRecipe]]] = {
    "learn": LearnRecipe,
    "train": TrainRecipe,
    "finetune": FinetuneRecipe,
}


def _check_common(recipe: TrainingRecipe) -> None:
    method = recipe.distillation.method
    embeds = recipe.distillation.embeds
    if recipe.data.startswith(UNLABELLED) and not (embeds and isinstance(recipe, LearnRecipe)):
        raise InputError(
            f"{recipe.data} has no labels; learn from it with tleg learn --teacher … --distillation embedding, or name data "
            "with classes",
            field=("data", "distillation"),
            code="unsupported",
        )
    if embeds and not isinstance(recipe, LearnRecipe):
        raise InputError(
            "embedding distillation learns a learngene; here choose soft, hard, feature or token",
            field="distillation",
            code="unsupported",
        )
    if embeds and recipe.recipe.mixing:
        raise InputError(
            "mixup and cutmix mix labels, which embedding distillation does not look at; leave them at 0",
            field=("mixup" if recipe.recipe.mixup else "cutmix", "distillation"),
            code="conflict",
        )
    if recipe.teacher is None and method != "soft":
        raise InputError(f"{method} distillation needs a teacher", field=("distillation", "teacher"), code="missing")
    parts = recipe.compute.processes * recipe.recipe.accumulate
    if recipe.recipe.batch_size % parts:
        lower = recipe.recipe.batch_size // parts * parts
        raise InputError(
            f"batch-size {recipe.recipe.batch_size} does not divide into {parts} equal parts "
            f"(processes times accumulate); try {lower or parts} or {lower + parts}",
            field=("batch-size", "accumulate", "devices", "nodes"),
            code="out-of-range",
        )
    if recipe.recipe.mixing and recipe.recipe.batch_size % (2 * recipe.compute.processes):
        raise InputError(
            f"mixup and cutmix pair images on each device: batch-size must be a multiple of {2 * recipe.compute.processes}",
            field="batch-size",
            code="out-of-range",
        )
