"""Picking what goes into a field: what is offered (used before, lying here, known to timm), completion, the dialog."""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Static
from textual.widgets.option_list import Option

from tleg.data.sources import FashionMnist
from tleg.data.splits import find_splits
from tleg.recipes import Kind
from tleg.references import SUFFIX
from tleg.text import printable
from tleg_tui.common.inputs import Field, OptionList
from tleg_tui.common.learngenes import Learngenes
from tleg_tui.common.screens import Dialog
from tleg_tui.run_list import RunList
from tleg_tui.settings import Settings
from tleg_tui.train.checks import FIRST, ModelNames

_PICKED: Final = ("data", "learngene", "checkpoint", "teacher", "architecture", "model")
TEACHERS: Final = ("levit_384", "levit_128s", "regnety_160", "resnet50")
_FROM_TIMM: Final = (
    ("torch/cifar10", "32 x 32 pixels, 10 classes; a download"),
    ("torch/cifar100", "32 x 32 pixels, 100 classes; a download"),
    ("hfds/", "a set of Hugging Face: type its name"),
    ("tar:", "a folder with train.tar and val.tar: type its path"),
)
_MOST: Final = 300


@dataclass(frozen=True, slots=True)
class Offer:
    """A text for a field, and a word about it. Of a folder that is none itself, `walk` says that one can go into it."""

    text: str
    about: str
    walk: bool = False


def is_picked(name: str, kind: Kind) -> bool:
    """Whether there is something to choose from for a field. What is called a start is an option of `learn` alone."""
    return name in _PICKED or (name == "start" and kind == "learn")


def offers_of(name: str, kind: Kind, settings: Settings, runs: RunList, models: ModelNames) -> tuple[Offer, ...]:
    """Return what to offer for a field, the likeliest first, each text once. Reads folders."""
    found: Iterable[Offer] = ()
    if name == "data":
        found = _data(settings)
    elif name == "learngene":
        found = _learngenes(settings, runs)
    elif name == "start":
        found = (*_learngenes(settings, runs), *_models(runs))
    elif name in ("checkpoint", "teacher"):
        found = (
            *(Offer(text, "recent") for text in settings.teachers if name == "teacher"),
            *_models(runs),
            *(Offer(text, "timm's, to download") for text in TEACHERS if name == "teacher"),
        )
    elif name in ("architecture", "model"):
        known = models.expandable if name == "architecture" else models.names
        found = (*(Offer(text, "plain ViT") for text in FIRST), *(Offer(text, "") for text in known))
    return tuple({offer.text: offer for offer in reversed(tuple(found))}.values())[::-1]


def completions_of(name: str, settings: Settings, models: ModelNames) -> tuple[str, ...]:
    """Return what completes a text that is being typed into a field."""
    if name == "data":
        return (*settings.data, FashionMnist.name, *(text for text, _ in _FROM_TIMM))
    if name == "architecture":
        return tuple(models.expandable)
    if name == "start":
        return (*settings.learngenes, *models.names)
    return (*settings.teachers, *models.names) if name in ("teacher", "model") else settings.learngenes


def walk(text: str, name: str) -> tuple[Offer, ...]:
    """Return the folders (and, for a learngene, its files) that a path which is being typed leads to."""
    if not (text.startswith(("~", ".")) or os.sep in text):
        return ()
    try:
        place = Path(text).expanduser()
    except RuntimeError:  # No such user, or not yet: the name is being typed.
        return ()
    folder, start = (place, "") if text.endswith(os.sep) or text == "~" else (place.parent, place.name)
    found = [
        Offer(str(path), about, walk=False) if (about := about_data(path)) else Offer(str(path), "folder", walk=True)
        for path in _folders(folder)
    ]
    if name in ("checkpoint", "teacher", "start"):
        found = [
            Offer(each.text, "a folder that timm loads") if (Path(each.text) / "config.json").is_file() else each
            for each in found
        ]
    if name in ("learngene", "start"):
        found += [Offer(str(path), "learngene") for path in _files(folder)]
    return tuple(each for each in found if Path(each.text).name.startswith(start))


def about_data(folder: Path) -> str | None:
    """Return the names of a data set's folders, as in 'train/ and val/'; None when a folder does not look like one."""
    try:
        splits = find_splits(folder)
    except OSError:
        return None
    if splits.train is None or splits.validation is None:
        return None
    return f"{splits.train.name}/ and {splits.validation.name}/"


def _data(settings: Settings) -> Iterable[Offer]:
    yield from (Offer(text, "recent") for text in settings.data)
    yield Offer(FashionMnist.name, "28 x 28 pixels, 10 classes")
    yield from (Offer(path.name, about) for path in _folders(Path()) if (about := about_data(path)))
    yield from (Offer(text, about) for text, about in _FROM_TIMM)
    yield Offer(f".{os.sep}", "walk through folders", walk=True)


