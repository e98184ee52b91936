"""The folder of a command that trains several models: which run is which training, and who is at work in it."""

import fcntl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError, describe_os_error
from tleg.files import new_file
from tleg.runs.run import RunFolder, read_document
from tleg.runs.spec import read_spec
from tleg.serialize import decode, to_json

# What a training may be computed with without being another one.
_HOW: Final = frozenset({"threads", "workers", "device", "devices"})


@dataclass(slots=True)
class WorkFolder:
    """The files of a study or a family, and which run is which training.

    command  whose folder it is: 'study' has study.json and study.lock
    """

    path: Path
    command: str = "study"
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def runs_dir(self) -> Path:
        """The folder of its runs."""
        return self.path / "runs"

    @property
    def results_file(self) -> Path:
        """What was measured so far."""
        return self.path / "results.json"

    @property
    def _file(self) -> Path:
        return self.path / f"{self.command}.json"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be the one who trains: the folder is made, and held until the end, however this process ends.

        Raises InputError when another process does already, and when the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / f"{self.command}.lock").open("a")
        except OSError as error:
            reason = describe_os_error(error)
            raise InputError(
                f"cannot write the folder {self.path} of the {self.command}: {reason}", field="output", code="system"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another `tleg {self.command}` is at work in {self.path}", field="output", code="wrong-state"
                ) from None
            yield

    def read(self) -> None:
        """Read which run is which. Raises FileFormatError."""
        file = self._file
        if file.exists():
            self.runs = decode(dict[str, str], read_document(file), str(file))

    def note(self, task: str, run: str) -> None:
        """Note a run, in one step. Raises TlegError."""
        self.runs[task] = run
        with new_file(self._file, overwrite=True) as target:
            target.write_text(to_json(self.runs) + "\n", encoding="utf-8")

    def run_of(self, task: str) -> RunFolder | None:
        """Return the run of a training, while it is there."""
        name = self.runs.get(task)
        folder = None if name is None else RunFolder(self.runs_dir / name)
        return folder if folder is not None and folder.exists else None


def trained_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a recipe without those that say how it is computed."""
    return {name: value for name, value in values.items() if name not in _HOW}


def what_changed(name: str, folder: RunFolder, values: Mapping[str, Any], needs: Collection[str] = ()) -> str | None:
    """Say what a run was trained with that a recipe's values now say otherwise; None where they are the same.

    name   of the training, as its folder notes it
    needs  options that name results of other trainings, which are not compared
    """
    was, now = trained_values(read_spec(folder).recipe), trained_values(values)
    changed = next((each for each in sorted({*was, *now} - {*needs}) if was.get(each) != now.get(each)), None)
    if changed is None:
        return None
    return (
        f"{name} was trained with another {changed} ({was.get(changed)}, now {now.get(changed)}); take another --output, or "
        "train it anew with --force"
    )
