"""The first screen: learngenes, every depth with its cost and accuracy, the chosen descendant."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Resize
from textual.geometry import Size
from textual.widgets import Static

from tleg.errors import InputError, TlegError
from tleg.learngene.frontier import AXES
from tleg.learngene.header import Reached
from tleg.text import format_image_size
from tleg_tui.actions import bindings
from tleg_tui.common.bars import KeyBar
from tleg_tui.common.learngenes import Entry, first_choice, open_entry, resolve_path
from tleg_tui.workbench.budget import read_budget
from tleg_tui.workbench.depth_table import DepthChosen, DepthHeader, DepthTable, depth_lines
from tleg_tui.workbench.frontier import FrontierPanel
from tleg_tui.workbench.jobs import JobsScreen
from tleg_tui.workbench.rows import place_of, read_headers

if TYPE_CHECKING:
    from tleg_tui.workbench.descendant import DescendantPanel
    from tleg_tui.workbench.left_panels import BudgetChanged, BudgetPanel, EntryChosen, LearngeneList

FIRST_DEPTH = 8
_QUIET_SECONDS: Final = 0.5
_WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (136, "-wide")]
_HEIGHTS: list[tuple[int, str]] | None = [(0, "-tiny"), (21, "-short"), (34, "-tall")]
# From this size of the terminal on the frontier is drawn.
_ROOMY: Final = (120, 34)
_FACTS: Final = "facts"  # In place of an axis: what the file says is in place of the frontier.
_GREETING = "New here? Press b, then Enter: this depth becomes a verified ONNX file."


class WorkbenchScreen(JobsScreen):
    """Learngenes on the left, depths in the middle, the descendant beside or below them."""

    SCOPE = "workbench"
    NAME = "workbench"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("workbench")]
    # The descendant stands beside the table only where both have room.
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS

    def __init__(self, opened: Path | None = None) -> None:
        super().__init__()
        self._to_open = opened
        self._completed = False
        self._axis = next(iter(AXES))

    def _take_classes(self) -> None:
        super()._take_classes()
        self._make_room(self.app.size)

    def on_resize(self, event: Resize) -> None:
        """Show the frontier where there is room."""
        super().on_resize(event)
        self._make_room(event.size)
        self.call_after_refresh(self._show_frontier)  # Once it is settled which panel is seen.

    def _make_room(self, size: Size) -> None:
        self.set_class(size.width >= _ROOMY[0] and size.height >= _ROOMY[1], "-roomy")
        self.set_class(self._axis in AXES, "-drawn")

    def compose_body(self) -> ComposeResult:
        """Three parts; the last two are one below the other where the terminal is narrow.

        The table comes with the first paint, and what stands around it at once after.
        """
        with Horizontal(id="bench"):
            yield Vertical(id="left")
            with Vertical(id="main"):
                with Vertical(id="depths"):
                    yield DepthHeader(id="titles")
                    yield DepthTable(id="table")
                    yield Static(id="verdict")
                    yield FrontierPanel(id="frontier-below")
                yield VerticalScroll(id="descendant-box", can_focus=False)

    def on_mount(self) -> None:
        """Show what was shown last."""
        settings = self.host.settings
        model = self._model
        model.wanted = read_budget(dict(settings.budget))
        model.find(settings.learngenes, self.host.runs)
        if (entry := first_choice(model.entries, settings.learngene)) is not None:
            self._choose(entry)
        table = self.query_one(DepthTable)
        if model.wanted.budget.limited:
            table.action_deepest()
        self.set_focus(table)
        self.call_after_refresh(self._complete)

    async def _complete(self) -> None:
        """Put up what stands around the table: loaded, made and styled after the first paint."""
        from tleg_tui.workbench.descendant import DescendantPanel
        from tleg_tui.workbench.left_panels import BudgetPanel, LearngeneList

        descendant, learngenes = DescendantPanel(id="descendant"), LearngeneList(id="learngenes")
        box, left, keys = self.query_one("#descendant-box"), self.query_one("#left"), self.query_one(KeyBar)
        with self.app.batch_update():
            await box.mount(descendant)
            await left.mount(
                Static("Learngenes", classes="panel-title"),
                learngenes,
                Static("", id="left-gap"),
                BudgetPanel(dict(self.host.settings.budget), id="budget"),
            )
            if not self.host.settings.greeted and keys.is_attached:
                await self.mount(Static(_GREETING, id="greeting"), before=keys)
            if not (descendant.is_attached and learngenes.is_attached):
                return  # The workbench was left meanwhile.
            self._completed = True
            self._list()
            if self.entry is not None:
                self._choose(self.entry)
        if self._to_open is not None:
            self.open_path(self._to_open)
        self.watch(self.app, "runs", self._take_runs)

    # What is listed and chosen.

    def open_path(self, path: Path) -> bool:
        """Put a learngene on the list and choose it; say why where it cannot be used."""
        entry = open_entry(path.absolute())
        if entry.error is not None:
            self.host.tell(entry.error, wrong=True)
            return False
        self.host.remember_recent("learngenes", str(path.absolute()))
        self._list()
        known = next((each for each in self._model.entries if each.path.resolve() == path.resolve()), entry)
        self._choose(known)
        return True

    def on_entry_chosen(self, message: "EntryChosen") -> None:
        """Show a learngene."""
        self._choose(message.entry)

    def on_depth_chosen(self, message: DepthChosen) -> None:
        """Show a descendant."""
        self._show_descendant()

    def on_budget_changed(self, message: "BudgetChanged") -> None:
        """Judge every depth anew, and go to what the budget picks."""
        model = self._model
        limited, asked = message.wanted.budget != model.wanted.budget, message.rows != model.asked
        model.wanted, model.asked = message.wanted, message.rows
        self.host.remember(budget=message.texts)
        self._show_depths()
        if asked:
            self._look_at_sizes()
        if limited or asked:
            self.query_one(DepthTable).action_deepest()

    @work(exclusive=True, group="sizes")
    async def _look_at_sizes(self) -> None:
        """What descendants cost with inputs of other sizes is measured by timm's models, in another process."""
        from tleg_tui.child import run_tleg

        model, entry = self._model, self.entry
        if entry is None or entry.file is None or not model.unknown_sizes:
            return
        model.refused = ""
        await asyncio.sleep(_QUIET_SECONDS)  # A size that is still being typed is not looked at.
        sizes = ",".join(map(format_image_size, model.unknown_sizes))
        result = await run_tleg(["preview", entry.argument, "--depths", "1", "--image-size", sizes, "--json"])
        try:
            if result.code != 0:
                raise result.error
            for header in read_headers(entry.file.header, result.document):
                model.take_header(header)
        except TlegError as error:
            model.refused = str(error)
        if self.entry is entry:
            self._show_depths()
            self.query_one(DepthTable).action_deepest()

    def _take_runs(self) -> None:
        """Runs may have made learngenes, and reached accuracies."""
        if not self._completed or self.app.screen is not self:
            return
        self._list()
        if self._model.look_at_runs(self.host.runs):
            self._show_depths()
        self.refresh_bindings()

    def on_screen_resume(self) -> None:
        """Catch up on what happened below another screen."""
        self._take_runs()

    def _list(self) -> None:
        rewritten = self._model.find(self.host.settings.learngenes, self.host.runs)
        if not self._completed:
            return
        self._learngene_list.show(self._model.entries, self.entry)
        if rewritten is not None:
            self._choose(rewritten)

    @property
    def _learngene_list(self) -> "LearngeneList":
        return cast("LearngeneList", self.query_one("#learngenes"))

    @property
    def _descendant_panel(self) -> "DescendantPanel":
        return cast("DescendantPanel", self.query_one("#descendant"))

    def _choose(self, entry: Entry) -> None:
        self._model.choose(entry, self.host.runs)
        if self._completed:
            self._learngene_list.show(self._model.entries, entry)
        table = self.query_one(DepthTable)
        if entry.file is None:
            table.show((), (), None)
            self._show_frontier()
            if self._completed:
                hint = " del takes it off the list." if entry.origin == "opened" else ""
                self._descendant_panel.refuse(f"{entry.error or ''}{hint}")
            self.query_one("#verdict", Static).update("")
            self.refresh_bindings()
            return
        self.host.remember(learngene=entry.name if entry.origin == "shipped" else str(entry.path))
        self._show_depths()
        count = len(self._model.rows)
        if not 1 <= table.line <= count:
            table.line = min(FIRST_DEPTH, count)
        self._show_descendant()
        self._look_at_sizes()
        self.refresh_bindings()

    # What is drawn.

    def _show_depths(self) -> None:
        model = self._model
        if not model.usable:
            return
        shown = model.look_at_depths()
        lines = depth_lines(shown, next(iter(model.tuned.values()), {}))
        table, titles = self.query_one(DepthTable), self.query_one(DepthHeader)
        table.show(lines, model.pins, None if shown.choice is None else place_of(shown.choice))
        titles.named, titles.title = table.named, "Pixels, depth" if shown.sized else "Depth"
        titles.timed = table.timed
        self.query_one("#verdict", Static).update(model.verdict(), layout=False)
        self._show_descendant()
        self.refresh_bindings()

    def _show_frontier(self) -> None:
        """Only where it is seen: drawing takes as long as the rest of a key."""
        for panel in self.query(FrontierPanel):
            if panel.display:
                panel.show(self._model.frontier(self._shown_axis, self.row))

    @property
    def _axes(self) -> list[str]:
        """What the key for the axis turns through."""
        timed = self.query_one(DepthTable).timed
        known = [name for name in AXES if name != "latency" or timed]
        return [*known, *([] if self.has_class("-wide") else [_FACTS])]

    @property
    def _shown_axis(self) -> str:
        return self._axis if self._axis in self._axes and self._axis in AXES else self._axes[0]

    def action_axis(self) -> None:
        """Turn the frontier."""
        axes = self._axes
        self._axis = axes[(axes.index(self._axis) + 1) % len(axes)] if self._axis in axes else axes[0]
        self._make_room(self.size)
        self.call_after_refresh(self._show_frontier)

    def _show_descendant(self) -> None:
        row = self.row
        self._show_frontier()
        if self._completed and self._model.usable and row is not None:
            self._descendant_panel.show(self._model.descendant(row))

    # What can be done.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What needs a learngene is offered with one alone, and so on."""
        if action == "budget":
            ready = self._completed and self.entry is not None
            return ready and not self.query_one("#budget").has_focus_within
        if action in ("build", "finetune", "family", "evaluate", "pin"):
            return self._model.usable
        if action == "compare":
            return len(self._model.pinned()) == 2
        if action == "axis":
            return self._model.usable and self.has_class("-roomy")
        if action == "last_run":
            return bool(self.host.runs.rows)
        if action == "forget":
            return self.entry is not None and self.entry.origin == "opened"
        return True

    def why_not(self, action: str) -> str:
        """What is missing."""
        from tleg_tui.workbench.missing import what_is_missing

        return what_is_missing(action, self.entry, len(self._model.pinned()), _ROOMY)

    def waits_for(self, key: str) -> bool:
        """Panels come after the first paint; the newest run is known after the first look at all."""
        return not self._completed or (key == "a" and not self.host.runs.read)

    def action_budget(self) -> None:
        """Type limits."""
        cast("BudgetPanel", self.query_one("#budget")).begin()

    def action_pin(self) -> None:
        """Pin the chosen depth, or take its pin away."""
        if self.row is not None:
            self._model.pin(place_of(self.row))
            self._show_depths()

    def action_compare(self) -> None:
        """Compare the pinned depths."""
        from tleg_tui.workbench.compare import CompareDepthsScreen

        assert self.entry is not None
        shallow, deep = self._model.pinned()
        self.app.push_screen(CompareDepthsScreen(self.entry.name, shallow, deep))

    def action_open(self) -> None:
        """Pick a file."""
        from tleg_tui.workbench.open_file import OpenFileScreen

        self.app.push_screen(OpenFileScreen(Path.cwd()), self._opened)

    def _opened(self, path: Path | None) -> None:
        if path is None:
            return
        if path.suffix in (".pth", ".pt"):
            from tleg_tui.workbench.import_checkpoint import ImportScreen

            self.app.push_screen(ImportScreen(path), self._opened)
        else:
            self.open_path(path)

    def action_evaluate(self) -> None:
        """Measure accuracies."""
        from tleg_tui.workbench.evaluate import evaluate_screen

        assert self.entry is not None
        screen = evaluate_screen(self.entry, self._model, self._image_size)
        self.app.push_screen(screen, self._take_measured)

    def _take_measured(self, found: Reached | None) -> None:
        if found is not None and self._model.usable:
            self._model.take_measured(found)
            self._show_depths()

    def action_next_panel(self) -> None:
        """From the depths to the learngenes, to the budget, and round."""
        self.focus_next()

    def action_forget(self) -> None:
        """Take a learngene off the list."""
        assert self.entry is not None
        gone = self.entry
        texts = [text for text in self.host.settings.learngenes if Path(text).resolve() == gone.path.resolve()]
        self.host.remember(learngenes=tuple(text for text in self.host.settings.learngenes if text not in texts))
        self._list()
        same = next((each for each in self._model.entries if each.path == gone.path), None)  # It lies in the working folder.
        if (entry := same or first_choice(self._model.entries, None)) is not None:
            self._choose(entry)

    def on_paste(self, event: Any) -> None:
        """A path that is dragged into a terminal arrives as pasted text."""
        try:
            path = resolve_path(event.text.splitlines()[0] if event.text.strip() else "")
        except InputError as error:
            if event.text.strip():
                self.host.tell(str(error), wrong=True)
            return
        event.stop()
        if path.suffix in (".pth", ".pt"):
            self._opened(path)
        else:
            self.open_path(path)

    def on_key(self, event: Any) -> None:
        """Escape and Enter in the budget go back to the table."""
        if event.key in ("escape", "enter") and self._completed and self.query_one("#budget").has_focus_within:
            event.stop()
            self.set_focus(self.query_one(DepthTable))
