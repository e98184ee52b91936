"""What a model says to images that nobody has labelled: its classes for each, with their probabilities."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import torch
from torch.utils.data import DataLoader

from tleg.data.deep_images import given_ranges
from tleg.data.image_files import LeftOut, walk_images
from tleg.data.image_folder import FolderImages
from tleg.data.loader import batches, worker_options
from tleg.data.sampler import READABLE, EvaluationImages
from tleg.data.transforms import evaluation_transform
from tleg.data.unreadable import explain_unreadable
from tleg.errors import DataError, InputError, TlegError, describe_os_error
from tleg.files import readable_path
from tleg.learngene.cascade import depths_text
from tleg.models.weights import Which
from tleg.recipes.prediction import Prediction
from tleg.serialize import LEFT_OUT_WHEN_NONE
from tleg.training.accuracy import Predictor, predict_all
from tleg.training.cascade import answer
from tleg.training.device import Placement, choose_placement
from tleg.training.model_record import calibration_of, policy_of
from tleg.training.subjects import Subject, open_subject, reading_as, told_of

# Classes that are named where nothing else is asked for: of one image, and of each of several.
_FOR_ONE, _FOR_EACH = 5, 1
_HINT: Final = "JPEG, PNG, WebP, TIFF and others"


@dataclass(frozen=True, slots=True)
class NamedClass:
    """A class and its probability in 0..1, the softmax of the outputs. `name` is its number where names are not known."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class PredictedImage:
    """What a model says to one image.

    classes  the most probable ones, the first first; none where the image could not be read
    problem  why there are none
    depth    that answered, of a cascade
    """

    image: str
    classes: tuple[NamedClass, ...] = ()
    problem: str | None = None
    depth: int | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


@dataclass(frozen=True, slots=True)
class Trust:
    """How outputs become probabilities, and when one is enough.

    temperatures  that outputs are divided by, of each depth that is asked, the shallowest first
    threshold     the largest probability that a depth needs to answer, where there are several
    notes         where these come from
    """

    temperatures: tuple[float, ...]
    threshold: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPrediction:
    """A prediction of which everything was opened and checked, and nothing computed yet."""

    options: Prediction
    subject: Subject
    images: FolderImages
    placement: Placement
    trust: Trust
    notes: tuple[str, ...] = ()

    @property
    def top(self) -> int:
        """How many classes are named for an image."""
        asked = self.options.top or (_FOR_ONE if len(self.images) == 1 else _FOR_EACH)
        return min(asked, self.subject.num_classes)

    @torch.inference_mode()
    def run(self, progress: Callable[[int, int], None] | None = None) -> tuple[PredictedImage, ...]:
        """Return what the model says to every image, in their order.

        progress  called with (images done, images in all)

        Raises DataError where no image can be read, TlegError where outputs are not finite, InputError where the model
        cannot be run.
        """
        subject, images = self.subject, self.images
        depths = tuple(subject.predictors)
        predictors = [self._placed(told_of(each, subject)) for each in subject.predictors.values()]
        transform = evaluation_transform(subject.input_size, subject.preprocessing)
        loader = DataLoader(
            EvaluationImages(images, transform, subject.input_size),
            batch_size=self.options.batch_size,
            **worker_options(self.options.workers),
        )
        said = list[PredictedImage]()
        for pixels, _, broken in batches(loader):
            logits, places = answer(predictors, self.trust.temperatures, self.trust.threshold, pixels)
            answers = zip(logits, places.tolist(), broken.tolist(), strict=True)
            for index, (row, place, state) in enumerate(answers, len(said)):
                if state != READABLE:
                    said.append(PredictedImage(images.name(index), problem=explain_unreadable(images, index)[1]))
                    continue
                if not row.isfinite().all():
                    raise TlegError(
                        f"the outputs for {images.name(index)} are not finite (NaN or infinite): the model's weights may "
                        "hold such values, or the precision is too low",
                        code="not-finite",
                    )
                depth = depths[place] if len(depths) > 1 else None
                assert not isinstance(depth, tuple), "a cascade has depths that are one number"
                said.append(PredictedImage(images.name(index), self._named(row), depth=depth))
            if progress is not None:
                progress(len(said), len(images))
        first = said[0].problem
        if first is not None and not any(each.classes for each in said):
            raise DataError(first if len(said) == 1 else f"none of the {len(said)} images can be read: {first}")
        return tuple(said)

    def _placed(self, predict: Predictor) -> Predictor:
        """A predictor that computes where and in which precision that was asked for."""
        return lambda pixels: predict_all({None: predict}, pixels, self.placement)[None]

    def _named(self, logits: torch.Tensor) -> tuple[NamedClass, ...]:
        values, indices = logits.double().softmax(0).topk(self.top)
        names = self.subject.classes
        return tuple(
            NamedClass(index, names[index] if names else str(index), value)
            for value, index in zip(values.tolist(), indices.tolist(), strict=True)
        )


