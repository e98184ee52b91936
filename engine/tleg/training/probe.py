"""How good features are, without training the model: nearest neighbours, a linear probe, retrieval, by depth."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tleg.data.datasets import Data, Wanted
from tleg.data.open import open_data
from tleg.data.sources import data_name
from tleg.errors import DataError, InputError
from tleg.learngene.profile import Depth
from tleg.recipes.evaluation import Evaluation
from tleg.training.evaluate import trained_on
from tleg.training.features import Features, collect_features
from tleg.training.linear_probe import LinearProbe, linear_probe
from tleg.training.neighbours import knn_accuracy, mean_average_precision
from tleg.training.prepared import Prepared, open_measured
from tleg.training.subjects import Subject


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """What the features of one depth reached, in percent; None is what was not asked for.

    knn        accuracy of the neighbours' votes
    linear     accuracy of the linear probe
    strength   L2 strength that the linear probe chose
    retrieval  mean average precision; None as well where every image is alone in its class
    """

    knn: float | None = None
    linear: float | None = None
    strength: float | None = None
    retrieval: float | None = None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Features of models, measured on a data set with classes.

    data        what it is called
    bank        training images: neighbours, and what the linear probe is fitted to; 0 where retrieval alone was asked for
    images      validation images, which are measured
    neighbours  that vote
    size        values of a feature
    scores      by depth; None for a model of a depth that is not known
    notes       what to know about the model and the images
    """

    data: str
    bank: int
    images: int
    neighbours: int
    size: int
    scores: Mapping[Depth | None, ProbeScore]
    notes: tuple[str, ...] = ()


class PreparedProbe(Prepared):
    """Measures of features that are prepared."""

    __slots__ = ()

    def run(self, progress: Callable[[int, int], None] | None = None) -> ProbeResult:
        """Measure. `progress` is called with (images done, images in all). Raises DataError, InputError, TlegError."""
        options, data = self.options, self.data
        sets = (data.train, data.validation) if options.needs_bank else (data.validation,)
        scores: dict[Depth | None, ProbeScore] = {}
        bank = images = size = 0
        for depth, found in collect_features(
            self.subject.embedders,
            sets,
            self.placement,
            input_size=self.subject.input_size,
            preprocessing=self.subject.preprocessing,
            batch_size=options.batch_size,
            workers=options.workers,
            limit=options.limit,
            progress=progress,
        ):
            scores[depth] = _measure(found, len(data.classes), options)
            images, size = len(found[-1]), found[-1].values.shape[1]
            bank = len(found[0]) if options.needs_bank else 0
        # In the order in which they were asked for.
        return ProbeResult(data.name, bank, images, options.neighbours, size, scores, self.notes)


def _measure(found: tuple[Features, ...], classes: int, options: Evaluation) -> ProbeScore:
    bank, queries = found[0], found[-1]
    probe: LinearProbe | None = linear_probe(bank, queries, classes) if options.linear_probe else None
    return ProbeScore(
        knn=knn_accuracy(bank, queries, classes, options.neighbours) if options.knn else None,
        linear=None if probe is None else probe.accuracy,
        strength=None if probe is None else probe.strength,
        retrieval=mean_average_precision(queries) if options.retrieval else None,
    )


def prepare_probe(path: str | os.PathLike[str], options: Evaluation) -> PreparedProbe:
    """Open a model and labelled images for measures of features, as `tleg evaluate --knn` does.

    On the data that the model was trained on, the validation images are those that training held out. Raises InputError for
    what gives no features, such as an export, DataError, FileFormatError.
    """
    subject, placement = open_measured(path, options)
    if not subject.embedders:
        raise InputError(
            f"{os.fspath(path)} gives no features to measure; name a learngene, or a folder or weights of a model that "
            "timm pools the features of",
            field="path",
            code="unsupported",
        )
    data = _open_data(options, subject)
    return PreparedProbe(options, subject, data, placement)


def _open_data(options: Evaluation, subject: Subject) -> Data:
    split, seed, trained = options.validation_split, options.seed, trained_on(subject.trained)
    if trained is not None and trained.data == data_name(options.data):
        split = trained.split if split is None else split
        seed = trained.seed if seed is None else seed
    reading = options.images.reading(subject.preprocessing.pixel_range)
    data = open_data(options.data, split, seed or 0, Wanted(reading, validation_split=split))
    if options.needs_bank and not len(data.train):
        raise DataError(f"{data.name} has no training images for neighbours and probes", field="data")
    return data
