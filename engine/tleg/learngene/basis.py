"""Bases: how a layer's weights follow from its position.

Layer l of an L-layer descendant is theta_l = sum_k phi_k(t) Theta_k with t = l / L and l = 0..L-1 (TLEG, arXiv 2312.05614,
equation 1, is phi = (1, t)). A basis is the functions phi_k, and the parts of a block that they expand; the other parts are
shared by all layers. The kinds of functions are `tleg.learngene.basis_functions`. Nothing here needs numpy or torch, so a
preview can ask for coefficients without them.
"""

import operator
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, SupportsIndex, TypeVar, cast

from tleg.errors import BasisError, DepthError, InputError
from tleg.learngene.basis_functions import (
    FLOATS,
    MAX_TERMS,
    Arithmetic,
    Functions,
    Varying,
    functions_called,
    known_names,
)

MAX_DEPTH: Final = 1024

Part = Literal["attention", "mlp", "norm"]
PARTS: Final[tuple[Part, ...]] = ("attention", "mlp", "norm")
BASIS_NAMES: Final = known_names()
Number = TypeVar("Number")


def check_depth(depth: object) -> int:
    """Return the depth, or raise DepthError when it is not a whole number from 1 to MAX_DEPTH."""
    if isinstance(depth, bool) or not isinstance(depth, SupportsIndex):
        raise DepthError(f"depth must be a whole number, not {depth!r}", code="malformed")
    depth = operator.index(depth)
    if not 1 <= depth <= MAX_DEPTH:
        raise DepthError(f"depth {depth} is out of range: choose 1 to {MAX_DEPTH}")
    return depth


@dataclass(frozen=True, slots=True)
class Basis:
    """The functions phi_k and the parts of a block that they expand.

    name        of the kind of functions: 'linear' (the paper), 'polynomial', 'cosine', 'chebyshev' or 'piecewise'
    degree      of those that have one: the highest k, so there are degree + 1 terms; None becomes the kind's own (2), which
                is also that of a name alone on the command line. 1 where there is no degree
    boundaries  piecewise: rising positions in (0, 1) at which the next stage begins; n boundaries make n + 1 stages
    expanded    the parts that follow the basis; the others have one value for all layers

    Raises BasisError when the name is not known, or the parameters do not fit it.
    """

    name: str = "linear"
    degree: int | None = None
    boundaries: tuple[float, ...] = ()
    expanded: tuple[Part, ...] = field(default=PARTS)

    def __post_init__(self) -> None:
        functions = self.kind
        if self.degree is None:
            object.__setattr__(self, "degree", functions.default_degree)
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or not 1 <= self.degree < MAX_TERMS:
            raise BasisError(f"a basis has a degree from 1 to {MAX_TERMS - 1}, not {self.degree!r}", code="out-of-range")
        functions.check(self.degree, self.boundaries)
        if not self.expanded or len(set(self.expanded)) != len(self.expanded) or not set(self.expanded) <= set(PARTS):
            raise BasisError(
                f"expanded parts are some of {', '.join(PARTS)}, each once, not {list(self.expanded)}", field="expand"
            )

    @property
    def kind(self) -> Functions:
        """The kind of functions. Raises BasisError for a name that is not known."""
        return functions_called(self.name)

    @property
    def terms(self) -> int:
        """The number K of terms of an expanded parameter."""
        return self.kind.count(self._degree, self.boundaries)

    def terms_of(self, part: Part) -> int:
        """The number of terms of a parameter that belongs to a part of a block: K when the part is expanded, else 1."""
        return self.terms if part in self.expanded else 1

    def functions(self, position: Number, arithmetic: "Arithmetic[Number]") -> tuple[Number | float, ...]:
        """Return phi_0 to phi_(K-1) at a position t, as whatever t is: a float, a tensor, a value of a graph.

        What does not depend on t is a float.
        """
        given: Any = arithmetic
        return tuple(self.kind.phi(position, given, self._degree, self.boundaries))

    @property
    def starts_with_one(self) -> bool:
        """Whether phi_0 is 1 at every position, so that nothing need be multiplied by it."""
        first = self._symbols[0]
        return isinstance(first, float) and first == 1

    @property
    def is_line(self) -> bool:
        """Whether it is the paper's: phi = (1, t), so that the layers lie on the line from theta_B to theta_B + theta_A."""
        return self.starts_with_one and len(self._symbols) == 2 and getattr(self._symbols[1], "is_position", False)

    def selected(self, depth: int) -> tuple[int, ...] | None:
        """The term that each layer of a depth is, where every layer is one of the terms; None of other bases.

        Raises DepthError.
        """
        return tuple(row.index(1.0) for row in self.coefficients(depth)) if self.kind.selects else None

    @property
    def one(self) -> tuple[float, ...]:
        """The coordinates of the function 1: weights of the terms with which every layer is the same."""
        return self.kind.one(self._degree, self.boundaries)

    @property
    def title(self) -> str:
        """What it is called, for people: 'piecewise, 3 terms'."""
        return f"{self.name}, {self.terms} terms"

    @property
    def formula(self) -> str:
        """The rule in one line, for people: 'theta_l = Theta_0 + t Theta_1, t = l / L, l = 0..L-1'."""
        return f"theta_l = {self.kind.formula(self._degree, self.boundaries)}t = l / L, l = 0..L-1"

    def coefficients(self, depth: int) -> tuple[tuple[float, ...], ...]:
        """Return the coefficient matrix of a depth, shape (depth, K), row l holding phi_k(l / depth).

        Raises DepthError for a depth outside 1 to MAX_DEPTH.
        """
        check_depth(depth)
        return tuple(self.functions(layer / depth, FLOATS) for layer in range(depth))

    @property
    def _degree(self) -> int:
        assert self.degree is not None, "it is set when the basis is made"
        return self.degree

    @property
    def _symbols(self) -> tuple[Any, ...]:
        return self.functions(Varying(is_position=True), Varying())


