"""The signals that ask a trainer to save and end."""

import signal
from typing import Final

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
