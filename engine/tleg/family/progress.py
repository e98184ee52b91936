"""How far a family is: a file in its folder that its one maker writes, and that whoever shows the family reads.

Standard library only.
"""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from tleg.errors import TlegError
from tleg.files import new_file
from tleg.runs.processes import hostname, is_alive, start_ticks
from tleg.runs.run import read_document
from tleg.serialize import decode, encode, to_json

PROGRESS: Final = "progress.json"
LOG: Final = "family.log"
# Steps beside those of the devices.
LEARNGENE_STEP: Final = "learngene"
ANCESTOR: Final = "ancestor"
Stage = Literal["waiting", "choosing", "training", "exporting", "measuring", "done", "failed"]
_IMAGES_SECONDS: Final = 1.0
_LOG_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Step:
    """Where a device, the learngene or the ancestor is: a stage, and a sentence about it. images  done and in all."""

    stage: Stage
    text: str = ""
    images: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FamilyProgress:
    """How far a family is.

    host, pid, started  the process that makes it, or made it, and its start in clock ticks since boot
    folder   where it works
    file     the family's file, which alone says what is made; None where other options say something as well
    began, ended  Unix time; `ended` is None while it is at work
    problem  why it ended before all was done
    steps    ancestor and learngene where they are made, then the devices
    """

    version: Literal[1]
    host: str
    pid: int
    started: int | None
    folder: str
    file: str | None
    began: float
    ended: float | None = None
    problem: str | None = None
    steps: Mapping[str, Step] = field(default_factory=dict)

    @property
    def at_work(self) -> bool:
        """Whether its process lives; of another machine's that is not seen, and what it said last counts."""
        return self.ended is None and (self.host != hostname() or is_alive(self.pid, self.started))

    @property
    def lost(self) -> bool:
        """Whether its process is gone without a last word."""
        return self.ended is None and not self.at_work


def read_progress(folder: Path) -> FamilyProgress | None:
    """Read how far the family of a folder is; None where none was begun there. Raises FileFormatError."""
    path = folder / PROGRESS
    if not path.exists():
        return None
    return decode(FamilyProgress, read_document(path), str(path))


def last_words(folder: Path) -> str:
    """Return the last line that the process of a family wrote, without the name of its command; '' where there is none."""
    with suppress(OSError), (folder / LOG).open("rb") as log:
        log.seek(max(log.seek(0, os.SEEK_END) - _LOG_BYTES, 0))
        lines = log.read().decode("utf-8", "replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "").removeprefix("tleg: ")
    return ""


def begun_by(pid: int, folder: Path, file: Path | None, names: Iterable[str] = ()) -> FamilyProgress:
    """Return the progress of a family that a process has just begun in a working folder, nothing of which is made."""
    steps = {name: Step("waiting") for name in names}
    named = None if file is None else str(folder / file)
    return FamilyProgress(1, hostname(), pid, start_ticks(pid), str(folder), named, time.time(), steps=steps)


class ProgressWriter:
    """Says how far the family of a folder and a file is. Only the process that holds the folder may write."""

    def __init__(self, folder: Path, file: Path | None = None) -> None:
        self._folder, self._file = folder, file
        self._now = begun_by(os.getpid(), Path.cwd(), file)
        self._counted = 0.0

    def begin(self, names: Iterable[str]) -> None:
        """Begin, with all that is to be made. Raises TlegError."""
        self._write(begun_by(os.getpid(), Path.cwd(), self._file, names))

    def step(self, name: str, stage: Stage, text: str = "") -> None:
        """Say where one of them is. Raises TlegError."""
        self._write(replace(self._now, steps={**self._now.steps, name: Step(stage, text)}))

    def count(self, name: str, done: int, total: int) -> None:
        """Say how many images are done, once a second at most."""
        step, now = self._now.steps.get(name), time.monotonic()
        if step is not None and now - self._counted >= _IMAGES_SECONDS:
            self._counted = now
            self._write(replace(self._now, steps={**self._now.steps, name: replace(step, images=(done, total))}))

    def end(self, problem: str | None = None) -> None:
        """End. A disk that is full does not hide why."""
        with suppress(TlegError):
            self._write(replace(self._now, ended=time.time(), problem=problem))

    def _write(self, progress: FamilyProgress) -> None:
        self._now = progress
        write_progress(self._folder, progress)


def write_progress(folder: Path, progress: FamilyProgress) -> None:
    """Write how far a family is, in one step. Raises TlegError."""
    with new_file(folder / PROGRESS, overwrite=True) as target:
        target.write_text(to_json(encode(progress)) + "\n", encoding="utf-8")
