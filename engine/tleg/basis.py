"""Bases: how a layer's weights follow from its position.

Layer l of an L-layer descendant is theta_l = sum_k phi_k(t) Theta_k with t = l / L and l = 0..L-1 (TLEG, arXiv 2312.05614,
equation 1, is phi = (1, t)). A basis is the functions phi_k, and the parts of a block that they expand; the other parts are
shared by all layers. Nothing here needs numpy or torch, so a preview can ask for coefficients without them.
"""

import math
import operator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, SupportsIndex

from tleg.errors import BasisError, DepthError, did_you_mean

MAX_DEPTH: Final = 1024

Part = Literal["attention", "mlp", "norm"]
PARTS: Final[tuple[Part, ...]] = ("attention", "mlp", "norm")

BasisName = Literal["linear", "polynomial", "cosine", "piecewise"]
BASIS_NAMES: Final[tuple[BasisName, ...]] = ("linear", "polynomial", "cosine", "piecewise")
MAX_TERMS: Final = 64


def check_depth(depth: object) -> int:
    """Return the depth, or raise DepthError when it is not a whole number from 1 to MAX_DEPTH."""
    if isinstance(depth, bool) or not isinstance(depth, SupportsIndex):
        raise DepthError(f"depth must be a whole number, not {depth!r}")
    depth = operator.index(depth)
    if not 1 <= depth <= MAX_DEPTH:
        raise DepthError(f"depth {depth} is out of range: choose 1 to {MAX_DEPTH}")
    return depth


def part_of(parameter: str) -> Part:
    """Name the part of a block that a parameter belongs to.

    `parameter` is its name inside the block, as timm gives it: 'attn.qkv.weight', 'ls2.gamma', 'norm1.bias'. Layer scale
    goes with what it scales, the norms inside attention with attention.
    """
    if parameter.startswith(("attn.", "ls1.")):
        return "attention"
    if parameter.startswith(("mlp.", "ls2.")):
        return "mlp"
    return "norm"


@dataclass(frozen=True, slots=True)
class Basis:
    """The functions phi_k and the parts of a block that they expand.

    name        'linear' (the paper), 'polynomial', 'cosine' or 'piecewise'
    degree      polynomial and cosine: the highest k, so there are degree + 1 terms
    boundaries  piecewise: rising positions in (0, 1) at which the next stage begins; n boundaries make n + 1 stages
    expanded    the parts that follow the basis; the others have one value for all layers

    Raises BasisError when the parameters do not fit the name.
    """

    name: BasisName = "linear"
    degree: int = 1
    boundaries: tuple[float, ...] = ()
    expanded: tuple[Part, ...] = field(default=PARTS)

    def __post_init__(self) -> None:
        if self.name not in BASIS_NAMES:
            hint = did_you_mean(str(self.name), BASIS_NAMES)
            raise BasisError(f"unknown basis '{self.name}': choose one of {', '.join(BASIS_NAMES)}.{hint}")
        if isinstance(self.degree, bool) or not isinstance(self.degree, int) or not 1 <= self.degree < MAX_TERMS:
            raise BasisError(f"a basis has a degree from 1 to {MAX_TERMS - 1}, not {self.degree!r}")
        if self.degree != 1 and self.name in ("linear", "piecewise"):
            raise BasisError(f"a {self.name} basis has no degree; use 'polynomial' or 'cosine' for one")
        if (self.name == "piecewise") != bool(self.boundaries):
            raise BasisError("a piecewise basis, and no other, needs boundaries between its stages")
        if len(self.boundaries) >= MAX_TERMS:
            raise BasisError(f"a piecewise basis has at most {MAX_TERMS} stages")
        edges = (0.0, *self.boundaries, 1.0)
        if not all(math.isfinite(edge) for edge in edges) or any(a >= b for a, b in pairwise(edges)):
            raise BasisError(f"boundaries must rise within 0 and 1, not {list(self.boundaries)}")
        if not self.expanded or len(set(self.expanded)) != len(self.expanded) or not set(self.expanded) <= set(PARTS):
            raise BasisError(f"expanded parts are some of {', '.join(PARTS)}, each once, not {list(self.expanded)}")

    @property
    def terms(self) -> int:
        """The number K of terms of an expanded parameter."""
        if self.name == "piecewise":
            return len(self.boundaries) + 1
        return self.degree + 1

    def terms_of(self, parameter: str) -> int:
        """The number of terms of a block's parameter: K when its part is expanded, else 1."""
        return self.terms if part_of(parameter) in self.expanded else 1

    @property
    def formula(self) -> str:
        """The rule in one line, for people: 'theta_l = Theta_0 + t Theta_1, t = l / L, l = 0..L-1'."""
        position = "t = l / L, l = 0..L-1"
        if self.name == "piecewise":
            edges = ", ".join(f"{edge:g}" for edge in self.boundaries)
            return f"theta_l = Theta_k in stage k; a new stage begins at t = {edges}; {position}"
        if self.name == "cosine":
            waves = ["Theta_0", "cos(pi t) Theta_1", *(f"cos({k} pi t) Theta_{k}" for k in range(2, self.terms))]
            return f"theta_l = {' + '.join(waves)}, {position}"
        powers = ["Theta_0", "t Theta_1", *(f"t^{k} Theta_{k}" for k in range(2, self.terms))]
        return f"theta_l = {' + '.join(powers)}, {position}"

    def coefficients(self, depth: int) -> tuple[tuple[float, ...], ...]:
        """Return the coefficient matrix of a depth, shape (depth, K), row l holding phi_k(l / depth).

        Raises DepthError for a depth outside 1 to MAX_DEPTH.
        """
        check_depth(depth)
        return tuple(self._row(layer / depth) for layer in range(depth))

    def _row(self, position: float) -> tuple[float, ...]:
        if self.name == "cosine":
            return tuple(math.cos(math.pi * k * position) for k in range(self.terms))
        if self.name == "piecewise":
            stage = sum(position >= boundary for boundary in self.boundaries)
            return tuple(float(k == stage) for k in range(self.terms))
        return tuple(position**k for k in range(self.terms))


def parse_basis(text: str, expanded: tuple[Part, ...] = PARTS) -> Basis:
    """Read a basis as people write it: 'linear', 'polynomial:2', 'cosine:3', 'piecewise:0.25,0.5,0.75' or 'piecewise:4'.

    'piecewise:4' makes four stages of equal length. Raises BasisError.
    """
    name, _, parameter = text.partition(":")
    if name not in BASIS_NAMES:
        raise BasisError(f"unknown basis '{name}': choose one of {', '.join(BASIS_NAMES)}.{did_you_mean(name, BASIS_NAMES)}")
    try:
        if name == "linear":
            if parameter:
                raise BasisError("a linear basis takes no parameter; use 'polynomial:N' for a degree")
            return Basis(expanded=expanded)
        if name == "piecewise":
            if "," not in parameter and "." not in parameter:
                stages = int(parameter)
                if not 2 <= stages <= MAX_TERMS:
                    raise BasisError(f"a piecewise basis has 2 to {MAX_TERMS} stages, not {stages}")
                return Basis("piecewise", boundaries=tuple(k / stages for k in range(1, stages)), expanded=expanded)
            return Basis("piecewise", boundaries=tuple(float(edge) for edge in parameter.split(",")), expanded=expanded)
        return Basis("cosine" if name == "cosine" else "polynomial", degree=int(parameter or 2), expanded=expanded)
    except ValueError as error:
        raise BasisError(f"cannot read the basis '{text}': write linear, polynomial:2, cosine:3 or piecewise:4") from error
