"""What a person would notice on the curves of a training, for those who do not look: said as warnings of the run."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tleg.runs.scalars import StepReport
from tleg.text import printable
from tleg.training.accuracy import Score

# So many reports make a habit; a loss so many deviations above its mean is a spike.
_REPORTS: Final = 20
_DEVIATIONS: Final = 8.0
_STARVED: Final = 0.5


@dataclass(slots=True)
class CurveWatch:
    """Looks for what a person would notice on the curves.

    Spikes of the loss and a model that waits for images are said once an epoch at most; a model that knows one class alone,
    as after a learning rate that was too high, once in a training, when half of it is done.
    """

    _mean: float = 0.0
    _variance: float = 0.0
    _seen: int = 0
    _hungry: int = 0
    _said: dict[str, int] = field(default_factory=dict)

    def look(self, report: StepReport) -> list[tuple[str, str]]:
        """Return (code, sentence) for what is new with this report."""
        found = [("spike", text) for text in self._spikes(report.loss)]
        found += [("starved", text) for text in self._waits(report.data_wait)]
        epoch = report.epoch or 0
        fresh = [(code, text) for code, text in found if self._said.get(code) != epoch]
        self._said |= {code: epoch for code, _ in fresh}
        return fresh

    def scored(
        self, step: int, steps: int, scores: Mapping[int | None, Score], classes: Sequence[str]
    ) -> list[tuple[str, str]]:
        """Return (code, sentence) for what is new with the accuracies by depth after a step of so many."""
        stuck = {depth: only for depth, score in scores.items() if (only := only_class(score)) is not None}
        if not stuck or 2 * step < steps or "one-class" in self._said:
            return []
        self._said["one-class"] = 0
        names = ", ".join(dict.fromkeys(printable(classes[only]) for only in stuck.values()))
        depths = [str(depth) for depth in stuck if depth is not None]
        where = f" at depth {', '.join(depths)}" if depths else ""
        text = (
            f"after {step} of {steps} steps the model{where} has all images of one class right ({names}) and no other: as a "
            "rule it says the same to every image; try a lower --lr or a longer warm-up"
        )
        return [("one-class", text)]

    def _spikes(self, loss: float | None) -> Iterator[str]:
        if loss is None:
            return
        spread = math.sqrt(self._variance)
        if self._seen >= _REPORTS and spread > 0 and loss > self._mean + _DEVIATIONS * spread:
            yield f"the loss jumped to {loss:.4g} from about {self._mean:.4g}; if it stays, try a lower --lr"
        # Running mean and variance of the loss, over about twenty reports.
        rate = 1 / min(self._seen + 1, _REPORTS)
        offset = loss - self._mean
        self._mean += rate * offset
        self._variance = (1 - rate) * (self._variance + rate * offset**2)
        self._seen += 1

    def _waits(self, share: float | None) -> Iterator[str]:
        if share is None or share <= _STARVED:
            self._hungry = 0
            return
        self._hungry += 1
        if self._hungry >= _REPORTS:
            yield f"the model waits for images {100 * share:.0f} % of the time; try more --workers"
            self._hungry = 0


def only_class(score: Score) -> int | None:
    """The one class of which all images were right, where none of any other was; None otherwise, and for a single class."""
    known = [(index, accuracy) for index, accuracy in enumerate(score.per_class) if accuracy is not None]
    right = [index for index, accuracy in known if accuracy > 0]
    if len(known) < 2 or len(right) != 1 or score.per_class[right[0]] != 100:
        return None
    return right[0]
