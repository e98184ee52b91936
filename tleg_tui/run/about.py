"""What a run is: its recipe, the equal command line, versions, and what it started from."""

import shlex
import time
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tleg.runs.run import RunFolder
from tleg.runs.spec import RunSpec
from tleg.text import printable
from tleg_tui.common.screens import Dialog

Group = tuple[str, list[tuple[str, str]]]  # A title, and lines of a name and a text.


class RunAboutScreen(Dialog[None]):
    """spec.json in words."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("u,y", "copy", "copy command", show=False)]
    DEFAULT_CSS = """
    RunAboutScreen .dialog { height: 94%; }
    RunAboutScreen VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    RunAboutScreen .hint { margin-top: 1; }
    """

    def __init__(self, folder: RunFolder, spec: RunSpec) -> None:
        super().__init__()
        self._folder = folder
        self._spec = spec

    def compose(self) -> ComposeResult:
        """Everything in one list that scrolls."""
        with Vertical(classes="dialog"):
            yield Static(f"Run {printable(self._folder.id)}", classes="dialog-title", markup=False)
            with VerticalScroll():
                yield _About(self._folder, self._spec)
            yield Static("u copies the command, esc closes", classes="hint")

    def on_mount(self) -> None:
        """The arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def action_copy(self) -> None:
        """Copy the command line."""
        self.app.copy_to_clipboard(command_line(self._spec))
        self.host.tell("copied the command")


class _About(Static):
    """The list, written anew for every width."""

    DEFAULT_CSS = "_About { height: auto; }"

    def __init__(self, folder: RunFolder, spec: RunSpec) -> None:
        super().__init__(id="about")
        self._about = (folder, spec)
        self._written = 0  # For so many cells.

    def on_resize(self) -> None:
        """Wrap it, once the size is settled."""
        self.call_after_refresh(self._write)

    def _write(self) -> None:
        if (width := self.content_size.width) != self._written:
            self._written = width
            self.update(Content("\n").join(about_lines(*self._about, width)))


def command_line(spec: RunSpec) -> str:
    """The command that makes the same run."""
    return shlex.join(["tleg", *(word for word in spec.command if word != "tleg")]) if spec.command else ""


def about_lines(folder: RunFolder, spec: RunSpec, width: int) -> list[Content]:
    """Return what there is to say on lines of at most `width` cells: groups, whose texts begin in one column."""
    groups = list(_groups(folder, spec))
    longest = max(len(printable(name)) for _, pairs in groups for name, _ in pairs)
    column = min(longest, max(width * 2 // 5, 12))
    command = wrap(printable(command_line(spec)) or "not known", max(width, 8), break_on_hyphens=False)
    lines = [_title("Command"), *map(Content, command)]
    for title, pairs in groups:
        lines += [Content(""), _title(title)]
        for name, text in pairs:
            lines += _lines(printable(name), printable(text), column, width)
    return lines


def _groups(folder: RunFolder, spec: RunSpec) -> Iterator[Group]:
    yield "Recipe", _values(spec.recipe)
    if spec.lineage:
        yield "Starts from", _values(spec.lineage)
    if spec.amendments:
        yield "Changed on the way", [(f"step {each.get('step')}", _changes(each.get("changes"))) for each in spec.amendments]
    yield "Made", list(_made(folder, spec))
    yield "Versions", _values(spec.versions)


def _made(folder: RunFolder, spec: RunSpec) -> Iterator[tuple[str, str]]:
    yield "when", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(spec.created))
    yield "on", spec.host
    yield "works in", spec.folder
    yield "folder", str(folder.path)
    if spec.output is not None:
        yield "output", spec.output
    launch = spec.launch
    devices = str(launch.devices or 1)
    yield "processes", f"{devices} on each of {launch.nodes} machines" if launch.nodes > 1 else devices
    if launch.job_id is not None:
        yield "job of SLURM", launch.job_id


def _title(text: str) -> Content:
    return Content.styled(text, "bold $primary")


def _lines(name: str, text: str, column: int, width: int) -> list[Content]:
    """A name and, from the column on, its text; a name that is longer than the column has a line of its own."""
    parts = wrap(text, max(width - column - 1, 8), break_on_hyphens=False) or [""]
    names = [name, *[""] * (len(parts) - 1)] if len(name) <= column else [name, *[""] * len(parts)]
    parts = parts if len(name) <= column else ["", *parts]
    return [
        Content.assemble((f"{left:<{column}} ", "$foreground-muted"), right)
        for left, right in zip(names, parts, strict=True)
    ]


def _values(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in values.items() if value is not None]


def _changes(changes: object) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in changes.items()) if isinstance(changes, Mapping) else ""


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
