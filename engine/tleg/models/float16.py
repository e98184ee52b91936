"""Numbers of float16: what they hold, and values made into them, or the sentence that says why they cannot be.

Values between float16's smallest and largest are rounded; those beneath become zero, which changes what a model computes no
more than its verification allows, or fails that. Values above would become infinite, so they are refused here.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import ExportError

LARGEST: Final = 65504.0
ROUNDED_TO_INFINITY: Final = 65520.0  # Halfway between the largest number and the next, which there is not.


def to_float16(name: str, values: NDArray[Any]) -> NDArray[np.float16]:
    """Return finite values rounded to float16. Raises ExportError, which names them, when one is beyond its range."""
    check_range(name, _peak(values))
    return values.astype(np.float16, copy=False)


def check_range(name: str, peak: float) -> None:
    """Refuse parameters whose largest absolute value is beyond the range of float16. Raises ExportError."""
    if peak >= ROUNDED_TO_INFINITY:
        raise ExportError(
            f"{name} holds {peak:,.0f} and float16 nothing above {LARGEST:,.0f}; use float32",
            field="dtype",
            code="out-of-range",
        )


def check_layers(name: str, terms: NDArray[Any], coefficients: Sequence[Sequence[float]]) -> None:
    """Refuse terms (K, *parameter) that are within the range of float16 when the layers made of them are not.

    coefficients  (L, K), a row for each layer

    Raises ExportError.
    """
    if len(terms) == 1:
        return
    peaks = [_peak(term) for term in terms]
    for layer, row in enumerate(coefficients):
        # When even the sum of the terms' largest values fits, so does each value, and the sum costs next to nothing.
        if sum(abs(factor) * peak for factor, peak in zip(row, peaks, strict=True)) >= ROUNDED_TO_INFINITY:
            place = f"the sum of the terms of {name} for layer {layer} of {len(coefficients)}"
            check_range(place, _peak(np.tensordot(np.asarray(row, np.float32), terms, 1)))


def _peak(values: NDArray[Any]) -> float:
    return max(float(values.max()), -float(values.min())) if values.size else 0.0
