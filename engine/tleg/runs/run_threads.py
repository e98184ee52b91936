"""The threads of a run's processes: those that it began with, so that it goes on to the same bits.

Sums on a processor are added in parts, one a thread, so the number of threads decides the last bits of a step.
"""

import os
from contextlib import suppress

from tleg.errors import InputError
from tleg.runs.inputs import read_inputs
from tleg.runs.layout import RunFolder
from tleg.runs.spec import read_spec
from tleg.threads import AUTO, Threads, choose_threads


def threads_of(folder: RunFolder) -> Threads:
    """Return the threads of this process of a run. Never raises: what is wrong with the run is told when it is trained."""
    text, workers = AUTO, 0
    with suppress(InputError):
        recipe = read_spec(folder).recipe
        text, workers = str(recipe.get("threads", AUTO)), int(recipe.get("workers", 0))
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    try:
        return choose_threads(
            text,
            processes=max(1, int(processes)),
            workers=workers,
            recorded=_recorded(folder),
        )
    except (InputError, ValueError):
        return Threads(1, "nothing else is known")


def _recorded(folder: RunFolder) -> int | None:
    """The threads with which a run came to its checkpoint; None for one that has none, or that is to choose anew."""
    if not any(folder.checkpoints.glob("step-*")):
        return None
    inputs = read_inputs(folder)
    if inputs is not None:
        return inputs.threads
    # Versions that noted nothing had OMP_NUM_THREADS, or one.
    return choose_threads(AUTO, workers=10**6).count
