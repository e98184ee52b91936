"""What a run is: its recipe, the equal command line, versions, and what it started from."""

import shlex
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tleg.cli.output import printable
from tleg.runs.layout import RunFolder
from tleg.runs.spec import RunSpec
from tleg_tui.screens.base import Dialog


class RunAboutScreen(Dialog[None]):
    """spec.json in words."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("u,y", "copy", "copy command", show=False)]
    DEFAULT_CSS = """
    RunAboutScreen VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    RunAboutScreen #about { height: auto; }
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
                yield Static(Content("\n").join(about_lines(self._folder, self._spec)), id="about")
            yield Static("u copies the command, esc closes", classes="hint")

    def on_mount(self) -> None:
        """The arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def action_copy(self) -> None:
        """Copy the command line."""
        self.app.copy_to_clipboard(command_line(self._spec))
        self.bench.tell("copied the command")


def command_line(spec: RunSpec) -> str:
    """The command that makes the same run."""
    return shlex.join(["tleg", *(word for word in spec.command if word != "tleg")]) if spec.command else ""


def about_lines(folder: RunFolder, spec: RunSpec) -> list[Content]:
    """Return what there is to say, in groups."""
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(spec.created))
    lines = [_title("Command"), Content(printable(command_line(spec)) or "not known"), Content("")]
    lines += [_title("Recipe"), *_values(spec.recipe), Content("")]
    if spec.lineage:
        lines += [_title("Starts from"), *_values(spec.lineage), Content("")]
    if spec.amendments:
        lines.append(_title("Changed on the way"))
        for each in spec.amendments:
            changes = each.get("changes")
            text = (
                ", ".join(f"{name} {_text(value)}" for name, value in changes.items())
                if isinstance(changes, Mapping)
                else ""
            )
            lines.append(_line(f"step {each.get('step')}", text))
        lines.append(Content(""))
    lines += [_title("Made"), _line("when", made), _line("on", spec.host), _line("works in", spec.folder)]
    lines.append(_line("folder", str(folder.path)))
    if spec.output is not None:
        lines.append(_line("output", spec.output))
    launch = spec.launch
    processes = f"{launch.devices or 1} on each of {launch.nodes} machines" if launch.nodes > 1 else str(launch.devices or 1)
    lines.append(_line("processes", processes))
    if launch.job_id is not None:
        lines.append(_line("job of SLURM", launch.job_id))
    lines += [Content(""), _title("Versions"), *_values(spec.versions)]
    return lines


def _title(text: str) -> Content:
    return Content.styled(text, "bold $primary")


def _values(values: Mapping[str, Any]) -> list[Content]:
    return [_line(name, _text(value)) for name, value in values.items() if value is not None]


def _line(name: str, text: str) -> Content:
    return Content.assemble((f"{printable(name):<22} ", "$foreground-muted"), printable(text))


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value)
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
