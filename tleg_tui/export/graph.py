"""How the graph of an ONNX or OpenVINO export is entered and left: a part of the export dialog that is unfolded."""

from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tleg.export.interface import AXES, DYNAMIC, LEAST_OPSET, OPSET, PIXELS, RESIZES
from tleg_tui.common.inputs import Field
from tleg_tui.export.choices import Choices
from tleg_tui.export.offers import GraphAnswers, Offer
from tleg_tui.export.rows import Row, aside, number

SOFTMAX: Final = "probabilities"


class GraphQuestions(Vertical):
    """Folded to begin with: an ONNX file is as tleg writes it. What was answered counts when it is folded again."""

    DEFAULT_CSS = """
    GraphQuestions { height: auto; }
    GraphQuestions .title { color: $primary; height: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="graph")
        self.unfolded = False

    def compose(self) -> ComposeResult:
        """A heading and a line for each question."""
        yield Static("The graph", classes="title", markup=False)
        yield Row("batch", number("batch", DYNAMIC), aside("images of a batch"))
        yield Row("opset", number("opset", str(OPSET)), aside(f"from {LEAST_OPSET} on, for older runtimes"))
        yield Row("input", Choices(PIXELS, PIXELS[:1], single=True, id="input"), aside("uint8: pixels, 0 to 255"))
        yield Row("input-layout", Choices(AXES, AXES[:1], single=True, id="input-layout"), aside("nhwc: channels last"))
        yield Row("resize", Choices(RESIZES, RESIZES[:1], single=True, id="resize"), aside("inside: any picture, uint8"))
        yield Row("softmax", Choices((SOFTMAX,), (), id="softmax"), aside("instead of logits"), id="softmax-row")
        yield Row("top", number("top", "all"), aside("the best so many classes alone"), id="top-row")

    def show(self, offer: Offer) -> None:
        """Ask what can be asked, where this part is unfolded."""
        self.display = offer.graph and self.unfolded
        for row in ("#softmax-row", "#top-row"):
            self.query_one(row).display = offer.classes

    @property
    def answers(self) -> GraphAnswers:
        """The answers."""

        def typed(option: str) -> str:
            return self.query_one(f"#{option}", Field).value

        def chosen(option: str) -> tuple[str, ...]:
            return self.query_one(f"#{option}", Choices).chosen

        return GraphAnswers(
            batch=typed("batch"),
            opset=typed("opset"),
            pixels=chosen("input")[0],
            axes=chosen("input-layout")[0],
            resize=chosen("resize")[0],
            softmax=bool(chosen("softmax")),
            top=typed("top"),
        )
