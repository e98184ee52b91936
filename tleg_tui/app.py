"""The application: its screens, what it remembers, and the runs that it watches. The work is done by the engine."""

import asyncio
import traceback
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from textual import work
from textual.app import App, ScreenStackError
from textual.binding import BindingType
from textual.command import Provider
from textual.css.query import NoMatches
from textual.events import Event, Key, Resize
from textual.filter import LineFilter
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import MountError
from textual.worker import WorkerFailed

from tleg.paths import settings_folder
from tleg.text import printable
from tleg_tui.actions import action_of, bindings
from tleg_tui.common.ascii import AsciiFilter
from tleg_tui.common.colours import DEFAULT, THEMES, ContrastFilter
from tleg_tui.common.screens import WorkScreen
from tleg_tui.common.typeahead import TypeAhead
from tleg_tui.common.wording import said
from tleg_tui.run_list import RunList
from tleg_tui.settings import RecentName, Settings, load_settings, store_settings
from tleg_tui.workbench.screen import WorkbenchScreen

if TYPE_CHECKING:
    from tleg.learngene.profile import Depth
    from tleg.runs.run import RunFolder
    from tleg_tui.host import Host
    from tleg_tui.runs.watching import RunsWatch

LEAST_SIZE = (60, 16)
ERROR_FILE: Final = "error.log"
_SECONDS_BETWEEN_LOOKS = 2.0


class RunsLooked(Message):
    """All runs were looked at. A newer look replaces one that waits."""

    def __init__(self, runs: RunList) -> None:
        super().__init__()
        self.runs = runs

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, RunsLooked)


def _palette() -> type[Provider]:
    from tleg_tui.common.palette import ActionsProvider  # Loaded with the palette.

    return ActionsProvider


