"""The kinds of functions that a basis is made of: a registry, one class each.

A kind writes its functions once, in `phi`, for whatever can be added and multiplied: Python floats (coefficients), tensors,
values of an ONNX graph. All else that is made of a basis follows from that, from the kind's formula and from its grammar on
the command line; `register` refuses one that does not hold together. A new kind is a class here and a word in the docs.

Standard library only.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Final, Protocol, TypeVar

from tleg.errors import BasisError, did_you_mean

MAX_TERMS: Final = 64
_TOLERANCE: Final = 1e-9

Number = TypeVar("Number")


class Arithmetic(Protocol[Number]):
    """What functions need besides + - * and ** of numbers."""

    def cos(self, value: Number, /) -> Number:
        """The cosine."""
        ...

    def step(self, value: Number, edge: float, /) -> Number:
        """1 where a value is at least `edge`, else 0."""
        ...


class _Floats:
    def cos(self, value: float, /) -> float:
        return math.cos(value)

    def step(self, value: float, edge: float, /) -> float:
        return float(value >= edge)


FLOATS: Final[Arithmetic[float]] = _Floats()


@dataclass(frozen=True, slots=True)
class Varying:
    """Something that depends on the position, and arithmetic with it: shows which functions do not."""

    is_position: bool = False

    def _with(self, _other: Any = None, _edge: float = 0.0) -> "Varying":
        return Varying()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __pow__ = __neg__ = cos = step = _with


class Functions(ABC):
    """A kind of functions.

    name            as it is typed and stored
    takes           what may follow it on the command line, '' for nothing
    example         a basis of this kind, as it is typed
    default_degree  where none is given
    selects         whether one function is 1 at every position and the others 0, so that each layer is one of the terms
    """

    name: ClassVar[str]
    takes: ClassVar[str] = ""
    example: ClassVar[str]
    default_degree: ClassVar[int] = 1
    selects: ClassVar[bool] = False

    @abstractmethod
    def phi(
        self, t: Number, arithmetic: Arithmetic[Number], degree: int, boundaries: Sequence[float]
    ) -> Sequence[Number | float]:
        """Return phi_0 to phi_(K-1) at t, with 0 <= t < 1. What does not depend on t is a float."""

    @abstractmethod
    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        """Return the functions as people write them, '' for 1: ('', 't', 't^2')."""

    def check(self, degree: int, boundaries: Sequence[float]) -> None:
        """Refuse parameters that do not fit. Raises BasisError."""
        if boundaries:
            raise BasisError("a piecewise basis, and no other, needs boundaries between its stages")

    def count(self, degree: int, boundaries: Sequence[float]) -> int:
        """The number K of functions."""
        return degree + 1

    def one(self, degree: int, boundaries: Sequence[float]) -> tuple[float, ...]:
        """Return c with sum_k c_k phi_k(t) = 1 for every t: an auxiliary model starts from it, so there must be one."""
        return (1.0, *[0.0] * (self.count(degree, boundaries) - 1))

    def formula(self, degree: int, boundaries: Sequence[float]) -> str:
        """What theta_l is, for people, up to the position: 'Theta_0 + t Theta_1, '."""
        terms = (f"{factor} Theta_{k}".strip() for k, factor in enumerate(self.factors(degree, boundaries)))
        return f"{' + '.join(terms)}, "

    def parse(self, parameter: str) -> tuple[int | None, tuple[float, ...]]:
        """Read what follows the name: degree, or None for the kind's own, and boundaries. Raises BasisError, ValueError."""
        return int(parameter) if parameter else None, ()


_KINDS: Final[dict[str, Functions]] = {}


def functions_called(name: str) -> Functions:
    """Return a kind by name. Raises BasisError, with the nearest known name."""
    if name not in _KINDS:
        raise BasisError(
            f"unknown basis '{name}': it must be one of {', '.join(_KINDS)}.{did_you_mean(str(name), _KINDS)}",
            code="unknown-name",
        )
    return _KINDS[name]


def known_names() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(_KINDS)


def grammar() -> str:
    """What can be typed for a basis: 'linear, polynomial:N, …'."""
    return ", ".join(f"{kind.name}:{kind.takes}" if kind.takes else kind.name for kind in _KINDS.values())


def register(kind: Functions) -> None:
    """Make a kind known. Raises BasisError when its name is taken, or what it says of itself does not hold together."""
    if kind.name in _KINDS:
        raise BasisError(f"there is a basis '{kind.name}' already")
    name, _, parameter = kind.example.partition(":")
    degree, boundaries = kind.parse(parameter)
    given = kind.default_degree if degree is None else degree, boundaries
    kind.check(*given)
    count = kind.count(*given)
    problems = [
        (name != kind.name, f"its example is '{kind.example}'"),
        (len(kind.factors(*given)) != count, f"{count} functions have {len(kind.factors(*given))} names"),
        (len(kind.one(*given)) != count, f"{count} functions have {len(kind.one(*given))} coordinates of the function 1"),
    ]
    for t in (layer / 97 for layer in range(97)):
        values = kind.phi(t, FLOATS, *given)
        problems.append((len(values) != count, f"there are {len(values)} functions where it counts {count}"))
        total = sum(weight * value for weight, value in zip(kind.one(*given), values, strict=False))
        problems.append((not abs(total - 1) < _TOLERANCE, f"its function 1 is {total:g} at {t:g}"))
        if kind.selects:
            chosen = sorted(values) == [0.0] * (len(values) - 1) + [1.0]
            problems.append((not chosen, f"a layer is more than one of its terms at {t:g}"))
    for wrong, text in problems:
        if wrong:
            raise BasisError(f"the basis '{kind.name}' does not hold together: {text}")
    _KINDS[kind.name] = kind


