"""What a model is asked for: the logits of its classes, or features, as a backbone of other heads gives them.

    classes       logits, one a class: (N, classes)
    pooled        the vector before the classifier: (N, width)
    tokens        the tokens after the last block and the final norm: (N, tokens, width), or a map (N, C, H, W)
    blocks:3,6,9  the maps (N, C, H, W) after these blocks, counted from 1, without the final norm
    stages:1,4    of a model with stages the same after these, the levels of timm's `feature_info`

Light: the standard library alone. `tleg.models.features` has it computed.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from tleg.errors import InputError, did_you_mean
from tleg.serialize import LEFT_OUT_WHEN_NONE

OutputKind = Literal["classes", "pooled", "tokens", "blocks", "stages"]
OUTPUT_KINDS: Final[tuple[OutputKind, ...]] = ("classes", "pooled", "tokens", "blocks", "stages")
# As they are typed, for help texts.
OUTPUT_FORMS: Final = ("classes", "pooled", "tokens", "blocks:3,6,9", "stages:1,2,3,4")
FIELD: Final = "output-of"
_NUMBERED: Final = ("blocks", "stages")
_EXAMPLES: Final = {"blocks": "blocks:3,6,9", "stages": "stages:1,2,3,4"}
_MOST_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives.

    places  numbers of blocks or stages, from 1, in ascending order; none of other kinds
    """

    kind: OutputKind = "classes"
    places: tuple[int, ...] = ()

    def __str__(self) -> str:
        """As it is typed: 'blocks:3,6,9'."""
        return f"{self.kind}:{','.join(map(str, self.places))}" if self.places else self.kind

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors: 'logits', 'pooled', 'tokens', or 'block3', 'block6', …"""
        if self.places:
            return tuple(f"{self.kind.removesuffix('s')}{place}" for place in self.places)
        return ("logits",) if self.kind == "classes" else (self.kind,)

    @property
    def of_classes(self) -> bool:
        """Whether it is the logits of classes."""
        return self.kind == "classes"

    @property
    def in_file_names(self) -> str:
        """What it adds to the name of a file: 'blocks3-6-9'."""
        return f"{self.kind}{'-'.join(map(str, self.places))}"

    def check_places(self, most: int, whose: str) -> None:
        """Refuse numbers beyond the last. `whose` says what has so many. Raises InputError."""
        if self.places and self.places[-1] > most:
            one = self.kind.removesuffix("s")
            raise InputError(
                f"there is no {one} {self.places[-1]}: {whose} has {self.kind} 1 to {most}", field=FIELD, code="out-of-range"
            )


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One tensor that an export gives.

    name           of the output
    shape          of what belongs to one image: (width,), (tokens, width) or (channels, height, width)
    meaning        what it is, in words
    prefix_tokens  of tokens: how many of the first are class and register tokens; the others are patches, row by row
    """

    name: str
    shape: tuple[int, ...]
    meaning: str
    prefix_tokens: int | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


@dataclass(frozen=True, slots=True)
class OutputCost:
    """What computing features costs: parameters of the model without what follows them, and MACs for one image."""

    parameters: int
    macs: int


def parse_output(text: str) -> Output:
    """Read what is asked for: 'classes', 'pooled', 'tokens', 'blocks:3,6,9' or 'stages:1,2'. Raises InputError."""
    word, colon, numbers = text.strip().partition(":")
    kind = next((each for each in OUTPUT_KINDS if each == word), None)
    if kind is None:
        raise InputError(
            f"there is no output '{text}': choose {', '.join(OUTPUT_FORMS[:-1])} or {OUTPUT_FORMS[-1]}."
            f"{did_you_mean(word, OUTPUT_KINDS)}",
            field=FIELD,
            code="unknown-name",
        )
    if kind not in _NUMBERED:
        if colon:
            raise InputError(f"'{kind}' takes no numbers, as '{text}' has; leave them out", field=FIELD, code="conflict")
        return Output(kind)
    parts = [part.strip() for part in numbers.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= _MOST_DIGITS and int(part) for part in parts):
        raise InputError(
            f"'{text}' does not say which {kind}: name them by number, from 1, as in {_EXAMPLES[kind]}",
            field=FIELD,
            code="malformed",
        )
    places = sorted(map(int, parts))
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise InputError(f"'{text}' names {kind.removesuffix('s')} {twice} twice", field=FIELD, code="conflict")
    return Output(kind, tuple(places))


def output_of(asked: Output | None, num_classes: int) -> Output:
    """Return what a model of so many classes gives: what is asked for; else its classes, or the pooled vector without any.

    Raises InputError when it is asked for classes and has none.
    """
    if num_classes:
        return asked or Output()
    if asked is not None and asked.of_classes:
        raise InputError(
            "the model has no classes: leave --output-of out for its pooled features, or train a head on it first",
            field=FIELD,
            code="unsupported",
        )
    return asked or Output("pooled")
