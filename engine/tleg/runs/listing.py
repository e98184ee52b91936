"""Finding runs: all of them, or the one that somebody means."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tleg.errors import InputError, concerning, describe_os_error, did_you_mean
from tleg.runs.run import LAST, RunFolder
from tleg.runs.spec import read_spec

_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class SkippedFolder:
    """A folder among the runs that is none, or that is damaged."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class RunListing:
    """The runs of a folder, newest first, and what was left out. Iterates over the runs."""

    runs: tuple[RunFolder, ...] = ()
    skipped: tuple[SkippedFolder, ...] = ()

    def __iter__(self) -> Iterator[RunFolder]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


def list_runs(runs_dir: Path) -> RunListing:
    """Return the runs of a folder, newest first. A missing folder holds none.

    Files and hidden folders are passed over; other folders that are no runs, and runs whose spec.json is damaged, are named
    in `skipped`. Raises InputError when the folder cannot be read.
    """
    found: list[tuple[float, str, RunFolder]] = []
    skipped: list[SkippedFolder] = []
    for path in _folders(runs_dir):
        folder = RunFolder(path)
        try:
            created = read_spec(folder).created
        except InputError as error:
            if folder.spec_file.exists():
                skipped.append(SkippedFolder(path, str(error)))
            elif path.exists():  # It may have been removed since.
                skipped.append(SkippedFolder(path, "not a run: it has no spec.json"))
        else:
            found.append((created, folder.id, folder))
    found.sort(key=lambda each: each[:2], reverse=True)
    return RunListing(tuple(folder for _, _, folder in found), tuple(skipped))


@concerning("run")
def resolve_run(text: str, runs_dir: Path) -> RunFolder:
    """Return the run that a text means: an id, the beginning of exactly one id, 'last' for the newest, or a path.

    A text with a slash is always a path. One without that names the folder of a run here and another run of `runs_dir` is
    refused, with how to write either. A run whose spec.json is damaged can be named, so that it can be removed. Raises
    InputError, with the closest id or with those that the text could mean.
    """
    if not text:
        raise InputError("name a run: its id, the beginning of its id, 'last', or its folder", code="missing")
    if os.sep in text or text in (".", ".."):
        return _at_path(text)
    here = RunFolder(Path(text).absolute())
    if here.spec_file.is_file():
        run = find_run(text, runs_dir, beginnings=False)
        if run is not None and not run.path.samefile(here.path):
            raise InputError(
                f"'{text}' is a run's folder here and run {run.id} of {runs_dir}; "
                f"write ./{text} for the one, and {run.path} for the other",
                code="ambiguous",
            )
        return here
    run = find_run(text, runs_dir)
    if run is not None:
        return run
    if Path(text).is_dir():
        return _at_path(text)
    names = run_ids(runs_dir)
    if not names:
        raise InputError(
            f"there are no runs in {runs_dir}" if text == LAST else f"no run '{text}': there are no runs in {runs_dir}",
            code="not-found",
        )
    raise InputError(f"no run '{text}' in {runs_dir}.{did_you_mean(text, [*names, LAST])}", code="not-found")


def find_run(text: str, runs_dir: Path, *, beginnings: bool = True) -> RunFolder | None:
    """Return the run of a folder that an id means, the beginning of exactly one id, or 'last'; None when there is none.

    beginnings  whether the beginning of an id is enough

    Raises InputError, with what it could be, for the beginning of several.
    """
    names = run_ids(runs_dir)
    if text in names:
        return RunFolder(runs_dir.absolute() / text)
    if text == LAST:
        runs = list_runs(runs_dir).runs
        return runs[0] if runs else None
    matches = sorted((name for name in names if beginnings and text and name.startswith(text)), reverse=True)
    if len(matches) > 1:
        more = f" and {len(matches) - _MOST_NAMED} more" if len(matches) > _MOST_NAMED else ""
        raise InputError(
            f"'{text}' could be {', '.join(matches[:_MOST_NAMED])}{more}; type more of the id", code="ambiguous"
        )
    return RunFolder(runs_dir.absolute() / matches[0]) if matches else None


def run_ids(runs_dir: Path) -> list[str]:
    """The ids of the runs of a folder, damaged ones among them. Raises InputError when it cannot be read."""
    return [path.name for path in _folders(runs_dir) if RunFolder(path).spec_file.is_file()]


def _at_path(text: str) -> RunFolder:
    try:
        folder = RunFolder(Path(text).expanduser().absolute())
        found = folder.path.is_dir()
    except RuntimeError as error:
        raise InputError(f"{text} is no folder: there is no such user", code="not-found") from error
    except OSError as error:
        raise InputError(f"cannot read {text}: {describe_os_error(error)}", code="system") from error
    if not found:
        raise InputError(
            f"{text} is no folder; name a run by its id, the beginning of its id, 'last', or its folder", code="not-found"
        )
    # Without '..' and a slash at the end, so that the id is the folder's own name.
    folder = RunFolder(Path(os.path.normpath(folder.path)))
    if not folder.spec_file.is_file():
        raise InputError(f"{text} is not a run: it has no spec.json", code="wrong-kind")
    return folder


def _folders(runs_dir: Path) -> list[Path]:
    try:
        with os.scandir(runs_dir) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read the runs in {runs_dir}: {describe_os_error(error)}", code="system") from error
    return [runs_dir.absolute() / name for name in names]
