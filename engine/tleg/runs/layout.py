"""Which files a run's folder holds."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run, as the folder that holds it.

    spec.json     what the run is: written before launch
    events.jsonl  what happened: append-only, one writer
    state.json    where it stands: replaced atomically
    run.lock      locked by the trainer for its life
    train.log     standard output and error of the trainer
    published.json  what was put at the output
    stop          a request to stop
    job.sh        the batch script, for a run under SLURM
    checkpoints/  to go on from
    exports/      the result
    """

    path: Path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def spec_file(self) -> Path:
        """What the run is."""
        return self.path / "spec.json"

    @property
    def events_file(self) -> Path:
        """What happened."""
        return self.path / "events.jsonl"

    @property
    def state_file(self) -> Path:
        """Where the run stands."""
        return self.path / "state.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the trainer for its life."""
        return self.path / "run.lock"

    @property
    def log_file(self) -> Path:
        """Standard output and error of the trainer."""
        return self.path / "train.log"

    @property
    def stop_file(self) -> Path:
        """A request to stop, while it exists."""
        return self.path / "stop"

    @property
    def job_file(self) -> Path:
        """The batch script of a run under SLURM."""
        return self.path / "job.sh"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def exports(self) -> Path:
        """The folder of results."""
        return self.path / "exports"
