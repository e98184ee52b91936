"""Which files a run's folder holds: the one list, which removing a run and the documents follow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Final

# What the newest run is called, wherever a run is named.
LAST: Final = "last"
# Names with what they are; a slash marks a folder, a star stands for any letters.
CONTENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "spec.json": "what is trained: recipe, equal command line, versions, working folder, output, how it is launched",
        "inputs.json": "what that depends on, as it was at the start: classes, images, models, threads",
        "events.jsonl": "what happened, one JSON object a line, appended by one writer",
        "state.json": "where it stands, replaced in one step",
        "run.lock": "held by the trainer for its life",
        "train.log": "what the trainer printed",
        "checkpoints/": "step-000001200/ and the like",
        "exports/": "the result, `learngene.safetensors` or the folder `model`; `--output` gets a copy",
        "published.json": "the hashes of what it put at its output, which it may replace",
        "stop": "is there once the run was asked to stop",
        "failure.json": "why a process other than the first failed, when several train",
        "job.sh": "the batch script, for a run under SLURM",
        "tracked-*.json": "how far `tleg track` has sent the curves to another program",
        "tensorboard/": "the event files that `tleg track --to tensorboard` writes",
    }
)


def belongs(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a run's folder is one that tleg makes there. A link to a folder never is."""
    if entry.is_dir() and entry.is_symlink():
        return False
    name = f"{entry.name}/" if entry.is_dir() else entry.name
    if any(fnmatchcase(name, known) for known in CONTENTS):
        return True
    # A killed writer leaves '.state.json.4711.4712.tmp' and the like beside a file of the run.
    plain = [known.rstrip("/") for known in CONTENTS]
    return any(fnmatchcase(entry.name, f".{each}.*.{ending}") for each in plain for ending in ("tmp", "old"))


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run, as the folder that holds it. CONTENTS says what each file is."""

    path: Path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def exists(self) -> bool:
        """Whether it is there: a folder without spec.json is what is left of a run that was removed."""
        return self.spec_file.is_file()

    @property
    def spec_file(self) -> Path:
        """What the run is."""
        return self.path / "spec.json"

    @property
    def inputs_file(self) -> Path:
        """What the run depends on, as it was at the start."""
        return self.path / "inputs.json"

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
