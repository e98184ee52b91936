"""An evaluation that is prepared: the model is open, the images are there, and nothing was computed yet."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tleg.data.datasets import Data
from tleg.errors import InputError, concerning
from tleg.files import check_file
from tleg.learngene.profile import Depth
from tleg.models.weights import Which
from tleg.recipes.evaluation import Evaluation
from tleg.training.accuracy import Score, Tally
from tleg.training.device import Placement, choose_placement
from tleg.training.evaluate import evaluate_subject, open_evaluation_data, trained_on
from tleg.training.model_record import check_record
from tleg.training.subjects import Subject, open_subject, reading_as


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What was opened and checked: what is measured, on which images, and where. Nothing was computed yet."""

    options: Evaluation
    subject: Subject
    data: Data
    placement: Placement

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about the model and the images."""
        return (*self.subject.notes, *self.data.notes)


class PreparedEvaluation(Prepared):
    """An evaluation that is prepared."""

    __slots__ = ()

    def run(
        self, progress: Callable[[int, int], None] | None = None, *, tally: Callable[[], Tally] | None = None
    ) -> dict[Depth | None, Score]:
        """Return the score of every depth. Raises InputError when the model knows other classes than the data, DataError.

        tally  what is summed over the outputs of a depth; None is accuracies and the loss
        """
        return evaluate_subject(
            self.subject,
            self.data,
            self.placement,
            batch_size=self.options.batch_size,
            workers=self.options.workers,
            limit=self.options.limit,
            progress=progress,
            tally=tally,
        )


def open_measured(path: str | os.PathLike[str], options: Evaluation) -> tuple[Subject, Placement]:
    """Open what is measured where that is computed. Raises InputError, FileFormatError."""
    placement = choose_placement(options.device, options.precision)
    subject = open_subject(
        os.fspath(path),
        placement,
        options.chosen_depths,
        model_arguments=options.model_arguments,
        image_size=options.pixels,
        weights=cast(Which | None, options.weights),
        option="depths" if options.cascade is None else "cascade",
    )
    return reading_as(subject, options.images.exif), placement


def prepare_evaluation(path: str | os.PathLike[str], options: Evaluation) -> PreparedEvaluation:
    """Open what is evaluated and the images, as `tleg evaluate` does. Nothing is written, `options.record` or not.

    Raises InputError, DataError, FileFormatError.
    """
    subject, placement = open_measured(path, options)
    if options.record:
        if subject.kind != "learngene" or not Path(path).is_file():
            raise InputError(
                "--record writes into a learngene file; name one by its path", field=("record", "path"), code="wrong-kind"
            )
        with concerning("path"):
            check_file(Path(path), overwrite=True)
    for option, given in (("save-temperature", options.save_temperature), ("save-policy", options.save_policy)):
        if given:
            check_record(path, subject, option)
    data = open_evaluation_data(
        options.data,
        options.images,
        trained=trained_on(subject.trained),
        preprocessing=subject.preprocessing,
        classes=subject.classes,
        validation_split=options.validation_split,
        seed=options.seed,
    )
    return PreparedEvaluation(options, subject, data, placement)