def prepare_prediction(
    path: str | os.PathLike[str], images: Sequence[str | os.PathLike[str]], options: Prediction
) -> PreparedPrediction:
    """Open the model and find the images: files, and all images in folders and below them.

    Raises InputError, DataError, FileFormatError.
    """
    placement = choose_placement(options.device, options.precision)
    subject = open_subject(
        os.fspath(path),
        placement,
        options.cascade_depths or (None if options.chosen_depth is None else (options.chosen_depth,)),
        model_arguments=options.model_arguments,
        image_size=options.pixels,
        weights=cast(Which | None, options.weights),
        option="depth" if options.cascade is None else "cascade",
    )
    if len(subject.predictors) > 1 and options.cascade is None:
        raise InputError(
            f"{os.fspath(path)} holds every depth: say which with --depth, as in --depth 8", field="depth", code="missing"
        )
    if subject.num_classes == 0:
        raise InputError(
            "the model is a backbone without a classifier; give it one first: tleg train --checkpoint …",
            field="path",
            code="unsupported",
        )
    subject = reading_as(subject, options.exif)
    trust = _trust(os.fspath(path), subject, options)
    left_out = LeftOut()
    files = _find_images(images, left_out)
    reading = options.images.reading(subject.preprocessing.pixel_range)
    notes = (*subject.notes, *trust.notes, *([f"left out of folders: {left_out}"] if left_out.counts() else []))
    found = FolderImages(files, [0] * len(files), given_ranges(reading), reading.max_pixels)
    return PreparedPrediction(options, subject, found, placement, trust, notes)


def _trust(path: str, subject: Subject, options: Prediction) -> Trust:
    """Temperatures and threshold, as asked for or as the model keeps them. Raises InputError where a cascade has none."""
    depths = options.cascade_depths
    kept = calibration_of(subject)
    if depths is None:
        (depth,) = subject.predictors
        if options.temperature is not None or kept is None:
            return Trust((options.temperature or 1.0,))
        note = f"outputs are divided by the temperature {kept.at(depth):g}, {kept}; --temperature 1 leaves them as they are"
        return Trust((kept.at(depth),), notes=(note,))
    policy = policy_of(subject, depths)
    temperatures = tuple(kept.at(depth) if kept else 1.0 for depth in depths) if policy is None else policy.temperatures
    divided = f"outputs are divided by the temperatures {', '.join(f'{each:g}' for each in temperatures)}"
    notes = () if set(temperatures) == {1.0} else (divided,)
    if options.threshold is not None:
        return Trust(temperatures, options.threshold, notes)
    if policy is None:
        text = depths_text(depths)
        raise InputError(
            f"{path} keeps no policy for the cascade {text}: choose one with tleg evaluate --cascade {text} --save-policy, "
            "or say with --threshold which probability is enough, as in --threshold 0.9",
            field=("threshold", "cascade"),
            code="missing",
        )
    return Trust(temperatures, policy.threshold, (f"a depth answers {policy}; --threshold sets another", *notes))


def _find_images(places: Sequence[str | os.PathLike[str]], left_out: LeftOut) -> list[Path]:
    """The files that were named, whatever their suffixes, and the images in folders, sorted. Raises DataError."""
    files: list[Path] = []
    for place in map(Path, places):
        try:
            if place.is_dir():
                inside = sorted(walk_images(place, left_out))
                if not inside:
                    raise DataError(f"the folder {readable_path(place)} holds no images ({_HINT})", field="images")
                files += inside
            elif place.exists():
                files.append(place)
            else:
                raise DataError(f"there is no image {readable_path(place)}", field="images", code="not-found")
        except OSError as error:
            raise DataError(
                f"cannot read {readable_path(place)}: {describe_os_error(error)}", field="images", code="system"
            ) from error
    if not files:
        raise DataError("no image was named", field="images", code="missing")
    return files
