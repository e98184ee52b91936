"""The learngenes that the workbench offers, and what is known of their accuracy."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tleg import tuned
from tleg.errors import InputError, TlegError
from tleg.learngene.container import LearngeneFile, read_file
from tleg.references import DEFAULT_LEARNGENE, SUFFIX, shipped
from tleg.tuned import EvaluatedRun, Place, Tuned
from tleg_tui.run_list import RunList

Origin = Literal["shipped", "opened", "folder", "run"]
_MOST_IN_FOLDER: Final = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A learngene on the list: a file with its header, or the sentence that says why it cannot be used.

    name    what the list shows, and what names it on a command line
    origin  'shipped' with tleg, 'opened' by the user, found in the working 'folder', or the result of a 'run'
    """

    name: str
    path: Path
    origin: Origin
    file: LearngeneFile | None
    error: str | None = None

    @property
    def argument(self) -> str:
        """How a command line names it."""
        if self.origin == "shipped":
            return self.name
        try:
            text = str(self.path.relative_to(Path.cwd()))
        except (ValueError, OSError):
            return str(self.path)
        return f"./{text}" if text.startswith("-") else text


def open_entry(path: Path, origin: Origin = "opened", name: str | None = None) -> Entry:
    """Read a learngene's header. One that cannot be used is an entry with its error. Never raises."""
    shown = name or path.name
    try:
        return Entry(shown, path, origin, read_file(path))
    except (TlegError, OSError) as error:
        return Entry(shown, path, origin, None, " ".join(str(error).split()))


class Learngenes:
    """The learngenes that are offered. A header is read again when its file changed, and not before."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, Origin], tuple[tuple[int, int], Entry]] = {}

    def find(self, opened: Iterable[str], folder: Path, runs: RunList) -> tuple[Entry, ...]:
        """Return what is shipped, was opened, lies in a folder or came out of runs; each file once, in this order.

        A file of the folder that is no learngene is passed over; one that the user opened is shown with its error.
        """
        entries: dict[Path, Entry] = {}

        def add(entry: Entry, *, passed_over: bool = False) -> None:
            if not passed_over or entry.file is not None:
                entries.setdefault(entry.path.resolve(), entry)

        for name, path in sorted(shipped().items(), key=lambda item: (item[0] != DEFAULT_LEARNGENE, item[0])):
            add(self._entry(path, "shipped", name))
        for text in opened:
            add(self._entry(Path(text), "opened"))
        for path in _files(folder):
            add(self._entry(path, "folder"), passed_over=True)
        for row in runs.rows:
            if row.spec.kind == "learn" and row.result is not None and row.result.suffix == SUFFIX:
                name = row.result.name if row.spec.output else _name_of_run(row.id)
                add(self._entry(row.result, "run", name), passed_over=True)
        return tuple(entries.values())

    def _entry(self, path: Path, origin: Origin, name: str | None = None) -> Entry:
        try:
            facts = path.stat()
            stamp = (facts.st_mtime_ns, facts.st_size)
        except OSError:
            stamp = (0, 0)
        known = self._read.get((path, origin))
        if known is None or known[0] != stamp:
            known = self._read[path, origin] = (stamp, open_entry(path, origin, name))
        return known[1]


def tuned_by_data(entry: Entry, runs: RunList) -> dict[str, dict[Place, Tuned]]:
    """Return what runs reached that fine-tuned a descendant of this learngene; see `tleg.tuned.tuned_by_data`."""
    if entry.file is None:
        return {}
    return tuned.tuned_by_data(entry.file, (EvaluatedRun(row.id, row.spec, row.look.snapshot.best) for row in runs.rows))


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())[:_MOST_IN_FOLDER]
    except OSError:
        return []


def _name_of_run(run: str) -> str:
    """A run's id without the date in front, which would fill the list."""
    return re.sub(r"^\d{6}-\d{6}-", "", run)


def first_choice(entries: Iterable[Entry], wanted: str | None) -> Entry | None:
    """Return the entry that was chosen last, else the first that can be used, else the first."""
    known = tuple(entries)
    for entry in known:
        if wanted is not None and wanted in (entry.name, str(entry.path)) and entry.file is not None:
            return entry
    return next((entry for entry in known if entry.file is not None), known[0] if known else None)


def resolve_path(text: str) -> Path:
    """Return the path that a person typed or dragged in: quotes, escaped blanks, 'file://' and '~' are understood.

    Raises InputError when it is empty, or names the home of a user that there is not.
    """
    cleaned = text.strip()
    if len(cleaned) > 1 and cleaned[0] == cleaned[-1] and cleaned[0] in "'\"":
        cleaned = cleaned[1:-1]
    elif "\\ " in cleaned:
        cleaned = cleaned.replace("\\ ", " ")
    if cleaned.startswith("file://"):
        from urllib.parse import unquote

        cleaned = unquote(cleaned.removeprefix("file://"))
    if not cleaned:
        raise InputError("name a file")
    try:
        return Path(cleaned).expanduser()
    except RuntimeError as error:
        raise InputError(f"there is no user {cleaned[1:].split(os.sep)[0]}") from error
