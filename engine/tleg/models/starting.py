"""The tensors that an auxiliary model begins with where it begins from a learngene: another basis, size of images or head.

A learngene goes over to another basis where that is exact: where every function of its basis is a sum of the new one's, the
terms are the same sums of its terms, and every layer at every depth stays what it was.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tleg.errors import InputError, concerning
from tleg.learngene.architecture import Architecture, Structure
from tleg.learngene.basis import Basis
from tleg.learngene.basis_functions import FLOATS
from tleg.learngene.expansion import Array
from tleg.models.architecture import build, timm_family_of
from tleg.models.classes import class_order, same_classes
from tleg.models.learngene import Learngene
from tleg.models.timm_family import TimmFamily
from tleg.text import join_words

_POSITIONS: Final = 256
_TOLERANCE: Final = 1e-9
_DIGITS: Final = 12
_PREFIX: Final = ("cls_token", "reg_token")


@dataclass(frozen=True, slots=True, eq=False)
class StartTensors:
    """What an auxiliary model begins with.

    tensors  as a learngene's, without those that the model draws itself
    head     'kept', in the order of the data's classes, or 'new'
    notes    what was left out
    """

    tensors: Mapping[str, Array]
    head: str
    notes: tuple[str, ...] = ()


def conversion(source: Basis, target: Basis) -> NDArray[np.float64] | None:
    """Return M (terms of target, terms of source) with which M Theta are the terms of the same layers in another basis.

    None where the target cannot express some function of the source. Which parts are expanded is no matter here.
    """
    edges = {*source.boundaries, *target.boundaries}
    before = (math.nextafter(edge, 0.0) for edge in edges)
    positions = sorted({*(step / _POSITIONS for step in range(_POSITIONS)), *edges, *before})
    old, new = (np.array([basis.functions(t, FLOATS) for t in positions], np.float64) for basis in (source, target))
    found: NDArray[np.float64] = np.linalg.lstsq(new, old, rcond=None)[0].astype(np.float64).round(_DIGITS)
    return found if np.abs(new @ found - old).max() < _TOLERANCE else None


@concerning("start")
def convert(learngene: Learngene, basis: Basis) -> dict[str, Array]:
    """Return a learngene's tensors in another basis. Raises InputError where they would make other layers."""
    own = learngene.header.basis
    if basis == own:
        return dict(learngene.tensors)
    family = timm_family_of(learngene.header.architecture)
    by_term, result = conversion(own, basis), {}
    for name, values in learngene.tensors.items():
        part = family.part(name)
        if part is None or (part not in own.expanded and part not in basis.expanded):
            result[name] = values
        elif part not in basis.expanded:
            raise InputError(
                f"the start expands {', '.join(own.expanded)}, and --expand {','.join(basis.expanded)} shares its {part} "
                "among all layers; expand what the start expands, or fit one anew with `tleg fit`",
                field=("start", "expand"),
                code="mismatch",
            )
        elif part not in own.expanded:
            result[name] = np.multiply.outer(np.array(basis.one, np.float32), values[0])
        elif by_term is None:
            raise InputError(
                f"the start's {_called(own)} basis cannot be written exactly in the {_called(basis)} basis; give --basis as "
                "the start has it, or one that contains it",
                field=("start", "basis"),
                code="mismatch",
            )
        else:
            result[name] = np.tensordot(by_term, values.astype(np.float64), axes=1).astype(np.float32)
    return result


def start_tensors(
    learngene: Learngene, architecture: Architecture, basis: Basis, classes: tuple[str, ...], *, layers: bool = True
) -> StartTensors:
    """Return what an auxiliary model of an architecture begins with, from a learngene of the same widths and heads.

    classes  of the data: a head of the same classes is kept, in their order
    layers   whether the layers are the learngene's as well; else its stem, norms and head alone

    Raises InputError for a learngene that does not fit, naming what differs, and ArchitectureError for a size of images
    that timm cannot resample to.
    """
    header = learngene.header
    family = timm_family_of(architecture)
    _check_widths(header.architecture, architecture)
    with concerning("start"):
        sized = learngene.at_image_size(architecture.input_size[1:])
    _check_shapes(sized.header.architecture, architecture)
    if layers:
        tensors = convert(sized, basis)
    else:
        tensors = {name: values for name, values in sized.tensors.items() if not family.is_block(name)}
    tensors, notes = _without_prefix(tensors, sized.header.architecture, architecture)
    keeps = header.architecture.num_classes == len(classes) and same_classes(header.classes, classes)
    outputs = [f"{family.classifier}.{kind}" for kind in ("weight", "bias") if f"{family.classifier}.{kind}" in tensors]
    order = class_order(header.classes, classes) if keeps else None
    for name in outputs:
        if not keeps:
            del tensors[name]
        elif order is not None:
            tensors[name] = tensors[name][list(order)]
    return StartTensors(tensors, "kept" if keeps else "new", notes)


