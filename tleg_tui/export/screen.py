"""The export dialog: what to make of a learngene or a folder, the build while it goes on, and what came of it."""

import asyncio
import shlex
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import Any, ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.worker import Worker

from tleg.errors import InputError, TlegError
from tleg.learngene.profile import Depth
from tleg.text import printable
from tleg_tui.actions import bindings
from tleg_tui.child import ChildResult, run_tleg
from tleg_tui.common.bars import KeyBar
from tleg_tui.common.screens import Dialog
from tleg_tui.common.wording import explained, said
from tleg_tui.export.model import ExportSource, Order, open_source, read_answers
from tleg_tui.export.questions import ExportQuestions
from tleg_tui.export.reports import Report, read_report
from tleg_tui.export.results import AT_WORK, ExportLine, ExportList
from tleg_tui.export.rows import NAMES, REPLACE

Stage = Literal["form", "building", "stopping", "done"]
_COMMAND_LINES = 2
_DATA = "fashion-mnist"  # What ranges are taken from, until data was used.
_HEIGHTS: list[tuple[int, str]] | None = [(0, "-tiny"), (21, "-short"), (34, "-tall")]


class ExportScreen(Dialog[Path]):
    """Enter builds at once with what is chosen. The result is the path of the first export.

    source   a learngene, by name or path, or a folder that timm loads
    depth    the one to begin with; None for a folder
    classes  of the learngene's head, where the caller knows them
    image_size  height and width of the inputs to begin with; None: the source's own
    """

    SCOPE = "export"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("export")]
    VERTICAL_BREAKPOINTS = _HEIGHTS
    DEFAULT_CSS = """
    ExportScreen .dialog { width: 80; padding: 0; }
    ExportScreen .dialog-title { margin: 0; padding: 0 1; }
    ExportScreen #outcome { height: auto; min-height: 6; padding: 0 1; }
    ExportScreen ExportList { margin-top: 1; }
    ExportScreen #told { height: auto; max-height: 3; }
    ExportScreen #command { height: auto; max-height: 2; margin-top: 1; color: $text-muted; }
    /* The questions scroll where they have no room; at last what came of a build has most of it. */
    ExportScreen ExportQuestions { max-height: 50vh; overflow-y: auto; scrollbar-size-vertical: 1; }
    ExportScreen.-short .dialog { height: 24; }
    ExportScreen.-short ExportQuestions { height: 1fr; min-height: 2; max-height: 100%; }
    ExportScreen.-short.-made ExportList { max-height: 10; }
    ExportScreen.-short.-made #command { display: none; }
    ExportScreen.-tall.-made ExportQuestions { max-height: 25vh; }
    ExportScreen.-tall.-made ExportList { max-height: 12; }
    /* Where a terminal is least, what came of a build is in sight, and F6 alone has the command. */
    ExportScreen.-tiny .dialog { height: 100%; max-height: 100%; }
    ExportScreen.-tiny ExportQuestions { height: 1fr; min-height: 2; max-height: 100%; }
    ExportScreen.-tiny #about { padding-left: 0; }
    ExportScreen.-tiny #outcome { min-height: 0; }
    ExportScreen.-tiny ExportList { margin: 0; max-height: 3; }
    ExportScreen.-tiny.-made ExportList { max-height: 7; }
    ExportScreen.-tiny #command { display: none; }
    """

    class TargetsLooked(Message):
        """It is known which of the files are there."""

        def __init__(self, order: Order, present: frozenset[Path]) -> None:
            super().__init__()
            self.order = order
            self.present = present

    class BuildReported(Message):
        """The build came to another stage."""

        def __init__(self, report: Report) -> None:
            super().__init__()
            self.report = report

    class BuildEnded(Message):
        """The build is over; None: it was given up."""

        def __init__(self, result: ChildResult | None) -> None:
            super().__init__()
            self.result = result

    def __init__(
        self,
        source: str,
        depth: Depth | None,
        *,
        classes: int | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self._problem: str | None = None
        try:
            self._source = open_source(source)
        except (TlegError, OSError) as error:
            self._problem = " ".join(str(error).split())
            self._source = ExportSource(source, Path(source).stem, folder=depth is None, kinds=("onnx",), classes=classes)
        self._depth, self._image_size = depth, image_size
        self._stage: Stage = "form"
        self._order: Order | None = None
        self._lines: list[ExportLine] = []
        self._dtype = ""  # Of what was built last.
        self._wrong: tuple[str, ...] = ()  # What the problem with the answers is about.
        self._build: Worker[None] | None = None
        self._hurried = False  # Enter came before the dialog was there.

    def compose(self) -> ComposeResult:
        """The questions, what comes of them, the keys."""
        source = self._source
        with Vertical(classes="dialog"):
            yield Static(f"Export {printable(source.name)}", classes="dialog-title", markup=False)
            settings = self.host.settings
            data = settings.data[0] if settings.data else _DATA
            yield ExportQuestions(source, self._depth, self._image_size, settings.output, data, id="questions")
            with Vertical(id="outcome"):
                yield ExportList(id="exports")
                yield Static(id="told", markup=False)
                yield Static(id="command", markup=False)
            yield KeyBar()

    def on_mount(self) -> None:
        """Show what Enter would make."""
        self.query_one(ExportQuestions).begin()
        if self._problem is not None:
            self.query_one(ExportQuestions).disabled = True
            self._tell(self._problem, "problem")
        else:
            self._read()
            if self._hurried:
                self._begin()

    # The questions.

    def on_choices_changed(self) -> None:
        """Read them again."""
        self._read()

    def on_input_changed(self) -> None:
        """Read them again."""
        self._read()

    def on_key(self, event: Any) -> None:
        """Up and down go from line to line."""
        if event.key in ("up", "down") and not isinstance(self.focused, ExportList):
            event.stop()
            (self.focus_next if event.key == "down" else self.focus_previous)()

    def _read(self) -> None:
        """Show what the fields come to: the files and the command, or what is wrong."""
        if self._stage in ("building", "stopping") or self._problem is not None:
            return
        self._set_stage("form")
        questions = self.query_one(ExportQuestions)
        questions.explain()
        try:
            order = read_answers(self._source, questions.answers)
        except InputError as error:
            self._order, self._wrong = None, error.fields
            self.refresh_bindings()
            questions.mark(error.fields)
            self._tell(str(error), "problem")
            self.query_one(ExportList).display = False
            self.query_one("#command", Static).update("")
            return
        questions.mark(())
        self._tell("", "")
        self._show_command(order)
        if order != self._order:
            self._order = order
            self.refresh_bindings()
            self._lines = [ExportLine(target, "unknown") for target in order.targets]
            self.run_worker(self._look(order), group="targets", exclusive=True, exit_on_error=False)
        self._show_lines()

    async def _look(self, order: Order) -> None:
        present = await asyncio.to_thread(lambda: frozenset(target for target in order.targets if _exists(target)))
        self.post_message(self.TargetsLooked(order, present))

    def on_export_screen_targets_looked(self, message: TargetsLooked) -> None:
        """Say which files are there."""
        unknown = all(line.stage == "unknown" for line in self._lines)  # Else this came later than a build that failed.
        if message.order == self._order and self._stage == "form" and unknown:
            there = "replaces" if "--force" in message.order.words else "exists"
            self._lines = [ExportLine(each, there if each in message.present else "new") for each in message.order.targets]
            self._show_lines()

    def _show_lines(self) -> None:
        exports = self.query_one(ExportList)
        exports.display = bool(self._lines)
        exports.show(self._lines, self._dtype)

    def _show_command(self, order: Order) -> None:
        place = self.query_one("#command", Static)
        lines = wrap(printable(f"$ tleg {shlex.join(order.words)}"), place.size.width or 70, break_on_hyphens=False)
        if len(lines) > _COMMAND_LINES:
            last = lines[_COMMAND_LINES - 1]
            lines = [*lines[: _COMMAND_LINES - 1], f"{last[: (place.size.width or 70) - 2]} …"]
        place.update(Content("\n".join(lines)))

    def on_resize(self) -> None:
        """The command has other lines, and the question that one is at may have left the sight."""
        if self._order is not None:
            self._show_command(self._order)
        if self.focused is not None:
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    def _tell(self, text: str, kind: str) -> None:
        told = self.query_one("#told", Static)
        told.display = bool(text)
        told.set_classes(kind)
        told.update(said(text, NAMES))

    def _set_stage(self, stage: Stage) -> None:
        if stage != self._stage:
            self._stage = stage
            self.set_class(stage == "done", "-made")
            self.refresh_bindings()

    # The build.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter builds, and closes once all is there."""
        if action == "build":
            return self._stage == "form" and self._problem is None
        if action == "finish":
            return self._stage == "done"
        if action == "back":
            return self._stage in ("form", "done")
        if action == "give_up":
            return self._stage == "building" and self._build is not None
        if action == "copy_path":
            return any(line.stage == "done" for line in self._lines)
        if action == "copy_command":
            return self._order is not None
        if action == "advanced":
            return self._stage in ("form", "done") and self._problem is None and self.query_one(ExportQuestions).offer.graph
        return True

    def why_not(self, action: str) -> str:
        """What is going on, or missing."""
        if self._problem is not None and action in ("build", "finish"):
            return "this cannot be exported: esc closes"
        if self._stage == "stopping":
            return "it is being given up: one moment"
        if self._stage == "building":
            return "it is being built: esc gives up"
        if action == "advanced":
            return "F7 asks more of ONNX and OpenVINO alone"
        return (
            "nothing is built yet: enter builds" if action == "copy_path" else "there is no command while something is wrong"
        )

    def action_build(self) -> None:
        """Build what is chosen."""
        if not self.is_mounted:
            self._hurried = True
        else:
            self._begin()

    def _begin(self) -> None:
        self._read()
        if self._order is None:
            self.query_one(ExportQuestions).go_to(self._wrong)
            return
        order = self._order
        self.host.remember(output=order.output)
        for data in order.data:
            self.host.remember_recent("data", data)
        self._set_stage("building")
        self._dtype = self.query_one(ExportQuestions).answers.dtype
        self._lines = [ExportLine(target, "waiting") for target in order.targets]
        self._show_lines()
        self._tell("loading; esc gives up", "hint")
        self.query_one(ExportQuestions).disabled = True
        self._build = self.run_worker(self._run(order), group="build", exit_on_error=False)

    async def _run(self, order: Order) -> None:
        def report(line: str) -> None:
            if (read := read_report(line)) is not None:
                self.post_message(self.BuildReported(read))

        try:
            result = await run_tleg([*order.words, "--jsonl"], report)
        except asyncio.CancelledError:
            self.post_message(self.BuildEnded(None))
            raise
        self.post_message(self.BuildEnded(result))

    def on_export_screen_build_reported(self, message: BuildReported) -> None:
        """Show where the build is."""
        report = message.report
        if report.stage != "loading" and 0 <= report.index < len(self._lines):
            line = self._lines[report.index]
            path = line.path if report.figures is None else report.figures.path
            self._lines[report.index] = ExportLine(path, report.stage, report.figures)
            self._show_lines()
        if self._stage == "building":
            place = f" {report.index + 1} of {report.count}" if report.count > 1 and report.stage != "loading" else ""
            images = "" if report.images is None else f", {report.images[0]:,} of {report.images[1]:,} images"
            self._tell(f"{report.stage}{place}{images}; esc gives up", "hint")

    def on_export_screen_build_ended(self, message: BuildEnded) -> None:
        """Show what came of it; the questions can be answered anew."""
        self._build = None
        self.query_one(ExportQuestions).disabled = False
        result = message.result
        if result is not None and result.code == 0:
            self._finished()
            return
        self._set_stage("form")
        word = "given up" if result is None else "failed"
        self._lines = [line if line.stage == "done" else replace(line, stage=_left(line, word)) for line in self._lines]
        self._show_lines()
        done = sum(line.stage == "done" for line in self._lines)
        kept = f"; {done} of {len(self._lines)} {'is' if done == 1 else 'are'} there and complete" if done else ""
        if result is None:
            self._tell(f"given up{kept or '; nothing was written'}", "hint")
            self.query_one(ExportQuestions).begin()
            return
        error = result.error
        self._tell(explained(error, f"tick '{REPLACE}' above") + kept, "problem")
        fields = ("force",) if error.code == "exists" and not done else error.fields
        self.query_one(ExportQuestions).mark(fields)
        self.query_one(ExportQuestions).go_to(fields)

    def _finished(self) -> None:
        self._set_stage("done")
        first = self._lines[0].path
        self._tell(f"{'verified: ' if self._verified else ''}{_absolute(first)}", "done")
        self.query_one(ExportList).focus()
        self.refresh_bindings()

    @property
    def _verified(self) -> bool:
        return all(line.figures is not None and line.figures.error is not None for line in self._lines)

    # What else can be done.

    def action_advanced(self) -> None:
        """Ask how an ONNX file is entered and left, or fold that away."""
        questions = self.query_one(ExportQuestions)
        questions.unfold(not questions.unfolded)
        if questions.unfolded:
            questions.go_to(("batch",))
        else:
            questions.begin()

    def action_copy_path(self) -> None:
        """Copy the path of the first export."""
        path = _absolute(next(line.path for line in self._lines if line.stage == "done"))
        self.app.copy_to_clipboard(path)
        self.host.tell(f"copied {path}")

    def action_copy_command(self) -> None:
        """Copy the command line."""
        assert self._order is not None
        line = f"tleg {shlex.join(self._order.words)}"
        self.app.copy_to_clipboard(line)
        self.host.tell(f"copied {line}")

    def action_finish(self) -> None:
        """Close."""
        self.dismiss(self._lines[0].path)

    def action_give_up(self) -> None:
        """Give up the build."""
        if self._build is not None:
            self._set_stage("stopping")
            self._tell("giving up …", "hint")
            self._build.cancel()

    def action_back(self) -> None:
        """Close."""
        if self._stage == "done":
            self.action_finish()
        else:
            self.dismiss(None)


def _left(line: ExportLine, word: str) -> str:
    """How an export is called that a build left unfinished."""
    return word if line.stage in AT_WORK else "unknown"


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