class Workbench(App[None]):
    """`tleg-tui`.

    runs_dir  the folder of the runs
    opened    a learngene to begin with
    run       a run to begin with; the workbench is below it
    refresh   seconds between two looks at a run that is shown
    ascii     paint ASCII alone

    `last_words` is what to say once the terminal is as it was: how to come back, or what went wrong.
    """

    CSS_PATH = "tleg.tcss"
    TITLE = "tleg"
    COMMANDS: ClassVar[Any] = {_palette}
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("app")]

    runs: reactive[RunList] = reactive(RunList(), repaint=False)

    def __init__(
        self,
        runs_dir: Path,
        *,
        opened: Path | None = None,
        run: "RunFolder | None" = None,
        refresh: float = 0.25,
        ascii: bool = False,  # noqa: A002  # What the option is called.
        theme: str | None = None,
        settings_folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.runs_dir = runs_dir
        self.refresh_seconds = refresh
        self.ascii = ascii
        self.settings: Settings = load_settings(settings_folder)
        self._settings_folder = settings_folder
        self._opened = opened
        self._first_run = run
        self._watched: dict[Path, RunFolder] = {}  # In order.
        self._runs_watch: RunsWatch | None = None  # Loaded with the first look.
        self._looking = self._look_again = False
        self.typeahead = TypeAhead(self, self._hand_on)
        self._handed_on: Event | None = None
        self.last_words: str | None = None
        self._ascii_filter, self._contrast_filter = AsciiFilter(), ContrastFilter()
        for each in THEMES:
            self.register_theme(each)
        wanted = theme or self.settings.theme or DEFAULT
        self.theme = wanted if wanted in self.available_themes else DEFAULT

    # What Textual asks for.

    def get_default_screen(self) -> Screen[None]:
        """The workbench."""
        return WorkbenchScreen(self._opened)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is painted can be read, whatever the theme; with --ascii it is translated as well."""
        filters = [*super().get_line_filters(), self._contrast_filter]
        return [*filters, self._ascii_filter] if self.ascii else filters

    def on_mount(self) -> None:
        """Begin to look at runs."""
        self.theme_changed_signal.subscribe(self, lambda theme: self.remember(theme=theme.name))
        # A shell that brought it back has left an empty screen.
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(layout=True))
        self.set_interval(_SECONDS_BETWEEN_LOOKS, self.look_at_runs)
        self.call_after_refresh(self.look_at_runs)
        if self._first_run is not None:
            self.open_run(self._first_run)

    # Keys.

    async def on_event(self, event: Event) -> None:
        """What a person does waits for its turn; what is handed on comes through here a second time."""
        if self.typeahead.takes(event) and event is not self._handed_on:
            self.typeahead.take(event)
        else:
            await super().on_event(event)

    def on_key(self, event: Key) -> None:
        """A key that does something here, but not now, says why. What was typed into a line does not come this far."""
        reason = ""
        for owner, found in self.screen._modal_binding_chain:
            for binding in found.key_to_bindings.get(event.key, ()):
                if self._check_action_state(binding.action, owner):
                    return
                if (known := action_of(binding)) is not None and not reason:
                    why_not = getattr(owner, "why_not", None)
                    name = known[1].name.partition("(")[0]
                    reason = (why_not(name) if why_not is not None else "") or f"{known[1].label}: not possible now"
        if reason and all(each.message != said(reason) for each in self._notifications):
            self.tell(reason)

    def _hand_on(self, event: Event) -> None:
        self._handed_on = event
        self.post_message(event)

    def keys_wait(self) -> AbstractContextManager[None]:
        """While something is done that leads elsewhere, what is typed waits for it; but never for long."""
        return self.typeahead.held()

    def on_resize(self, event: Resize) -> None:
        """Say so when the terminal is too small, and go on when it is large enough again."""
        too_small = event.size.width < LEAST_SIZE[0] or event.size.height < LEAST_SIZE[1]
        if not too_small and isinstance(self.screen, WorkScreen):
            return  # As at the first paint, which needs no dialog.
        from tleg_tui.common.dialogs import TooSmallScreen

        shown = isinstance(self.screen, TooSmallScreen)
        if too_small and not shown:
            self.push_screen(TooSmallScreen(LEAST_SIZE))
        elif shown and not too_small:
            self.pop_screen()

    def action_command_palette(self) -> None:
        """Offer what can be done now."""
        from tleg_tui.common.palette import Palette

        if not Palette.is_open(cast("App[object]", self)):
            self.push_screen(Palette(id="--command-palette"))

    # Textual has no public place for these two.

    def _handle_exception(self, error: Exception) -> None:
        """End with what went wrong; but what was still wanted of widgets while the workbench is being left is void."""
        if (self._exit or not self._running) and is_void(error):
            return
        if self._exception is None:  # Others follow from the first.
            said = printable(report(error, self._settings_folder or settings_folder()))
            self.last_words = "\n".join(filter(None, [said, self.farewell()]))
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Close; what went wrong is told by `last_words`, and not as a traceback."""
        self._close_messages_no_wait()

    # Runs.

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders whose runs are shown."""
        return (self.runs_dir, *(Path(text) for text in self.settings.runs_folders))

    def look_at_runs(self, *, changed: bool = False) -> None:
        """Look at all runs, on a thread; what was seen comes as a message.

        changed  a key has changed them: a look that is under way may be too early, and the next key waits for a new one
        """
        if not self._looking:
            self._looking = True
            self._look_at_runs(changed)
        elif changed:
            self._look_again = True

    @work(group="runs", exit_on_error=False)
    async def _look_at_runs(self, changed: bool) -> None:
        try:
            with self.keys_wait() if changed else nullcontext():
                runs = await asyncio.to_thread(self._look, self.places)
                self.post_message(RunsLooked(runs))
        finally:
            self._looking = False
            if self._look_again:
                self._look_again = False
                self.look_at_runs(changed=True)

    def _look(self, places: tuple[Path, ...]) -> RunList:
        if self._runs_watch is None:
            from tleg_tui.runs.watching import RunsWatch

            self._runs_watch = RunsWatch()
        return self._runs_watch.look(places)

    def on_runs_looked(self, message: RunsLooked) -> None:
        """Keep what was seen; screens that show runs watch `runs`."""
        if message.runs != self.runs:
            self.runs = message.runs

    # Settings.

    def remember(self, **changes: Any) -> None:
        """Change settings and keep them. What cannot be written is no reason to stop."""
        changed = replace(self.settings, **changes)
        if changed != self.settings:
            self.settings = changed
            store_settings(changed, self._settings_folder)

    def remember_recent(self, name: RecentName, value: str) -> None:
        """Put a value first in one of the lists of settings."""
        self.remember(**{name: getattr(self.settings.with_recent(name, value), name)})

    # Ways between screens. Each loads its screen when it is first shown.

    def open_run(self, folder: "RunFolder", compare: "RunFolder | None" = None) -> None:
        """Watch a run."""
        from tleg_tui.run.screen import RunScreen

        self._watched[folder.path.absolute()] = folder
        if folder.path.parent.absolute() not in {place.absolute() for place in self.places}:
            self.remember_recent("runs_folders", str(folder.path.parent.absolute()))
        self.push_screen(RunScreen(folder, compare))

    def open_runs(self) -> None:
        """Show all runs."""
        from tleg_tui.runs.screen import RunsScreen

        self.push_screen(RunsScreen())

    def open_training(self, kind: str, values: dict[str, Any] | None = None) -> None:
        """Show the form of a kind of training ('learn', 'train', 'finetune'), with some values of its recipe filled in."""
        from tleg_tui.train.screen import TrainScreen

        self.push_screen(TrainScreen(kind, values or {}))

    def open_export(
        self,
        source: str,
        depth: "Depth | None" = None,
        *,
        classes: int | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        """Show the dialog that exports a learngene at a depth, or (without a depth) a folder that timm loads."""
        from tleg_tui.export.screen import ExportScreen

        self.push_screen(ExportScreen(source, depth, classes=classes, image_size=image_size))

    def open_family(self, learngene: str) -> None:
        """Show the form of a family of a learngene."""
        from tleg_tui.family.screen import FamilyScreen

        self.push_screen(FamilyScreen(learngene))

    # Actions of every screen.

    def action_help_keys(self) -> None:
        """Show the keys."""
        from tleg_tui.common.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[Any]:
        """None of Textual's own: the palette offers our actions."""
        return ()

    async def action_quit(self) -> None:
        """Leave, and say how to come back to what goes on; ask first where something would be lost."""
        question = next((each.unsaved for each in self.screen_stack if isinstance(each, WorkScreen) and each.unsaved), None)
        if question is None:
            self._leave(True)
            return
        from tleg_tui.common.dialogs import ConfirmScreen

        if not isinstance(self.screen, ConfirmScreen):
            self.push_screen(ConfirmScreen(question, "leave"), self._leave)

    def _leave(self, yes: bool | None) -> None:
        if yes:
            self.last_words = self.farewell()
            self.exit()

    def farewell(self) -> str | None:
        """How to come back to runs that were watched and go on; None when there are none."""
        from tleg.runs.state import observe
        from tleg_tui.common.run_actions import attach_command

        # Asked anew: the last look may be older than a run that was just begun.
        going_on = [folder for folder in self._watched.values() if observe(folder).at_work]
        return "\n".join(f"training goes on: {printable(attach_command(each))}" for each in going_on) or None

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Say something in the corner for a while."""
        self.notify(said(text), severity="error" if wrong else "information", timeout=8 if wrong else 4, markup=False)


if TYPE_CHECKING:

    def _is_host(app: Workbench) -> Host:  # mypy compares the application with what screens expect of it.
        return app


def is_void(error: BaseException) -> bool:
    """Whether an error says only that a screen or a widget is not there (any more)."""
    if isinstance(error, WorkerFailed):
        return is_void(error.error)
    return isinstance(error, NoMatches | MountError | ScreenStackError)


def report(error: BaseException, folder: Path) -> str:
    """Write the traceback of an error to a folder, and return what there is to say."""
    cause = error.error if isinstance(error, WorkerFailed) else error
    said = f"tleg-tui: unexpected {type(cause).__name__}: {' '.join(str(cause).split())}"
    file = folder / ERROR_FILE
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(traceback.format_exception(cause)), encoding="utf-8")
        return f"{said} ({file} says where)"
    return said
