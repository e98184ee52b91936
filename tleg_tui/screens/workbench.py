"""The first screen: learngenes, every depth with its cost and accuracy, the chosen descendant."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tleg.errors import InputError
from tleg.learngene.cost import Budget
from tleg.learngene.header import LearngeneHeader, Reached
from tleg.learngene.preview import Preview, preview
from tleg.text import printable
from tleg_tui.actions import bindings
from tleg_tui.budget import read_budget
from tleg_tui.learngenes import Entry, Learngenes, Tuned, first_choice, open_entry, resolve_path, tuned_by_data
from tleg_tui.messages import BudgetChanged, DepthChosen, EntryChosen
from tleg_tui.screens.base import WorkScreen
from tleg_tui.widgets.depth_table import DepthHeader, DepthTable, depth_lines
from tleg_tui.widgets.key_bar import KeyBar

if TYPE_CHECKING:
    from tleg_tui.widgets.budget_panel import BudgetPanel
    from tleg_tui.widgets.descendant_panel import Descendant, DescendantPanel
    from tleg_tui.widgets.learngene_list import LearngeneList

LEAST_DEPTHS = 24
FIRST_DEPTH = 8
_WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (136, "-wide")]
_HEIGHTS: list[tuple[int, str]] | None = [(0, "-tiny"), (21, "-short"), (34, "-tall")]
_GREETING = "New here? Press b, then Enter: this depth becomes a verified ONNX file."


class WorkbenchScreen(WorkScreen):
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
        self._learngenes = Learngenes()
        self._entries: tuple[Entry, ...] = ()
        self._entry: Entry | None = None
        self._preview: Preview | None = None
        self._budget, self._batch = Budget(), 1
        self._tuned: dict[str, dict[int, Tuned]] = {}  # By data set; the first is in the table.
        self._measured: dict[str, Reached] = {}  # The latest figures that were measured here, by the hash of a learngene.
        self._pins: tuple[int, ...] = ()
        self._completed = False

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
                yield VerticalScroll(id="descendant-box", can_focus=False)

    def on_mount(self) -> None:
        """Show what was shown last."""
        settings = self.bench.settings
        self._budget, self._batch, _ = read_budget(dict(settings.budget))
        self._entries = self._learngenes.find(settings.learngenes, Path.cwd(), self.bench.runs)
        if (entry := first_choice(self._entries, settings.learngene)) is not None:
            self._choose(entry)
        table = self.query_one(DepthTable)
        if self._budget != Budget():
            table.action_deepest()
        self.set_focus(table)
        self.call_after_refresh(self._complete)

    async def _complete(self) -> None:
        """Put up what stands around the table: loaded, made and styled after the first paint."""
        from tleg_tui.widgets.budget_panel import BudgetPanel
        from tleg_tui.widgets.descendant_panel import DescendantPanel
        from tleg_tui.widgets.learngene_list import LearngeneList

        descendant, learngenes = DescendantPanel(id="descendant"), LearngeneList(id="learngenes")
        box, left, keys = self.query_one("#descendant-box"), self.query_one("#left"), self.query_one(KeyBar)
        with self.app.batch_update():
            await box.mount(descendant)
            await left.mount(
                Static("Learngenes", classes="panel-title"),
                learngenes,
                Static("", id="left-gap"),
                BudgetPanel(dict(self.bench.settings.budget), id="budget"),
            )
            if not self.bench.settings.greeted and keys.is_attached:
                await self.mount(Static(_GREETING, id="greeting"), before=keys)
            if not (descendant.is_attached and learngenes.is_attached):
                return  # The workbench was left meanwhile.
            self._completed = True
            self._list()
            if self._entry is not None:
                self._choose(self._entry)
        if self._to_open is not None:
            self.open_path(self._to_open)
        self.watch(self.app, "runs", self._take_runs)

    # What is listed and chosen.

    def open_path(self, path: Path) -> bool:
        """Put a learngene on the list and choose it; say why where it cannot be used."""
        entry = open_entry(path.absolute())
        if entry.error is not None:
            self.bench.tell(entry.error, wrong=True)
            return False
        self.bench.remember_recent("learngenes", str(path.absolute()))
        self._list()
        known = next((each for each in self._entries if each.path.resolve() == path.resolve()), entry)
        self._choose(known)
        return True

    def on_entry_chosen(self, message: EntryChosen) -> None:
        """Show a learngene."""
        self._choose(message.entry)

    def on_depth_chosen(self, message: DepthChosen) -> None:
        """Show a descendant."""
        self._show_descendant()

    def on_budget_changed(self, message: BudgetChanged) -> None:
        """Judge every depth anew, and go to the deepest that fits."""
        changed = message.budget != self._budget
        self._budget, self._batch = message.budget, message.batch
        self.bench.remember(budget=message.texts)
        self._show_depths()
        if changed:
            self.query_one(DepthTable).action_deepest()

    def _take_runs(self) -> None:
        """Runs may have made learngenes, and reached accuracies."""
        if not self._completed or self.app.screen is not self:
            return
        self._list()
        if self._entry is not None:
            tuned = tuned_by_data(self._entry, self.bench.runs)
            if tuned != self._tuned:
                self._tuned = tuned
                self._show_depths()
        self.refresh_bindings()

    def on_screen_resume(self) -> None:
        """Catch up on what happened below another screen."""
        self._take_runs()

    def _list(self) -> None:
        self._entries = self._learngenes.find(self.bench.settings.learngenes, Path.cwd(), self.bench.runs)
        if not self._completed:
            return
        cast("LearngeneList", self.query_one("#learngenes")).show(self._entries, self._entry)
        # The chosen one may have been written anew, with accuracies for example.
        chosen = self._entry
        current = next((each for each in self._entries if chosen is not None and each.path == chosen.path), None)
        if current is not None and current != chosen:
            self._choose(current)

    @property
    def _descendant_panel(self) -> "DescendantPanel":
        return cast("DescendantPanel", self.query_one("#descendant"))

    def _choose(self, entry: Entry) -> None:
        self._entry = entry
        if self._completed:
            cast("LearngeneList", self.query_one("#learngenes")).show(self._entries, entry)
        table = self.query_one(DepthTable)
        if entry.file is None:
            self._preview = None
            table.show((), (), None)
            if self._completed:
                hint = " del takes it off the list." if entry.origin == "opened" else ""
                self._descendant_panel.refuse(f"{entry.error or ''}{hint}")
            self.query_one("#verdict", Static).update("")
            self.refresh_bindings()
            return
        self._pins = ()
        self.bench.remember(learngene=entry.name if entry.origin == "shipped" else str(entry.path))
        self._tuned = tuned_by_data(entry, self.bench.runs)
        self._show_depths()
        if not 1 <= table.depth <= len(self._rows):
            table.depth = min(FIRST_DEPTH, len(self._rows))
        self._show_descendant()
        self.refresh_bindings()

    # What is drawn.

    @property
    def _rows(self) -> tuple[Any, ...]:
        return () if self._preview is None else self._preview.rows

    @property
    def depth(self) -> int:
        """The chosen depth."""
        return self.query_one(DepthTable).depth

    @property
    def entry(self) -> Entry | None:
        """The chosen learngene."""
        return self._entry

    def _header(self) -> LearngeneHeader:
        """The learngene's header with the accuracies that are shown: those measured last, else those of the file.

        Those of other images or another precision are other figures: they are not mixed.
        """
        assert self._entry is not None
        assert self._entry.file is not None
        header = self._entry.file.header
        measured = self._measured.get(header.sha256)
        if measured is None:
            return header
        known = next((each.top1 for each in header.measured if each.where == measured.where), {})
        return replace(header, reached=replace(measured, top1={**known, **measured.top1}), further=())

    def _show_depths(self) -> None:
        if self._entry is None or self._entry.file is None:
            return
        header = self._header()
        depths = range(1, max(LEAST_DEPTHS, 2 * header.auxiliary.depth) + 1)
        self._preview = preview(header, depths, self._budget, self._batch)
        deepest = self._preview.deepest
        lines = depth_lines(self._preview, next(iter(self._tuned.values()), {}))
        self.query_one(DepthTable).show(lines, self._pins, None if deepest is None else deepest.depth)
        verdict = Content("   ").join(filter(None, (self._verdict(), self._measured_on())))
        self.query_one("#verdict", Static).update(verdict, layout=False)
        self._show_descendant()
        self.refresh_bindings()

    def _verdict(self) -> Content:
        assert self._preview is not None
        if not self._budget.limited:
            return Content.styled("no budget: / sets one", "$foreground-muted")
        fitting = [row.depth for row in self._preview.rows if row.fits]
        if not fitting:
            from tleg_tui.widgets.descendant_panel import limits_exceeded

            return Content.styled(f"no depth fits; depth 1 exceeds {limits_exceeded(self._preview.rows[0])}", "$warning")
        span = f"{fitting[0]}–{fitting[-1]}" if len(fitting) > 1 else str(fitting[0])
        return Content.assemble(
            ("fits: ", "$foreground-muted"), span, (", deepest ", "$foreground-muted"), (f"{fitting[-1]}", "bold $accent")
        )

    def _measured_on(self) -> Content:
        """On which data the accuracies of the table were reached."""
        reached, tuned = self._header().reached, next(iter(self._tuned), "")
        named = [f"Top-1 on {printable(reached.data)}"] if reached is not None else []
        named += [f"Tuned on {tuned}"] if tuned else []
        return Content.styled(", ".join(named), "$foreground-muted")

    def _show_descendant(self) -> None:
        depth = self.depth
        usable = self._entry is not None and self._entry.file is not None and 1 <= depth <= len(self._rows)
        if not usable or not self._completed:
            return
        self._descendant_panel.show(self._descendant(depth))

    def _descendant(self, depth: int) -> "Descendant":
        from tleg_tui.widgets.descendant_panel import Descendant

        row = self._rows[depth - 1]
        tuned = tuple(depths[depth] for depths in self._tuned.values() if depth in depths)
        return Descendant(self._header(), row, self._batch, row.top1, tuned)

    # What can be done.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What needs a learngene is offered with one alone, and so on."""
        if action == "budget":
            ready = self._completed and self._entry is not None
            return ready and not self.query_one("#budget").has_focus_within
        if action in ("build", "finetune", "evaluate", "pin"):
            return self._entry is not None and self._entry.file is not None
        if action == "compare":
            return len(self._pins) == 2
        if action == "last_run":
            return bool(self.bench.runs.rows)
        if action == "forget":
            return self._entry is not None and self._entry.origin == "opened"
        return True

    def why_not(self, action: str) -> str:
        """What is missing."""
        entry = self._entry
        if action in ("build", "finetune", "evaluate", "pin"):
            return (
                "no learngene is chosen: o opens one"
                if entry is None
                else f"{entry.name} cannot be used: tab, then ↑ ↓ choose another"
            )
        if action == "compare":
            pinned = len(self._pins)
            return f"c compares two depths: p pins the chosen one, {'none' if pinned == 0 else 'one'} of two is pinned"
        if action == "last_run":
            return "there is no run yet: f and l start one"
        if action == "forget":
            places = {"shipped": "comes with tleg", "folder": "lies in this folder", "run": "is the result of a run"}
            named = "" if entry is None else f": {entry.name} {places.get(entry.origin, '')}"
            return f"del takes off what was opened with o{named}"
        return ""

    def action_build(self) -> None:
        """Export the chosen depth."""
        assert self._entry is not None
        assert self._entry.file is not None
        self._greeted()
        self.bench.open_export(self._entry.argument, self.depth, classes=self._entry.file.header.architecture.num_classes)

    def action_finetune(self) -> None:
        """Fine-tune the chosen depth."""
        assert self._entry is not None
        self._greeted()
        self.bench.open_training("finetune", {"learngene": self._entry.argument, "depth": self.depth})

    def action_learn(self) -> None:
        """Learn a learngene."""
        self._greeted()
        self.bench.open_training("learn")

    def waits_for(self, key: str) -> bool:
        """Panels come after the first paint; the newest run is known after the first look at all."""
        return not self._completed or (key == "a" and not self.bench.runs.read)

    def action_budget(self) -> None:
        """Type limits."""
        cast("BudgetPanel", self.query_one("#budget")).begin()

    def action_runs(self) -> None:
        """Show all runs."""
        self._greeted()
        self.bench.open_runs()

    def action_last_run(self) -> None:
        """Watch the newest run."""
        self.bench.open_run(self.bench.runs.rows[0].folder)

    def action_pin(self) -> None:
        """Pin the chosen depth, or take its pin away. Of three the oldest goes."""
        depth = self.depth
        self._pins = tuple(pin for pin in self._pins if pin != depth) if depth in self._pins else (*self._pins, depth)[-2:]
        self._show_depths()

    def action_compare(self) -> None:
        """Compare the pinned depths."""
        from tleg_tui.screens.compare_depths import CompareDepthsScreen

        assert self._entry is not None
        assert self._entry.file is not None
        shown = [self._descendant(pin) for pin in sorted(self._pins)]
        self.app.push_screen(CompareDepthsScreen(self._entry.name, shown[0], shown[1]))

    def action_open(self) -> None:
        """Pick a file."""
        from tleg_tui.screens.open_file import OpenFileScreen

        self.app.push_screen(OpenFileScreen(Path.cwd()), self._opened)

    def _opened(self, path: Path | None) -> None:
        if path is None:
            return
        if path.suffix in (".pth", ".pt"):
            from tleg_tui.screens.import_checkpoint import ImportScreen

            self.app.push_screen(ImportScreen(path), self._opened)
        else:
            self.open_path(path)

    def action_evaluate(self) -> None:
        """Measure accuracies."""
        from tleg_tui.screens.evaluate import EvaluateScreen

        assert self._entry is not None
        writable = self._entry.origin != "shipped"
        self.app.push_screen(EvaluateScreen(self._entry.argument, writable=writable), self._take_measured)

    def _take_measured(self, found: Reached | None) -> None:
        if found is not None and self._entry is not None and self._entry.file is not None:
            key = self._entry.file.header.sha256
            earlier = self._measured.get(key)
            if earlier is not None and earlier.where == found.where:
                found = replace(found, top1={**earlier.top1, **found.top1})
            self._measured[key] = found
            self._show_depths()

    def action_next_panel(self) -> None:
        """From the depths to the learngenes, to the budget, and round."""
        self.focus_next()

    def action_forget(self) -> None:
        """Take a learngene off the list."""
        assert self._entry is not None
        gone = self._entry
        texts = [text for text in self.bench.settings.learngenes if Path(text).resolve() == gone.path.resolve()]
        self.bench.remember(learngenes=tuple(text for text in self.bench.settings.learngenes if text not in texts))
        self._list()
        same = next((each for each in self._entries if each.path == gone.path), None)  # It lies in the working folder.
        if (entry := same or first_choice(self._entries, None)) is not None:
            self._choose(entry)

    def on_paste(self, event: Any) -> None:
        """A path that is dragged into a terminal arrives as pasted text."""
        try:
            path = resolve_path(event.text.splitlines()[0] if event.text.strip() else "")
        except InputError as error:
            if event.text.strip():
                self.bench.tell(str(error), wrong=True)
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

    def _greeted(self) -> None:
        if not self.bench.settings.greeted:
            self.bench.remember(greeted=True)
            self.query("#greeting").set(display=False)
