"""The folder of a study: which run is which training, who is at work in it, and what was measured."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tleg.errors import InputError, describe_os_error
from tleg.files import new_file
from tleg.runs.run import RunFolder, read_document
from tleg.serialize import decode, to_json


@dataclass(slots=True)
class StudyFolder:
    """The files of a study, and which run is which training."""

    path: Path
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def runs_dir(self) -> Path:
        """The folder of its runs."""
        return self.path / "runs"

    @property
    def results_file(self) -> Path:
        """What was measured so far."""
        return self.path / "results.json"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be the one who trains the study: the folder is made, and held until the end, however this process ends.

        Raises InputError when another process does already, and when the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / "study.lock").open("a")
        except OSError as error:
            reason = describe_os_error(error)
            raise InputError(
                f"cannot write the study's folder {self.path}: {reason}", field="output", code="system"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another `tleg study` is at work in {self.path}", field="output", code="wrong-state"
                ) from None
            yield

    def read(self) -> None:
        """Read which run is which. Raises FileFormatError."""
        file = self.path / "study.json"
        if file.exists():
            self.runs = decode(dict[str, str], read_document(file), str(file))

    def note(self, task: str, run: str) -> None:
        """Note a run, in one step. Raises TlegError."""
        self.runs[task] = run
        with new_file(self.path / "study.json", overwrite=True) as target:
            target.write_text(to_json(self.runs) + "\n", encoding="utf-8")

    def run_of(self, task: str) -> RunFolder | None:
        """Return the run of a training, while it is there."""
        name = self.runs.get(task)
        folder = None if name is None else RunFolder(self.runs_dir / name)
        return folder if folder is not None and folder.exists else None
