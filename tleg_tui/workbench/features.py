"""How good features are, by depth: what `tleg evaluate` with `--knn`, `--linear-probe` or `--retrieval` found."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tleg.text import printable
from tleg_tui.common.screens import Dialog

# Options of `tleg evaluate`, their keys in its document, and what they are called.
MEASURES: Final = (
    ("knn", "knn", "k-NN"),
    ("linear-probe", "linear", "linear probe"),
    ("retrieval", "retrieval", "retrieval"),
)
_COLUMN: Final = 14


class FeaturesScreen(Dialog[None]):
    """A table of the measures by depth. They are not the model's own accuracies, and stand in no other table."""

    DEFAULT_CSS = """
    FeaturesScreen VerticalScroll { height: auto; max-height: 16; scrollbar-size-vertical: 1; }
    FeaturesScreen #about { margin: 1 0; height: auto; color: $text-muted; }
    """

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        """Show the document that `tleg evaluate --json` wrote."""
        super().__init__()
        self._learngene = name
        self._document = document

    def compose(self) -> ComposeResult:
        """The table, and what it was measured on."""
        with Vertical(classes="dialog"):
            yield Static(f"Features of {printable(self._learngene)}", classes="dialog-title", markup=False)
            with VerticalScroll():
                yield Static(Content("\n").join(table_lines(self._document)))
            yield Static(about(self._document), id="about", markup=False)
            yield Static("esc closes", classes="hint")


def about(document: Mapping[str, Any]) -> str:
    """Say what was measured on which images."""
    bank = f", {document['bank']:,} training images" if document["bank"] else ""
    notes = "".join(f"; {note}" for note in document["notes"])
    return printable(
        f"{document['data']}: {document['images']:,} validation images{bank}; percent, of features of {document['size']} "
        f"values; retrieval is mean average precision{notes}"
    )


def table_lines(document: Mapping[str, Any]) -> Iterator[Content]:
    """Lines for the depths, the best of each measure marked."""
    rows = document["results"]
    shown = [(key, name) for _, key, name in MEASURES if any(row[key] is not None for row in rows)]
    best = {key: max(row[key] for row in rows if row[key] is not None) for key, _ in shown}
    width = max(len("depth"), *(len(str(row["depth"])) for row in rows))
    yield Content.styled(f"{'depth':>{width}}" + "".join(f"{name:>{_COLUMN}}" for _, name in shown), "bold")
    for row in rows:
        cells = [
            (f"{'–' if row[key] is None else f'{row[key]:.2f}':>{_COLUMN}}", "bold $accent" if row[key] == best[key] else "")
            for key, _ in shown
        ]
        yield Content.assemble((f"{row['depth'] or '–':>{width}}", "$foreground-muted"), *cells)
