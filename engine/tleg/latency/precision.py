"""Judging a smaller number type: accuracy and latency of an export beside the same in float32."""

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import NDArray

from tleg.data.datasets import Data, ImageSet, Wanted
from tleg.data.open import open_data
from tleg.data.sampler import READABLE, EvaluationImages
from tleg.data.sources import data_name
from tleg.data.transforms import Normaliser, evaluation_transform
from tleg.errors import DataError, InputError
from tleg.export.backend import OpenExport, Source, backend_of
from tleg.export.formats import Format
from tleg.export.precision_cost import AccuracyPair, Calibration, CalibrationRecord, Counted, PrecisionCost
from tleg.latency.benchmark import export_run
from tleg.latency.measuring import find_provider, interleave, open_run
from tleg.learngene.profile import Depth
from tleg.recipes.images import EvaluatedImages
from tleg.recipes.precision import PrecisionOptions
from tleg.training.accuracy import Score, require_finite
from tleg.training.accuracy_drop import pair_accuracies, require_kept
from tleg.training.device import Placement, choose_placement
from tleg.training.evaluate import evaluate_subject, open_evaluation_data, trained_on
from tleg.training.learn import measured_on
from tleg.training.subjects import export_subject

# Images that are calibrated with at once.
_BATCH: Final = 32
# How long both files are timed together.
_SECONDS: Final = 2.0


class PrecisionJudge:
    """Calibrates and measures the exports of one build; see `tleg.export.precision_cost.Judge`."""

    def __init__(self, options: PrecisionOptions) -> None:
        self._options = options
        self._calibration: CalibrationRecord | None = None
        self._data: Data | None = None

    def prepare(self, source: Source) -> Calibration | None:
        """Open the images. Raises InputError for a source without classes, DataError."""
        options = self._options
        lineage = source.lineage(None).training
        if options.gate.data is not None and not source.output.of_classes:
            raise InputError(
                f"--data measures accuracy, and an export of {source.output} features has none: leave it out",
                field=("data", "output-of"),
                code="conflict",
            )
        calibration = None
        if options.calibration is not None:
            calibration = open_calibration(options.calibration, options.calibrating, source)
            self._calibration = CalibrationRecord(calibration.data, calibration.images)
        if options.labelled is not None and source.output.of_classes:
            self._data = open_evaluation_data(
                options.labelled,
                EvaluatedImages(),
                trained=trained_on(lineage),
                preprocessing=source.preprocessing,
                classes=source.classes,
            )
        return calibration

    def measure(
        self, entry: Format, before: Path, after: Path, depths: Sequence[Depth | None], counted: Counted
    ) -> PrecisionCost:
        """Measure both. Raises VerificationError when too much accuracy is lost, InputError for classes that differ."""
        accuracies: tuple[AccuracyPair, ...] = ()
        data, gate = self._data, self._options.gate
        images = None
        if data is not None:
            accuracies, images = compare_accuracies(entry, before, after, depths, data, gate.limit, counted)
            require_kept(accuracies, gate.allowed, measured_on(data), images)
        return PrecisionCost(
            bytes=(_size(before), _size(after)),
            seconds=_time(entry, before, after, depths[0]),
            accuracies=accuracies,
            data=None if data is None else measured_on(data),
            images=images,
            max_drop=None if data is None else gate.allowed,
            calibration=self._calibration,
        )


def open_calibration(text: str, most: int, source: Source) -> Calibration:
    """At most so many of the training images of some data, spread over all, for a source's exports. Raises DataError."""
    images = calibration_images(text, source, source.lineage(None).training)
    count = min(most, len(images.images))
    return Calibration(images.name, count, lambda: _normalised(images.images, count, source))


@dataclass(frozen=True, slots=True)
class _Named:
    """Images, and what they are called."""

    images: ImageSet
    name: str


