"""When a training evaluates and saves: at which steps, and after how long."""

from dataclasses import dataclass
from typing import Final

from tleg.recipes.training import Keeping

# An evaluation on several processes cannot be left, and a job may end during it: work that is worth more is saved first.
_SECONDS_AT_RISK: Final = 60.0


@dataclass(frozen=True, slots=True)
class Occasions:
    """What the recipe's keeping says of a training with so many steps, and so many in an epoch."""

    keeping: Keeping
    steps: int
    steps_per_epoch: int

    def epoch_ended(self, step: int) -> int | None:
        """The number of the epoch that ends with this step, or None."""
        epoch, rest = divmod(step, self.steps_per_epoch)
        return None if rest else epoch

    def evaluates(self, step: int) -> bool:
        """Whether the step is followed by an evaluation, where there are images for it."""
        epoch, every = self.epoch_ended(step), self.keeping.evaluate_every
        return epoch is not None and every > 0 and (epoch % every == 0 or step == self.steps)

    def keeps(self, step: int) -> bool:
        """Whether the step's checkpoint is kept for good."""
        epoch, every = self.epoch_ended(step), self.keeping.keep_every
        return epoch is not None and every > 0 and epoch % every == 0

    def saves(self, step: int, last: int, seconds: float) -> bool:
        """Whether a checkpoint is due after the step, when the last one is of step `last` and so many seconds old."""
        keeping = self.keeping
        if self.keeps(step):
            return True
        if keeping.checkpoint_steps is not None:
            return step - last >= keeping.checkpoint_steps
        if keeping.checkpoint_minutes == 0:
            return self.epoch_ended(step) is not None
        return seconds / 60 >= keeping.checkpoint_minutes

    def saves_first(self, seconds: float) -> bool:
        """Whether to save before evaluating as well, when the last checkpoint is so many seconds old."""
        return seconds >= _SECONDS_AT_RISK
