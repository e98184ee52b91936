"""Pick a learngene, or a checkpoint to import: type a path, or walk through folders."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from tleg.errors import InputError, describe_os_error, did_you_mean
from tleg.text import format_bytes, printable
from tleg_tui.common.inputs import Field, OptionList
from tleg_tui.common.learngenes import resolve_path
from tleg_tui.common.screens import Dialog
from tleg_tui.common.wording import shortened

SUFFIXES: Final = (".safetensors", ".pth", ".pt")
_MOST: Final = 500


class OpenFileScreen(Dialog[Path]):
    """A line for a path, and the folder that it is in. Enter opens a file or walks into a folder."""

    DEFAULT_CSS = """
    OpenFileScreen .dialog { height: 90%; }
    OpenFileScreen OptionList { height: 1fr; border: none; background: transparent; margin: 1 0; }
    """

    def __init__(self, folder: Path, suffixes: tuple[str, ...] = SUFFIXES, title: str = "Open a learngene") -> None:
        super().__init__()
        self._folder = folder.absolute()
        self._suffixes = suffixes
        self._title = title
        self._paths: tuple[Path, ...] = ()

    def compose(self) -> ComposeResult:
        """The line, the folder, a hint."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Field(placeholder="a path; or drag a file in here", compact=True)
            yield Static(id="problem", classes="problem", markup=False)
            yield OptionList(compact=True)
            yield Static("↑ ↓ choose   enter opens   .pth files are imported   esc closes", classes="hint")

    def on_mount(self) -> None:
        """Show the folder."""
        self._list()
        self.set_focus(self.query_one(Field))  # At once: a letter typed now belongs there.

    def on_input_changed(self, event: Field.Changed) -> None:
        """Show the folder that is being typed, narrowed down to what begins so."""
        self.query_one("#problem", Static).update("")
        self._list(event.value)

    def on_key(self, event: Any) -> None:
        """The arrows move the cursor of the list while one types."""
        moves = {"down": "cursor_down", "up": "cursor_up", "pagedown": "page_down", "pageup": "page_up"}
        if event.key in moves and isinstance(self.focused, Field):
            getattr(self.query_one(OptionList), f"action_{moves[event.key]}")()
            event.stop()

    def on_input_submitted(self, event: Field.Submitted) -> None:
        """Open what was typed, or else what the cursor is on."""
        place = self.query_one(OptionList).highlighted
        typed = self._typed(event.value) if event.value.strip() else None
        if typed is not None and _exists(typed):
            self._take(typed)
        elif place is not None and place < len(self._paths) and (place > 0 or not event.value.strip()):
            self._take(self._paths[place])
        else:
            self._refuse(event.value)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open it."""
        self._take(self._paths[event.option_index])

    def _take(self, path: Path) -> None:
        if path.is_dir():
            self._folder = path.resolve()
            field = self.query_one(Field)
            with field.prevent(Field.Changed):
                field.value = ""
            self._list()
        else:
            self.dismiss(path)

    def _refuse(self, text: str) -> None:
        typed, near = self._typed(text), ""
        with suppress(OSError):
            near = did_you_mean(typed.name, [path.name for path in _entries(typed.parent)]) if typed is not None else ""
        self.query_one("#problem", Static).update(f"there is no file {shortened(text.strip())}.{near}")

    def _typed(self, text: str) -> Path | None:
        try:
            return self._folder / resolve_path(text)
        except InputError:
            return None

    def _list(self, text: str = "") -> None:
        typed = self._typed(text) if text.strip() else None
        folder, start = self._folder, ""
        choices = self.query_one(OptionList)
        choices.clear_options()
        try:
            if typed is not None:
                folder, start = typed.parent, typed.name
                if typed.is_dir():
                    folder, start = typed, ""
            found = [path for path in _entries(folder) if path.is_dir() or path.suffix in self._suffixes]
        except OSError as error:
            found = []
            self.query_one("#problem", Static).update(f"cannot read {printable(str(folder))}: {describe_os_error(error)}")
        shown = [path for path in found if path.name.startswith(start)][:_MOST]
        self._paths = (folder / "..", *shown)
        choices.add_options([Option(_line(path)) for path in self._paths])
        choices.highlighted = 1 if len(self._paths) > 1 else 0


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A name that is too long, or no way to it.
        return False


def _entries(folder: Path) -> list[Path]:
    """What a folder shows: folders first, without what is hidden."""
    if not folder.is_dir():
        return []
    visible: Iterable[Path] = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(visible, key=lambda path: (not path.is_dir(), path.name.lower()))


def _line(path: Path) -> Content:
    if path.name == "..":
        return Content.styled(f"../   {printable(str(path.parent))}", "$foreground-muted")
    try:
        if path.is_dir():
            return Content.assemble((f"{printable(path.name)}/", "$primary"))
        size = format_bytes(path.stat().st_size)
    except OSError:
        size = "?"
    return Content.assemble(printable(path.name), (f"   {size}", "$foreground-muted"))
