"""Studies, and runs side by side."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tleg.api.names import Name
from tleg.errors import InputError

if TYPE_CHECKING:
    from tleg.runs.slurm import SlurmOptions
    from tleg.study.compare import Comparison
    from tleg.study.results import StudyResults
    from tleg.study.schedule import Progress


def run_study(
    file: Name,
    output: Name | None = None,
    *,
    slots: "int | Literal['auto'] | None" = None,
    slurm: "SlurmOptions | None" = None,
    wait: bool = True,
    overwrite: bool = False,
    progress: "Callable[[Progress], None] | None" = None,
) -> "StudyResults":
    """Train what a study's file asks for and is not trained yet, and return what was measured.

    output     the study's folder; None is the file without its ending
    slots      trainings at a time, each with its part of the processor's cores; None is one, 'auto' one for each GPU. Jobs
               in SLURM's queue at a time; None is as many as there are
    slurm      every training is a batch job that asks for this
    wait       until all is trained; False, with `slurm` alone, submits what can be submitted by now
    overwrite  train anew what the file now says otherwise than when it was trained
    progress   called with all that happens

    The results are in `results.json` of the folder as well, as far as they are known, at any moment. Raises InputError
    before the first training for what is wrong in the file; a training that fails is in the results. KeyboardInterrupt
    saves and stops the trainings at work, and takes waiting jobs out of the queue.
    """
    from tleg.runs.work import WorkFolder
    from tleg.study.batch import Batch
    from tleg.study.file import read_study
    from tleg.study.plan import check_grid
    from tleg.study.schedule import Scheduler
    from tleg.study.slots import Here, count_devices

    if slots == "auto":
        slots = max(1, count_devices())
    if slurm is None and not wait:
        raise InputError("only jobs of SLURM go on without who waits for them", field=("wait", "slurm"), code="conflict")
    path = Path(file)
    study = read_study(path)
    folder = WorkFolder(path.with_suffix("") if output is None else Path(output))
    place = Here(1 if slots is None else slots) if slurm is None else Batch(slurm, slots)
    scheduler = Scheduler(study, folder, place, force=overwrite, report=progress or (lambda _: None))
    check_grid(study, scheduler.plan)
    return scheduler.train(wait=wait)


def compare_runs(runs: "Sequence[Name]", runs_dir: Name | None = None) -> "Comparison":
    """Return runs side by side, finished or not: options in which they differ, accuracy by depth, what they cost.

    runs      two or more, as on the command line: ids, the beginnings of them, 'last', or paths
    runs_dir  the folder of the runs; None is the usual one

    Runs that differ in their seed alone are one arm; `arms` of the result compares every other arm with the first run's, by
    the seeds that both have, unless data differ. Files are read alone; torch is not loaded. Raises InputError for a name
    that is none and for fewer than two runs, FileFormatError for a run that is damaged.
    """
    from tleg.paths import runs_folder
    from tleg.runs.listing import resolve_run
    from tleg.study.compare import compare_folders

    place = runs_folder() if runs_dir is None else Path(runs_dir)
    return compare_folders([resolve_run(os.fspath(run), place) for run in runs])
