"""The form of a training: auxiliary learning, or fine-tuning; copied, tried and launched from here."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Button

from tleg.data.counting import check_batch
from tleg.errors import TlegError, describe_os_error
from tleg.launch import make_training, submit_training
from tleg.recipes.io import format_command
from tleg.runs.launch import launch, node_command
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg_tui.actions import bindings
from tleg_tui.common.dialogs import leave_or_ask
from tleg_tui.common.form_fields import FormField
from tleg_tui.common.wording import explained
from tleg_tui.train.checks import REPLACE
from tleg_tui.train.fields import RecipeGroup
from tleg_tui.train.form import RecipeScreen
from tleg_tui.train.model import Reading


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was made. `job` is its number in SLURM's queue; `line` is to be typed on each of several machines."""

    folder: RunFolder
    job: str | None = None
    line: str | None = None


def start_training(reading: Reading, runs_dir: Path) -> Started:
    """Make the run of a form that is complete, and start it. Raises TlegError, as a sentence, when it cannot be."""
    assert reading.recipe is not None
    check_batch(reading.recipe)
    folder = make_training(reading.recipe, runs_dir, output=reading.output, overwrite=reading.overwrite, slurm=reading.slurm)
    if reading.slurm is not None:
        return Started(folder, job=submit_training(folder))
    if reading.recipe.compute.nodes > 1:
        return Started(folder, line=node_command(folder, read_spec(folder)))
    launch(folder)
    return Started(folder)


class TrainScreen(RecipeScreen):
    """The form, a dry run, the launch.

    kind    'learn', 'train' or 'finetune'
    values  option name -> value, filled in at first
    """

    SCOPE = "train"
    NAME = "train"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("train")]

    class LaunchEnded(Message):
        """The training was started, or could not be: then `started` is None, `sentence` says why, `field` is to blame."""

        def __init__(self, started: Started | None, sentence: str = "", field: str | None = None) -> None:
            super().__init__()
            self.started = started
            self.sentence = sentence
            self.field = field

    def __init__(self, kind: str, values: dict[str, Any]) -> None:
        super().__init__(kind, values)
        self._launching = False

    # Copying, trying, launching.

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """What the button says."""
        actions = {"launch": self.action_launch, "dry-run": self.action_dry_run, "copy": self.action_copy_command}
        actions[str(event.button.id)]()

    def action_copy_command(self) -> None:
        """Copy the command line."""
        if self._reading.command is None or self._reading.missing:
            self._refuse()
            return
        self.app.copy_to_clipboard(format_command(self._reading.command))
        self.host.tell("the command line is copied")

    def action_dry_run(self) -> None:
        """Check everything that can be checked."""
        from tleg_tui.train.dry_run import DryRunScreen

        if self._refuse() or self._reading.command is None:
            return

        def then(launch: bool | None) -> None:
            if launch:
                self.action_launch()

        self.app.push_screen(DryRunScreen(self._reading.command[1:]), then)

    def action_launch(self) -> None:
        """Start the training."""
        if not self._launching and not self._refuse():
            self._launching = True
            self._tell("starting …", wrong=False)
            self._launch(self._reading)

    @work(exclusive=True, group="launch")
    async def _launch(self, reading: Reading) -> None:
        with self.host.keys_wait():
            await self._try_to_launch(reading)

    async def _try_to_launch(self, reading: Reading) -> None:
        places = await asyncio.to_thread(self._look_at, reading)
        if places.problems:
            self.post_message(self.PlacesChecked(reading, places))
            self.post_message(self.LaunchEnded(None))
            return
        try:
            started = await asyncio.to_thread(start_training, reading, self.host.runs_dir)
        except TlegError as error:
            self.post_message(self.LaunchEnded(None, explained(error, REPLACE), error.field))
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            self.post_message(self.LaunchEnded(None, f"{describe_os_error(error)}{place}"))
        else:
            self.post_message(self.LaunchEnded(started))

    def on_train_screen_launch_ended(self, message: LaunchEnded) -> None:
        """Watch the run in place of the form, or say why there is none."""
        self._launching = False
        started = message.started
        if started is None:
            self._tell(message.sentence, wrong=True)
            if message.sentence:
                self.host.tell(message.sentence, wrong=True)
            if not self._refuse() and message.field is not None:
                self.run_worker(self._go_to(message.field), group="go", exclusive=True)
            return
        values = self._reading.values
        if isinstance(values.get("data"), str):
            self.host.remember_recent("data", values["data"])
        if isinstance(values.get("teacher"), str):
            self.host.remember_recent("teachers", values["teacher"])
        self.host.look_at_runs()
        self.dismiss()
        self.host.open_run(started.folder)
        if started.job is not None:
            self.host.tell(f"submitted as job {started.job}")
        if started.line is not None:
            from tleg_tui.common.dialogs import NodeLineScreen

            self.app.push_screen(NodeLineScreen(started.line))

    def _refuse(self) -> bool:
        """Go to the first field that is wrong or missing; whether there is one."""
        problems = self.problems
        wanted = next(iter([*(name for name in problems if name), *self._reading.missing]), None)
        if wanted is None:
            return bool(problems)
        self.run_worker(self._go_to(wanted), group="go", exclusive=True)
        return True

    async def _go_to(self, name: str) -> None:
        for group in self.query(RecipeGroup):
            if any(spec.name == name for spec in group.specs):
                await group.unfold(True)
        self._show()
        for each in self.query(FormField):
            if each.spec.name == name:
                each.control.focus()

    @property
    def unsaved(self) -> str | None:
        """What was filled in."""
        changed = self._texts != self._first and any(self._texts.values())
        return "Leave the form? What was filled in is lost." if changed else None

    def action_back(self) -> None:
        """Leave; ask when something was filled in."""
        leave_or_ask(self)
