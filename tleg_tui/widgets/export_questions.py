"""What the export dialog asks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Label, Static

from tleg.export.formats import PRECISIONS, find_format
from tleg_tui.export_form import Choices, ExportSource, hold_every_depth
from tleg_tui.widgets import choices as ticks
from tleg_tui.widgets.field import Field

REPLACE: Final = "replace existing"
# What the questions are called, by the option of `tleg build` that each answers.
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "export": "formats",
        "depth": "depth",
        "dtype": "numbers",
        "layout": "layout",
        "num-classes": "classes",
        "output": "folder",
        "force": REPLACE,
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

    def __init__(self, source: ExportSource, depth: int | None, output: str, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._source = source
        self._depth = depth
        self._output = output

    def compose(self) -> ComposeResult:
        """A line for each question that the source leaves open."""
        source = self._source
        with Horizontal(id="formats", classes="row"):
            yield Label("formats")
            yield ticks.Choices(source.kinds, ("onnx",), id="kinds")
        yield Static(id="about", markup=False)
        if not source.folder:
            with Horizontal(classes="row"):
                yield Label("depth")
                yield Field("" if self._depth is None else str(self._depth), id="depths", compact=True)
                yield Static("several: 4,8,12, a range: 4-8", classes="aside", id="depths-aside")
        with Horizontal(classes="row"):
            yield Label("numbers")
            yield ticks.Choices(PRECISIONS, PRECISIONS[:1], single=True, id="dtype")
        if len(source.layouts) > 1:
            with Horizontal(classes="row"):
                yield Label("layout")
                yield ticks.Choices(source.layouts, source.layouts[:1], single=True, id="layout")
        if not source.folder:
            with Horizontal(classes="row"):
                yield Label("classes")
                yield Field("" if source.classes is None else str(source.classes), id="classes", compact=True)
                yield Static("another number: an untrained head", classes="aside")
        with Horizontal(classes="row"):
            yield Label("folder")
            yield Field(self._output, id="output", compact=True)
            yield ticks.Choices((REPLACE,), (), id="replace")

    def begin(self) -> None:
        """Go to the first question."""
        self.query_one("#kinds").focus()

    def go_to_replace(self) -> None:
        """Go to the question whether to replace."""
        self.query_one("#replace").focus()

    def explain(self) -> None:
        """Say what the format under the cursor is, and leave out the question for a depth where the file holds all."""
        self.query_one("#about", Static).update(find_format(self.query_one("#kinds", ticks.Choices).current).about)
        for field in self.query("#depths").results(Field):
            field.disabled = hold_every_depth(self._ticked("#kinds"))

    @property
    def choices(self) -> Choices:
        """The answers."""
        layout = self.query("#layout").results(ticks.Choices)
        return Choices(
            kinds=self._ticked("#kinds"),
            depths=self._typed("#depths"),
            dtype=self._ticked("#dtype")[0],
            layout=next((each.chosen[0] for each in layout), None),
            classes=self._typed("#classes"),
            output=self._typed("#output"),
            replace=bool(self._ticked("#replace")),
        )

    def _ticked(self, place: str) -> tuple[str, ...]:
        return self.query_one(place, ticks.Choices).chosen

    def _typed(self, place: str) -> str:
        return next((field.value for field in self.query(place).results(Field)), "")
