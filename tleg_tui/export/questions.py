"""What the export dialog asks."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from tleg.export.formats import FLOATING, find_format
from tleg.learngene.profile import Depth, format_depth
from tleg.models.output import output_of
from tleg.text import format_image_size
from tleg_tui.common.inputs import Field
from tleg_tui.export.choices import Choices
from tleg_tui.export.graph import GraphQuestions
from tleg_tui.export.model import Answers, ExportSource, hold_every_depth
from tleg_tui.export.offers import Offer
from tleg_tui.export.precision import PrecisionQuestions
from tleg_tui.export.rows import REPLACE, Row, aside

# Where each option is answered, where that is not called as the option.
_PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "export": "kinds",
        "depth": "depths",
        "output-of": "gives",
        "num-classes": "classes",
        "image-size": "pixels",
        "force": "replace",
    }
)


class ExportQuestions(Vertical):
    """The questions, with answers to begin with: Enter alone makes an ONNX file."""

    DEFAULT_CSS = """
    ExportQuestions { height: auto; padding: 0 1; }
    ExportQuestions #formats, ExportQuestions #dtype-row { height: auto; }
    ExportQuestions #replace { width: auto; padding-left: 2; }
    ExportQuestions #about { height: auto; padding-left: 10; color: $text-muted; }
    """

    def __init__(
        self,
        source: ExportSource,
        depth: Depth | None,
        image_size: tuple[int, int] | None,
        output: str,
        data: str,
        *,
        id: str | None = None,  # noqa: A002  # Textual's name.
    ) -> None:
        """Begin with a folder for `output`, and with `data` as images that give ranges."""
        super().__init__(id=id)
        self._source = source
        self._depth, self._image_size = depth, image_size or source.image_size
        self._output, self._data = output, data

    def compose(self) -> ComposeResult:
        """A line for each question that the source leaves open."""
        source = self._source
        yield Row("export", Choices(source.kinds, ("onnx",), id="kinds"), id="formats")
        yield Static(id="about", markup=False)
        if not source.folder:
            staged = source.architecture is not None and source.architecture.stages
            several = "4,8,12, a range: 4-8" + (f", stages: {format_depth(staged)}" if staged else "")
            depth = "" if self._depth is None else format_depth(self._depth)
            yield Row("depth", Field(depth, id="depths", compact=True), aside(f"several: {several}"))
        yield Row("dtype", Choices(FLOATING, FLOATING[:1], single=True, id="dtype"), id="dtype-row")
        yield PrecisionQuestions(self._data)
        if len(source.layouts) > 1:
            yield Row("layout", Choices(source.layouts, source.layouts[:1], single=True, id="layout"))
        gives = "" if source.classes is None else str(output_of(None, source.classes))
        yield Row("output-of", Field(gives, id="gives", compact=True), aside("pooled, tokens, blocks:3,6,9"))
        if not source.folder:
            classes = "" if source.classes is None else str(source.classes)
            yield Row("num-classes", Field(classes, id="classes", compact=True), aside("another number: an untrained head"))
        size = "" if self._image_size is None else format_image_size(self._image_size)
        yield Row("image-size", Field(size, id="pixels", compact=True), aside("another size: resampled weights"))
        yield Row("output", Field(self._output, id="output", compact=True), Choices((REPLACE,), (), id="replace"))
        yield GraphQuestions()

    def begin(self) -> None:
        """Go to the first question."""
        self.query_one("#kinds").focus()

    def go_to(self, options: Sequence[str]) -> None:
        """Go to the first question that one of some options of `tleg build` answers; to the first of all where none does."""
        graph = self.query_one(GraphQuestions)
        for option in options:
            for place in self.query(f"#{_PLACES.get(option, option)}"):
                if graph in place.ancestors and self.offer.graph:
                    self.unfold(True)
                if all(each.display for each in (place, *place.ancestors) if isinstance(each, Widget)):
                    place.focus()
                    return
        self.begin()

    def mark(self, options: Sequence[str]) -> None:
        """Mark the questions that some options of `tleg build` answer, and no others."""
        wrong = {
            row for option in options for place in self.query(f"#{_PLACES.get(option, option)}") for row in place.ancestors
        }
        for row in self.query(Row):
            row.set_class(row in wrong, "-wrong")

    def explain(self) -> None:
        """Say what the format under the cursor is, and ask what the chosen formats leave open."""
        self.query_one("#about", Static).update(find_format(self.query_one("#kinds", Choices).current).about)
        self.query_one("#dtype", Choices).offer(self._source.numbers(self._ticked("#kinds")))
        answers = self.answers
        offer = self._source.offer(answers)
        self.query_one(PrecisionQuestions).show(offer)
        self.query_one(GraphQuestions).show(offer)
        for field in self.query("#depths").results(Field):
            field.disabled = hold_every_depth(answers.kinds) and not answers.measured(offer)

    @property
    def offer(self) -> Offer:
        """What can be asked now beyond what all formats have."""
        return self._source.offer(self.answers)

    @property
    def unfolded(self) -> bool:
        """Whether it is asked how an ONNX file is entered and left."""
        return self.query_one(GraphQuestions).display

    def unfold(self, unfolded: bool) -> None:
        """Ask that, or not."""
        graph = self.query_one(GraphQuestions)
        graph.unfolded = unfolded
        graph.show(self.offer)

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
            precision=self.query_one(PrecisionQuestions).answers,
            graph=self.query_one(GraphQuestions).answers,
        )

    def _ticked(self, place: str) -> tuple[str, ...]:
        return self.query_one(place, Choices).chosen

    def _typed(self, place: str) -> str:
        # Asked at every key: one that is there is remembered, where a query looks through the whole form.
        field = self.query_one_optional(place, Field)
        return "" if field is None else field.value