def calibration_images(text: str, source: Source, training: Any) -> _Named:
    """The training images of some data, without those that the source's training held out. Raises DataError."""
    trained = trained_on(training)
    reading = EvaluatedImages().reading(source.preprocessing.pixel_range)
    if trained is not None and trained.split is not None and trained.data == data_name(text):
        data = open_data(text, trained.split, trained.seed, Wanted(reading, classes=source.classes))
        images = data.train
    else:
        try:
            data = open_data(text, wanted=Wanted(reading, evaluation=True, split="train", classes=source.classes))
        except DataError:
            # Without training images whatever it has serves as well; what else is wrong with it is said again.
            data = open_data(text, wanted=Wanted(reading, evaluation=True, classes=source.classes))
        images = data.validation
    if not len(images):
        raise DataError(f"{data.name} has no images to calibrate with", field="calibration")
    return _Named(images, data.name)


def _normalised(images: ImageSet, count: int, source: Source) -> Iterator[NDArray[Any]]:
    """Batches of so many images, spread over all, as inputs: (batch, C, H, W), float32. Raises DataError."""
    transform = evaluation_transform(source.input_size, source.preprocessing)
    dataset = EvaluationImages(images, transform, source.input_size)
    normalise = Normaliser(source.preprocessing)
    chosen = [index * len(images) // count for index in range(count)]
    readable = 0
    for start in range(0, count, _BATCH):
        items = [dataset[index] for index in chosen[start : start + _BATCH]]
        pixels = [pixel for pixel, _, broken in items if broken == READABLE]
        readable += len(pixels)
        if pixels:
            yield normalise(torch.stack(pixels)).numpy()
    if not readable:
        raise DataError("none of the images to calibrate with can be read", field="calibration")


def compare_accuracies(
    entry: Format,
    before: Path,
    after: Path,
    depths: Sequence[Depth | None],
    data: Data,
    limit: int | None,
    counted: Counted,
) -> tuple[tuple[AccuracyPair, ...], int]:
    """Evaluate two exports of one format at some depths on the same images; also return how many those were.

    Raises InputError for classes that are not those of the data, TlegError for outputs that are not finite, naming depths.
    """
    placement = choose_placement("cpu", "float32")
    found: list[dict[Depth | None, Score]] = []
    for index, path in enumerate((before, after)):
        export = backend_of(entry).open(path)

        def count(done: int, whole: int, index: int = index) -> None:
            counted(index * whole + done, 2 * whole)

        scores = _scores(export, depths, data, placement, limit, count)
        require_finite(scores, "the export" if index else "the export in float32")
        found.append(scores)
    return pair_accuracies(*found), next(iter(found[0].values())).images


def _scores(
    export: OpenExport,
    depths: Sequence[Depth | None],
    data: Data,
    placement: Placement,
    limit: int | None,
    counted: Counted,
) -> dict[Depth | None, Score]:
    chosen = [depth for depth in depths if depth is not None] if export.format.every_depth else None
    subject = export_subject(export, chosen)
    return evaluate_subject(subject, data, placement, limit=limit, progress=counted)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size


def _time(entry: Format, before: Path, after: Path, depth: Depth | None) -> tuple[float, float] | None:
    """The median seconds of an image on one thread, by itself or in the batch that a file has.

    None of what is no graph, whose runtime may be open once alone.
    """
    if not entry.graph:
        return None
    backend = backend_of(entry)
    batch = backend.open(after).interface.batch or 1
    if "onnxruntime" in entry.runtime:
        number = depth if entry.every_depth and isinstance(depth, int) else None
        provider = find_provider("cpu")
        runs = {path: open_run(os.fspath(path), provider, 1, batch, number) for path in (before, after)}
    else:
        runs = {path: export_run(backend.open_to_time(path, 1), batch) for path in (before, after)}
    samples = interleave(runs, _SECONDS)
    return statistics.median(samples[before]) / batch, statistics.median(samples[after]) / batch