def _called(basis: Basis) -> str:
    """A basis as it is typed, with its degree or boundaries."""
    if basis.boundaries:
        return f"{basis.name}:{','.join(f'{edge:g}' for edge in basis.boundaries)}"
    return f"{basis.name}:{basis.degree}" if basis.kind.takes else basis.name


def _check_widths(start: Architecture, wanted: Architecture) -> None:
    """Refuse an architecture of another family, other widths or heads. Raises InputError that names both sides."""
    families = [timm_family_of(each) for each in (start, wanted)]
    if families[0].name != families[1].name:
        raise _mismatch(f"the start is a '{start.name}', and '{wanted.name}' is of another family")
    models: list[Any] = [build(each, families[0].periods, device="meta") for each in (start, wanted)]
    sizes = [_sizes(model, families[0]) for model in models]
    if sizes[0] != sizes[1]:
        raise _mismatch(f"the start '{start.name}' has {sizes[0]}, and '{wanted.name}' has {sizes[1]}")


def _check_shapes(start: Architecture, wanted: Architecture) -> None:
    """Refuse an architecture for images of the same size whose parameters have other shapes. Raises InputError."""
    family = timm_family_of(start)
    models = [build(each, family.periods, device="meta") for each in (start, wanted)]
    shapes = [{name: tuple(value.shape) for name, value in model.state_dict().items()} for model in models]
    free = {*_PREFIX, "pos_embed", f"{family.classifier}.weight", f"{family.classifier}.bias"}
    for name in sorted((shapes[0].keys() | shapes[1].keys()) - free):
        mine, theirs = (each.get(name) for each in shapes)
        if mine != theirs:
            raise _mismatch(
                f"the start '{start.name}' has {_described(name, mine)}, and '{wanted.name}' has {_described(name, theirs)}"
            )


def _mismatch(text: str) -> InputError:
    advice = "choose an --architecture of its sizes, or another start"
    return InputError(f"{text}; {advice}", field=("start", "architecture"), code="mismatch")


def _described(name: str, shape: tuple[int, ...] | None) -> str:
    return f"no '{name}'" if shape is None else f"'{name}' of shape {list(shape)}"


def _sizes(model: Any, family: TimmFamily) -> str:
    """The widths and attention heads of a model, in words."""
    blocks = [family.blocks(model, stage)[0] for stage in range(len(family.stages))]
    widths = [next((len(value) for value in _vectors(block)), 0) for block in blocks]
    heads = [next((each.num_heads for each in _modules(block) if hasattr(each, "num_heads")), 0) for block in blocks]
    text = f"a width of {join_words([str(width) for width in widths])}"
    return f"{text} and {join_words([str(count) for count in heads])} heads" if any(heads) else text


def _modules(block: nn.Module) -> Iterable[Any]:
    return block.modules()


def _vectors(block: nn.Module) -> Iterable[Any]:
    return (value for name, value in block.named_parameters() if value.ndim == 1 and "norm" in name)


def _without_prefix(
    tensors: dict[str, Array], start: Architecture, wanted: Architecture
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The tensors of a plain ViT without class token and registers where the wanted one has none. Raises InputError."""
    mine, theirs = start.structure, wanted.structure
    if mine is None or theirs is None or _prefix(mine) == _prefix(theirs):
        return tensors, ()
    if theirs.prefix_tokens or theirs.position == "none":
        raise _mismatch(
            f"the start '{start.name}' has {mine.prefix_tokens} tokens before the patches and position embeddings of "
            f"{mine.position}, and '{wanted.name}' {theirs.prefix_tokens} and {theirs.position}"
        )
    kept = {name: values for name, values in tensors.items() if name not in _PREFIX}
    kept["pos_embed"] = kept["pos_embed"][:, -theirs.patches :]
    return kept, ("the start's class token and registers are left out, and the mean over patches is pooled",)


def _prefix(structure: Structure) -> tuple[object, ...]:
    """What of a plain ViT decides its prefix tokens and position embeddings."""
    positions = structure.position if structure.prefix_tokens else structure.position != "none"
    return structure.class_token, structure.registers, positions
