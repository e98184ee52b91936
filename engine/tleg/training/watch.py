"""What a person would notice on the curves: spikes of the loss, and a model that waits for images."""

import math
from dataclasses import dataclass, field

from tleg.training.observer import StepReport

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
        found = []
        spread = math.sqrt(self._variance)
        if self._seen >= _REPORTS and spread > 0 and report.loss > self._mean + _DEVIATIONS * spread:
            text = f"the loss jumped to {report.loss:.4g} from about {self._mean:.4g}; if it stays, try a lower --lr"
            found.append(("spike", text))
        # Running mean and variance of the loss, over about twenty reports.
        rate = 1 / min(self._seen + 1, _REPORTS)
        offset = report.loss - self._mean
        self._mean += rate * offset
        self._variance = (1 - rate) * (self._variance + rate * offset**2)
        self._seen += 1
        self._hungry = self._hungry + 1 if report.data_wait > _STARVED else 0
        if self._hungry >= _REPORTS:
            share = f"{100 * report.data_wait:.0f} %"
            found.append(("starved", f"the model waits for images {share} of the time; try more --workers"))
            self._hungry = 0
        fresh = [(code, text) for code, text in found if self._said.get(code) != report.epoch]
        self._said |= {code: report.epoch for code, _ in fresh}
        return fresh
