"""`tleg fit`: the least-squares learngene of a trained model, and how much of the model it is, beside shuffled layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from tleg.errors import InputError, concerning
from tleg.learngene.basis import Basis
from tleg.models.architecture import timm_family_of
from tleg.models.fitting import FittedModel, FittedStage, fit_model
from tleg.models.learngene import Learngene
from tleg.models.linearity import FEWEST_LAYERS, Fit, Linearity, Orders, analyse_grams
from tleg.models.pretrained import PretrainedModel, open_timm
from tleg.models.timm_family import TimmFamily
from tleg.models.weights import Which
from tleg.recipes.fitting import Fitting
from tleg.references import Reference
from tleg.training.analyze import grams_of_layers
from tleg.training.models import open_model
from tleg.training.names import resolve_model
from tleg.versions import versions

FITTED: Final = "fitted to a model by least squares"
# Said of every fit: what it is good for, and what it is not.
ADVICE: Final = (
    "a fit is a start for `tleg learn --start`, not a good model: where R2 is that of shuffled layers, the layers do not "
    "follow their position, and all descendants have nearly the mean of the layers"
)


@dataclass(frozen=True, slots=True)
class FittedParameter:
    """What the fit is of one parameter inside a block.

    error     ||W - fit|| / ||W|| over all layers
    by_layer  the same of each layer
    r2        of the variance over layers that the basis explains, beside shuffled layers; None where the basis does not
              expand it, its layers are equal, or there are fewer than three
    """

    name: str
    error: float
    by_layer: tuple[float, ...]
    r2: Fit | None


@dataclass(frozen=True, slots=True)
class StageReport:
    """What the fit is of the blocks of one stage.

    name       of the blocks in timm's model
    exact      whether there are no more layers than terms: then the fit is exact and says nothing
    overall    all expanded values together; None where there are fewer than three layers
    balanced   each expanded parameter alike
    """

    name: str
    layers: int
    error: float
    by_layer: tuple[float, ...]
    exact: bool
    parameters: tuple[FittedParameter, ...]
    overall: Linearity | None
    balanced: Linearity | None


@dataclass(frozen=True, slots=True)
class FitReport:
    """How much of a model its least-squares learngene is.

    model  what was named; `sha256` of its file of weights, where there is one
    """

    model: str
    architecture: str
    basis: str
    sha256: str | None
    shuffles: int
    seed: int
    stages: tuple[StageReport, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FittedLearngene:
    """A learngene that was fitted to a model, with the report."""

    learngene: Learngene
    report: FitReport


def fit(text: str, options: Fitting) -> FittedLearngene:
    """Fit a learngene to what a text names: a folder, TIMM_NAME:FILE, a run or a timm name.

    Raises InputError, ArchitectureError for a model that cannot be expanded, FileFormatError.
    """
    with concerning("model"):
        reference = resolve_model(text, "folder", "weights", "run", "timm")
        opened = open_start_model(
            reference,
            options.model_arguments,
            options.pixels,
            cast("Which | None", options.weights),
            pretrained=options.pretrained,
            seed=options.seed,
        )
        fitted = fit_opened(opened, options.chosen_basis)
        report = _report(text, opened, fitted, options)
    return FittedLearngene(fitted.learngene, report)


def open_start_model(
    reference: Reference,
    arguments: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    which: Which | None = None,
    *,
    pretrained: bool,
    seed: int = 0,
) -> PretrainedModel:
    """Open the model that a reference names: a folder, a file of weights, or a name of timm.

    pretrained, seed  of a name of timm: with its pretrained weights, or with random ones

    Raises InputError, ArchitectureError, FileFormatError.
    """
    if reference.kind != "timm":
        if pretrained:
            raise InputError(
                f"{reference.text} is no name of timm: --pretrained means nothing for it",
                field="pretrained",
                code="conflict",
            )
        return open_model(reference, arguments, image_size, which)
    for name, value in {"image-size": image_size, "weights": which}.items():
        if value is not None:
            raise InputError(
                f"{reference.text} is a name of timm: --{name} means nothing for it", field=name, code="conflict"
            )
    return open_timm(reference.name, arguments, pretrained=pretrained, seed=seed)


def fit_opened(opened: PretrainedModel, basis: Basis) -> FittedModel:
    """Fit a learngene to a model, and record in its header which one. Raises what `fit_model` raises."""
    learned = {
        "how": FITTED,
        "fitted_to": {
            "model": opened.name,
            "file": None if opened.file is None else opened.file.name,
            "sha256": opened.sha256,
        },
        "versions": versions("tleg", "torch", "timm"),
    }
    return fit_model(opened, basis, learned)


def _report(text: str, opened: PretrainedModel, fitted: FittedModel, options: Fitting) -> FitReport:
    header = fitted.learngene.header
    family = timm_family_of(header.architecture)
    stages = tuple(_stage(text, each, family, options) for each in fitted.stages)
    notes = fitted.notes
    if not opened.num_classes:
        notes = (
            *notes,
            f"{opened.name} has no classifier, and so its learngene has none: it is a backbone until it is trained",
        )
    return FitReport(
        text,
        header.architecture.name,
        options.basis,
        header.learned["fitted_to"]["sha256"],
        options.shuffles,
        options.seed,
        stages,
        notes,
    )


def _stage(text: str, stage: FittedStage, family: TimmFamily, options: Fitting) -> StageReport:
    basis, layers = options.chosen_basis, stage.layers
    overall = balanced = None
    explained: dict[str, Fit] = {}
    expanded = [name for name in layers[0] if family.part_of(name) in basis.expanded]
    if len(layers) >= FEWEST_LAYERS and expanded:
        grams = grams_of_layers([{name: layer[name] for name in expanded} for layer in layers], text)
        found = analyse_grams(grams, ((options.basis, basis),), Orders(len(layers), options.shuffles, options.seed))
        explained = {each.name: each.fits[0] for each in found.parameters if each.fits}
        overall, balanced = found.overall, found.balanced
    parameters = tuple(
        FittedParameter(each.name, each.error, each.by_layer, explained.get(each.name)) for each in stage.errors
    )
    return StageReport(stage.name, len(layers), stage.error, stage.by_layer, stage.exact, parameters, overall, balanced)
