"""The learngene that comes closest to a trained model: the least-squares fit of a basis to the layers of each stage.

Of a stage of L layers W (L, values) and coefficients C (L, K) the terms are pinv(C) W, which minimise ||W - C Theta||; with
fewer layers than terms, the smallest terms that make the layers exactly. Parts that the basis does not expand become the
mean of their layers. Stem, head and what lies between stages are the model's own.

It is no learned learngene. A model that was trained without the basis has matrices that hardly follow their position, so
that the fit is close to their mean (docs/starting.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tleg.errors import ArchitectureError, FileFormatError
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis
from tleg.learngene.expansion import Array, expand_parameter
from tleg.learngene.header import Auxiliary, LearngeneHeader
from tleg.models.architecture import build, describe, timm_family_of
from tleg.models.flops import measure
from tleg.models.learngene import Learngene
from tleg.models.pretrained import PretrainedModel
from tleg.models.running_terms import values_inside
from tleg.models.timm_folder import image_argument, input_size_of

_AT_ONCE: Final = 1 << 16
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class ParameterError:
    """How far the fit is from a parameter: ||W - fit|| / ||W|| over all layers, and the same of each."""

    name: str
    error: float
    by_layer: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FittedStage:
    """The blocks of a stage and what was fitted to them.

    name        of the blocks in timm's model: 'blocks'
    layers      by layer, name inside the block -> values
    errors      of each parameter
    by_layer    ||W - fit|| / ||W|| of each layer, all its values together
    exact       whether there are no more layers than terms, so that the fit says nothing of the basis
    """

    name: str
    layers: tuple[Mapping[str, Tensor], ...]
    errors: tuple[ParameterError, ...]
    by_layer: tuple[float, ...]
    error: float
    exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A learngene that was fitted to a model, and how far it is from that."""

    learngene: Learngene
    stages: tuple[FittedStage, ...]
    notes: tuple[str, ...]


def fit_layers(layers: NDArray[Any], basis: Basis, *, expanded: bool = True) -> Array:
    """Return the terms that come closest to layers (L, *parameter): shape (K, *parameter), or (1, *parameter) of their mean
    where the basis does not expand the parameter. Computed in float64, a piece at a time."""
    coefficients = np.array(basis.coefficients(len(layers))) if expanded else np.ones((len(layers), 1))
    solve = np.linalg.pinv(coefficients)
    flat = layers.reshape(len(layers), -1)
    terms = np.empty((solve.shape[0], flat.shape[1]), np.float32)
    for start in range(0, flat.shape[1], _AT_ONCE):
        piece = slice(start, start + _AT_ONCE)
        terms[:, piece] = solve @ flat[:, piece].astype(np.float64)
    return terms.reshape(-1, *layers.shape[1:])


def architecture_of(opened: PretrainedModel) -> Architecture:
    """Return the architecture of a model as a learngene's. Raises ArchitectureError for one that cannot be expanded."""
    family = timm_family_of(Architecture(opened.architecture, {}, 1, opened.input_size))
    arguments = family.arguments_of(opened.model, opened.arguments)
    known = dict(opened.model.pretrained_cfg)
    if opened.input_size != input_size_of({**known, "fixed_input_size": True}, arguments):
        arguments["img_size"] = image_argument(opened.input_size[1:])
    return describe(opened.architecture, arguments, opened.num_classes)


def fit_model(opened: PretrainedModel, basis: Basis, learned: Mapping[str, Any] | None = None) -> FittedModel:
    """Return the learngene that comes closest to a model, with the model's stem and head.

    learned  what the header says of how it came to be

    Raises ArchitectureError for a model that cannot be expanded, FileFormatError for weights that are not finite.
    """
    architecture = architecture_of(opened)
    family = timm_family_of(architecture)
    profile = family.counted(opened.model)
    state, notes = _state_of(opened, architecture)
    tensors = {name: value for name, value in state.items() if not family.is_block(name)}
    stages = []
    for stage in range(len(family.stages)):
        names = [values_inside(block) for block in family.blocks(opened.model, stage)]
        stages.append(_fit_stage(family.stages[stage].prefix.rstrip("."), names, basis, family.part_of))
        for inner, terms in stages[-1][1].items():
            tensors[family.block_name(stage, inner)] = terms
    header = LearngeneHeader(
        architecture=architecture,
        basis=basis,
        auxiliary=Auxiliary(profile[architecture.elastic]),
        preprocessing=opened.preprocessing,
        cost=measure(architecture),
        classes=opened.classes if opened.num_classes else (),
        learned=dict(learned or {}),
    )
    learngene = Learngene(header, tensors)
    learngene.verify()
    # Its own hash, as of one that was read from a file.
    learngene = Learngene(replace(header, sha256=learngene.hash()), tensors)
    return FittedModel(learngene, tuple(stage for stage, _ in stages), (*opened.notes, *notes))


def _state_of(opened: PretrainedModel, architecture: Architecture) -> tuple[dict[str, Array], tuple[str, ...]]:
    """All of a model by names by stages in the auxiliary layout, and notes. Raises ArchitectureError."""
    family, model = timm_family_of(architecture), opened.model
    notes = []
    own = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    state = {family.auxiliary_name(name): value.detach().float().numpy().copy() for name, value in own.items()}
    if state.keys() != own.keys():
        notes.append("the model's norm follows the pooling: --layout official makes such descendants, others norm before it")
    expected = build(architecture, family.counted(model), device="meta").state_dict()
    wanted = {name: tuple(value.shape) for name, value in expected.items() if value.is_floating_point()}
    wrong = [name for name, shape in wanted.items() if name not in state or state[name].shape != shape]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ArchitectureError(
            f"{opened.name} is not as '{architecture.name}' is when it is expanded: {', '.join(wrong[:_NAMED])}{more} differ"
        )
    if left := sorted(state.keys() - wanted.keys()):
        notes.append(f"left out, because a learngene of '{architecture.name}' has no such part: {', '.join(left[:_NAMED])}")
    for name in wanted:
        if not np.isfinite(state[name]).all():
            raise FileFormatError(f"'{name}' of {opened.name} holds values that are not finite", code="not-finite")
    return {family.staged_name(name, family.counted(model)): state[name] for name in wanted}, tuple(notes)


def _fit_stage(
    name: str, layers: Sequence[Mapping[str, Tensor]], basis: Basis, part_of: Any
) -> tuple[FittedStage, dict[str, Array]]:
    terms, errors = {}, []
    distance, size = np.zeros((2, len(layers)))
    coefficients = basis.coefficients(len(layers))
    for inner in layers[0]:
        values = np.stack([layer[inner].detach().float().numpy() for layer in layers])
        terms[inner] = fit_layers(values, basis, expanded=part_of(inner) in basis.expanded)
        fitted = expand_parameter(terms[inner], coefficients)
        axes = tuple(range(1, values.ndim))
        far = np.sum(np.square(values - fitted, dtype=np.float64), axis=axes)
        whole = np.sum(np.square(values, dtype=np.float64), axis=axes)
        distance, size = distance + far, size + whole
        errors.append(ParameterError(inner, _share(far.sum(), whole.sum()), tuple(map(_share, far, whole))))
    by_layer = tuple(map(_share, distance, size))
    exact = len(layers) <= basis.terms
    return FittedStage(name, tuple(layers), tuple(errors), by_layer, _share(distance.sum(), size.sum()), exact), terms


def _share(distance: float, size: float) -> float:
    return float(np.sqrt(distance / size)) if size > 0 else 0.0
