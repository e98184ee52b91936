"""Expansion: from terms to the weights of every layer.

theta_l = sum_k phi_k(l / L) Theta_k, in float32, terms added in order. For the paper's basis that is B + (l / L) * A with
the rounding of the official code, so descendants equal it bit for bit. All writers (PyTorch modules, ONNX graphs) take their
weights from here. numpy only: building a graph needs no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tleg.errors import InputError
from tleg.learngene.families import family_of
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth, checked
from tleg.learngene.running_statistics import is_logarithm
from tleg.learngene.structure import PLAIN_VIT

Array = NDArray[np.float32]


class Expandable(Protocol):
    """What is expanded: the tensors of a learngene under the header that describes them (`tleg.Learngene`)."""

    @property
    def header(self) -> LearngeneHeader:
        """What the tensors are."""
        ...

    @property
    def tensors(self) -> Mapping[str, Array]:
        """float32 arrays: stacks of terms, stem and head."""
        ...


# Values of one term handled at a time, so that terms and result stay in the processor's cache over all layers.
_CHUNK = 131_072
# Values of a parameter up to which what a call costs is more than what it computes: all layers are made at once.
_SMALL = 4_096


def expand_parameter(terms: Array, coefficients: Sequence[Sequence[float]], out: Array | None = None) -> Array:
    """Return the values of one parameter in every layer.

    terms         shape (K, *parameter), or (1, *parameter) when all layers share one value
    coefficients  shape (L, K)
    out           where to write them: as many contiguous values as the result has; None makes a new array
    returns       shape (L, *parameter)
    """
    depth = len(coefficients)
    flat = np.ascontiguousarray(terms).reshape(terms.shape[0], -1)
    result = np.empty((depth, flat.shape[1]), np.float32) if out is None else out.reshape(depth, flat.shape[1])
    shared = terms.shape[0] == 1
    if shared and flat.shape[1] <= _SMALL:
        result[...] = flat
        return result.reshape(depth, *terms.shape[1:])
    if terms.shape[0] == 2 and flat.shape[1] <= _SMALL and all(row[0] == 1 for row in coefficients):
        _combine_all(flat, [row[1] for row in coefficients], result)
        return result.reshape(depth, *terms.shape[1:])
    for start in range(0, flat.shape[1], _CHUNK):
        chunk = slice(start, start + _CHUNK)
        scratch = np.empty_like(flat[0, chunk])
        for layer, row in enumerate(coefficients):
            _combine(flat[:, chunk], (1.0,) if shared else row, result[layer, chunk], scratch)
    return result.reshape(depth, *terms.shape[1:])


def _combine_all(terms: Array, factors: Sequence[float], target: Array) -> None:
    """Write terms[0] + factor * terms[1] to target for each factor, with the rounding of `_combine`."""
    np.multiply.outer(np.array(factors, np.float32), terms[1], out=target)
    np.add(target, terms[0], out=target)
    for layer, factor in enumerate(factors):
        if factor == 0:
            target[layer] = terms[0]  # Zeros keep their sign, as where the term is left out.


def _combine(terms: Array, row: Sequence[float], target: Array, scratch: Array) -> None:
    """Write sum_k row[k] * terms[k] to target, added in order. Zero terms are left out: their sum would only cost time."""
    used = [(np.float32(factor), term) for factor, term in zip(row, terms, strict=True) if factor != 0]
    if not used:
        target.fill(0)
        return
    first, *others = used
    if first[0] == 1 and others:
        # The paper's case, B + c * A, as c * A + B: the same value, and one pass over memory less.
        _scale(others[0][1], others[0][0], target)
        np.add(target, first[1], out=target)
        del others[0]
    else:
        _scale(first[1], first[0], target)
    for factor, term in others:
        if factor == 1:
            np.add(target, term, out=target)
        else:
            np.multiply(term, factor, out=scratch)
            np.add(target, scratch, out=target)


def _scale(term: Array, factor: np.float32, target: Array) -> None:
    if factor == 1:
        np.copyto(target, term)
    else:
        np.multiply(term, factor, out=target)


def expand_tensors(tensors: Mapping[str, Array], header: LearngeneHeader, depth: Depth) -> dict[str, Array]:
    """Return a descendant's parameters under timm's names: 'blocks.0.attn.qkv.weight', 'patch_embed.proj.weight', ….

    `tensors` are a learngene's: 'blocks.attn.qkv.weight' of shape (K, …) and stem and head under their own names. Those of
    the stem and head are the learngene's own arrays, not copies. Raises DepthError.
    """
    family, profile = family_of(header.architecture), header.architecture.profile(checked(depth))
    coefficients = [header.basis.coefficients(layers) for layers in profile]
    places = {name: place for name in tensors if (place := family.place(name)) is not None}
    # One block of memory for all layers: the system hands out a large one many times faster than many small ones.
    sizes = {name: len(coefficients[place.stage]) * tensors[name][0].size for name, place in places.items()}
    memory = np.empty(sum(sizes.values()), np.float32)
    result: dict[str, Array] = {}
    start = 0
    for name, values in tensors.items():
        place = places.get(name)
        if place is None:
            result[family.timm_name(name, profile)] = values
            continue
        layers = expand_parameter(values, coefficients[place.stage], memory[start : start + sizes[name]])
        start += sizes[name]
        if is_logarithm(name):
            layers[...] = np.exp(layers, dtype=np.float64)
        result.update(
            (family.timm_name(family.layer_name(place.stage, index, place.inner), profile), layer)
            for index, layer in enumerate(layers)
        )
    return result


HeadPolicy = Literal["kept", "new", "none"]
MAX_CLASSES: Final = 10_000_000
NEW_HEAD_STD: Final = 0.01


@dataclass(frozen=True, slots=True)
class Head:
    """What became of the learngene's head: how many classes the descendant has, and whether it kept the head."""

    num_classes: int
    policy: HeadPolicy


def choose_head(known: int, num_classes: int | None) -> Head:
    """Keep a head of `known` classes when that number, or none, is asked for; otherwise a new one. Raises InputError."""
    if num_classes is None or num_classes == known:
        return Head(known, "kept")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or not 1 <= num_classes <= MAX_CLASSES:
        raise InputError(
            f"a head has 1 to {MAX_CLASSES:,} classes, not {num_classes}", field="num-classes", code="out-of-range"
        )
    return Head(num_classes, "new")


def new_head(
    inputs: tuple[int, ...], num_classes: int, seed: int = 0, classifier: str = PLAIN_VIT.classifier
) -> dict[str, NDArray[np.float32]]:
    """Return a head's initial values by timm's names: weight (classes, *inputs) normal with std 0.01, bias (classes,) zero.

    inputs      (width,), or (width, 1, 1) where the head is a convolution
    classifier  the family's

    The same seed gives the same head, whatever the format that it is written to.
    """
    weight = np.random.default_rng(seed).standard_normal((num_classes, *inputs), dtype=np.float32)
    weight *= np.float32(NEW_HEAD_STD)
    return {f"{classifier}.weight": weight, f"{classifier}.bias": np.zeros(num_classes, np.float32)}
