"""What decides whether a smaller number type is kept: images for calibration, labelled images, and how much may be lost."""

from dataclasses import dataclass, field
from typing import Final

from tleg.errors import InputError
from tleg.recipes.evaluation import Evaluation
from tleg.recipes.fields import check_fields, option, same_option
from tleg.recipes.images import UNLABELLED

_PRECISION: Final = "Number type"
CALIBRATION_IMAGES: Final = 512
MAX_DROP: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyGate:
    """How much accuracy a smaller number type may lose, and on which images that is measured.

    data      labelled images, of which those are looked at that `tleg evaluate` would; None: accuracy is not measured
    limit     look at so many images only, spread over all
    max_drop  points of top-1 accuracy, at any depth that is looked at; None is MAX_DROP

    Raises InputError for what is out of range or makes no sense together.
    """

    data: str | None = option(
        None, help="Labelled images that decide whether the number type is kept.", group=_PRECISION, metavar="DATA"
    )
    limit: int | None = same_option(
        Evaluation, "limit", None, help="Look at so many labelled images only, spread over all.", group=_PRECISION
    )
    max_drop: float | None = option(
        None,
        help=f"Points of top-1 that may be lost against float32. Default: {MAX_DROP}.",
        group=_PRECISION,
        least=0.0,
        most=100.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.data is not None and self.data.startswith(UNLABELLED):
            raise InputError(
                f"{self.data} has no labels to measure against; name data with classes", field="data", code="unsupported"
            )

    @property
    def allowed(self) -> float:
        """The most points that may be lost."""
        return MAX_DROP if self.max_drop is None else self.max_drop

    def require_data(self, given: str | None, **others: object) -> None:
        """Refuse what means nothing where no labelled images are given: own options and others. Raises InputError."""
        for name, value in (("limit", self.limit), ("max-drop", self.max_drop), *others.items()):
            if value is not None and given is None:
                raise InputError(
                    f"--{name} is about accuracy, which is measured on labelled images: add --data DATA",
                    field=(name, "data"),
                    code="missing",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionOptions:
    """What `tleg build` takes for number types other than float32.

    calibration         images from which 'int8' takes the ranges of activations; where they are labelled and `gate.data` is
                        None, their validation images decide
    calibration_images  how many of the training images, spread over all; None is CALIBRATION_IMAGES

    Raises InputError for what is out of range.
    """

    calibration: str | None = option(
        None, help="Images for --dtype int8; labelled ones decide as --data does.", group=_PRECISION, metavar="DATA"
    )
    calibration_images: int | None = option(
        None,
        help=f"How many of them, spread over all. Default: {CALIBRATION_IMAGES}.",
        group=_PRECISION,
        least=1,
        most=10**6,
    )
    gate: AccuracyGate = field(default_factory=AccuracyGate)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def calibrating(self) -> int:
        """How many images calibrate."""
        return CALIBRATION_IMAGES if self.calibration_images is None else self.calibration_images

    @property
    def labelled(self) -> str | None:
        """The labelled images that decide; None where there are none."""
        if self.gate.data is not None or self.calibration is None or self.calibration.startswith(UNLABELLED):
            return self.gate.data
        return self.calibration

    def decides(self, dtype: str) -> bool:
        """Whether there is something to calibrate or to measure for a number type."""
        return dtype != "float32" and (dtype != "float16" or self.labelled is not None)

    def check(self, dtype: str) -> None:
        """Refuse options that mean nothing for a number type. Raises InputError."""
        if dtype == "float32":
            for name, value in (("data", self.gate.data), ("limit", self.gate.limit), ("max-drop", self.gate.max_drop)):
                if value is not None:
                    raise InputError(
                        f"--{name} decides whether a smaller number type is kept, and --dtype is float32",
                        field=(name, "dtype"),
                        code="conflict",
                    )
        check_calibration(self.calibration, self.calibration_images, dtype)
        self.gate.require_data(self.labelled)


def check_calibration(calibration: str | None, images: int | None, dtype: str) -> None:
    """Refuse images for calibration, or how many, that mean nothing for a number type. Raises InputError."""
    if calibration is not None and dtype != "int8":
        raise InputError(
            f"--calibration is for --dtype int8; --dtype {dtype} needs none", field=("calibration", "dtype"), code="conflict"
        )
    if images is not None and calibration is None:
        raise InputError(
            "--calibration-images belongs to --calibration", field=("calibration-images", "calibration"), code="missing"
        )


def require_calibration(calibration: object, dtype: str) -> None:
    """Refuse a number type whose images for calibration are missing. Raises InputError."""
    if dtype == "int8" and calibration is None:
        raise InputError(
            "--dtype int8 needs images, from which it takes the ranges of activations: add --calibration DATA; "
            "--dtype int8-dynamic needs none",
            field=("calibration", "dtype"),
            code="missing",
        )