def parse_basis(text: str, expanded: tuple[Part, ...] = PARTS) -> Basis:
    """Read a basis as people write it: 'linear', 'polynomial:2', 'chebyshev:3', 'piecewise:0.25,0.5,0.75' or 'piecewise:4'.

    'piecewise:4' makes four stages of equal length. Raises BasisError.
    """
    name, _, parameter = text.partition(":")
    functions = functions_called(name)
    try:
        degree, boundaries = functions.parse(parameter)
    except ValueError as error:
        examples = [functions_called(each).example for each in known_names()]
        raise BasisError(f"cannot read the basis '{text}': write {', '.join(examples[:-1])} or {examples[-1]}") from error
    return Basis(name, degree, boundaries, expanded)


def parse_parts(text: str) -> tuple[Part, ...]:
    """Read parts of a block as people write them: 'attention,mlp'. Raises InputError."""
    parts = tuple(part.strip() for part in text.split(","))
    if unknown := [part for part in parts if part not in PARTS]:
        raise InputError(
            f"expanded parts are some of {', '.join(PARTS)}, not '{unknown[0]}'", field="expand", code="unknown-name"
        )
    return cast(tuple[Part, ...], parts)


def parse_depths(text: str) -> tuple[int, ...]:
    """Return the depths that a list names, rising, each once. Raises InputError or DepthError."""
    depths: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", item, re.ASCII)
        if match is None:
            raise InputError(f"cannot read '{item.strip()}' as depths: write 8, 4,6,8 or 1-24", code="malformed")
        first, last = int(match[1]), int(match[2] or match[1])
        check_depth(first)
        check_depth(last)
        if last < first:
            raise InputError(f"the range {first}-{last} runs backwards", code="malformed")
        depths.update(range(first, last + 1))
    return tuple(sorted(depths))
