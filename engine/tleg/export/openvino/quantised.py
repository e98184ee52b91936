"""OpenVINO's graphs of whole numbers, made by its own tool NNCF: post-training quantisation, as of transformers.

Weights become int8 with one scale for each output channel; what enters a product gets a FakeQuantize with the range that
images for calibration gave it. Channels of activations that are far larger than others hand a part of that to the weights
(SmoothQuant). As in ONNX files of tleg, weights take 7 of the 8 bits: on processors without VNNI sums of larger ones
overflow, and the accuracy measured on one would not be that of another.
"""

import os
from collections.abc import Iterator
from typing import Any, Final

from numpy.typing import NDArray

from tleg.errors import ExportError, TlegError, last_words
from tleg.export.exporting import quietly
from tleg.export.interface import IMAGES
from tleg.export.precision_cost import Calibration

_ROUNDS: Final = "FakeQuantize"
_WITHOUT_TELEMETRY: Final = "NNCF_CI"


def import_nncf() -> Any:
    """Import NNCF so that it reports nothing to its makers, as it otherwise does unless it is told not to."""
    os.environ.setdefault(_WITHOUT_TELEMETRY, "1")
    import nncf

    return nncf


def quantise(model: Any, calibration: Calibration) -> Any:
    """Return a graph of OpenVINO whose products are of whole numbers.

    model        with one input 'images', normalised, in float32
    calibration  images that give the ranges of activations; they are read several times

    Raises ExportError when NNCF cannot quantise it, and what reading the images raises.
    """
    with quietly():
        try:
            nncf = import_nncf()
            dataset = nncf.Dataset(_Batches(calibration), lambda images: {IMAGES: images})
            return nncf.quantize(
                model,
                dataset,
                subset_size=calibration.images,
                model_type=nncf.ModelType.TRANSFORMER,
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=nncf.OverflowFix.ENABLE, batchwise_statistics=True
                ),
            )
        except (OSError, TlegError):
            raise
        except Exception as error:  # Of whatever kind NNCF and OpenVINO raise for a graph.
            raise ExportError(
                f"NNCF cannot quantise this model: {last_words(error)}; use --dtype float32 or float16",
                field="dtype",
                code="unsupported",
            ) from error


class _Batches:
    """Images for calibration as NNCF reads them: anew for each of its passes."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return self._calibration.batches()


def remove_ranges(model: Any) -> None:
    """Take the rounding of activations out of a quantised graph; weights stay rounded.

    Ranges fit the images that they were taken from and cut what lies beyond, such as noise, of which nothing follows.
    """
    for node in model.get_ops():
        if node.get_type_name() == _ROUNDS:
            node.output(0).replace(node.input_value(0))
