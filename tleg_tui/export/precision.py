"""What decides whether a smaller number type is kept: questions below the one for numbers."""

from textual.app import ComposeResult
from textual.containers import Vertical

from tleg.recipes.precision import CALIBRATION_IMAGES, MAX_DROP
from tleg_tui.common.inputs import Field
from tleg_tui.export.offers import Offer, PrecisionAnswers
from tleg_tui.export.rows import Row, aside, number


class PrecisionQuestions(Vertical):
    """Images that give ranges, labelled images, and how much accuracy may be lost."""

    DEFAULT_CSS = "PrecisionQuestions { height: auto; }"

    def __init__(self, data: str) -> None:
        """`data` is what ranges are taken from to begin with."""
        super().__init__(id="precision")
        self._data = data

    def compose(self) -> ComposeResult:
        """Three lines."""
        yield Row(
            "calibration",
            Field(self._data, id="calibration", placeholder="images", compact=True),
            aside("of", between=True),
            number("calibration-images", str(CALIBRATION_IMAGES), narrow=True),
            aside("images", between=True),
            id="calibration-row",
        )
        yield Row(
            "data",
            Field(id="data", placeholder="labelled images that decide", compact=True),
            aside("on", between=True),
            number("limit", "all", narrow=True),
            aside("images", between=True),
            id="data-row",
        )
        yield Row(
            "max-drop", number("max-drop", str(MAX_DROP)), aside("points of top-1 that may be lost"), id="max-drop-row"
        )

    def show(self, offer: Offer) -> None:
        """Ask what can be asked."""
        for row, shown in (
            ("#calibration-row", offer.calibrates),
            ("#data-row", offer.measures),
            ("#max-drop-row", offer.measures),
        ):
            self.query_one(row).display = shown

    @property
    def answers(self) -> PrecisionAnswers:
        """The answers."""

        def typed(option: str) -> str:
            return self.query_one(f"#{option}", Field).value

        return PrecisionAnswers(
            calibration=typed("calibration"),
            calibration_images=typed("calibration-images"),
            data=typed("data"),
            limit=typed("limit"),
            max_drop=typed("max-drop"),
        )
