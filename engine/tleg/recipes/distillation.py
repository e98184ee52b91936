"""How a teacher's knowledge reaches the student, and at which depths an auxiliary model is trained."""

from dataclasses import dataclass
from typing import Final

from tleg.errors import InputError, concerning
from tleg.learngene.basis import check_depth
from tleg.learngene.profile import DRAWN, format_depths
from tleg.recipes.fields import check_fields, option

METHODS: Final = ("soft", "hard", "feature", "token", "embedding")
PROJECTIONS: Final = ("auto", "none")
NORMALISATIONS: Final = ("batchmean", "official")
_GROUP: Final = "Distillation"


@dataclass(frozen=True, slots=True)
class Distillation:
    """(1 - weight) * task loss + weight * distillation loss.

    method         'soft': T^2 * KL(teacher || student) (Hinton et al., arXiv 1503.02531); 'hard': cross entropy with the
                   teacher's choice (DeiT, arXiv 2012.12877, section 4); 'feature': mean squared distance of the pooled
                   features, the student's through a learned projection, on top of 'soft'; 'token': 'soft' on the output of
                   a distillation token while the class token learns the labels; 'embedding': the cosine distance of the
                   pooled features alone, without labels and without a head
    temperature    softens the logits of teacher and student
    weight         of the teacher; the labels get the rest
    normalisation  'batchmean' divides the divergence by the images, as it is defined; 'official' also by the classes, as
                   the official code does (which makes it classes times weaker)
    feature_weight of the features' distance, for the method 'feature'
    projection     for the method 'embedding': 'auto' trains a linear map from the student's width to the teacher's where
                   they differ, and leaves it out of the result; 'none' takes teachers of the student's width alone
    """

    method: str = option(
        "soft",
        help="What is compared: predictions (soft, hard), features, a token's output; embedding: features without labels.",
        group=_GROUP,
        name="distillation",
        choices=METHODS,
    )
    temperature: float = option(1.0, help="Softens the logits of teacher and student.", group=_GROUP, least=0.01, most=1000)
    weight: float = option(
        1.0, help="Of the teacher; the labels get the rest.", group=_GROUP, name="distillation-weight", least=0, most=1
    )
    normalisation: str = option(
        "batchmean",
        help="batchmean, or official (also divided by the classes).",
        group=_GROUP,
        name="distillation-normalisation",
        choices=NORMALISATIONS,
    )
    feature_weight: float = option(1.0, help="Of the features' distance, with feature.", group=_GROUP, least=0, most=1e6)
    projection: str = option(
        "auto",
        help="With embedding: a linear map between widths that differ, left out of the result.",
        group=_GROUP,
        choices=PROJECTIONS,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.embeds and self.weight != 1:
            raise InputError(
                "embedding distillation learns from the teacher alone; leave --distillation-weight out",
                field=("distillation-weight", "distillation"),
                code="conflict",
            )
        if not self.embeds and self.projection != "auto":
            raise InputError(
                "--projection belongs to --distillation embedding", field=("projection", "distillation"), code="conflict"
            )

    @property
    def embeds(self) -> bool:
        """Whether the teacher's features are all that is learned: there are no labels then, and no head."""
        return self.method == "embedding"


SAMPLINGS: Final = ("single", "balanced", "sandwich")


@dataclass(frozen=True, slots=True)
class Depths:
    """The paper's fixed depth, or depths that are drawn at every step.

    sampling      'single' draws one depth a step, all equally likely; 'balanced' one in inverse proportion to it, so that as
                  many layers are computed for every depth; 'sandwich' takes the deepest, the shallowest and one in between,
                  and the deepest teaches the others (Yu and Huang, arXiv 1903.05134)
    warmup        the first part of all steps, in 0..1, that has one depth alone: layers learn to be of use at one depth
                  faster than at all of them (docs/study.md), and what they then know holds for the others
    warmup_depth  that depth; None is the shallowest, which costs least
    """

    auxiliary: int = 12
    sampled: tuple[int, ...] = ()
    sampling: str = "single"
    warmup: float = 0.0
    warmup_depth: int | None = None

    def __post_init__(self) -> None:
        with concerning("auxiliary-depth"):
            check_depth(self.auxiliary)
        with concerning("sample-depths"):
            for depth in self.sampled:
                check_depth(depth)
        if self.sampled and self.auxiliary not in self.sampled:
            raise InputError(
                f"the auxiliary depth {self.auxiliary} is not one of the sampled depths, so it is never trained",
                field=("auxiliary-depth", "sample-depths"),
                code="conflict",
            )
        if self.sampling not in SAMPLINGS:
            raise InputError(
                f"unknown sampling '{self.sampling}': choose {', '.join(SAMPLINGS)}", field="sampling", code="unknown-name"
            )
        if self.sampling != "single" and len(set(self.sampled)) < 2:
            raise InputError(
                f"{self.sampling} sampling needs two or more depths in sample-depths",
                field=("sampling", "sample-depths"),
                code="missing",
            )

        with concerning("warmup-depth"):
            check_depth(self.first)
        if not self.sampled and (self.warmup or self.warmup_depth is not None):
            raise InputError(
                "a depth to begin with needs depths that are drawn afterwards: give sample-depths",
                field=("depth-warmup" if self.warmup else "warmup-depth", "sample-depths"),
                code="missing",
            )

    @property
    def choices(self) -> tuple[int, ...]:
        """The depths that are drawn, or the one that there is."""
        return self.sampled or (self.auxiliary,)

    @property
    def odds(self) -> tuple[float, ...]:
        """How likely each of the choices is where one is drawn; they sum to 1."""
        weights = [1 / depth if self.sampling == "balanced" else 1.0 for depth in self.choices]
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def first(self) -> int:
        """The depth of the warm-up."""
        return min(self.choices) if self.warmup_depth is None else self.warmup_depth

    def describe(self, steps: int) -> str:
        """Which depths a training of so many steps has, for people: '3–8, one a step; the first 50 steps have 3 alone'."""
        text = format_depths(self.choices)
        if len(self.choices) > 1:
            text += f", {DRAWN[self.sampling]}"
        if alone := self.warmup_steps(steps):
            text += f"; the first {alone} steps have {self.first} alone"
        return text

    def warmup_steps(self, steps: int) -> int:
        """How many of so many steps have the first depth alone."""
        return round(self.warmup * steps)
