"""All runs: where each stands, and what can be done with it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from tleg.errors import TlegError
from tleg.runs.run import RunFolder
from tleg.text import printable
from tleg_tui.actions import bindings
from tleg_tui.common.inputs import Field
from tleg_tui.common.run_actions import export_source, possible, question_of, refusal_of, resume, why_impossible
from tleg_tui.common.screens import WorkScreen
from tleg_tui.common.wording import explained
from tleg_tui.run_list import RunRow
from tleg_tui.runs.details import RunDetails
from tleg_tui.runs.table import RunHeader, RunTable, empty_text, matches, run_line, skipped_text

if TYPE_CHECKING:
    from tleg.runs.inputs import ChangedInputsError

_SOON_SECONDS = 0.1


class RunsScreen(WorkScreen):
    """The table of all runs, with the chosen one described below it."""

    SCOPE = "runs"
    NAME = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("runs")]
    DEFAULT_CSS = """
    RunsScreen #filter-line { height: 1; padding: 0 1; display: none; }
    RunsScreen #filter-line.-shown { display: block; }
    RunsScreen #slash { width: 2; color: $accent; text-style: bold; }
    RunsScreen Field { width: 1fr; }
    RunsScreen #count { width: auto; color: $text-muted; padding-left: 2; }
    RunsScreen #runs-body { height: 1fr; }
    RunsScreen #empty { height: 1fr; padding: 1 3; }
    RunsScreen .notes { height: auto; max-height: 3; padding: 0 3; }
    RunsScreen #skipped { color: $text-muted; }
    RunsScreen #errors { color: $error; }
    """

    class Done(Message):
        """Something was done to a run, or could not be."""

        def __init__(self, text: str, *, wrong: bool = False) -> None:
            super().__init__()
            self.text = text
            self.wrong = wrong

    class SourceRead(Message):
        """What is to be exported was looked at."""

        def __init__(self, source: str, depth: int | None, classes: int | None) -> None:
            super().__init__()
            self.source = source
            self.depth = depth
            self.classes = classes

    def __init__(self) -> None:
        super().__init__()
        self._marked: Path | None = None
        self._words: tuple[str, ...] = ()
        self._offered: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """The filter, the table, the details."""
        with Horizontal(id="filter-line"):
            yield Static("/", id="slash")
            yield Field(placeholder="words of a name, kind, state or data set", id="filter", compact=True)
            yield Static(id="count", markup=False)
        with Vertical(id="runs-body"):
            yield RunHeader(id="run-titles")
            yield RunTable(plain=self.host.ascii, id="run-table")
            yield Static(id="empty")
        yield Static(id="errors", classes="notes", markup=False)
        yield Static(id="skipped", classes="notes", markup=False)
        yield RunDetails(id="details")

    def on_mount(self) -> None:
        """Follow the application's look at all runs."""
        self.set_focus(self.query_one(RunTable))
        self.watch(self.app, "runs", self._take_runs, init=False)
        self._show()

    # What is shown.

    @property
    def chosen(self) -> RunRow | None:
        """The run that the cursor is on."""
        key = self.query_one(RunTable).chosen
        return self._row(key)

    def _row(self, key: Path | None) -> RunRow | None:
        return next((row for row in self.host.runs.rows if row.folder.path == key), None)

    def on_screen_resume(self) -> None:
        """Catch up on what happened below another screen."""
        self._show()

    def _take_runs(self) -> None:
        if self.app.screen is not self:
            return
        self._show()
        if not self.host.runs.complete:
            # Long histories are read in pieces; whoever looks at the list should not wait for the next regular look.
            self.set_timer(_SOON_SECONDS, self.host.look_at_runs)

    def _show(self, *, first: bool = False) -> None:
        runs = self.host.runs
        rows = [row for row in runs.rows if matches(row, self._words)]
        if self._row(self._marked) is None:
            self._marked = None
        now = time.time()
        table = self.query_one(RunTable)
        table.show([run_line(row, now) for row in rows], self._marked, first=first)
        for part in (table, self.query_one(RunHeader)):
            part.display = bool(rows)
        empty = self.query_one("#empty", Static)
        empty.display = not rows
        if not rows:
            empty.update(empty_text(runs, self._words))
        self.query_one("#count", Static).update(f"{len(rows)} of {len(runs.rows)}")
        self._note("#errors", "; ".join(runs.errors))
        self._note("#skipped", skipped_text(runs))
        self._show_chosen()

    def _note(self, place: str, text: str) -> None:
        note = self.query_one(place, Static)
        note.display = bool(text)
        note.update(printable(text))

    def _show_chosen(self) -> None:
        row = self.chosen
        details = self.query_one(RunDetails)
        details.display = row is not None
        details.show(row, self.host.places[0])
        offered = (None,) if row is None else (row.folder.path, row.state, self._marked, len(self.host.runs.rows))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def on_run_table_chosen(self) -> None:
        """Describe another run."""
        self._show_chosen()

    def on_run_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()

    # The filter.

    def action_filter(self) -> None:
        """Type words."""
        self.query_one("#filter-line").add_class("-shown")
        self.set_focus(self.query_one(Field))  # At once: the next letter is meant for it.

    def on_input_changed(self, event: Field.Changed) -> None:
        """Narrow the list down."""
        self._words = tuple(event.value.lower().split())
        self._show(first=True)

    def on_key(self, event: Any) -> None:
        """While words are typed the arrows move the cursor of the table, and Enter goes there."""
        if not isinstance(self.focused, Field):
            return
        table = self.query_one(RunTable)
        moves: dict[str, Callable[[], None]] = {
            "down": lambda: table.action_move(1),
            "up": lambda: table.action_move(-1),
            "pagedown": lambda: table.action_page(1),
            "pageup": lambda: table.action_page(-1),
        }
        if event.key in moves:
            moves[event.key]()
            event.stop()

    def on_input_submitted(self) -> None:
        """Back to the table, with the list as it is."""
        if not self._words:
            self.query_one("#filter-line").remove_class("-shown")
        self.set_focus(self.query_one(RunTable))

    def action_back(self) -> None:
        """Show all runs again, or leave."""
        if self.is_mounted and (line := self.query_one("#filter-line")).has_class("-shown"):
            line.remove_class("-shown")
            self.query_one(Field).value = ""
            self.set_focus(self.query_one(RunTable))
        else:
            super().action_back()

    # What can be done.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is possible for the chosen run, and nothing else."""
        if action == "filter":
            return self.is_mounted and bool(self.host.runs.rows) and not isinstance(self.focused, Field)
        if action not in ("open", "mark", "compare", "stop", "resume", "export", "again", "delete"):
            return True
        if not self.is_mounted or (row := self.chosen) is None:
            return False
        if action == "compare":
            return len(self.host.runs.rows) > 1
        if action == "delete":
            return possible(row, "remove")
        return possible(row, action)

    def waits_for(self, key: str) -> bool:
        """Every key but the way back is about runs."""
        return key != "escape" and not self.host.runs.read

    def why_not(self, action: str) -> str:
        """Where the chosen run stands, and what can be done there."""
        if not self.host.runs.rows:
            return "there is no run yet: esc, then f or l starts one"
        if (row := self.chosen) is None:
            return "no run is chosen: esc shows all of them again"
        if action == "compare":
            return "there is no other run to compare with"
        if action == "delete":
            return why_impossible(row, "remove")
        return why_impossible(row, action)

    def action_open(self) -> None:
        """Watch the chosen run."""
        if (row := self.chosen) is not None:
            self.host.open_run(row.folder)

    def action_mark(self) -> None:
        """Mark the chosen run, or take its mark away."""
        key = self.query_one(RunTable).chosen
        self._marked = None if key == self._marked else key
        self._show()

    def action_compare(self) -> None:
        """Compare the chosen run with the marked one; without a mark, with one that is picked."""
        row, marked = self.chosen, self._row(self._marked)
        assert row is not None
        if marked is not None and marked is not row:
            self.host.open_run(row.folder, compare=marked.folder)
            return
        from tleg_tui.common.dialogs import PickRunScreen

        others = [each for each in self.host.runs.rows if each is not row]

        def compare(picked: RunFolder | None) -> None:
            if picked is not None:
                self.host.open_run(row.folder, compare=picked)

        self.app.push_screen(PickRunScreen(f"Compare {row.id} with", others), compare)

    def action_again(self) -> None:
        """A new training like this one."""
        if (row := self.chosen) is not None:
            self.host.open_training(row.spec.kind, dict(row.spec.recipe))

    def action_stop(self) -> None:
        """Ask the chosen run to stop."""
        from tleg.runs.slurm import stop

        row = self.chosen
        assert row is not None
        self._do(
            lambda: stop(row.folder),
            f"asked {row.id} to stop: it finishes its step, saves a checkpoint and ends; R goes on with it",
        )

    def action_resume(self) -> None:
        """Go on with the chosen run."""
        row = self.chosen
        assert row is not None
        self._do(lambda: resume(row.folder), f"{row.id} goes on; enter shows it", folder=row.folder)

    def _ask_to_accept(self, folder: RunFolder, error: "ChangedInputsError") -> None:
        """Ask whether to go on with images that came or went; what nobody can accept is said."""
        from tleg_tui.common.dialogs import ConfirmScreen

        if not error.acceptable:
            self.post_message(self.Done(refusal_of(error), wrong=True))
            return

        def accept(yes: bool | None) -> None:
            if yes:
                self._do(lambda: resume(folder, accept_changed=True), f"{folder.id} goes on with what changed")

        self.app.push_screen(ConfirmScreen(printable(question_of(error)), "go on"), accept)

    def action_delete(self) -> None:
        """Delete the chosen run, after a question."""
        row = self.chosen
        assert row is not None
        from tleg.runs.control import remove_run
        from tleg_tui.common.dialogs import ConfirmScreen

        question = f"Delete {row.id} with its log and its checkpoints? This cannot be undone."
        result = row.look.state.result
        if result is not None:
            inside = Path(result).is_relative_to(row.folder.path)
            question += " Its result goes with it." if inside else f" Its result stays: {result}"

        def delete(yes: bool | None) -> None:
            if yes:
                self._do(lambda: remove_run(row.folder), f"{row.id} is deleted")

        self.app.push_screen(ConfirmScreen(printable(question), "delete"), delete)

    def action_export(self) -> None:
        """Export the chosen run's result."""
        row = self.chosen
        assert row is not None
        self.run_worker(self._read_source(row), group="export", exclusive=True, exit_on_error=False)

    async def _read_source(self, row: RunRow) -> None:
        with self.host.keys_wait():
            try:
                self.post_message(self.SourceRead(*await asyncio.to_thread(export_source, row)))
            except (TlegError, OSError) as error:
                self.post_message(self.Done(str(error), wrong=True))

    def on_runs_screen_source_read(self, message: SourceRead) -> None:
        """Show the dialog."""
        self.host.open_export(message.source, message.depth, classes=message.classes)

    def _do(self, action: Callable[[], object], done: str, folder: RunFolder | None = None) -> None:
        self.run_worker(self._attempt(action, done, folder), group="do", exit_on_error=False)

    async def _attempt(self, action: Callable[[], object], done: str, folder: RunFolder | None) -> None:
        from tleg.runs.inputs import ChangedInputsError

        try:
            with self.host.keys_wait():
                line = await asyncio.to_thread(action)
        except ChangedInputsError as error:
            if folder is not None:
                self._ask_to_accept(folder, error)
            else:
                self.post_message(self.Done(explained(error), wrong=True))
        except (TlegError, OSError) as error:
            self.post_message(self.Done(explained(error), wrong=True))
        else:
            self.post_message(self.Done(done))
            if isinstance(line, str):
                from tleg_tui.common.dialogs import NodeLineScreen

                self.app.push_screen(NodeLineScreen(line))

    def on_runs_screen_done(self, message: Done) -> None:
        """Say how it went, and look again."""
        self.host.tell(message.text, wrong=message.wrong)
        self.host.look_at_runs(changed=True)
