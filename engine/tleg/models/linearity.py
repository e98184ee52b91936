"""How linear layers are in their position: what of a trained model a learngene's basis could express.

Layer l of L lies at t = l / L. All figures of one parameter follow from one matrix: the Gram matrix (L, L) of its layers,
each as one long vector from which the mean over the layers is taken. Those of several parameters add up to that of all.

- R^2 beyond the mean: 1 - ||W - fit||^2 / ||W - mean||^2, the fit being the best of a basis by least squares. Any K
  functions explain something: layers in random order get (K - 1) / (L - 1) on average. So no figure comes without that of
  shuffled layers.
- Principal components of the layers, and whether the first one puts them in order.
- Linear CKA (Kornblith et al., arXiv 1905.00414) between the outputs of layers.

Everything is computed in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import InputError
from tleg.learngene.basis import Basis

Matrix = NDArray[np.float64]
# Below three layers every one of them lies on a line.
FEWEST_LAYERS: Final = 3
FEWEST_SHUFFLES: Final = 2
# Singular values and differences of R^2 below these shares are rounding.
_RANK_TOLERANCE: Final = 1e-10
_TIE: Final = 1e-9
_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Shuffled:
    """What the same figure is for the same layers in random order.

    mean, std   over the shuffles
    as_high     how many of the shuffles reach the figure itself
    """

    mean: float
    std: float
    as_high: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How much of the variance over layers a basis explains.

    basis     as it is typed, such as 'chebyshev:2'
    r2        between 0 and 1
    chance    (K - 1) / (L - 1): the mean over all orders of the layers, K counting functions that differ at these positions
    shuffled  the same for shuffled layers
    z         how many of their standard deviations r2 lies above their mean; None where they do not differ
    """

    basis: str
    r2: float
    chance: float
    shuffled: Shuffled
    z: float | None


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components of the layers.

    shares       of the variance, of each component, falling
    coordinates  of each layer on the first two, the first turned so that later layers tend to lie higher
    order        Spearman's rank correlation of the first with the position, between 0 and 1
    shuffled     the same for shuffled layers
    """

    shares: tuple[float, ...]
    coordinates: tuple[tuple[float, float], ...]
    order: float
    shuffled: Shuffled


@dataclass(frozen=True, slots=True)
class Linearity:
    """How linear the layers of one parameter are, or of several together.

    name        of the parameter inside a block
    values      in each layer
    share       of the variance over layers of all parameters together
    fits        of each basis; empty, as components are None, where the layers are equal: then there is nothing to explain
    """

    name: str
    values: int
    share: float
    fits: tuple[Fit, ...]
    components: Components | None


def gram_of_layers(layers: Sequence[NDArray[Any]]) -> Matrix:
    """Return the centred Gram matrix (L, L) of L arrays of one shape, a piece at a time: float64 is held of few values.

    Equal layers give exactly 0. Raises InputError when a value is not finite.
    """
    flat = [np.asarray(each).reshape(-1) for each in layers]
    gram = np.zeros((len(flat), len(flat)))
    for start in range(0, flat[0].size, _AT_ONCE):
        piece = np.stack([each[start : start + _AT_ONCE] for each in flat]).astype(np.float64)
        if not np.isfinite(piece).all():
            raise InputError("it holds values that are not finite (NaN or infinite)", code="not-finite")
        # The mean of equal numbers need not be that number: the first layer is taken off before.
        piece -= piece[:1].copy()
        piece -= piece.mean(axis=0)
        gram += piece @ piece.T
    return gram


class Orders:
    """The shuffles that all parameters are compared with: orders of L layers, drawn with a seed."""

    def __init__(self, layers: int, count: int = 100, seed: int = 0) -> None:
        """Draw them. Raises InputError for fewer than three layers, or two shuffles."""
        if layers < FEWEST_LAYERS:
            raise InputError(
                f"there are {layers} layers: any two lie on a line, so that at least {FEWEST_LAYERS} are needed",
                code="out-of-range",
            )
        if count < FEWEST_SHUFFLES:
            raise InputError(
                f"a spread needs at least {FEWEST_SHUFFLES} shuffles, not {count}", field="shuffles", code="out-of-range"
            )
        generator = np.random.default_rng(seed)
        self.layers = layers
        self.all = np.stack([generator.permutation(layers) for _ in range(count)])

    def compare(self, figure: float, shuffled: NDArray[np.float64]) -> Shuffled:
        """What the figure of shuffled layers says of that of the layers as they are."""
        return Shuffled(
            float(shuffled.mean()), float(shuffled.std(ddof=1)), int(np.count_nonzero(shuffled >= figure - _TIE))
        )


def fit_basis(gram: Matrix, basis: Basis, label: str, orders: Orders) -> Fit:
    """Return how much of the variance over layers a basis explains, by the Gram matrix of layers that differ.

    The layers that a basis can make are the span of its coefficients' columns, in which the constant lies; so the share is
    the trace of the Gram matrix on an orthonormal basis of that span, over the whole trace.
    """
    span = _span(basis, orders.layers)
    explained = np.einsum("lk,lm,mk->", span, gram, span) / np.trace(gram)
    r2 = float(np.clip(explained, 0.0, 1.0))
    # Shuffled positions and unshuffled layers: the same pairs.
    moved = span[orders.all]
    others = np.clip(np.einsum("plk,lm,pmk->p", moved, gram, moved, optimize=True) / np.trace(gram), 0.0, 1.0)
    shuffled = orders.compare(r2, others)
    z = (r2 - shuffled.mean) / shuffled.std if shuffled.std > _TIE else None
    return Fit(label, r2, (span.shape[1] - 1) / (orders.layers - 1), shuffled, z)


def principal_components(gram: Matrix, orders: Orders) -> Components:
    """Return the principal components of layers that differ, by their Gram matrix."""
    sizes, vectors = np.linalg.eigh(gram)
    sizes, vectors = np.clip(sizes[::-1], 0.0, None), vectors[:, ::-1]
    coordinates = vectors[:, :2] * np.sqrt(sizes[:2])
    order = rank_correlation(coordinates[:, 0], np.arange(orders.layers))
    if order < 0:
        coordinates[:, 0] *= -1
    if coordinates[0, 1] < 0:  # The sign of a component means nothing; it shall not depend on the library.
        coordinates[:, 1] *= -1
    others = np.array([abs(rank_correlation(coordinates[:, 0], each)) for each in orders.all])
    shares = sizes / sizes.sum()
    return Components(
        tuple(map(float, shares[: orders.layers - 1])),
        tuple((float(x), float(y)) for x, y in coordinates),
        abs(order),
        orders.compare(abs(order), others),
    )


def analyse(
    name: str, values: int, gram: Matrix, bases: Sequence[tuple[str, Basis]], orders: Orders, variance: float
) -> Linearity:
    """Return all figures of one Gram matrix.

    values    in each layer
    bases     each with what it is called
    variance  the trace of the Gram matrix of all parameters together
    """
    own = float(np.trace(gram))
    if own <= 0:
        return Linearity(name, values, 0.0, (), None)
    fits = tuple(fit_basis(gram, basis, label, orders) for label, basis in bases)
    return Linearity(name, values, own / variance, fits, principal_components(gram, orders))


@dataclass(frozen=True, slots=True, eq=False)
class LinearityOfLayers:
    """How linear all parameters of some layers are: each, all values together, and each parameter alike.

    gram  (L, L) of all parameters, each alike
    """

    parameters: tuple[Linearity, ...]
    overall: Linearity
    balanced: Linearity
    gram: Matrix


def analyse_grams(
    grams: Mapping[str, tuple[int, Matrix]], bases: Sequence[tuple[str, Basis]], orders: Orders
) -> LinearityOfLayers:
    """Return all figures of layers: by parameter how many values a layer has, and the Gram matrix (L, L) of the layers."""
    overall, balanced = np.zeros((2, orders.layers, orders.layers))
    for _, gram in grams.values():
        overall += gram
        balanced += gram / (np.trace(gram) or 1.0)
    variance = float(np.trace(overall))
    found = tuple(analyse(name, values, gram, bases, orders, variance) for name, (values, gram) in grams.items())
    values = sum(each.values for each in found)
    return LinearityOfLayers(
        found,
        analyse("all values", values, overall, bases, orders, variance),
        analyse("each alike", values, balanced, bases, orders, float(np.trace(balanced))),
        balanced,
    )


def cosines(gram: Matrix) -> Matrix:
    """Return the cosines (L, L) between layers' deviations from their mean. Layers without any have 0 with the others."""
    lengths = np.sqrt(np.clip(np.diag(gram), 0.0, None))
    lengths[lengths == 0] = 1.0
    cosine: Matrix = np.clip(gram / np.outer(lengths, lengths), -1.0, 1.0)
    np.fill_diagonal(cosine, 1.0)
    return cosine


