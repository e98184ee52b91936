"""Turn a checkpoint of the paper's own code into a learngene, by `tleg import`."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Label, Static

from tleg.errors import InputError, TlegError
from tleg.text import printable
from tleg_tui.child import ChildResult, run_tleg
from tleg_tui.common.inputs import Field, Tick
from tleg_tui.common.learngenes import resolve_path
from tleg_tui.common.screens import Dialog
from tleg_tui.common.wording import explained, said

# What the fields are called, by the option of `tleg import` that each gives.
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "output": "learngene file",
        "heads": "attention heads",
        "architecture": "architecture",
        "auxiliary-depth": "auxiliary depth",
        "force": "replace an existing file",
    }
)


class ImportScreen(Dialog[Path]):
    """Asks what a checkpoint may not say, and where the learngene goes. Its result is that file."""

    DEFAULT_CSS = """
    ImportScreen Horizontal { height: 1; }
    ImportScreen Label { width: 18; color: $text-muted; }
    ImportScreen Field { width: 1fr; }
    ImportScreen #buttons { margin-top: 1; }
    ImportScreen #told { margin-top: 1; height: auto; }
    """

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._importing = False

    def compose(self) -> ComposeResult:
        """The questions; only the first needs an answer."""
        target = Path.cwd() / f"{self._checkpoint.stem}.safetensors"
        with Vertical(classes="dialog"):
            yield Static(f"Import {printable(self._checkpoint.name)}", classes="dialog-title", markup=False)
            for key, label, value, hint in (
                ("output", "learngene file", target.name, ""),
                ("heads", "attention heads", "", "as recorded, else DeiT's of that width"),
                ("architecture", "architecture", "", "timm's name; default: DeiT's of that width"),
                ("auxiliary-depth", "auxiliary depth", "", "as recorded"),
            ):
                with Horizontal():
                    yield Label(label)
                    yield Field(value, placeholder=hint, id=key, compact=True)
            yield Tick("replace an existing file", id="force")
            with Horizontal(id="buttons"):
                yield Button("import (enter)", id="import", variant="primary", compact=True)
            yield Static(id="told", markup=False)

    def on_input_submitted(self) -> None:
        """Enter imports."""
        self._begin()

    def on_button_pressed(self) -> None:
        """So does the button."""
        self._begin()

    def _begin(self) -> None:
        if self._importing:
            return
        try:
            output = resolve_path(self.query_one("#output", Field).value).absolute()
        except InputError as error:
            self._tell(str(error), wrong=True)
            return
        words = ["import", str(self._checkpoint), "--output", str(output), "--json"]
        for key in ("heads", "architecture", "auxiliary-depth"):
            if text := self.query_one(f"#{key}", Field).value.strip():
                words += [f"--{key}", text]
        if self.query_one("#force", Tick).value:
            words.append("--force")
        self._importing = True
        self._tell("reading the checkpoint; esc gives up", wrong=False)
        self._import(words, output)

    @work(exclusive=True, group="import")
    async def _import(self, words: list[str], output: Path) -> None:
        result: ChildResult = await run_tleg(words)
        self._importing = False
        if result.code == 0:
            self.host.tell(f"imported {output.name}")
            self.dismiss(output)
        else:
            self._refuse(result.error)

    def _refuse(self, error: TlegError) -> None:
        """Say what is wrong, and go to the line that it is about."""
        self._tell(explained(error, f"tick '{_NAMES['force']}' to replace it"), wrong=True)
        for line in self.query(Field):
            if line.id == error.field:
                line.focus()

    def _tell(self, text: str, *, wrong: bool) -> None:
        told = self.query_one("#told", Static)
        told.update(said(text, _NAMES))
        told.set_class(wrong, "problem")
