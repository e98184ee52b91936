"""The trainings of a family, one after the other: runs like any other, each started or resumed, and none done twice."""

import time
from collections.abc import Callable, Collection
from typing import Final

from tleg.errors import InputError, TlegError
from tleg.launch import make_training, resume_training
from tleg.recipes.io import to_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.follower import RunFollower
from tleg.runs.history import RunSnapshot
from tleg.runs.launch import launch
from tleg.runs.run import RunFolder
from tleg.runs.slurm import stop
from tleg.runs.state import RunState, observe
from tleg.runs.work import WorkFolder, what_changed

_LOOK_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 120.0
# name of the training, what is known of its run, its state
Watch = Callable[[str, RunSnapshot, RunState], None]


class Trainings:
    """What trains, in the folder of a family that the caller holds.

    force  train anew what the family now says otherwise than when it was trained
    watch  called while a run is at work
    """

    def __init__(self, folder: WorkFolder, *, force: bool, watch: Watch) -> None:
        self._folder, self._force, self._watch = folder, force, watch

    def check(self, name: str, recipe: TrainingRecipe, needs: Collection[str] = ()) -> None:
        """Refuse a training that was done or begun with another recipe, unless that is to be trained anew.

        needs  options that name results of other trainings

        Raises InputError.
        """
        folder = self._folder.run_of(name)
        changed = None if folder is None else what_changed(name, folder, to_values(recipe), needs)
        if changed is not None and not self._force:
            raise InputError(changed, field="output", code="changed")

    def finished(self, name: str, recipe: TrainingRecipe) -> RunFolder | None:
        """Return the run of a training that is done, with this recipe; None where there is something left to do."""
        folder = self._folder.run_of(name)
        if (
            folder is None
            or observe(folder).state != "finished"
            or what_changed(name, folder, to_values(recipe)) is not None
        ):
            return None
        return folder

    def run(self, name: str, recipe: TrainingRecipe) -> RunFolder:
        """Train, go on with, or take over a training, and return its finished run.

        KeyboardInterrupt saves and stops it, and goes on to the caller. Raises InputError as `check` does, and TlegError
        where the run does not end well.
        """
        self.check(name, recipe)
        folder = self._folder.run_of(name)
        if folder is not None and what_changed(name, folder, to_values(recipe)) is not None:
            self._stop(folder)
            folder = None
        if folder is None:
            folder = make_training(recipe, self._folder.runs_dir)
            self._folder.note(name, folder.id)
            launch(folder)
        else:
            state = observe(folder)
            if state.state == "queued":
                launch(folder)
            elif state.ended and state.state != "finished":
                resume_training(folder, {}, "here")
        state = self._follow(name, folder)
        if state.state == "finished":
            return folder
        reason = state.message or f"it is {state.state}"
        raise TlegError(
            f"the training {name} (run {folder.id}) did not end well: {reason}; the same command goes on with it"
        )

    def _follow(self, name: str, folder: RunFolder) -> RunState:
        follower = RunFollower(folder)
        try:
            while True:
                look = follower.look()
                if look.gone:
                    raise TlegError(f"the run {folder.id} of the training {name} was removed")
                self._watch(name, look.snapshot, look.state)
                if look.ended:
                    return look.state
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            self._stop(folder)
            raise

    def _stop(self, folder: RunFolder) -> None:
        """Save and stop a run, and wait for that."""
        stop(folder)
        end = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < end and not observe(folder).ended:
            time.sleep(_LOOK_SECONDS)
