"""`python -m tleg.training RUN_DIR`, or the same under torchrun: one process of a run."""

import faulthandler
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from tleg.runs.run import RunFolder


def main() -> None:
    """Train the run in the folder that is named, and exit with its code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m tleg.training RUN_DIR")
    # Where it crashes, and where it is when somebody asks with kill -USR2, goes into the log.
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2)
    from tleg.training.process import StopSignals

    signals = StopSignals()
    signals.install()
    path = Path(sys.argv[1])
    folder = RunFolder(path.absolute())
    # Before torch is imported, which looks at OMP_NUM_THREADS once.
    from tleg.runs.inputs import threads_of
    from tleg.threads import use_threads

    threads = threads_of(folder)
    use_threads(threads.count)

    try:
        from tleg.training.distributed import leave
        from tleg.training.process import tolerate_full_disks
        from tleg.training.worker import run_trainer
    except Exception as error:  # Whatever a broken installation raises.
        _leave_without_libraries(folder, error)

    tolerate_full_disks()

    leave(run_trainer(path, signals, threads))


def _leave_without_libraries(folder: RunFolder, error: Exception) -> NoReturn:
    """Say which library does not load, where viewers look as well: there is nothing yet that could write events."""
    from tleg.errors import ExitCode, explain, last_words
    from tleg.runs.state import store_failure

    traceback.print_exc()
    reason = explain(error) or f"unexpected {type(error).__name__}: {last_words(error)}"
    store_failure(folder, ExitCode.FAILED, reason)
    print(f"tleg: {reason}", file=sys.stderr)
    sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
