"""The ancestry model as a teacher: its own normalisation and resolution, its classes checked, its accuracy looked at."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tleg.data.datasets import Data
from tleg.data.transforms import Normaliser
from tleg.errors import InputError, TeacherError, TlegError, first_line, last_words
from tleg.learngene.header import Preprocessing
from tleg.models.architecture import known_name
from tleg.models.classes import class_order
from tleg.models.features import pooled_features
from tleg.models.timm_folder import input_size_of, preprocessing_of
from tleg.serialize import LEFT_OUT_WHEN_NONE
from tleg.training.accuracy import Score, Tally, describe_nonfinite, evaluate
from tleg.training.device import Placement
from tleg.training.distributed import World
from tleg.training.models import is_want_of_memory, open_model
from tleg.training.names import resolve_model

T = TypeVar("T", bound="Teacher")
CHECK_IMAGES: Final = 1024


@dataclass(frozen=True, slots=True)
class TeacherReport:
    """What is known of a teacher: name, hash of its weights file (or None), and once it was checked its accuracy in percent
    on so many validation images, or the size of its features where they are what it teaches."""

    name: str
    sha256: str | None
    accuracy: float | None = None
    images: int | None = None
    features: int | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


class Teacher(nn.Module):
    """A frozen timm model that sees the student's images its own way.

    forward takes pixel values (N, C, H, W) in 0..1 and returns logits (N, classes) without gradients.
    """

    order: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        report: TeacherReport,
        input_size: tuple[int, int, int] | None = None,
        preprocessing: Preprocessing | None = None,
        order: tuple[int, ...] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Freeze a model.

        input_size, preprocessing  of its images, (channels, height, width); None is what its pretrained_cfg states
        order                      of its outputs, for the data's classes; None when it is the same
        notes                      what to know about its weights
        """
        super().__init__()
        known: dict[str, Any] = {"mean": (0.5,), "std": (0.5,), **(getattr(model, "pretrained_cfg", None) or {})}
        input_size = input_size_of(known, {}) if input_size is None else input_size
        preprocessing = preprocessing_of(known, input_size[0]) if preprocessing is None else preprocessing
        self.model = model.eval().requires_grad_(False)
        self.report = report
        self.notes = notes
        self.channels, *size = input_size
        self.size: tuple[int, int] = (size[0], size[1])
        self.normalise = Normaliser(preprocessing)
        self.register_buffer("order", None if order is None else torch.tensor(order), persistent=False)

    @classmethod
    def open(cls, name: str, classes: tuple[str, ...] | None) -> Self:
        """Open a timm folder (`tleg train --output`), 'TIMM_NAME:FILE', a run, or download timm's pretrained model.

        classes  matched with its own by name; None where it teaches features, for which it needs no classifier

        Raises TeacherError when it cannot be had, or knows other classes.
        """
        try:
            reference = resolve_model(name, "folder", "weights", "run", "timm")
            if reference.kind == "timm":
                return _downloaded(cls, reference.name, classes)
            opened = open_model(reference)
            report = TeacherReport(opened.name, opened.sha256)
        except InputError as error:
            if isinstance(error, TeacherError):
                raise
            raise TeacherError(f"cannot use the teacher: {error}", code=error.code) from error
        if classes is None:
            return cls(opened.model, report, opened.input_size, opened.preprocessing, None, opened.notes)
        _check_count(report.name, opened.num_classes, len(classes))
        try:
            order = class_order(opened.classes, classes)
        except InputError as error:
            raise TeacherError(f"the teacher {report.name} has other classes than the data: {error}") from error
        return cls(opened.model, report, opened.input_size, opened.preprocessing, order, opened.notes)

    def train(self, mode: bool = True) -> Self:
        """A teacher stays in eval mode."""
        return super().train(False)

    @property
    def feature_size(self) -> int:
        """The number of values of a pooled feature. Raises TeacherError when the model has none to give."""
        size = getattr(self.model, "head_hidden_size", None) or getattr(self.model, "num_features", None)
        if not isinstance(size, int) or not hasattr(self.model, "forward_head"):
            raise TeacherError(
                f"the teacher {self.report.name} gives no features; use another one, or --distillation soft",
                field=("distillation", "teacher"),
                code="unsupported",
            )
        return size

    @torch.no_grad()
    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (N, C, H, W) in 0..1 -> logits (N, classes), and what the classifier sees: features (N, feature_size)."""
        model: Any = self.model
        with self._told():
            computed = model.forward_features(self._see(pixels))
            return self._ordered(model.forward_head(computed)), model.forward_head(computed, pre_logits=True)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """pixels (N, C, H, W) in 0..1 -> what a classifier would see: features (N, feature_size)."""
        with self._told():
            return pooled_features(self.model, self._see(pixels))

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (N, C, H, W) in 0..1 -> logits (N, classes)."""
        with self._told():
            return self._ordered(self.model(self._see(pixels)))

    def _ordered(self, logits: Tensor) -> Tensor:
        """Logits (N, classes) in the order of the data's classes."""
        return logits if self.order is None else logits.index_select(1, self.order)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Around its forward pass: what fails there is the teacher's, whose name the error has."""
        try:
            yield
        except Exception as error:
            if is_want_of_memory(error):
                raise
            height, width = self.size
            raise TeacherError(
                f"the teacher {self.report.name} cannot be run on images of {height}x{width} pixels, as its own description "
                f"says: {last_words(error)[:200]}; check its input_size, or choose another one"
            ) from error

    def _see(self, pixels: Tensor) -> Tensor:
        """Pixel values in the teacher's channels and resolution, with its normalisation."""
        if pixels.shape[1] != self.channels:
            pixels = pixels.expand(-1, self.channels, -1, -1) if pixels.shape[1] == 1 else _grey(pixels)
        if tuple(pixels.shape[2:]) != self.size:
            pixels = F.interpolate(pixels, self.size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        normalised: Tensor = self.normalise(pixels)
        return normalised


class LastFeatures:
    """The features of the batch that a teacher saw last: several depths are compared with them."""

    def __init__(self) -> None:
        self._pixels: Tensor | None = None
        self._features: Tensor | None = None

    def of(self, teacher: Teacher, pixels: Tensor) -> Tensor:
        """The teacher's features (N, feature_size) of pixels (N, C, H, W), in float32."""
        if self._features is None or pixels is not self._pixels:
            self._pixels, self._features = pixels, teacher.embed(pixels).float()
        return self._features


def _grey(pixels: Tensor) -> Tensor:
    """Colour (N, 3, H, W) to the grey (N, 1, H, W) that Pillow makes of it: ITU-R 601-2 luma."""
    return (pixels * pixels.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def check_accuracy(accuracy: float, images: int, classes: int, name: str) -> None:
    """Refuse a teacher that knows little more than chance (TeacherError): accuracy in percent over so many images.

    The limit is chance plus three standard deviations of guessing, or a tenth of the way from chance to certainty,
    whichever is more.
    """
    chance = 1 / classes
    deviation = (chance * (1 - chance) / images) ** 0.5
    limit = 100 * max(chance + 3 * deviation, chance + 0.1 * (1 - chance))
    if not accuracy >= limit:  # Nor is what is no number.
        raise TeacherError(
            f"the teacher {name} is right on {accuracy:.1f} % of {images} images, and guessing gives {100 * chance:.1f} %; "
            "it would teach noise. Check that its classes are in the order of the data's"
        )


def open_checked_teacher(
    name: str, data: Data, placement: Placement, *, input_size: tuple[int, int, int], preprocessing: Preprocessing
) -> Teacher:
    """Open a teacher on its device and see how it does on some validation images, as the student will show them to it.

    Raises TeacherError when it does not fit or knows little more than chance.
    """
    teacher = Teacher.open(name, data.classes).to(placement.device)
    scores = evaluate(
        {"teacher": teacher},
        data.validation,
        placement,
        input_size=input_size,
        preprocessing=preprocessing,
        limit=CHECK_IMAGES,
    )
    score = scores["teacher"]
    if score.top1 is None:
        raise TeacherError(
            f"{describe_nonfinite(scores, f'the teacher {teacher.report.name}')}; it would teach nothing", code="not-finite"
        )
    check_accuracy(score.top1, score.images, len(data.classes), teacher.report.name)
    teacher.report = replace(teacher.report, accuracy=round(score.top1, 2), images=score.images)
    return teacher


def open_checked_features(
    name: str, data: Data, placement: Placement, *, input_size: tuple[int, int, int], preprocessing: Preprocessing
) -> Teacher:
    """Open a teacher of features on its device and see what it makes of some validation images, as the student sees them.

    Raises TeacherError when it has no features, or they are not finite, or the same for all images.
    """
    teacher = Teacher.open(name, None).to(placement.device)
    size = teacher.feature_size
    check = FeatureCheck()
    evaluate(
        {"teacher": teacher.embed},
        data.validation,
        placement,
        input_size=input_size,
        preprocessing=preprocessing,
        limit=CHECK_IMAGES,
        tally=lambda: check,
    )
    check.refuse(teacher.report.name, size)
    teacher.report = replace(teacher.report, images=check.images, features=size)
    return teacher


class FeatureCheck(Tally):
    """Whether features are finite, of the size that they are said to have, and not the same for all images."""

    def __init__(self) -> None:
        self.images = 0
        self._nonfinite = 0
        self._first: Tensor | None = None
        self._differ = False
        self._size = 0

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Look at features (N, size)."""
        self.images += len(outputs)
        self._size = outputs.shape[-1] if outputs.dim() == 2 else 0
        self._nonfinite += int((~outputs.flatten(1).isfinite().all(dim=1)).sum())
        self._first = outputs[:1] if self._first is None else self._first
        self._differ |= bool((outputs != self._first).any())

    def score(self, world: World, reasons: Mapping[str, int], speed: float) -> Score:
        """How many images were looked at."""
        missing = sum(reasons.values())
        return Score(self.images, None, None, None, speed, missing, (), reasons, self._nonfinite)

    def refuse(self, name: str, size: int) -> None:
        """Refuse what teaches nothing. Raises TeacherError."""
        fields = ("teacher", "distillation")
        if self._size != size:
            raise TeacherError(
                f"the teacher {name} gives no pooled features of {size} values for an image; use another one, or "
                "--distillation soft",
                field=fields,
                code="unsupported",
            )
        if self._nonfinite:
            raise TeacherError(
                f"the features of the teacher {name} are not finite (NaN or infinite) for {self._nonfinite} of "
                f"{self.images} images; it would teach nothing",
                code="not-finite",
            )
        if self.images > 1 and not self._differ:
            raise TeacherError(
                f"the features of the teacher {name} are the same for all of {self.images} images; it would teach nothing"
            )


def _check_count(name: str, count: object, classes: int) -> None:
    if count == 0:
        raise TeacherError(
            f"the teacher {name} is a backbone without a classifier, so it cannot teach classes; give it one first: "
            "tleg train --checkpoint … --data … --output TEACHER",
            code="unsupported",
        )
    if count != classes:
        raise TeacherError(
            f"the teacher {name} knows {count} classes and the data has {classes}; "
            "train it on this data first: tleg train --model NAME --data … --output TEACHER"
        )


def _downloaded(make: type[T], name: str, classes: tuple[str, ...] | None) -> T:
    import timm

    # What a failed download has to say is said below, once.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        known_name(name)
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if config is not None and classes is not None:
            _check_count(name, config.num_classes, len(classes))
        model = timm.create_model(name, pretrained=True)
    except TeacherError:
        raise
    except TlegError as error:
        raise TeacherError(f"no folder and no timm model is called '{name}'. {error}", code="not-found") from error
    except Exception as error:  # timm and the hub client raise many kinds when a download fails.
        reason = first_line(error)
        raise TeacherError(
            f"cannot download the teacher '{name}' ({reason}); when offline, give its weights as '{name}:FILE', "
            "or a folder that tleg train or timm.models.save_for_hf wrote",
            code="not-found",
        ) from error
    if classes is not None:
        _check_count(name, model.num_classes, len(classes))
    return make(model, TeacherReport(name, None))
