"""What `tleg predict` takes: which model, how many classes are named for an image, and how it is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tleg.errors import InputError, concerning
from tleg.learngene.calibration import LEAST_TEMPERATURE, MOST_TEMPERATURE
from tleg.learngene.cascade import parse_cascade
from tleg.learngene.profile import Depth, parse_depth
from tleg.recipes.evaluation import Evaluation
from tleg.recipes.fields import check_fields, option, same_option
from tleg.recipes.images import EvaluatedImages
from tleg.recipes.training import THREADS_HELP, check_device
from tleg.text import read_image_size
from tleg.threads import parse_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says to images. Options that `tleg evaluate` has too mean the same.

    depth        of a learngene or an elastic export, such as '8' or '2-2-6-2'; nothing else takes it
    cascade      depths of which the first that is sure enough answers, as in '3,8', see `cascade_depths`
    threshold    how sure that is, 0 to 1; None is what the model keeps as its policy
    temperature  what outputs are divided by before they become probabilities; None is what the model keeps, else 1
    top          how many classes to name; None is five for one image and one for several
    exif,
    max_pixels   how the files are read, as in evaluation
    image_size   pixels of the inputs of what is no export, see `pixels`

    Raises InputError for what is out of range or makes no sense together.
    """

    depth: str | None = option(None, help="Of a learngene or elastic ONNX: 8, or a profile of stages: 2-2-6-2.")
    cascade: str | None = option(None, help="Let the first of these depths answer that is sure: 3,8.", metavar="DEPTHS")
    threshold: float | None = option(
        None, help="With --cascade: the probability that is enough. Default: as saved.", least=0, most=1
    )
    temperature: float | None = option(
        None,
        help="What outputs are divided by. Default: as saved, else 1.",
        least=LEAST_TEMPERATURE,
        most=MOST_TEMPERATURE,
    )
    top: int | None = option(
        None, help="How many classes to name. Default: 5 for one image, 1 for several.", least=1, most=10**6
    )
    model_arguments: Mapping[str, Any] = same_option(
        Evaluation, "model-arg", {}, help="Of a folder or TIMM_NAME:FILE: an argument for timm. May be repeated."
    )
    image_size: str | None = same_option(
        Evaluation,
        "image-size",
        None,
        help="Pixels of the inputs, but not of an export. Default: those that it was trained with.",
    )
    weights: str | None = same_option(
        Evaluation, "weights", None, help="Which weights of a file that holds an average (ema) as well."
    )
    exif: bool | None = same_option(
        EvaluatedImages,
        "exif",
        None,
        help="Turn images upright as their EXIF orientation says, or leave them. Default: as the model was trained.",
        group="",
    )
    max_pixels: int | None = same_option(
        EvaluatedImages,
        "max-pixels",
        None,
        help="Images of more pixels count as unreadable. Default: 178956970, Pillow's limit.",
        group="",
    )
    batch_size: int = same_option(Evaluation, "batch-size", 64, help="Images at once.")
    workers: int = same_option(Evaluation, "workers", 0, help="Processes that prepare images.")
    threads: str = same_option(Evaluation, "threads", "auto", help=THREADS_HELP)
    device: str = same_option(Evaluation, "device", "auto", help="auto, cpu, cuda or cuda:N.")
    precision: str = same_option(Evaluation, "precision", "float32", help="auto, float32, bfloat16 or float16.")

    def __post_init__(self) -> None:
        check_fields(self)
        check_device(self.device)
        parse_threads(self.threads)
        _ = self.chosen_depth, self.pixels, self.images, self.cascade_depths
        if self.threshold is not None and self.cascade is None:
            raise InputError("--threshold belongs to --cascade", field=("threshold", "cascade"), code="conflict")
        for name, given in (("depth", self.depth), ("temperature", self.temperature)):
            if given is not None and self.cascade is not None:
                reason = "names depths" if name == "depth" else "has a temperature for each depth"
                raise InputError(f"--cascade {reason}; leave --{name} out", field=(name, "cascade"), code="conflict")

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they were asked for."""
        return read_image_size(self.image_size)

    @property
    def chosen_depth(self) -> Depth | None:
        """The depth that was asked for."""
        with concerning("depth"):
            return parse_depth(self.depth) if self.depth else None

    @property
    def cascade_depths(self) -> tuple[int, ...] | None:
        """The depths of the cascade that is asked for, from the shallowest to the deepest."""
        with concerning("cascade"):
            return None if self.cascade is None else parse_cascade(self.cascade)

    @property
    def images(self) -> EvaluatedImages:
        """How the files are read."""
        return EvaluatedImages(exif=self.exif, max_pixels=self.max_pixels)
