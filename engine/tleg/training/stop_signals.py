"""The signals that ask a trainer to save and end.

Nothing of torch is imported here: the signals are handled before that, which takes seconds.
"""

import os
import signal
from typing import Final

from tleg.runs.slurm_programs import job_cancelled

# Save, and ask to be started again: what a SLURM job gets some time before its end.
CONTINUE_LATER: Final = signal.SIGUSR1


class StopSignals:
    """Remembers the first signal that came. The step in progress is finished, and the loop asks here after it."""

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self) -> None:
        """Handle SIGTERM, SIGINT and SIGUSR1; ignore SIGHUP, which comes when a terminal closes."""
        for number in (signal.SIGTERM, signal.SIGINT, CONTINUE_LATER):
            signal.signal(number, self._remember)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _remember(self, number: int, frame: object) -> None:
        self.received = self.received or number

    def continues(self, *, batch_job: bool) -> bool:
        """Whether what was received means that the run is to be started again.

        A SIGTERM to a batch job is SLURM's, not the user's, unless the job was cancelled: it is preempted, or its machine is
        needed. Whoever asks through the run's folder sends no signal.
        """
        if self.received == CONTINUE_LATER:
            return True
        job_id = os.environ.get("SLURM_JOB_ID")
        return batch_job and self.received == signal.SIGTERM and job_id is not None and not job_cancelled(job_id)