def _learngenes(settings: Settings, runs: RunList) -> Iterable[Offer]:
    entries = Learngenes().find(settings.learngenes, Path.cwd(), runs)
    yield from (Offer(each.argument, each.origin) for each in entries if each.file is not None)
    yield from (Offer(str(row.folder.path), f"run, {row.state}") for row in runs.rows if row.spec.kind == "learn")


def _models(runs: RunList) -> Iterable[Offer]:
    yield from (Offer(str(row.folder.path), f"run, {row.state}") for row in runs.rows if row.spec.kind != "learn")
    yield from (
        Offer(path.name, "a folder that timm loads") for path in _folders(Path()) if (path / "config.json").is_file()
    )


def _folders(place: Path) -> list[Path]:
    try:
        found = sorted(path for path in place.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:
        return []
    return found[:_MOST]


def _files(place: Path) -> list[Path]:
    try:
        return sorted(place.glob(f"*{SUFFIX}"))[:_MOST]
    except OSError:
        return []


class NameSuggester(Suggester):
    """Suggests the first of the names that begins with what was typed. The names are asked for anew each time."""

    def __init__(self, names: Callable[[str], Iterable[str]], field: str = "") -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._names = names
        self._field = field

    def for_field(self, name: str) -> "NameSuggester":
        """The same for one field."""
        return NameSuggester(self._names, name)

    async def get_suggestion(self, value: str) -> str | None:
        """The name, or None."""
        return next((name for name in self._names(self._field) if name.startswith(value) and name != value), None)


_MOVES = {"down": "cursor_down", "up": "cursor_up", "pagedown": "page_down", "pageup": "page_up"}


class PickNameScreen(Dialog[str]):
    """Enter takes what the cursor is on, or what was typed when nothing fits it; a folder that is none is walked into."""

    DEFAULT_CSS = """
    PickNameScreen OptionList { height: auto; max-height: 14; border: none; background: transparent; margin-top: 1; }
    PickNameScreen #how { margin-top: 1; }
    """

    class Walked(Message):
        """What a path that is being typed leads to was looked up."""

        def __init__(self, text: str, offers: tuple[Offer, ...]) -> None:
            super().__init__()
            self.text = text
            self.offers = offers

    def __init__(self, name: str, offers: Sequence[Offer]) -> None:
        super().__init__()
        self._field = name
        self._offers = tuple(offers)
        self._shown: tuple[Offer, ...] = ()

    def compose(self) -> ComposeResult:
        """A line to type in and the list."""
        with Vertical(classes="dialog"):
            yield Static(f"Choose {self._field}", classes="dialog-title")
            yield Field(placeholder="type to narrow down, or type a path", compact=True)
            yield OptionList(compact=True)
            yield Static("enter takes what you typed", classes="hint", id="none")
            yield Static("↑ ↓ choose   enter takes   a path walks through folders   esc closes", classes="hint", id="how")

    def on_mount(self) -> None:
        """Show all."""
        self._show(self._offers)
        self.query_one(Field).focus()

    def on_input_changed(self, event: Field.Changed) -> None:
        """Narrow down, or walk."""
        text = event.value.strip()
        words = text.lower().split()
        self._show(
            tuple(each for each in self._offers if all(word in f"{each.text} {each.about}".lower() for word in words))
        )
        self._walk(text)

    def on_key(self, event: Any) -> None:
        """The arrows move the cursor of the list while one types."""
        if event.key in _MOVES and isinstance(self.focused, Field):
            event.stop()
            getattr(self.query_one(OptionList), f"action_{_MOVES[event.key]}")()

    def on_input_submitted(self, event: Field.Submitted) -> None:
        """Take it."""
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._shown):
            self._take(self._shown[place])
        elif event.value.strip():
            self.dismiss(event.value.strip())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take it."""
        self._take(self._shown[event.option_index])

    @work(exclusive=True, group="walk")
    async def _walk(self, text: str) -> None:
        with self.host.keys_wait():
            offers = await asyncio.to_thread(walk, text, self._field)
            if offers:
                self.post_message(self.Walked(text, offers))

    def on_pick_name_screen_walked(self, message: Walked) -> None:
        """Show folders, if the text is still the same."""
        if message.text == self.query_one(Field).value.strip():
            self._show(message.offers)

    def _take(self, offer: Offer) -> None:
        field = self.query_one(Field)
        if offer.walk or offer.text.endswith(("/", ":")):
            field.value = offer.text if offer.text.endswith(("/", ":")) else f"{offer.text}{os.sep}"
            field.focus()
        else:
            self.dismiss(offer.text)

    def _show(self, offers: tuple[Offer, ...]) -> None:
        self._shown = offers
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options(
            [Option(Content.assemble(printable(each.text), (f"  {each.about}", "$foreground 60%"))) for each in offers]
        )
        choices.highlighted = 0 if offers else None
        self.query_one("#none").display = not offers