def unregister(name: str) -> None:
    """Forget a kind. Raises BasisError when it is not known."""
    functions_called(name)
    del _KINDS[name]


class _Polynomial(Functions):
    """1, t, t^2, …"""

    name, takes, example, default_degree = "polynomial", "N", "polynomial:2", 2

    def phi(
        self, t: Number, arithmetic: Arithmetic[Number], degree: int, boundaries: Sequence[float]
    ) -> Sequence[Number | float]:
        power: Any = t
        return [1.0, t, *(power**k for k in range(2, degree + 1))]

    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        return ["", "t", *(f"t^{k}" for k in range(2, degree + 1))]


class _Linear(_Polynomial):
    """The paper's: 1, t."""

    name, takes, example, default_degree = "linear", "", "linear", 1

    def check(self, degree: int, boundaries: Sequence[float]) -> None:
        super().check(degree, boundaries)
        if degree != 1:
            raise BasisError("a linear basis has no degree; use 'polynomial', 'cosine' or 'chebyshev' for one")

    def parse(self, parameter: str) -> tuple[int | None, tuple[float, ...]]:
        if parameter:
            raise BasisError("a linear basis takes no parameter; use 'polynomial:N' for a degree")
        return None, ()


class _Cosine(Functions):
    """1, cos(pi t), cos(2 pi t), …"""

    name, takes, example, default_degree = "cosine", "N", "cosine:3", 2

    def phi(
        self, t: Number, arithmetic: Arithmetic[Number], degree: int, boundaries: Sequence[float]
    ) -> Sequence[Number | float]:
        position: Any = t
        return [1.0, *(arithmetic.cos(math.pi * k * position) for k in range(1, degree + 1))]

    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        return ["", "cos(pi t)", *(f"cos({k} pi t)" for k in range(2, degree + 1))]


class _Chebyshev(Functions):
    """T_k(2t - 1): the span of the polynomials, by functions that are about as large everywhere and unlike each other.

    The powers of t are nearly 0 in the first layers and nearly equal in the last ones. By the recurrence, so that a graph
    computes what Python computes, to the bit.
    """

    name, takes, example, default_degree = "chebyshev", "N", "chebyshev:3", 2

    def phi(
        self, t: Number, arithmetic: Arithmetic[Number], degree: int, boundaries: Sequence[float]
    ) -> Sequence[Number | float]:
        position: Any = t
        x = 2.0 * position - 1.0
        values: list[Any] = [1.0, x]
        for _ in range(2, degree + 1):
            values.append(2.0 * (x * values[-1]) - values[-2])
        return values

    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        return ["", "(2t - 1)", *(f"T_{k}(2t - 1)" for k in range(2, degree + 1))]


class _Piecewise(Functions):
    """1 in a stage and 0 elsewhere: stage-wise sharing."""

    name, takes, example, selects = "piecewise", "N", "piecewise:4", True

    def check(self, degree: int, boundaries: Sequence[float]) -> None:
        if degree != 1:
            raise BasisError("a piecewise basis has no degree; use 'polynomial', 'cosine' or 'chebyshev' for one")
        if not boundaries:
            raise BasisError("a piecewise basis, and no other, needs boundaries between its stages")
        if len(boundaries) >= MAX_TERMS:
            raise BasisError(f"a piecewise basis has at most {MAX_TERMS} stages")
        edges = (0.0, *boundaries, 1.0)
        if not all(math.isfinite(edge) for edge in edges) or any(a >= b for a, b in pairwise(edges)):
            raise BasisError(f"boundaries must rise within 0 and 1, not {list(boundaries)}")

    def count(self, degree: int, boundaries: Sequence[float]) -> int:
        return len(boundaries) + 1

    def phi(
        self, t: Number, arithmetic: Arithmetic[Number], degree: int, boundaries: Sequence[float]
    ) -> Sequence[Number | float]:
        begun: list[Any] = [1.0, *(arithmetic.step(t, edge) for edge in boundaries), 0.0]
        return [begun[k] - begun[k + 1] for k in range(len(boundaries) + 1)]

    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        edges = [f"{edge:g}" for edge in (0.0, *boundaries, 1.0)]
        return [f"[{first} <= t < {last}]" for first, last in pairwise(edges)]

    def one(self, degree: int, boundaries: Sequence[float]) -> tuple[float, ...]:
        return (1.0,) * self.count(degree, boundaries)

    def formula(self, degree: int, boundaries: Sequence[float]) -> str:
        edges = ", ".join(f"{edge:g}" for edge in boundaries)
        return f"Theta_k in stage k; a new stage begins at t = {edges}; "

    def parse(self, parameter: str) -> tuple[int | None, tuple[float, ...]]:
        if "," in parameter or "." in parameter:
            return None, tuple(float(edge) for edge in parameter.split(","))
        stages = int(parameter)
        if not 2 <= stages <= MAX_TERMS:
            raise BasisError(f"a piecewise basis has 2 to {MAX_TERMS} stages, not {stages}")
        return None, tuple(k / stages for k in range(1, stages))


for _kind in (_Linear(), _Polynomial(), _Cosine(), _Chebyshev(), _Piecewise()):
    register(_kind)
