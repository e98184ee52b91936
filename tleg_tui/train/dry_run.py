"""A training looked at without training: what `tleg learn … --dry-run` found."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import Button, Static

from tleg.text import format_bytes, format_count
from tleg_tui.child import ChildResult, run_tleg
from tleg_tui.common.cells import hanging
from tleg_tui.common.screens import Dialog
from tleg_tui.common.wording import explained, said

_WIDTH: Final = 10  # Cells for what a fact is called.
_CLASSES_NAMED: Final = 12


class DryRunScreen(Dialog[bool]):
    """Runs the command with --dry-run, and shows what it found. Escape gives up. Its result is whether to launch."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f5", "launch", "launch", show=False, priority=True)]
    DEFAULT_CSS = """
    DryRunScreen VerticalScroll { height: auto; max-height: 18; }
    DryRunScreen #found { height: auto; color: $text-muted; }
    DryRunScreen Horizontal { height: 1; margin-top: 1; }
    DryRunScreen Button { margin-right: 2; }
    """

    class Ended(Message):
        """The command ended."""

        def __init__(self, result: ChildResult) -> None:
            super().__init__()
            self.result = result

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self._words = tuple(words)
        self._began = time.monotonic()
        self._found: Mapping[str, Any] | None = None
        self._ready = False

    def compose(self) -> ComposeResult:
        """What was found, and what to do next."""
        with Vertical(classes="dialog"):
            yield Static("Dry run", classes="dialog-title")
            with VerticalScroll(can_focus=False):
                yield Static(id="found")
            with Horizontal():
                yield Button("launch F5", id="launch", variant="primary", compact=True, disabled=True)
                yield Button("give up esc", id="close", compact=True)

    def on_mount(self) -> None:
        """Begin."""
        self._show_waiting()
        self._timer = self.set_interval(1.0, self._show_waiting)
        self._look()
        self.query_one("#close").focus()

    @work(exclusive=True, group="dry-run")
    async def _look(self) -> None:
        # Cancelled when the screen closes, which interrupts the process.
        self.post_message(self.Ended(await run_tleg([*self._words, "--dry-run", "--json"])))

    def _show_waiting(self) -> None:
        seconds = int(time.monotonic() - self._began)
        self.query_one("#found", Static).update(
            Content.assemble(
                ("Opening data and models, checking the teacher, estimating memory and disk …\n", "$foreground"),
                f"{seconds:3d} s; nothing is trained and nothing is written",
            )
        )

    def on_dry_run_screen_ended(self, message: Ended) -> None:
        """Show it."""
        self._timer.stop()
        document = message.result.document
        if isinstance(document, dict):
            self._found = document
            self._show_found()
            self._ready = message.result.code == 0
        else:
            content = Content.assemble(("✗ ", "$error"), (said(explained(message.result.error)), "$foreground"))
            self.query_one("#found", Static).update(content)
        launch, close = self.query_one("#launch", Button), self.query_one("#close", Button)
        launch.disabled = not self._ready
        close.label = "back esc"
        (launch if self._ready else close).focus()

    def on_resize(self, event: Resize) -> None:
        """Break lines where they end now."""
        self.call_after_refresh(self._show_found)

    def _show_found(self) -> None:
        if self._found is not None:
            found = self.query_one("#found", Static)
            found.update(report(self._found, found.size.width))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Launch, or close."""
        self.dismiss(event.button.id == "launch")

    def action_launch(self) -> None:
        """Launch, once nothing speaks against it."""
        if self._ready:
            self.dismiss(True)


def report(document: Mapping[str, Any], width: int) -> Content:
    """Return what a dry run found, on lines of at most `width` cells; problems come last and stand out."""
    lines_of = partial(hanging, width=width, text_style="$foreground")
    notes = (("note", said(str(note))) for note in document.get("notes") or ())
    facts = (*_facts(_Facts(document)), *notes)
    lines = [each for title, text in facts for each in lines_of(f"{title:<{_WIDTH}}", text)]
    texts = (said(str(text)) for text in document.get("problems") or ())
    problems = [each for text in texts for each in lines_of("✗ ", text, style="bold $error")]
    lines += [Content(""), *(problems or [Content.styled("✓ nothing speaks against it", "$success")])]
    return Content("\n").join(lines)


class _Facts:
    """A document whose values are what they should be, or 0 and ''."""

    def __init__(self, document: object) -> None:
        self._document = document if isinstance(document, Mapping) else {}

    def number(self, name: str) -> float:
        value = self._document.get(name)
        return value if isinstance(value, int | float) else 0

    def text(self, name: str) -> str:
        return str(self._document.get(name) or "")

    def part(self, name: str) -> "_Facts | None":
        value = self._document.get(name)
        return _Facts(value) if isinstance(value, Mapping) else None

    def pairs(self, name: str) -> dict[str, tuple[int, int]]:
        value = self._document.get(name)
        entries = value.items() if isinstance(value, Mapping) else ()
        return {str(key): (pair[0], pair[1]) for key, pair in entries if isinstance(pair, list) and len(pair) == 2}

    def sum(self) -> float:
        return sum(value for value in self._document.values() if isinstance(value, int | float))


def _classes(found: _Facts) -> Iterator[str]:
    """Each class with its training and validation images, as far as there is room."""
    counts = found.pairs("class_counts")
    named = [f"{name} {train} + {held_out}" for name, (train, held_out) in list(counts.items())[:_CLASSES_NAMED]]
    if named:
        more = f" and {len(counts) - len(named)} more" if len(counts) > len(named) else ""
        yield f"{', '.join(named)}{more}"


def _facts(found: _Facts) -> Iterator[tuple[str, str]]:
    chance = f"guessing gives {found.number('chance'):.1f} %"
    images = f"{found.number('training'):,.0f} training and {found.number('validation'):,.0f} validation images"
    yield "data", f"{found.text('data')}: {images}"
    labelled = found.number("classes") > 0
    yield "classes", f"{found.number('classes'):.0f}; {chance}" if labelled else "none: the images have no labels"
    yield from (("", text) for text in _classes(found))
    depth = f" at depth {found.number('depth'):.0f}" if found.number("depth") else ""
    yield "model", f"{found.text('model')}, {format_count(found.number('parameters'))} parameters{depth}"
    if basis := found.text("basis"):
        yield "basis", basis
    if depths := found.text("depths"):
        yield "depths", depths
    teacher = found.part("teacher")
    if teacher is None:
        yield "teacher", "none: from the labels alone"
    else:
        right = f"right on {teacher.number('accuracy'):.1f} % of {teacher.number('images'):.0f} images"
        features = teacher.number("features")
        knows = f"{right}; {chance}" if not features else f"features of {features:.0f} values"
        yield "teacher", f"{teacher.text('name')}, {knows}"
    processes = found.number("processes")
    threads = found.number("threads")
    parts = [found.text("device"), *([f"{processes:.0f} processes"] if processes > 1 else [])]
    parts.append(f"{threads:.0f} thread{'s' if threads > 1 else ''}{' each' if processes > 1 else ''}")
    yield "device", ", ".join(parts)
    epochs = found.number("epochs")
    each = found.number("steps") / epochs if epochs else 0
    yield "steps", f"{found.number('steps'):,.0f}, {each:,.0f} an epoch; peak learning rate {found.number('peak_rate'):.3g}"
    memory = found.part("memory")
    needed = format_bytes(0 if memory is None else memory.sum())
    yield "memory", f"about {needed} a device, of {format_bytes(found.number('memory_available'))} available"
    yield "disk", f"about {format_bytes(found.number('disk_needed'))}, of {format_bytes(found.number('disk_free'))} free"
