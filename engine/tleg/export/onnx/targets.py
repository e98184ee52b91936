"""Other runtimes than ONNX Runtime: does this file run there, and right?

OpenVINO runs it, where it is installed. What CoreML and NNAPI would take of it ONNX Runtime's own checker estimates, by
operators and shapes. Of the others it is said what was found when files of tleg were tried there (docs/runtimes.md).
"""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tleg.errors import InputError, VerificationError, did_you_mean
from tleg.export.backend import OpenExport
from tleg.export.comparison import BATCHES, SEED, TOLERANCES, noise
from tleg.export.interface import Interface
from tleg.export.onnx.runtime import deviation, feed_of, feed_of_pictures
from tleg.export.openvino.core import IN_FLOAT32, openvino_core
from tleg.export.pictures import SIZES, draw_pictures
from tleg.export.pixels import representable
from tleg.export.runners import Arrays
from tleg.versions import versions

TargetOutcome = Literal["runs", "refused", "not tried"]
# As in docs/runtimes.md: plain, compact and elastic files, then the same in float16.
KNOWN: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "web": {"onnxruntime-node, onnxruntime-web (wasm) 1.30.0": ("ok", "ok", "ok", "ok", "ok", "ok")},
    "opencv": {
        "OpenCV 5.0.0": ("ok", "ok", "ok", "ok", "ok", "ok"),
        "OpenCV 4.12.0": ("ok", "fold first", "refused (no booleans)", "ok", "refused", "refused"),
    },
    "mnn": {"MNN 3.6.1": ("1e-3", "1e-3", "1.3e-3", "1.2e-3", "1.3e-3", "ok")},
    "tract": {"tract 0.23.9": ("ok", "ok", "refused (no Loop)", "2.2e-3", "2.4e-3", "refused")},
    "tvm": {"TVM 0.27.0, relax": ("ok", "ok", "refused (no Loop)", "2.7e-3", "ok", "refused")},
    "ncnn": {
        "ncnn 1.0.20261020 by pnnx 20261020": (
            *("4e-4", "4e-4", "refused by pnnx"),
            *("not tried", "not tried", "not tried"),
        )
    },
    "litert": {"LiteRT 2.1.0 by onnx2tf 1.29.24": ("ok", "fold first", "refused", "ok", "not tried", "refused")},
    "tensorrt": {},
}
_MOST_WORDS: Final = 300  # Of what a runtime says.
_KINDS: Final = ("onnx", "onnx-compact", "onnx-elastic")
# The checker's lists of operators: of CoreML's newer format, which ONNX Runtime is told to use, and of NNAPI.
_MLPROGRAM: Final = "coreml_supported_mlprogram_ops.md"
_CHECKER: Final = "onnxruntime.tools.mobile_helpers.usability_checker"


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What is known of a file in another runtime.

    outcome  'runs': it was run, and is right; 'refused': the runtime takes nothing of it, or computes something else
    detail   figures, the runtime's own words, or what is known of such files
    """

    target: str
    outcome: TargetOutcome
    detail: str


def check_targets(targets: Sequence[str]) -> None:
    """Refuse targets that are not known, or whose runtime is not installed. Raises InputError."""
    for name in targets:
        if name not in TARGETS:
            raise InputError(
                f"unknown target '{name}': choose one of {', '.join(TARGETS)}.{did_you_mean(name, TARGETS)}",
                field="target",
                code="unknown-name",
            )
    if "openvino" in targets and find_spec("openvino") is None:
        raise InputError("OpenVINO is not installed: pip install 'tleg[openvino]'", field="target", code="not-installed")


def try_targets(export: OpenExport, targets: Sequence[str]) -> tuple[TargetResult, ...]:
    """Try a file in each of some targets, or say what is known of such files there. Raises InputError."""
    check_targets(targets)
    return tuple(TARGETS[name](export, name) for name in dict.fromkeys(targets))


def _openvino(export: OpenExport, name: str) -> TargetResult:
    """Run it, computing in float32, and compare with ONNX Runtime."""
    version = versions("openvino")["openvino"]
    try:
        model: Any = openvino_core().compile_model(str(export.path), "CPU", dict(IN_FLOAT32))
        error = max(_compare_batch(export, model, depth, batch) for depth, batch in _requests(export))
    except VerificationError as problem:
        return TargetResult(name, "refused", f"OpenVINO {version}: {problem}")
    except Exception as problem:  # OpenVINO raises RuntimeError for all that it does not take.
        return TargetResult(name, "refused", f"OpenVINO {version}: {_reason(problem)}")
    allowed = TOLERANCES[export.precision]
    if not error <= allowed:
        detail = (
            f"OpenVINO {version} differs from ONNX Runtime by {error:.1e} of the largest value; {allowed:.0e} is allowed"
        )
        return TargetResult(name, "refused", detail)
    return TargetResult(name, "runs", f"OpenVINO {version}, told to compute in float32: relative error {error:.1e}")


def _reason(problem: Exception) -> str:
    """OpenVINO's words, without the places in its source where they come from."""
    lines = [line.strip() for line in str(problem).splitlines()]
    words = " ".join(line for line in lines if line and not line.startswith("Exception from "))
    return words[:_MOST_WORDS] or type(problem).__name__


