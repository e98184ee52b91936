"""What may be done to the run of a screen: stop it, kill it, resume it, export what it made, copy how one comes back."""

import asyncio
from collections.abc import Callable
from typing import Final

from textual import work

from tleg.errors import TlegError
from tleg.runs.allowed import Action, allows
from tleg.runs.control import kill_run
from tleg.runs.follower import RunLook
from tleg.runs.inputs import ChangedInputsError
from tleg.runs.run import RunFolder
from tleg.runs.slurm import stop
from tleg.text import printable
from tleg_tui.common.dialogs import NodeLineScreen
from tleg_tui.common.run_actions import attach_command, question_of, refusal_of, resume, unfinished_depth, why_refused
from tleg_tui.common.screens import WorkScreen
from tleg_tui.common.wording import explained
from tleg_tui.run.watching import Watched

# Between the last word of a trainer and the end of its process.
_ENDING_SECONDS: Final = 10.0


class RunControl(WorkScreen):
    """A screen of one run, with the actions that ask something of it. Each is offered only when it makes sense."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self._seen: Watched | None = None
        self._at_work = ""  # What is being done to the run: 'stop', 'kill' or 'resume'.

    @property
    def look(self) -> RunLook | None:
        """The run as it was seen last."""
        return None if self._seen is None else self._seen.look

    @property
    def _state(self) -> str:
        return "" if self._seen is None else "gone" if self._seen.look.gone else self._seen.look.state.state

    @property
    def _stopping(self) -> bool:
        if self._seen is None or self._seen.look.gone or self._seen.look.state.ended:
            return False
        return self._state == "stopping" or self._seen.asked_to_stop

    def _allows(self, action: Action) -> bool:
        seen = self._seen
        if seen is None or seen.look.gone:
            return False
        return allows(action, seen.look.state, None if seen.spec is None else seen.spec.launch.job_id)

    @property
    def _unfinished(self) -> bool:
        """Whether it is not finished and has a checkpoint, which can be exported."""
        seen = self._seen
        if seen is None or seen.spec is None or seen.look.gone:
            return False
        return seen.look.state.state != "finished" and bool(seen.look.snapshot.checkpoints)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What makes sense now."""
        state, seen = self._state, self._seen
        if action == "stop":
            return self._allows("stop") and not self._stopping and not self._at_work
        if action == "kill":
            return self._allows("kill") and self._at_work in ("", "stop")
        if action == "resume":
            return self._allows("resume") and not self._at_work
        if action == "export":
            return seen is not None and (seen.result is not None or self._unfinished)
        if action in ("command", "again"):
            return seen is not None and seen.spec is not None
        if action == "copy_attach":
            return state != "gone"
        return True

    def why_not(self, action: str) -> str:
        """Where the run stands, and what can be done there."""
        state, seen = self._state, self._seen
        if state == "gone":
            return "the folder of this run is gone"
        if seen is None:
            return "the run is being read: one moment"
        if action in ("stop", "kill", "resume") and self._at_work:
            return f"{self._at_work} is under way: one moment"
        if action in ("stop", "kill", "resume"):
            return why_refused(action, seen.look.state, stopping=self._stopping)
        if action == "export":
            return why_no_export(seen)
        return "what the run is made of cannot be read" if action in ("command", "again") else ""

    def action_again(self) -> None:
        """A new training like this one."""
        if self._seen is not None and self._seen.spec is not None:
            self.host.open_training(self._seen.spec.kind, dict(self._seen.spec.recipe))

    def action_copy_attach(self) -> None:
        """Copy how one comes back."""
        command = attach_command(self.folder)
        self.app.copy_to_clipboard(command)
        self.host.tell(f"copied: {command}")

    def action_command(self) -> None:
        """Show what the run is."""
        from tleg_tui.run.about import RunAboutScreen

        if self._seen is not None and self._seen.spec is not None:
            self.app.push_screen(RunAboutScreen(self.folder, self._seen.spec))

    def action_export(self) -> None:
        """Export the result."""
        if self._seen is None:
            return
        if self._seen.result is not None:
            self._export()
        elif self._unfinished and self._seen.spec is not None:
            self.host.open_export(str(self.folder.path), unfinished_depth(self._seen.spec))

    @work(exit_on_error=False)
    async def _export(self) -> None:
        assert self._seen is not None
        path = self._seen.result
        if path is None:
            return
        if path.is_dir():
            self.host.open_export(str(path), None)
            return
        from tleg.learngene.container import read_file

        with self.host.keys_wait():
            try:
                header = (await asyncio.to_thread(read_file, path)).header
            except (TlegError, OSError) as error:
                self.host.tell(str(error), wrong=True)
                return
        self.host.open_export(str(path), header.auxiliary.depth, classes=header.architecture.num_classes)

    # What is asked of the run; each may take a while, and may be refused.

    def action_stop(self) -> None:
        """Ask it to save and end."""
        self._ask("stop", lambda: stop(self.folder), "asked to stop: it finishes its step, saves a checkpoint and ends")

    def action_resume(self) -> None:
        """Start it again."""
        begins = "it goes on from its last checkpoint" if self._state != "queued" else "it starts"
        self._ask("resume", lambda: resume(self.folder), begins)

    def _ask_to_accept(self, error: ChangedInputsError) -> None:
        """Ask whether to go on with images that came or went; what nobody can accept is said."""
        if not error.acceptable:
            self.host.tell(refusal_of(error), wrong=True)
            return
        from tleg_tui.common.dialogs import ConfirmScreen

        def accept(yes: bool | None) -> None:
            if yes:
                self._ask("resume", lambda: resume(self.folder, accept_changed=True), "it goes on with what changed")

        self.app.push_screen(ConfirmScreen(printable(question_of(error)), "go on"), accept)

    def action_kill(self) -> None:
        """Ask, and kill it."""
        from tleg_tui.common.dialogs import ConfirmScreen

        look = self.look
        if look is None:
            return
        kept = look.snapshot.checkpoints
        rest = (
            f"What it did since its checkpoint of step {kept[-1].step} is lost."
            if kept
            else "It has no checkpoint: all is lost."
        )
        question = f"Kill run {printable(self.folder.id)} now? It saves nothing. {rest}"
        self.app.push_screen(ConfirmScreen(question, "kill"), self._killed)

    def _killed(self, yes: bool | None) -> None:
        if yes and self._allows("kill"):
            self._ask("kill", lambda: kill_run(self.folder), "killed")

    @work(exit_on_error=False)
    async def _ask(self, what: str, ask: Callable[[], object], done: str) -> None:
        if self._at_work and what != "kill":
            return
        self._at_work = what
        self.refresh_bindings()
        try:
            with self.host.keys_wait():
                line = await asyncio.to_thread(ask)
        except ChangedInputsError as error:
            self._ask_to_accept(error)
        except (TlegError, OSError) as error:
            self.host.tell(explained(error), wrong=True)
        else:
            if isinstance(line, str):
                self.app.push_screen(NodeLineScreen(line))
            else:
                self.host.tell(done)
        finally:
            self._at_work = ""
            self.refresh_bindings()


def why_no_export(seen: Watched) -> str:
    """Why there is nothing to export."""
    result = seen.look.state.result
    if seen.look.state.state == "finished" and result is not None:
        return f"the result is no longer at {result}"
    return "there is nothing to export yet: the run has no checkpoint"


def possible(seen: Watched | None) -> object:
    """What decides which actions are offered."""
    if seen is None:
        return None
    look = seen.look
    kept = bool(look.snapshot.checkpoints)
    return look.state.state, look.gone, kept, seen.asked_to_stop, seen.result, seen.spec, bool(look.snapshot.curve.points)
