"""The folder of a run: its files (the one list), what its result is called, what it published, where it is now."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tleg.errors import FileFormatError, describe_os_error
from tleg.files import FOLDER_FILES, hash_file, new_file, readable_name

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
    def failure_file(self) -> Path:
        """Why a process other than the first failed."""
        return self.path / "failure.json"

    @property
    def published_file(self) -> Path:
        """The hashes of what the run put at its output."""
        return self.path / "published.json"

    @property
    def job_file(self) -> Path:
        """The batch script of a run under SLURM."""
        return self.path / "job.sh"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to go on from; it may be damaged."""
        return any(self.checkpoints.glob("step-*"))

    @property
    def exports(self) -> Path:
        """The folder of results."""
        return self.path / "exports"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def tracked_file(self, tracker: str) -> Path:
        """How far the events were sent to a tracker."""
        return self.path / f"tracked-{tracker}.json"


def read_document(path: Path) -> Any:
    """Return the JSON document in a file of a run. Raises FileFormatError, naming it, when it is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {describe_os_error(error)}") from error
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is not JSON: {error}") from error


LEARNGENE: Final = "learngene.safetensors"
MODEL: Final = "model"


def name_of(path: Path) -> str:
    """Return what exports of a learngene, or of a folder that holds a model, are called after: its name without suffix.

    A result in a run's own folder has the same name in every run, so it is called by the run's id, which is its alone.
    """
    # Of a link to a file its own name counts, and '.' and 'x/..' are no names.
    place = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    run = RunFolder(place.parent.parent)
    if place.name in (LEARNGENE, MODEL) and place.parent == run.exports and run.spec_file.is_file():
        return run.id
    return readable_name(place.name if path.is_dir() else place.stem)


def contents(path: Path) -> dict[str, str] | None:
    """Return the hashes of a result's files, by name; None for what is not there. Raises OSError."""
    if path.is_file():
        return {"": hash_file(path)}
    if path.is_dir():
        return {each.name: hash_file(each) for each in path.iterdir() if each.name in FOLDER_FILES and each.is_file()}
    return None


def note_published(folder: RunFolder, hashes: Mapping[str, str]) -> None:
    """Note what the run is about to publish. Before, so that a kill in between leaves no output that nobody knows.

    Raises InputError and ExportError when the note cannot be written.
    """
    known = _read(folder)
    if hashes not in known:
        with new_file(folder.published_file, overwrite=True) as file:
            file.write_text(json.dumps([*known, dict(hashes)], indent=1) + "\n", "utf-8")


def is_published(folder: RunFolder, output: Path) -> bool:
    """Whether what is at the output is, file by file, what this run put there."""
    with suppress(OSError):
        found = contents(output)
        return found is not None and found in _read(folder)
    return False


def _read(folder: RunFolder) -> list[Mapping[str, str]]:
    try:
        known = read_document(folder.published_file)
    except FileFormatError:
        return []
    return [each for each in known if isinstance(each, dict)] if isinstance(known, list) else []


_DELETED: Final = " (deleted)"


class Presence:
    """Remembers a folder by what it is, so that another one of its name is not taken for it. For its trainer."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._away: str | None = None
        self._moved_to: RunFolder | None = None
        self._descriptor: int | None = None
        with suppress(OSError):  # Then spec.json alone tells.
            self._descriptor = os.open(folder.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def moved_to(self) -> RunFolder | None:
        """Where a folder that was moved is now, once `away` has noticed; None for one that was removed."""
        return self._moved_to

    def away(self) -> str | None:
        """Return what happened to the folder, in words, or None while it is there. Costs microseconds.

        A file system that does not answer tells nothing: what was removed is missing, and known to be missing.
        """
        if self._away is None:
            self._away = self._look()
        return self._away

    def _look(self) -> str | None:
        try:
            os.stat(self._folder.spec_file)
            if self._descriptor is None or os.path.samestat(os.stat(self._folder.path), os.fstat(self._descriptor)):
                return None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return None
        self._moved_to = self._find()
        return "was removed" if self._moved_to is None else f"was moved to {self._moved_to.path}"

    def _find(self) -> RunFolder | None:
        """The same folder under another path, when it is whole there."""
        if self._descriptor is None:
            return None
        try:
            path = os.readlink(f"/proc/self/fd/{self._descriptor}")
            if path.endswith(_DELETED) or not os.path.samestat(os.stat(path), os.fstat(self._descriptor)):
                return None
        except OSError:
            return None
        folder = RunFolder(Path(path))
        return folder if folder.exists and folder.path != self._folder.path else None
