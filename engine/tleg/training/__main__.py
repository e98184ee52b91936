"""`python -m tleg.training RUN_DIR`, or the same under torchrun: one process of a run."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

# Before torch is imported: with more threads than free processors everything takes many times longer.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    """Train the run in the folder that is named, and exit with its code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m tleg.training RUN_DIR")
    # Where it crashes, and where it is when somebody asks with kill -USR2, goes into the log.
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2)
    from tleg.training.stop_signals import StopSignals

    signals = StopSignals()
    signals.install()
    from tleg.training.distributed import leave
    from tleg.training.log_stream import tolerate_full_disks
    from tleg.training.run import run_trainer

    tolerate_full_disks()

    leave(run_trainer(Path(sys.argv[1]), signals))


if __name__ == "__main__":
    main()