def linear_cka(outputs: Sequence[NDArray[Any]]) -> Matrix:
    """Return linear CKA (L, L) between layers' outputs, each of shape (samples, features), the same samples in each.

    HSIC is estimated without bias (Song et al., JMLR 2012; for CKA Nguyen et al., arXiv 2010.15327), so that outputs that
    have nothing to do with each other get about 0 also where there are fewer samples than features; the usual estimate gets
    close to 1 there. Raises InputError for fewer than four samples.
    """
    samples = len(outputs[0])
    if samples < 4:
        raise InputError(f"CKA needs at least 4 tokens, not {samples}; give more images", code="out-of-range")
    centred = np.empty((len(outputs), samples * samples))
    for row, output in zip(centred, outputs, strict=True):
        features = np.asarray(output, np.float64)
        features = features - features.mean(axis=0)
        row[:] = _u_centred(features @ features.T).reshape(-1)
    hsic = centred @ centred.T
    sizes = np.sqrt(np.clip(np.diag(hsic), np.finfo(np.float64).tiny, None))
    cka: Matrix = np.clip(hsic / np.outer(sizes, sizes), -1.0, 1.0)
    return cka


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's rank correlation; equal values share the mean of their ranks. 0 where all of one are equal."""
    a, b = (_ranks(each) - (len(each) - 1) / 2 for each in (first, second))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def _ranks(values: NDArray[Any]) -> Matrix:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    ranks: Matrix = (last - (counts - 1) / 2)[places]
    return ranks


def _span(basis: Basis, layers: int) -> Matrix:
    """An orthonormal basis (L, rank) of the columns of a basis' coefficients."""
    left, sizes, _ = np.linalg.svd(np.array(basis.coefficients(layers)), full_matrices=False)
    span: Matrix = left[:, sizes > sizes[0] * _RANK_TOLERANCE]
    return span


def _u_centred(kernel: Matrix) -> Matrix:
    """A kernel (n, n) of which inner products with others are n (n - 3) times the unbiased HSIC."""
    n = len(kernel)
    np.fill_diagonal(kernel, 0.0)
    rows = kernel.sum(axis=0)
    kernel = kernel - (rows[:, None] + rows[None, :]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(kernel, 0.0)
    return kernel
