"""The form of a family with what is done with it: opening and saving its file, the start, the way to its progress."""

import asyncio
import shlex
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.message import Message

from tleg.errors import TlegError, describe_os_error
from tleg.family.document import read_devices, write_document
from tleg.family.launch import family_command, launch_family
from tleg_tui.actions import bindings
from tleg_tui.common.dialogs import ConfirmScreen, leave_or_ask
from tleg_tui.common.learngenes import resolve_path
from tleg_tui.common.wording import explained
from tleg_tui.family.form import FamilyFormScreen
from tleg_tui.family.model import FILE, OUTPUT, FamilyForm


class FamilyScreen(FamilyFormScreen):
    """The form, its file, and the start of the family in the background."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("family")]

    class StartEnded(Message):
        """The family was started, or could not be: then a sentence says why."""

        def __init__(self, problem: TlegError | None) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, learngene: str) -> None:
        super().__init__(learngene)
        self._starting = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Progress is there once a family was begun in the folder."""
        return self._begun if action == "progress" else True

    def why_not(self, action: str) -> str:
        """What is missing."""
        return f"no family was begun in {self._texts[OUTPUT]}: F5 does" if action == "progress" else ""

    def action_open_file(self) -> None:
        """Fill the form with a file; ask when something would be lost."""

        def then(yes: bool | None) -> None:
            if yes:
                self._open()

        if self.unsaved is None:
            self._open()
        else:
            self.app.push_screen(ConfirmScreen("Open the file? What was filled in is lost.", "open"), then)

    def _open(self) -> None:
        try:
            text, document = read_devices(resolve_path(self._texts[FILE]))
        except TlegError as error:
            self._tell(explained(error), wrong=True)
            return
        self._form, self._read, self._place = FamilyForm.of(document), text, 0
        self._kept = self._form.document
        self.host.remember(devices=self._texts[FILE])
        self._show_texts()
        self._take()
        self.set_focus(self._list)
        self._tell(f"{self._texts[FILE]} is open")

    def _save(self) -> bool:
        """Save, and say whether the file holds what the form says."""
        try:
            file = resolve_path(self._texts[FILE])
            written = write_document(file, self._form.document, read=self._read)
            self._read = file.read_text(encoding="utf-8")
        except TlegError as error:
            self._tell(explained(error), wrong=True)
            return False
        except OSError as error:
            self._tell(describe_os_error(error), wrong=True)
            return False
        self._kept = self._form.document
        self.host.remember(devices=self._texts[FILE])
        self._tell(f"{self._texts[FILE]} is saved" if written else f"{self._texts[FILE]} says so already")
        return True

    def action_save(self) -> None:
        """Save the file, also one that is not complete."""
        self._save()

    def action_copy_command(self) -> None:
        """Copy the command line."""
        line = shlex.join(family_command(Path(self._texts[FILE]), Path(self._texts[OUTPUT])))
        self.app.copy_to_clipboard(line)
        self.host.tell(f"copied {line}")

    def action_progress(self) -> None:
        """Show how far it is."""
        from tleg_tui.family.progress import FamilyProgressScreen

        self.app.push_screen(FamilyProgressScreen(resolve_path(self._texts[OUTPUT])))

    def action_start(self) -> None:
        """Save the file and start the family."""
        if self._starting:
            return
        problems = self._problems
        if problems.devices and not problems.general:
            self._place = next(iter(problems.devices))
            self._show_texts()
            self._show()
        if problems:
            wanted = next((each for each in self._fields("family") if each.spec.name in problems.general), None)
            if wanted is not None:
                wanted.control.focus()
            return
        if not self._texts[OUTPUT]:
            self._tell("name a folder for the family: output", wrong=True)
        elif self._save():
            self._starting = True
            self._tell("starting …")
            self._start(resolve_path(self._texts[FILE]), resolve_path(self._texts[OUTPUT]))

    @work(exclusive=True, group="start")
    async def _start(self, file: Path, output: Path) -> None:
        problem: TlegError | None = None
        with self.host.keys_wait():
            try:
                await asyncio.to_thread(launch_family, file, output)
            except TlegError as error:
                problem = error
            self.post_message(self.StartEnded(problem))

    def on_family_screen_start_ended(self, message: StartEnded) -> None:
        """Show how far it is, or say why it was not started."""
        self._starting = False
        if message.problem is not None:
            self._tell(explained(message.problem), wrong=True)
            return
        self.host.remember(family=self._texts[OUTPUT])
        self.host.remember_recent("data", self._form.text("data"))
        self._tell("")
        self._show()
        self.action_progress()

    @property
    def unsaved(self) -> str | None:
        """What was filled in."""
        return None if self._form.document == self._kept else "Leave the form? The devices are not saved."

    def action_back(self) -> None:
        """From a field to the list; from there leave, and ask when something would be lost."""
        if self.focused is not self._list:
            self.set_focus(self._list)
            return
        leave_or_ask(self)
