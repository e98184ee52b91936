"""`python -m tleg.training RUN_DIR`, or the same under torchrun: one process of a run."""

import faulthandler
import signal
import sys
from pathlib import Path


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
    path = Path(sys.argv[1])
    # Before torch is imported, which looks at OMP_NUM_THREADS once.
    from tleg.runs.layout import RunFolder
    from tleg.runs.run_threads import threads_of
    from tleg.threads import use_threads

    threads = threads_of(RunFolder(path))
    use_threads(threads.count)

    from tleg.training.distributed import leave
    from tleg.training.log_stream import tolerate_full_disks
    from tleg.training.run import run_trainer

    tolerate_full_disks()

    leave(run_trainer(path, signals, threads))


if __name__ == "__main__":
    main()
