"""The trainings of a study as batch jobs of SLURM: those that need a result are put behind the job that makes it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from tleg.errors import InputError, TlegError
from tleg.launch import make_training, resume_training, submit_training
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.processes import find_program, jobs_in_queue
from tleg.runs.run import RunFolder
from tleg.runs.slurm import SlurmOptions
from tleg.runs.spec import read_spec
from tleg.runs.state import observe
from tleg.study.slots import Place

# Between two looks at SLURM's queue, whose controller serves many people.
_LOOK_SECONDS: Final = 30.0


@dataclass(slots=True)
class Batch(Place):
    """SLURM.

    options  what each job asks for
    most     jobs in the queue at a time, waiting or running; None is as many as there are

    Raises TlegError where there is no sbatch, InputError for fewer than one job.
    """

    options: SlurmOptions
    most: int | None = None
    _listed: frozenset[str] | None = field(default=None, init=False)
    _looked: float = field(default=float("-inf"), init=False)
    _missing: frozenset[str] = field(default=frozenset(), init=False)

    chains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise InputError(f"a study needs at least 1 slot, not {self.most}", field="slots", code="out-of-range")
        find_program("sbatch")

    @property
    def limit(self) -> int | None:
        """The jobs at a time."""
        return self.most

    @property
    def machine(self) -> str:
        """What is known of it here."""
        most = "" if self.most is None else f", {self.most} at a time"
        partition = "" if self.options.partition is None else f", partition {self.options.partition}"
        return f"jobs of SLURM{partition}{most}"

    def make(
        self, recipe: TrainingRecipe, runs_dir: Path, working: Sequence[RunFolder], later: Sequence[str] = ()
    ) -> RunFolder:
        """Make the run of a training."""
        return make_training(recipe, runs_dir, slurm=self.options, later=later)

    def start(self, folder: RunFolder, after: Sequence[RunFolder]) -> None:
        """Submit a run; one that SLURM does not take is removed."""
        submit_training(folder, _jobs(after))

    def resume(self, folder: RunFolder, after: Sequence[RunFolder], working: Sequence[RunFolder]) -> None:
        """Submit a run again, with what is asked for by now."""
        resume_training(folder, None, self.options, after=_jobs(after))

    def queued(self, folder: RunFolder) -> bool:
        """Whether the job of a run is in the queue, as it was half a minute ago, or SLURM does not say."""
        job = read_spec(folder).launch.job_id
        if job is None:
            return False
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._look()
        return self._listed is None or job in self._listed

    def gone(self, waiting: Sequence[RunFolder]) -> list[RunFolder]:
        """Return those of the runs in the state 'queued' whose jobs SLURM has no more, seen twice.

        A look comes every half a minute at most; in between nothing is gone.
        """
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return []
        listed = self._look()
        if listed is None:
            return []
        jobs = {job: folder for folder in waiting if (job := read_spec(folder).launch.job_id) is not None}
        missing = frozenset(jobs) - listed
        twice, self._missing = missing & self._missing, missing
        # Its trainer may have said something in the meantime.
        return [jobs[job] for job in sorted(twice) if observe(jobs[job]).state == "queued"]

    def _look(self) -> frozenset[str] | None:
        self._looked, self._listed = time.monotonic(), jobs_in_queue()
        return self._listed


def _jobs(after: Sequence[RunFolder]) -> list[str]:
    """The jobs of runs that have not ended well yet; of one that has, SLURM may have forgotten the job."""
    jobs = []
    for folder in after:
        job = read_spec(folder).launch.job_id
        if observe(folder).state != "finished":
            if job is None:
                raise TlegError(f"run {folder.id} is no job of SLURM, so no other can wait for it", code="wrong-state")
            jobs.append(job)
    return jobs
