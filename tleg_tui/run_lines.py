"""Runs as lines of text: what the table of runs writes for each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.runs.state import RunState
from tleg.runs.text import format_progress, format_top1
from tleg.text import GLYPHS, printable
from tleg_tui.run_list import RunRow

_MADE_ID: Final = re.compile(r"\d{6}-\d{6}-(?=.)")


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run as it is written: figures are texts, so that a line that reads the same is not painted again."""

    key: Path
    state: str
    cells: dict[str, str]
    losses: tuple[float | None, ...]


def run_line(row: RunRow, now: float) -> RunLine:
    """Return a run as a line, `now` being Unix time."""
    state = row.look.state
    cells = {
        "state": f"{GLYPHS[row.state]} {row.state}",
        "name": printable(short_name(row.id)),
        "run": printable(row.id),
        "kind": row.spec.kind,
        "data": printable(data_of(row)),
        "from": printable(origin_of(row)),
        "epochs": format_epochs(state),
        "top-1": format_top1(row.look.snapshot.best),
        "left": coarse(state.eta) if row.state == "running" and state.eta is not None else "",
        "age": coarse(now - row.spec.created),
    }
    return RunLine(row.folder.path, row.state, cells, row.losses)


def short_name(identity: str) -> str:
    """What of a run's id a person gave it: without the date and the time before it."""
    return _MADE_ID.sub("", identity, count=1)


def matches(row: RunRow, words: Sequence[str]) -> bool:
    """Whether all words, in small letters, stand in a run's id, kind, state, data or origin."""
    text = f"{row.id} {row.spec.kind} {row.state} {row.recipe_value('data')} {origin_of(row)}".lower()
    return all(word in text for word in words)


def data_of(row: RunRow) -> str:
    """The data set, a folder by its name."""
    text = row.recipe_value("data")
    return last_part(text) if isinstance(text, str) else ""


def origin_of(row: RunRow) -> str:
    """What a run starts from: 'gene at depth 8' for a learngene at a depth, a model, a checkpoint, or the teacher."""
    value = row.recipe_value
    learngene = value("learngene")
    if isinstance(learngene, str):
        name = _without_suffix(last_part(learngene))
        return name if value("depth") is None else f"{name} at depth {value('depth')}"
    names: tuple[Any, ...] = (value("teacher"),) if row.spec.kind == "learn" else (value("checkpoint"), value("model"))
    given = next((each for each in names if isinstance(each, str) and each), None)
    if given is not None:
        return f"teacher {last_part(given)}" if row.spec.kind == "learn" else last_part(given)
    architecture = value("architecture")
    return architecture if isinstance(architecture, str) else ""


def format_epochs(state: RunState) -> str:
    """How far a run is: '3.2/20', in epochs; nothing before its first step."""
    return format_progress(state).removesuffix(" epochs")


def coarse(seconds: float) -> str:
    """Write a time so that it seldom changes: '<1 min', '12 min', '5 h', '3 d'."""
    if seconds < 60:
        return "<1 min"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86400)} d"


def last_part(text: str) -> str:
    """The last part of a path; a name with a colon or without a slash as it is."""
    return text.rstrip("/").rpartition("/")[2] or text


def _without_suffix(text: str) -> str:
    return text.removesuffix(".safetensors")
