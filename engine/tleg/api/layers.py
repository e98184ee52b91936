"""Layers of a model: how linear they are in their position, and the learngene that comes closest to them."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tleg.api.names import ImageSize, Name, text_of

if TYPE_CHECKING:
    from tleg.models.weights import Which
    from tleg.recipes.analysis import Analysis
    from tleg.recipes.fitting import Fitting
    from tleg.training.analyze import LayerAnalysis
    from tleg.training.fit import FittedLearngene


def analyze(
    path_or_name: Name,
    *,
    depth: int | None = None,
    bases: Sequence[str] = ("linear", "chebyshev:2", "chebyshev:3"),
    shuffles: int = 100,
    data: Name | None = None,
    images: int = 16,
    pretrained: bool = False,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: ImageSize | None = None,
    weights: "Which | None" = None,
    seed: int = 0,
) -> "LayerAnalysis":
    """Return how linear the layers of a model are in their position: what a learngene's basis could express of it.

    path_or_name  a learngene, a folder, 'TIMM_NAME:FILE', a run, or a name of timm (with random weights)
    depth         of a learngene's descendant (default: the auxiliary model's)
    bases         as on the command line
    shuffles      random orders of the layers to compare with, drawn with `seed`
    data          images to compare the layers' outputs on; None is noise
    images        how many; 0 compares the layers' weights
    pretrained    of a name of timm: its pretrained weights, which are downloaded

    model_arguments, image_size, weights  of `timm.create_model`, a folder or a file of weights

    Of every parameter inside a block, and of all together, the result has the R^2 of each basis beyond the mean over layers,
    beside that of shuffled layers, and the layers' principal components; and how alike layers are. Raises InputError,
    ArchitectureError for a model without equal blocks, FileFormatError, DataError.
    """
    from tleg.recipes.analysis import Analysis

    options = Analysis(
        depth=depth,
        pretrained=pretrained,
        model_arguments=dict(model_arguments or {}),
        image_size=text_of(image_size),
        weights=weights,
        bases=tuple(bases),
        shuffles=shuffles,
        data=None if data is None else os.fspath(data),
        images=images,
        seed=seed,
    )
    return run_analysis(path_or_name, options)


def run_analysis(path: Name, options: "Analysis") -> "LayerAnalysis":
    """Analyse a model as `tleg analyze` does. See `analyze`."""
    from tleg.training.analyze import analyze_model

    return analyze_model(os.fspath(path), options)


def fit(
    path_or_name: Name,
    basis: str = "linear",
    *,
    expand: str = "attention,mlp,norm",
    pretrained: bool = False,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: ImageSize | None = None,
    weights: "Which | None" = None,
    shuffles: int = 100,
    seed: int = 0,
) -> "FittedLearngene":
    """Return the learngene that comes closest to a trained model, by least squares: a start for `tleg learn --start`.

    path_or_name  a folder, 'TIMM_NAME:FILE', a run, or a name of timm (with random weights)
    basis, expand as on the command line; the other options as in `analyze`

    `learngene` of the result has the model's stem, norms and head, and `report` says how much of its layers the fit is: of
    each stage and parameter R^2 beside that of shuffled layers, and the relative distance from each layer. Raises
    InputError, ArchitectureError for a model that cannot be expanded, FileFormatError.
    """
    from tleg.recipes.fitting import Fitting

    options = Fitting(
        basis=basis,
        expand=expand,
        pretrained=pretrained,
        model_arguments=dict(model_arguments or {}),
        image_size=text_of(image_size),
        weights=weights,
        shuffles=shuffles,
        seed=seed,
    )
    return run_fit(path_or_name, options)


def run_fit(path: Name, options: "Fitting") -> "FittedLearngene":
    """Fit a learngene to a model as `tleg fit` does. See `fit`."""
    from tleg.training.fit import fit as fit_named

    return fit_named(os.fspath(path), options)
