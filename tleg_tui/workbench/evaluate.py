"""Measure what every depth reaches on a data set, or how good its features are, by `tleg evaluate`."""

import shlex
import time
from typing import Any, Final

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Button, Label, Static

from tleg.errors import InputError, TlegError
from tleg.learngene.profile import Depth, format_depth, parse_depth
from tleg.learngene.reached import Reached
from tleg.recipes.building import build_options
from tleg.recipes.evaluation import Evaluation
from tleg.text import format_image_size, printable
from tleg_tui.child import run_tleg
from tleg_tui.common.inputs import Field, Tick
from tleg_tui.common.learngenes import Entry
from tleg_tui.common.screens import Dialog
from tleg_tui.common.wording import explained, said
from tleg_tui.workbench.features import MEASURES, FeaturesScreen
from tleg_tui.workbench.model import WorkbenchModel
from tleg_tui.workbench.rows import Rows

_USUAL_DEPTHS: Final = "1-16"


class EvaluateScreen(Dialog[Reached]):
    """Asks for data and depths, and measures in one pass over the data. Its result is what was reached there.

    Measures of features are shown by a screen of their own, and are no result.
    """

    DEFAULT_CSS = """
    EvaluateScreen Horizontal { height: 1; }
    EvaluateScreen Label { width: 10; color: $text-muted; }
    EvaluateScreen #instead Tick { width: auto; margin-right: 2; }
    EvaluateScreen Field { width: 1fr; }
    EvaluateScreen #command { margin-top: 1; color: $text-muted; height: auto; }
    EvaluateScreen #buttons { margin-top: 1; }
    EvaluateScreen .later { display: none; }
    EvaluateScreen #told { margin-top: 1; height: auto; }
    """

    def __init__(
        self,
        learngene: str,
        *,
        writable: bool,
        own: tuple[int, int],
        image_size: tuple[int, int] | None = None,
        depths: tuple[Depth, ...] | None = None,
        headless: bool = False,
    ) -> None:
        """Begin with the depths of the table, and with a size where it is another than the learngene's `own`.

        headless  whether it has no classes, so that features alone can be measured
        """
        super().__init__()
        self._learngene = learngene
        self._writable = writable
        self._headless = headless
        self._own, self._image_size = own, image_size or own
        self._depths = _USUAL_DEPTHS if depths is None else ",".join(map(format_depth, dict.fromkeys(depths)))
        self._clock: Timer | None = None  # Ticks while it measures.
        self._began = 0.0

    def compose(self) -> ComposeResult:
        """Three questions, what to measure instead of accuracies, and whether the file shall remember these."""
        data = self.host.settings.data
        questions = (
            ("data", "data", data[0] if data else "fashion-mnist"),
            ("depths", "depths", self._depths),
            ("image-size", "pixels", format_image_size(self._image_size)),
        )
        with Vertical(classes="dialog"):
            yield Static(f"Accuracy of {printable(self._learngene)} by depth", classes="dialog-title", markup=False)
            for key, label, value in questions:
                with Horizontal():
                    yield Label(label)
                    yield Field(value, id=key, compact=True)
            with Horizontal(id="instead"):
                yield Label("features")
                for option, _, name in MEASURES:
                    yield Tick(name, self._headless and option == "knn", id=option)
            if self._writable:
                yield Tick("keep the figures in the learngene file", id="record")
                yield Tick("replace those of the same images that differ", id="force", classes="later")
            yield Static(id="command", markup=False)
            with Horizontal(id="buttons"):
                yield Button("measure (enter)", id="measure", variant="primary", compact=True)
            yield Static(id="told", markup=False)

    def on_mount(self) -> None:
        """Show the command."""
        self._show_command()

    def on_input_changed(self) -> None:
        """Show the command."""
        self._show_command()

    def on_checkbox_changed(self) -> None:
        """Show the command."""
        self._show_command()

    def on_input_submitted(self) -> None:
        """Enter measures."""
        self._begin()

    def on_button_pressed(self) -> None:
        """So does the button."""
        self._begin()

    def _words(self) -> list[str]:
        data, depths, pixels = (self.query_one(f"#{key}", Field).value.strip() for key in ("data", "depths", "image-size"))
        words = ["evaluate", self._learngene, "--data", data, "--depths", depths]
        if pixels not in ("", format_image_size(self._own)):
            words += ["--image-size", pixels]
        words += [f"--{option}" for option in self._measures]
        if self._writable and not self._measures and self.query_one("#record", Tick).value:
            words.append("--record")
            if self.query_one("#force", Tick).value:
                words.append("--force")
        return words

    @property
    def _measures(self) -> list[str]:
        """The measures of features that are asked for, instead of accuracies."""
        return [option for option, _, _ in MEASURES if self.query_one(f"#{option}", Tick).value]

    def _show_command(self) -> None:
        """Show it. A file keeps accuracies alone; what becomes of those that are there is asked when it shall keep some."""
        if self._writable:
            record = self.query_one("#record", Tick)
            record.display = not self._measures
            self.query_one("#force", Tick).display = record.display and record.value
        self.query_one("#command", Static).update(printable(f"tleg {shlex.join(self._words())}"))

    def _begin(self) -> None:
        if self._clock is not None:
            return
        words = self._words()
        values: dict[str, Any] = {"data": words[3], "depths": words[5]}
        values |= {"record": "--record" in words, "force": "--force" in words}
        values |= {option.replace("-", "_"): True for option in self._measures}
        if "--image-size" in words:
            values["image_size"] = words[words.index("--image-size") + 1]
        try:
            build_options(Evaluation, values)
        except InputError as error:
            self._refuse(error)
            return
        if not words[3]:
            self._tell("name a data set: fashion-mnist, or a folder with val/CLASS/*", wrong=True)
            return
        self._began = time.monotonic()
        self._clock = self.set_interval(1.0, self._show_waiting)
        self._show_waiting()
        self._measure(words)

    def _show_waiting(self) -> None:
        self._tell(f"measuring, {int(time.monotonic() - self._began)} s; esc gives up", wrong=False)

    @work(exclusive=True, group="evaluate")
    async def _measure(self, words: list[str]) -> None:
        result = await run_tleg([*words, "--json"])
        if self._clock is not None:
            self._clock.stop()
            self._clock = None
        document = result.document
        if result.code == 0 and isinstance(document, dict) and "neighbours" in document:
            self.host.remember_recent("data", words[3])
            self.dismiss()
            self.app.push_screen(FeaturesScreen(self._learngene, document))
            return
        found = _read(document, self._own) if isinstance(document, dict) else None
        if result.code != 0 or found is None:
            self._refuse(result.error)
            return
        self.host.remember_recent("data", words[3])
        top1 = found.by_depth
        best = max(top1, key=top1.__getitem__)
        self.host.tell(f"measured {len(top1)} depths: best {top1[best]:.2f} % at depth {format_depth(best)}")
        if notes := [str(note) for note in document.get("notes") or ()]:
            self.host.tell("; ".join(notes))
        self.dismiss(found)

    def _refuse(self, error: TlegError) -> None:
        """Say what is wrong, and go to the line that it is about."""
        self._tell(explained(error, "tick the last box to replace what differs"), wrong=True)
        for line in self.query(Field):
            if line.id == error.field:
                line.focus()

    def _tell(self, text: str, *, wrong: bool) -> None:
        told = self.query_one("#told", Static)
        told.update(said(text))
        told.set_class(wrong, "problem")


def evaluate_screen(entry: Entry, model: WorkbenchModel, image_size: tuple[int, int] | None) -> EvaluateScreen:
    """Return the screen for a learngene as the workbench shows it, with the depths of its table and the chosen size."""
    return EvaluateScreen(
        entry.argument,
        writable=entry.origin != "shipped",
        own=model.own.image_size,
        image_size=image_size,
        depths=None if model.asked == Rows() else tuple(row.depth for row in model.rows),
        headless=model.own.architecture.num_classes == 0,
    )


def _read(document: dict[str, Any], own: tuple[int, int]) -> Reached | None:
    """What `tleg evaluate --json` says was reached, rounded as a learngene keeps it; None where nothing was."""
    rows = [row for row in document["results"] if row["top1"] is not None]
    if not rows:
        return None
    height, width = document["image_size"]
    return Reached.of(
        document["measured_on"],
        int(rows[0]["images"]),
        {parse_depth(str(row["depth"])): round(float(row["top1"]), 2) for row in rows},
        document["precision"],
        None if (height, width) == own else (height, width),
    )
