"""What `tleg predict` takes: which model, how many classes are named for an image, and how it is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tleg.errors import concerning
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
    top          how many classes to name; None is five for one image and one for several
    exif,
    max_pixels   how the files are read, as in evaluation
    image_size   pixels of the inputs of what is no export, see `pixels`

    Raises InputError for what is out of range or makes no sense together.
    """

    depth: str | None = option(None, help="Of a learngene or elastic ONNX: 8, or a profile of stages: 2-2-6-2.")
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
        _ = self.chosen_depth, self.pixels, self.images

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
    def images(self) -> EvaluatedImages:
        """How the files are read."""
        return EvaluatedImages(exif=self.exif, max_pixels=self.max_pixels)
