"""What a person would notice on the curves: spikes of the loss, and a model that waits for images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from tleg.runs.scalars import StepReport

# So many reports make a habit; a loss so many deviations above its mean is a spike.
_REPORTS = 20
_DEVIATIONS = 8.0
_STARVED = 0.5


@dataclass(slots=True)
class Watch:
    """Looks at reports; says each thing once an epoch at most."""

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
