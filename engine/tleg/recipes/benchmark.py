"""What `tleg benchmark` takes: what is measured, by which runtime, for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import InputError, concerning
from tleg.learngene.basis import parse_depths
from tleg.recipes.evaluation import Evaluation
from tleg.recipes.fields import check_fields, option, same_option
from tleg.recipes.precision import CALIBRATION_IMAGES, PrecisionOptions, check_calibration, require_calibration
from tleg.recipes.training import THREADS_HELP
from tleg.text import read_image_size
from tleg.threads import parse_threads

RUNTIMES: Final = ("onnxruntime", "torch")
OPENVINO: Final = "openvino"
# Formats that a learngene is exported to, to be timed: by ONNX Runtime, and the last by a runtime of its own.
FORMATS: Final = ("onnx", "onnx-compact", "onnx-elastic", OPENVINO)
# Number types of exports; PyTorch runs descendants in the first two.
DTYPES: Final = ("float32", "float16", "int8", "int8-dynamic", "int8-terms", "int4-terms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A measurement of latency.

    depths           of a learngene or an elastic export; None: the shallowest and the auxiliary's, and one between to check
    runtime          None: ONNX Runtime, and PyTorch for a folder or weights
    export           the format that a learngene is exported to for ONNX Runtime, or for OpenVINO
    provider         of ONNX Runtime, or PyTorch's device
    threads          of one run, see `tleg.threads`
    batch            images at once
    seconds          of the measurement, all depths together; about a sixth of it is warm-up
    dtype            of the exports that are made of a learngene or a folder
    calibration      images from which 'int8' takes the ranges of activations, and `calibration_images` how many of them
    model_arguments,
    image_size       as in evaluation

    Raises InputError for what is out of range or makes no sense together.
    """

    depths: str | None = option(None, help="Of a learngene or elastic ONNX: 2,7,12. Default: three, up to the auxiliary's.")
    runtime: str | None = option(
        None, help="What computes. Default: onnxruntime, and torch for a folder or weights.", choices=RUNTIMES
    )
    export: str = option("onnx", help="Of a learngene: the format to measure.", choices=FORMATS)
    dtype: str = option("float32", help="Of a learngene's exports, or a folder's.", choices=DTYPES)
    calibration: str | None = same_option(PrecisionOptions, "calibration", None, help="Images for --dtype int8.")
    calibration_images: int | None = same_option(
        PrecisionOptions,
        "calibration-images",
        None,
        help=f"How many of them, spread over all. Default: {CALIBRATION_IMAGES}.",
    )
    provider: str = option("cpu", help="Of onnxruntime: cpu, cuda, openvino, coreml; of torch: cpu, cuda.", metavar="NAME")
    threads: str = same_option(Evaluation, "threads", "auto", help=THREADS_HELP)
    batch: int = option(1, help="Images at once.", least=1, most=65_536)
    seconds: float = option(10.0, help="How long to measure, all depths together.", least=0.1, most=86_400.0)
    model_arguments: Mapping[str, Any] = same_option(
        Evaluation, "model-arg", {}, help="Of a folder or TIMM_NAME:FILE: an argument for timm. May be repeated."
    )
    image_size: str | None = same_option(
        Evaluation, "image-size", None, help="Pixels of the inputs, but not of an export. Default: as learned."
    )

    def __post_init__(self) -> None:
        check_fields(self)
        parse_threads(self.threads)
        _ = self.chosen_depths, self.pixels
        if self.runtime == "torch" and self.export != "onnx":
            raise InputError(
                f"--export {self.export} is for onnxruntime; torch runs the descendants themselves",
                field=("export", "runtime"),
                code="conflict",
            )
        if self.export == OPENVINO and (self.runtime is not None or self.provider != "cpu"):
            name = "provider" if self.runtime is None else "runtime"
            raise InputError(
                f"--export {OPENVINO} is run by OpenVINO, on the processor; leave --{name} out",
                field=(name, "export"),
                code="conflict",
            )
        check_calibration(self.calibration, self.calibration_images, self.dtype)
        require_calibration(self.calibration, self.dtype)
        if self.runtime == "torch":
            self.require_floating()

    def require_floating(self) -> None:
        """Refuse whole numbers where PyTorch computes. Raises InputError."""
        if self.dtype not in ("float32", "float16"):
            raise InputError(
                f"torch runs models in float32 and float16; add --runtime onnxruntime for --dtype {self.dtype}",
                field=("dtype", "runtime"),
                code="conflict",
            )

    @property
    def calibrating(self) -> int:
        """How many images calibrate."""
        return PrecisionOptions(calibration_images=self.calibration_images).calibrating

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they were asked for."""
        return read_image_size(self.image_size)

    @property
    def chosen_depths(self) -> tuple[int, ...] | None:
        """The depths that were asked for."""
        with concerning("depths"):
            return tuple(parse_depths(self.depths)) if self.depths else None
