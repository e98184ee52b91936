"""What `tleg evaluate` takes: on which images, at which depths, how it is computed, and what becomes of the figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tleg.errors import InputError, concerning
from tleg.learngene.cascade import parse_cascade
from tleg.learngene.profile import Depth, parse_profiles
from tleg.recipes.fields import check_fields, option, same_option
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.images import UNLABELLED, EvaluatedImages
from tleg.recipes.options import WEIGHTS_HELP, data_option, validation_split_option
from tleg.recipes.training import THREADS_HELP, Compute, Recipe, check_device
from tleg.text import read_image_size
from tleg.threads import parse_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Measuring accuracies. Ranges are those of training, wherever training has the same option.

    data, validation_split, seed  the images: the validation images, or those that training with a split kept for validation
    depths                        of a learngene or an elastic export, as in '4,6,8-12' or '2-2-6-2'; None is 1 to 16
    limit                         look at so many images only, spread over all
    model_arguments, weights      of a folder or a file of weights, as `tleg finetune --checkpoint` takes them
    image_size                    pixels of the inputs of what is no export, see `pixels`
    batch_size, workers, threads,
    device, precision             how it is computed
    per_class                     show the accuracy of every class
    knn, neighbours               measure the votes of so many nearest training images instead
    linear_probe, retrieval       measure a linear classifier on frozen features, mean average precision instead
    calibrate, each_depth         fit a temperature to half of the images instead, or one for each depth
    cascade, max_drop             choose the threshold of a cascade of these depths ('3,8') instead, see `cascade_depths`
    record                        write the accuracies into the learngene's header
    save_temperature              keep the temperature with the learngene or the folder
    save_policy                   keep the cascade's threshold with the learngene
    force                         with one of the last three: also over what differs

    Raises InputError for what is out of range or makes no sense together.
    """

    data: str = data_option()
    depths: str | None = option(None, help="Of a learngene or elastic ONNX: 4,6,8-12, or profiles: 2-2-6-2. Default: 1-16.")
    model_arguments: Mapping[str, Any] = same_option(
        FinetuneRecipe, "model-arg", {}, help="Of a folder or TIMM_NAME:FILE: an argument for timm. May be repeated."
    )
    image_size: str | None = same_option(
        FinetuneRecipe,
        "image-size",
        None,
        help="Pixels of the inputs, but not of an export. Default: those that it was trained with.",
    )
    weights: str | None = same_option(FinetuneRecipe, "weights", None, help=WEIGHTS_HELP)
    batch_size: int = same_option(Recipe, "batch-size", 256, help="Images at once.")
    limit: int | None = option(None, help="Look at so many images only, spread over all.", least=1, most=10**9)
    validation_split: float | None = validation_split_option(
        help="Evaluate on this part of the training images, as training with it does.", group=""
    )
    seed: int | None = same_option(
        Recipe, "seed", None, help="Of the training, for --validation-split. Default: as recorded, else 0."
    )
    images: EvaluatedImages = field(default_factory=EvaluatedImages)
    workers: int = same_option(Recipe, "workers", 0, help="Processes that prepare images.")
    threads: str = same_option(Compute, "threads", "auto", help=THREADS_HELP)
    device: str = same_option(Compute, "device", "auto", help="auto, cpu, cuda or cuda:N.")
    precision: str = same_option(Compute, "precision", "float32", help="auto, float32, bfloat16 or float16.")
    per_class: bool = option(False, help="Show the accuracy of every class.")
    record: bool = option(
        False, help="Write the accuracies into the learngene's header, beside those on other data or in another precision."
    )
    force: bool = option(False, help="With --record or --save-…: replace what differs.")

    calibrate: bool = option(
        False, help="Instead: fit a temperature to half of the images, and show what it does on the rest."
    )
    each_depth: bool = option(False, help="With --calibrate: a temperature for each depth.")
    save_temperature: bool = option(
        False, help="With --calibrate: keep it with the learngene or folder, for predict and build."
    )
    cascade: str | None = option(
        None, help="Instead: choose when depth 3 is sure enough to need no depth 8: 3,8.", metavar="DEPTHS"
    )
    max_drop: float = option(
        0.1, help="With --cascade: points of accuracy below the deepest that are allowed.", least=0, most=100
    )
    save_policy: bool = option(False, help="With --cascade: keep it with the learngene, for predict --cascade.")
    knn: bool = option(False, help="Instead: accuracy of nearest neighbours by cosine, of pooled features.")
    neighbours: int = option(20, help="With --knn: how many vote.", least=1, most=10**6)
    linear_probe: bool = option(False, help="Instead: accuracy of a linear classifier on frozen features.")
    retrieval: bool = option(False, help="Instead: mean average precision among the images by cosine.")

    def __post_init__(self) -> None:
        check_fields(self)
        check_device(self.device)
        parse_threads(self.threads)
        _ = self.chosen_depths, self.pixels
        if self.data.startswith(UNLABELLED):
            raise InputError(
                f"{self.data} has no labels to measure against; name data with classes", field="data", code="unsupported"
            )
        if self.limit is not None and self.record:
            raise InputError("--record needs all images; leave --limit out", field=("limit", "record"), code="conflict")
        self._check_probes()
        self._check_trust()
        if self.force and not (self.record or self.save_temperature or self.save_policy):
            raise InputError(
                "--force belongs to --record, --save-temperature and --save-policy",
                field=("force", "record"),
                code="conflict",
            )

    def _check_probes(self) -> None:
        """Refuse options that mean nothing for features. Raises InputError."""
        if self.neighbours != 20 and not self.knn:
            raise InputError("--neighbours belongs to --knn", field=("neighbours", "knn"), code="conflict")
        if not self.probes:
            return
        asked = next(name for name in ("knn", "linear-probe", "retrieval") if getattr(self, name.replace("-", "_")))
        for name, given in (("record", self.record), ("per-class", self.per_class), ("split", self.images.split)):
            if given:
                raise InputError(
                    f"--{name} is for accuracies of the model's own head; leave it out with --{asked}",
                    field=(name, asked),
                    code="conflict",
                )

    def _check_trust(self) -> None:
        """Refuse options of calibration and cascades that mean nothing together. Raises InputError."""
        for name, given, owner, there in (
            ("each-depth", self.each_depth, "calibrate", self.calibrate),
            ("save-temperature", self.save_temperature, "calibrate", self.calibrate),
            ("max-drop", self.max_drop != 0.1, "cascade", self.cascade is not None),
            ("save-policy", self.save_policy, "cascade", self.cascade is not None),
        ):
            if given and not there:
                raise InputError(f"--{name} belongs to --{owner}", field=(name, owner), code="conflict")
        if not self.calibrate and self.cascade is None:
            return
        asked = "calibrate" if self.calibrate else "cascade"
        for name, given in (
            ("cascade", self.calibrate and self.cascade is not None),
            ("depths", self.cascade is not None and self.depths is not None),
            ("record", self.record),
            ("per-class", self.per_class),
            ("knn", self.knn),
            ("linear-probe", self.linear_probe),
            ("retrieval", self.retrieval),
        ):
            if given:
                raise InputError(
                    f"--{asked} measures something else than --{name}; give one of them",
                    field=(name, asked),
                    code="conflict",
                )

    @property
    def cascade_depths(self) -> tuple[int, ...] | None:
        """The depths of the cascade that is asked for, from the shallowest to the deepest."""
        with concerning("cascade"):
            return None if self.cascade is None else parse_cascade(self.cascade)

    @property
    def probes(self) -> bool:
        """Whether features are measured, and not the model's own predictions."""
        return self.knn or self.linear_probe or self.retrieval

    @property
    def needs_bank(self) -> bool:
        """Whether training images are looked at as well."""
        return self.knn or self.linear_probe

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they were asked for."""
        return read_image_size(self.image_size)

    @property
    def chosen_depths(self) -> tuple[Depth, ...] | None:
        """The depths that were asked for; None leaves them to what is evaluated."""
        if self.cascade is not None:
            return self.cascade_depths
        with concerning("depths"):
            return parse_profiles(self.depths) if self.depths else None
