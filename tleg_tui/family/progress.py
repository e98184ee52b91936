"""How far a family is, device by device, and where its report is once it is done."""

import asyncio
from pathlib import Path
from typing import ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.widgets.option_list import Option

from tleg.errors import TlegError
from tleg.family.launch import launch_family, stop_family
from tleg.family.progress import Stage, Step
from tleg.family.results import DeviceSlice
from tleg.family.watch import FamilyLook, look_at_family
from tleg.runs.text import format_progress
from tleg.text import format_bytes, format_latency, printable
from tleg_tui.actions import bindings
from tleg_tui.common.bars import TitleBar
from tleg_tui.common.cells import fit
from tleg_tui.common.inputs import OptionList
from tleg_tui.common.screens import WorkScreen
from tleg_tui.common.wording import explained, said

_GLYPHS: Final[dict[Stage, tuple[str, str]]] = {
    "waiting": ("○", "$foreground-muted"),
    "choosing": ("▶", "$accent"),
    "training": ("▶", "$accent"),
    "exporting": ("▶", "$accent"),
    "measuring": ("▶", "$accent"),
    "done": ("✓", "$success"),
    "failed": ("✗", "$error"),
}
_NAME_WIDTH: Final = 18
_LEAST_SECONDS: Final = 0.5


class FamilyProgressScreen(WorkScreen):
    """A line for each device of a folder's family, and for the ancestor and the learngene. Leaving never ends it."""

    SCOPE = "family_progress"
    NAME = "family"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("family_progress")]
    DEFAULT_CSS = """
    FamilyProgressScreen #steps { height: 1fr; border: none; background: transparent; padding: 0 1; }
    FamilyProgressScreen #steps { text-wrap: nowrap; text-overflow: ellipsis; }
    FamilyProgressScreen #chosen { height: 3; padding: 0 1; border-top: solid $panel; color: $text-muted; }
    FamilyProgressScreen #status { height: auto; max-height: 4; padding: 0 1; }
    FamilyProgressScreen #status.-wrong { color: $error; }
    """

    class Looked(Message):
        """The family was looked at. A newer look replaces one that waits."""

        def __init__(self, look: FamilyLook) -> None:
            super().__init__()
            self.look = look

        def can_replace(self, message: Message) -> bool:
            """Only the newest counts."""
            return isinstance(message, FamilyProgressScreen.Looked)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._look = FamilyLook()
        self._written: tuple[tuple[str, ...], int] = ((), 0)
        self._looking = False

    def compose_body(self) -> ComposeResult:
        """The lines, a sentence on the chosen one, and how it is as a whole."""
        with Vertical():
            yield OptionList(id="steps", compact=True)
            yield Static(id="chosen", markup=False)
            yield Static(id="status", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(TitleBar).title = f"family in {printable(str(self._folder))}"
        self.set_interval(max(self.host.refresh_seconds, _LEAST_SECONDS), self._look_again)
        self._look_again()

    def on_screen_resume(self) -> None:
        """Catch up."""
        super().on_screen_resume()
        self._look_again()

    def _look_again(self) -> None:
        if not self._looking and self.is_current:
            self._looking = True
            self._look_now()

    @work(group="look", exit_on_error=False)
    async def _look_now(self) -> None:
        try:
            self.post_message(self.Looked(await asyncio.to_thread(look_at_family, self._folder)))
        finally:
            self._looking = False

    def on_family_progress_screen_looked(self, message: Looked) -> None:
        """Show what was seen."""
        if message.look != self._look:
            self._look = message.look
            self._show()

    def on_resize(self, event: object) -> None:
        """Lines of another width."""
        self.call_after_refresh(self._show)

    # What is shown.

    @property
    def _steps(self) -> list[tuple[str, Step]]:
        return [] if self._look.progress is None else list(self._look.progress.steps.items())

    def _show(self) -> None:
        steps = self.query_one("#steps", OptionList)
        width = steps.scrollable_content_region.width
        texts = tuple(self._text(name, step) for name, step in self._steps)
        if (texts, width) != self._written and width:
            self._written = (texts, width)
            place = steps.highlighted or 0
            with self.prevent(OptionList.OptionHighlighted):
                steps.clear_options()
                steps.add_options([Option(_content(*each, text)) for each, text in zip(self._steps, texts, strict=True)])
                steps.highlighted = min(place, len(texts) - 1) if texts else None
        self._show_chosen()
        self._show_status()
        self.refresh_bindings()

    def _text(self, name: str, step: Step) -> str:
        """What a line says after its name."""
        made, run = self._look.devices.get(name), self._look.runs.get(name)
        if made is not None:
            return figures(made)
        if step.stage == "training" and run is not None:
            return f"training {format_progress(run[1])}".rstrip()
        images = "" if step.images is None else f", {step.images[0]:,} of {step.images[1]:,} images"
        words = step.text if step.text else "" if step.stage in ("waiting", "done") else step.stage
        return f"{words}{images}"

    @property
    def _chosen(self) -> str | None:
        place, steps = self.query_one("#steps", OptionList).highlighted, self._steps
        return steps[place][0] if place is not None and place < len(steps) else None

    def _show_chosen(self) -> None:
        name, text = self._chosen, ""
        if name is not None:
            made, step = self._look.devices.get(name), dict(self._steps)[name]
            text = step.text if made is None else f"{self._folder / made.path}"
            if made is not None and made.missed:
                text = f"{made.wanted:g} % were wanted; {text}"
        self.query_one("#chosen", Static).update(said(f"{name}: {text}" if text else ""))

    def _show_status(self) -> None:
        look, status = self._look, self.query_one("#status", Static)
        progress = look.progress
        if look.problem is not None:
            text = f"{look.problem}; R goes on with it" if self.check_action("go_on", ()) else look.problem
        elif look.report is not None:
            text = f"complete: {look.report.absolute()}; o shows the report, y copies the path"
        elif progress is not None and progress.ended is not None:
            text = "it ended"
        elif not self._steps:
            text = "starting …"
        else:
            done = sum(step.stage == "done" for _, step in self._steps)
            text = f"at work, {done} of {len(self._steps)} done; it goes on when you leave"
        status.update(said(text))
        status.set_class(look.problem is not None, "-wrong")

    def on_option_list_option_highlighted(self) -> None:
        """Another line is chosen."""
        self._show_chosen()
        self.refresh_bindings()

    def on_option_list_option_selected(self) -> None:
        """Enter watches the training."""
        if self.check_action("open_run", ()):
            self.action_open_run()
        else:
            self.host.tell(self.why_not("open_run"))

    # What can be done.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A run is opened where there is one, and so on."""
        look = self._look
        at_work = look.progress is not None and look.progress.at_work
        if action == "open_run":
            return self.is_mounted and self._chosen in look.runs
        if action == "stop":
            return at_work
        if action == "go_on":
            return look.progress is not None and look.progress.file is not None and not at_work and look.report is None
        return look.report is not None if action in ("report", "copy_report") else True

    def why_not(self, action: str) -> str:
        """What is missing."""
        return {
            "open_run": "nothing is trained for this line",
            "stop": "the family is not at work",
            "go_on": "the family is at work or complete, or was started with options beside its file",
            "report": "the report is written at the end",
            "copy_report": "the report is written at the end",
        }.get(action, "")

    def action_open_run(self) -> None:
        """Watch the training of the chosen line."""
        if (name := self._chosen) is not None and name in self._look.runs:
            self.host.open_run(self._look.runs[name][0])

    def action_stop(self) -> None:
        """Save and stop."""
        try:
            stop_family(self._folder)
        except TlegError as error:
            self.host.tell(explained(error), wrong=True)
        else:
            self.host.tell("it saves and stops")

    def action_go_on(self) -> None:
        """Start it again."""
        progress = self._look.progress
        if progress is not None and progress.file is not None:
            self._go_on(Path(progress.file), Path(progress.folder))

    @work(exclusive=True, group="start")
    async def _go_on(self, file: Path, folder: Path) -> None:
        with self.host.keys_wait():
            try:
                await asyncio.to_thread(launch_family, file, self._folder, folder)
            except TlegError as error:
                self.host.tell(explained(error), wrong=True)
        self._look_again()

    def action_report(self) -> None:
        """Show what each device got."""
        from tleg_tui.family.report import FamilyReportScreen

        if self._look.report is not None:
            self.app.push_screen(FamilyReportScreen(self._folder, self._look.report))

    def action_copy_report(self) -> None:
        """Copy the report's path."""
        if self._look.report is not None:
            path = str(self._look.report.absolute())
            self.app.copy_to_clipboard(path)
            self.host.tell(f"copied {path}")


def figures(made: DeviceSlice) -> str:
    """'depth 5, onnx float16, 88.31 %, 355 kB, 1.2 ms here'."""
    dtype = "" if made.dtype == "float32" else f" {made.dtype}"
    top1 = [] if made.top1 is None else [f"{made.top1:.2f} %"]
    sizes = [format_bytes(made.bytes), f"{format_latency(made.latency)} here"]
    there = [] if made.expected is None else [f"{format_latency(made.expected)} there"]
    return ", ".join([f"depth {made.depth}", f"{made.export}{dtype}", *top1, *sizes, *there])


def _content(name: str, step: Step, text: str) -> Content:
    glyph, colour = _GLYPHS[step.stage]
    muted = "$error" if step.stage == "failed" else "$foreground-muted" if step.stage == "waiting" else "$foreground"
    return Content.assemble(
        (f"{glyph} ", colour), (fit(printable(name), _NAME_WIDTH), "bold"), "  ", (printable(text), muted)
    )
