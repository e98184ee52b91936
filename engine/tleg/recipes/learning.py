"""The recipe of a learngene: an auxiliary model is trained, by distillation where there is a teacher."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tleg.errors import InputError, concerning
from tleg.learngene.basis import Basis, parse_basis, parse_depths, parse_parts
from tleg.learngene.basis_functions import grammar
from tleg.learngene.profile import names_profile
from tleg.recipes import Kind
from tleg.recipes.checks import check_common
from tleg.recipes.distillation import SAMPLINGS, Depths, Distillation
from tleg.recipes.fields import PROFILES, PROFILES_HELP, check_fields, option
from tleg.recipes.images import ImageReading
from tleg.recipes.options import (
    data_option,
    initial_matrices_option,
    model_arguments_option,
    teacher_option,
    validation_split_option,
)
from tleg.recipes.training import Compute, Keeping, Recipe
from tleg.text import parse_image_size

DEFAULT_DEPTH: Final = 12
_AUTO: Final = "auto"
# Where the layers begin of a model that starts from something.
START_LAYERS: Final = ("start", "initial")
_NONE: Final = "none"
# The depths that are drawn where nothing is said and how often each, the part of the training that has the shallowest alone,
# and the basis: a block for each third of the layers (docs/study.md). A depth of less than three layers would leave one of
# them out.
SAMPLED: Final = "3-12"
SAMPLING: Final = "balanced"
DEPTH_WARMUP: Final = 0.5
_THIRDS: Final = "piecewise:3"
_SHALLOWEST_OF_THIRDS: Final = 3
_LINE: Final = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnRecipe:
    """Learning a learngene: an auxiliary model is trained, by distillation where there is a teacher.

    architecture, model_arguments  timm's name and arguments of the model
    data, validation_split         a data set, and which part of its training images is kept for validation
    images                         how its files are read
    teacher                        the ancestry model; None learns from the labels alone
    start, start_layers            what the auxiliary model begins from, and whether its layers are taken as well
    basis, expand                  as people write them: 'polynomial:2', 'attention,mlp'; 'auto' is `basis_for`'s
    initial_matrices               how the matrices of layers begin, see `tleg.models.initial`
    term_scale                     how large the matrices of the terms beyond the first begin, relative to the first's
    auxiliary_depth                None is 12, or the deepest of the sampled
    sample_depths, sampling        depths drawn at every step, as in '4,6,8-12', and how: 'auto' is 'balanced'
    profiles                       of several stages: which of them change with the depth
    sample_sizes                   heights and widths of the inputs, drawn at every step, see `sizes`
    depth_warmup, warmup_depth     the first part of the steps, which have one depth alone, and that depth
    evaluate_depths                depths whose accuracy the learngene states: '1-16', or 'none'
    """

    architecture: str = option(help="The model, by timm's name.", group="Model", metavar="TIMM_NAME")
    data: str = data_option(group="Data", unlabelled=True)
    validation_split: float | None = validation_split_option()
    images: ImageReading = field(default_factory=ImageReading)
    teacher: str | None = teacher_option()
    model_arguments: Mapping[str, Any] = model_arguments_option()
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
    basis: str = option(
        _AUTO,
        help=f"{grammar()}; linear is the paper's. auto: {_THIRDS}, and {_LINE} for several stages or depths below 3.",
        group="Model",
    )
    expand: str = option("attention,mlp,norm", help="Parts that follow the basis; the rest is shared.", group="Model")
    initial_matrices: str = initial_matrices_option("fan-in")
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
        _AUTO,
        help="single: one depth a step. balanced: in inverse proportion to it. sandwich: three, the deepest teaches. "
        "auto: balanced.",
        group="Model",
        choices=(_AUTO, *SAMPLINGS),
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
        check_common(self)
        # Each raises what is wrong with its text.
        _ = self.basis_for(), self.depths, self.sizes, self.evaluated
        if self.start is None and self.start_layers != "start":
            raise InputError("--start-layers belongs to --start", field=("start-layers", "start"), code="conflict")

    @property
    def kind(self) -> Kind:
        """'learn'."""
        return "learn"

    def basis_for(self, *, stages: int = 1, start: Basis | None = None) -> Basis:
        """The basis with the parts that it expands.

        'auto' is that of the learngene whose layers are the start. Else it is a block for each third of the layers; of
        several stages, which may have two layers each, and of depths below three, it is the paper's line.

        stages  of the architecture
        start   basis of the learngene that the layers begin from

        Raises BasisError, InputError.
        """
        parts = parse_parts(self.expand)
        if self.basis != _AUTO:
            return parse_basis(self.basis, parts)
        if start is not None:
            return replace(start, expanded=parts)
        depths = self.depths
        shallowest = min(depths.sampled, default=depths.auxiliary)
        return parse_basis(_THIRDS if stages == 1 and shallowest >= _SHALLOWEST_OF_THIRDS else _LINE, parts)

    @property
    def depths(self) -> Depths:
        """At which depths the auxiliary model is trained."""
        text = self.sample_depths
        if text == _AUTO:
            text = SAMPLED if self.auxiliary_depth is None else _NONE
        with concerning("sample-depths"):
            if names_profile(text):
                raise InputError(
                    f"depths that are drawn are numbers, as in 4,6,8, and '{text}' has a profile of stages; --profiles all "
                    "gives every stage its part of the blocks",
                    code="malformed",
                )
            sampled = () if text == _NONE else parse_depths(text)
        depth = max(sampled, default=DEFAULT_DEPTH) if self.auxiliary_depth is None else self.auxiliary_depth
        warmup = (DEPTH_WARMUP if sampled else 0.0) if self.depth_warmup is None else self.depth_warmup
        sampling = self.sampling
        if sampling == _AUTO:
            sampling = SAMPLING if len(sampled) > 1 else "single"
        return Depths(depth, sampled, sampling, warmup, self.warmup_depth)

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