def _requests(export: OpenExport) -> Iterator[tuple[int | None, int]]:
    """The depths (None where there is none to say) and sizes of batches that are tried."""
    depths: tuple[int | None, ...] = (None,)
    if export.format.every_depth:
        learngene = None if export.lineage is None else export.lineage.learngene
        depths = tuple({1, 2, (None if learngene is None else learngene.auxiliary_depth) or 1})
    for depth in depths:
        for batch in (export.interface.batch,) if export.interface.batch is not None else BATCHES:
            yield depth, batch


def _compare_batch(export: OpenExport, model: Any, depth: int | None, batch: int) -> float:
    """The largest difference of what both runtimes give, as a part of the largest value. Raises VerificationError."""
    interface = export.interface
    if export.pictures is not None:
        return _compare_pictures(export, model, depth, batch)
    images = representable(noise(export.input_size, batch), interface, export.preprocessing)
    feed = feed_of(images, depth, interface, export.preprocessing, export.precision)
    expected = export.runner(export.depth if depth is None else depth, images)
    return _difference(list(model(feed).values()), expected, interface)


def _compare_pictures(export: OpenExport, model: Any, depth: int | None, batch: int) -> float:
    """The same of a file that resizes, on pictures of another size than the input's."""
    assert export.pictures is not None
    pictures = draw_pictures(SIZES[0], export.input_size[0], batch, SEED)
    _, expected = export.pictures(export.depth if depth is None else depth, pictures)
    given = list(model(feed_of_pictures(pictures, depth, export.interface)).values())
    return _difference(given, expected, export.interface)


def _difference(given: Sequence[Any], expected: Arrays, interface: Interface) -> float:
    if interface.changes_output:
        return deviation(expected[0], given, interface)
    return max(map(_relative, given, expected))


def _relative(found: Any, expected: NDArray[np.float32]) -> float:
    values = np.asarray(found, np.float32)
    if values.shape != expected.shape:
        raise VerificationError(f"it gives shape {values.shape} where {expected.shape} is expected")
    return float(np.abs(values - expected).max()) / (float(np.abs(expected).max()) or 1.0)


def _checked(export: OpenExport, name: str) -> TargetResult:
    """What ONNX Runtime's checker says of CoreML's MLProgram, or of NNAPI."""
    what = "CoreML's MLProgram" if name == "coreml" else "NNAPI"
    if find_spec("onnxruntime.tools") is None or find_spec(_CHECKER) is None:
        return TargetResult(name, "not tried", f"this onnxruntime has no checker for {what}; one from PyPI has")
    nodes, taken, pieces, operators = _partitions(export.path, name)
    if not taken:
        fixed = "" if export.interface.batch is not None else "; with --batch 1 it may"
        return TargetResult(name, "refused", f"by ONNX Runtime's checker {what} takes none of {nodes} nodes{fixed}")
    detail = f"by ONNX Runtime's checker {what} takes {taken} of {nodes} nodes, in {pieces} piece{'s' * (pieces > 1)}"
    if operators:
        detail += f", without {', '.join(sorted(each.rpartition(':')[2] for each in operators))}"
    if pieces > 2:  # What the checker itself says of more.
        detail += ", which is likely slower than the processor"
    return TargetResult(name, "not tried", detail)


def _partitions(path: Path, name: str) -> tuple[int, int, int, set[str]]:
    """Nodes, those that are taken, the pieces that they form, and the operators that are not taken."""
    from onnxruntime.tools.mobile_helpers import usability_checker as checker

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        # As the checker itself does: what is constant is computed, as when a session opens.
        optimised = Path(folder) / path.name
        checker.optimize_model(path, optimised, use_external_initializers=True)
        model = checker.ModelProtoWithShapeInfo(optimised).model_with_shape_info
        found = (
            checker.check_coreml_partitions(model, True, _MLPROGRAM)
            if name == "coreml"
            else checker.check_nnapi_partitions(model, True)
        )
    return found.num_nodes, found.num_supported_nodes, found.num_partitions, set(found.unsupported_ops)


def _known(export: OpenExport, name: str) -> TargetResult:
    """What is known of such files."""
    import onnx

    from tleg.export.onnx.file import is_traced

    if not KNOWN[name] or is_traced(onnx.load(export.path)):
        return TargetResult(name, "not tried", "no such file was tried there")
    place = _KINDS.index(export.format.name) + (len(_KINDS) if export.precision == "float16" else 0)
    found = ", ".join(f"{_in_words(cells[place])} in {runtime}" for runtime, cells in KNOWN[name].items())
    changed = "" if export.interface.is_usual else "; its inputs and outputs are others than theirs"
    return TargetResult(name, "not tried", f"known of such files: {found}{changed}")


def _in_words(cell: str) -> str:
    return f"{cell} of the largest logit off" if cell[0].isdigit() else cell


TARGETS: Final[Mapping[str, Callable[[OpenExport, str], TargetResult]]] = {
    "openvino": _openvino,
    "coreml": _checked,
    "nnapi": _checked,
    **dict.fromkeys(KNOWN, _known),
}
