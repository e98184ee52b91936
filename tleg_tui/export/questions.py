"""What the export dialog asks."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from textual import events
from textual.app import ComposeResult, RenderResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Label, Static

from tleg.export.formats import FLOATING, find_format
from tleg.learngene.profile import Depth, format_depth
from tleg.models.output import output_of
from tleg.text import format_image_size
from tleg_tui.common.inputs import Field
from tleg_tui.export.model import Answers, ExportSource, hold_every_depth

_BOX: Final = 4  # Cells before a name.


class Choices(Widget, can_focus=True):
    """Left and right go along the line, space ticks. Of `single` choices the one that is gone to is the chosen one.

    Enter is left to the screen.
    """

    DEFAULT_CSS = "Choices { width: 1fr; height: auto; }"

    class Changed(Message):
        """Something was ticked, or the cursor moved."""

        def __init__(self, choices: "Choices") -> None:
            super().__init__()
            self.choices = choices

    def __init__(self, names: Sequence[str], chosen: Sequence[str], *, single: bool = False, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self.names = tuple(names)
        self._chosen = set(chosen)
        self._single = single
        self._cursor = next((place for place, name in enumerate(self.names) if name in self._chosen), 0)

    @property
    def chosen(self) -> tuple[str, ...]:
        """What is chosen, in the order of the line."""
        return tuple(name for name in self.names if name in self._chosen)

    @property
    def current(self) -> str:
        """What the cursor is on."""
        return self.names[self._cursor]

    def render(self) -> RenderResult:
        """The names with their boxes."""
        return Content("\n").join(
            Content("").join(self._choice(place, self.names[place]) + Content("  ") for place, _ in line)
            for line in self._lines(self.size.width)
        )

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """What one line takes."""
        return sum(_BOX + len(name) + 2 for name in self.names)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as the names take."""
        return len(self._lines(width))

    def _lines(self, width: int) -> list[list[tuple[int, int]]]:
        """The places of the names on each line, with the cell where each begins: a name is never broken."""
        lines: list[list[tuple[int, int]]] = [[]]
        start = 0
        for place, name in enumerate(self.names):
            if lines[-1] and start + _BOX + len(name) > width:
                lines.append([])
                start = 0
            lines[-1].append((place, start))
            start += _BOX + len(name) + 2
        return lines

    def _choice(self, place: int, name: str) -> Content:
        chosen = name in self._chosen
        box = ("(●) " if chosen else "( ) ") if self._single else ("[x] " if chosen else "[ ] ")
        if self.has_focus and place == self._cursor:
            return Content.styled(box + name, "bold reverse")
        style = "bold $accent" if chosen else "$foreground-muted"
        return Content.assemble((box, style), (name, "" if chosen else "$foreground-muted"))

    def on_focus(self) -> None:
        """The cursor is seen with the focus alone."""
        self.refresh()

    def on_blur(self) -> None:
        """So it goes with it."""
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Move and tick."""
        if event.key in ("left", "right"):
            self._go_to(self._cursor + (1 if event.key == "right" else -1))
            event.stop()
        elif event.key == "space":
            self.tick(self.current)
            event.stop()

    def on_click(self, event: events.Click) -> None:
        """Tick what is under the mouse."""
        lines = self._lines(self.size.width)
        for place, start in lines[event.y] if event.y < len(lines) else []:
            if start <= event.x < start + _BOX + len(self.names[place]):
                self._cursor = place
                self.tick(self.names[place])

    def _go_to(self, place: int) -> None:
        self._cursor = place % len(self.names)
        if self._single:
            self.tick(self.current)
        else:
            self.refresh()
            self.post_message(self.Changed(self))

    def tick(self, name: str) -> None:
        """Choose, or take back."""
        if self._single:
            self._chosen = {name}
        else:
            self._chosen ^= {name}
        self.refresh()
        self.post_message(self.Changed(self))


REPLACE: Final = "replace existing"
# What the questions are called, by the option of `tleg build` that each answers.
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "export": "formats",
        "depth": "depth",
        "dtype": "numbers",
        "layout": "layout",
        "output-of": "gives",
        "num-classes": "classes",
        "image-size": "pixels",
        "output": "folder",
        "force": REPLACE,
    }
)
# Where each is answered.
_PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "export": "#kinds",
        "depth": "#depths",
        "dtype": "#dtype",
        "layout": "#layout",
        "output-of": "#gives",
        "num-classes": "#classes",
        "image-size": "#pixels",
        "output": "#output",
        "force": "#replace",
    }
)


class ExportQuestions(Vertical):
    """The questions, with answers to begin with: Enter alone makes an ONNX file."""

    DEFAULT_CSS = """
    ExportQuestions { height: auto; padding: 0 1; }
    ExportQuestions .row { height: 1; }
    ExportQuestions #formats { height: auto; }
    ExportQuestions Label { width: 10; color: $text-muted; }
    ExportQuestions Field { width: 1fr; }
    ExportQuestions .aside { width: auto; color: $text-muted; padding-left: 2; }
    ExportQuestions #replace { width: auto; padding-left: 2; }
    ExportQuestions #about { height: auto; padding-left: 10; color: $text-muted; }
    """

    def __init__(
        self,
        source: ExportSource,
        depth: Depth | None,
        image_size: tuple[int, int] | None,
        output: str,
        *,
        id: str | None = None,  # noqa: A002  # Textual's name.
    ) -> None:
        super().__init__(id=id)
        self._source = source
        self._depth, self._image_size = depth, image_size or source.image_size
        self._output = output

    def compose(self) -> ComposeResult:
        """A line for each question that the source leaves open."""
        source = self._source
        with Horizontal(id="formats", classes="row"):
            yield Label("formats")
            yield Choices(source.kinds, ("onnx",), id="kinds")
        yield Static(id="about", markup=False)
        if not source.folder:
            with Horizontal(classes="row"):
                yield Label("depth")
                yield Field("" if self._depth is None else format_depth(self._depth), id="depths", compact=True)
                staged = source.architecture is not None and source.architecture.stages
                several = "4,8,12, a range: 4-8" + (f", stages: {format_depth(staged)}" if staged else "")
                yield Static(f"several: {several}", classes="aside", id="depths-aside")
        with Horizontal(classes="row"):
            yield Label("numbers")
            yield Choices(FLOATING, FLOATING[:1], single=True, id="dtype")
        if len(source.layouts) > 1:
            with Horizontal(classes="row"):
                yield Label("layout")
                yield Choices(source.layouts, source.layouts[:1], single=True, id="layout")
        with Horizontal(classes="row"):
            yield Label("gives")
            yield Field("" if source.classes is None else str(output_of(None, source.classes)), id="gives", compact=True)
            yield Static("or pooled, tokens, blocks:3,6,9", classes="aside")
        if not source.folder:
            with Horizontal(classes="row"):
                yield Label("classes")
                yield Field("" if source.classes is None else str(source.classes), id="classes", compact=True)
                yield Static("another number: an untrained head", classes="aside")
        with Horizontal(classes="row"):
            yield Label("pixels")
            size = "" if self._image_size is None else format_image_size(self._image_size)
            yield Field(size, id="pixels", compact=True)
            yield Static("another size: resampled weights", classes="aside")
        with Horizontal(classes="row"):
            yield Label("folder")
            yield Field(self._output, id="output", compact=True)
            yield Choices((REPLACE,), (), id="replace")

    def begin(self) -> None:
        """Go to the first question."""
        self.query_one("#kinds").focus()

    def go_to(self, option: str | None) -> None:
        """Go to the question that an option of `tleg build` answers; to the first where none does."""
        places = self.query(_PLACES.get(option or "", "#kinds"))
        (places.first() if places else self.query_one("#kinds")).focus()

    def explain(self) -> None:
        """Say what the format under the cursor is, and leave out the question for a depth where the file holds all."""
        self.query_one("#about", Static).update(find_format(self.query_one("#kinds", Choices).current).about)
        for field in self.query("#depths").results(Field):
            field.disabled = hold_every_depth(self._ticked("#kinds"))

    @property
    def answers(self) -> Answers:
        """The answers."""
        layout = self.query("#layout").results(Choices)
        return Answers(
            kinds=self._ticked("#kinds"),
            depths=self._typed("#depths"),
            dtype=self._ticked("#dtype")[0],
            layout=next((each.chosen[0] for each in layout), None),
            classes=self._typed("#classes"),
            output=self._typed("#output"),
            pixels=self._typed("#pixels"),
            gives=self._typed("#gives"),
            replace=bool(self._ticked("#replace")),
        )

    def _ticked(self, place: str) -> tuple[str, ...]:
        return self.query_one(place, Choices).chosen

    def _typed(self, place: str) -> str:
        return next((field.value for field in self.query(place).results(Field)), "")
