"""Training a study: its runs on the slots that there are, resumable at any moment.

A study's folder holds `study.json`, which says which run is which training, `results.json`, and `runs`, a folder of runs
like any other: `tleg runs`, `tleg attach` and the workbench take it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tleg.errors import ExitCode, InputError, TlegError
from tleg.recipes.io import to_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.listing import list_runs
from tleg.runs.run import LEARNGENE, MODEL, RunFolder
from tleg.runs.slurm import stop
from tleg.runs.spec import read_spec
from tleg.runs.state import RunState, observe
from tleg.runs.work import WorkFolder, trained_values, what_changed
from tleg.study.collect import collect, epoch_seconds
from tleg.study.file import Study
from tleg.study.grid import Task, list_tasks, seed_tasks, speed_tasks, trying_tasks
from tleg.study.plan import Plan
from tleg.study.results import Failed, StudyResults, Trained, write_results
from tleg.study.slots import Here, Place
from tleg.study.tuning import choose, tried
from tleg.versions import versions

_LOOK_SECONDS: Final = 0.3
_STOP_SECONDS: Final = 120.0
_TRIES: Final = 2

# 'left': what is at work goes on by itself, and nobody waits for it.
Happening = Literal["started", "resumed", "finished", "failed", "left"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a study just did.

    done, total  trainings that ended, and all that are known; values that are still chosen among count once
    """

    what: Happening
    task: str
    done: int
    total: int
    text: str = ""


class Scheduler:
    """Trains what a study asks for.

    place   where trainings are; None is this machine, one at a time
    force   train anew what the study says otherwise than when it was trained
    report  told of all that happens
    plan    how long each training is
    """

    def __init__(
        self,
        study: Study,
        folder: WorkFolder,
        place: Place | None = None,
        *,
        force: bool = False,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.study, self.folder, self._report, self._force = study, folder, report, force
        self._place = place or Here()
        self.plan = Plan(study, self._seconds)
        self._epoch: dict[str, float | None] = {}
        self._trained: dict[str, Trained] = {}
        self._failed: dict[str, Failed] = {}
        self._tries: dict[str, int] = {}
        self._strays: dict[str, dict[str, Any]] = {}
        self._working: dict[str, tuple[Task, RunFolder]] = {}
        # Whose jobs SLURM dropped: they wait here, not there, until what they need is finished.
        self._dropped: set[str] = set()

    def train(self, *, wait: bool = True) -> StudyResults:
        """Train all that is not trained yet, and return what was measured, which is written as it grows.

        A training that fails is tried once more, then left out with all that needs it. KeyboardInterrupt saves and stops
        the trainings at work, and goes on to the caller; a second one leaves them at work. Raises InputError, before
        anything is trained, where a training of the folder has another recipe than the study now says.

        wait  until all is trained; else what can start by now is started, and left to itself
        """
        with self.folder.at_work():
            self.folder.read()
            self._find_strays()
            self._check_same()
            try:
                if wait:
                    while self._turn():
                        time.sleep(_LOOK_SECONDS)
                else:
                    self._leave()
            except KeyboardInterrupt:
                self._stop()
                raise
            finally:
                results = self.results()
                write_results(self.folder.results_file, results)
        return results

    def _leave(self) -> None:
        """Start what can start, until that changes nothing any more."""
        known = -1
        while known != (known := len(self._working) + len(self._trained) + len(self._failed)):
            self._turn()
        total, done = len(list_tasks(self.study)), len(self._trained) + len(self._failed)
        left = total - done - len(self._working)
        text = f"{done} of {total} trainings ended, {len(self._working)} are at work or in the queue"
        self._report(Progress("left", "", done, total, f"{text}, {left} remain for the same command to go on with"))

    def results(self) -> StudyResults:
        """Return what was measured so far."""
        study = self.study
        reported = [task.name for task in self._reported()]
        complete = all(name in self._trained for name in reported) and all(
            choose(self.study, arm, data, self._trained, self._failed) is not None
            for arm in study.arms.values()
            for data in study.data
        )
        return StudyResults(
            title=study.title,
            study=study.text,
            arms={name: arm.about or name for name, arm in study.arms.items()},
            depths=study.depths,
            seeds=study.seeds,
            budget=study.budget_document,
            versions=versions("tleg", "torch", "timm"),
            machine=self._place.machine,
            complete=complete,
            trained=tuple(self._trained[name] for name in reported if name in self._trained),
            tried=tuple(
                each
                for arm in study.arms.values()
                for data in (study.data if arm.tune else ())
                for each in tried(study, arm, data, self._trained, self._failed)
            ),
            failed=tuple(self._failed.values()),
        )

    def _turn(self) -> bool:
        """Look at what is at work, start what can start; return whether there is something left to wait for."""
        waiting = []
        for name, (task, folder) in list(self._working.items()):
            if name not in self._working:  # What it needs did not end well, just now.
                continue
            state = observe(folder)
            if state.state == "queued":
                waiting.append(folder)
            # SLURM may start a job again whose machine was lost.
            elif state.ended and not (state.state == "lost" and self._place.chains and self._place.queued(folder)):
                del self._working[name]
                self._ended(task, folder, state)
        for folder in self._place.gone(waiting):
            self._drop(folder)
        # Whoever comes first in the file: what is behind another is known once that one is.
        while [task for task in self._ready() if self._follow(task)]:
            pass
        for task in self._ready():
            if self._place.limit is not None and len(self._working) >= self._place.limit:
                break
            self._start(task)
        return bool(self._working) or next(self._ready(), None) is not None

    def _drop(self, folder: RunFolder) -> None:
        """Let go of a run whose job left the queue without having begun: what it needs failed, or somebody took it out."""
        found = next(((name, task) for name, (task, each) in self._working.items() if each == folder), None)
        if found is None:  # It was taken out a moment ago.
            return
        name, task = found
        del self._working[name]
        self._dropped.add(name)
        self._take_out(folder)
        if all(each in self._trained for each in task.needs.values()):
            self._ended(task, folder, RunState(state="lost", message="its job left SLURM's queue without having begun"))

    def _release(self, name: str) -> None:
        """Take out of the queue what was put behind a training that did not end well."""
        for other, (task, folder) in list(self._working.items()):
            if name in task.needs.values() and observe(folder).state == "queued":
                del self._working[other]
                self._take_out(folder)

    def _take_out(self, folder: RunFolder) -> None:
        with suppress(TlegError):  # What SLURM does not take out fails there, for want of what it needs.
            stop(folder)

    def _tasks(self) -> Iterator[Task]:
        """All trainings that are known by now: those of an arm's seeds once its values are chosen."""
        for arm in self.study.arms.values():
            for data in self.study.data:
                yield from speed_tasks(self.study, arm, data)
                yield from trying_tasks(self.study, arm, data)
        yield from self._reported()

    def _reported(self) -> Iterator[Task]:
        # By seed first, so that a study that is cut short has whole rows.
        chosen = [
            list(seed_tasks(self.study, arm, data, choice))
            for arm in self.study.arms.values()
            for data in self.study.data
            if (choice := choose(self.study, arm, data, self._trained, self._failed)) is not None
        ]
        for seed in self.study.seeds:
            for tasks in chosen:
                yield from (task for task in tasks if task.seed == seed)

    def _ready(self) -> Iterator[Task]:
        for task in self._tasks():
            if task.name in self._trained or task.name in self._failed or task.name in self._working:
                continue
            before = (*task.needs.values(), *task.waits)
            if lost := next((each for each in before if each in self._failed), None):
                self._failed[task.name] = Failed(task=task.name, run="", reason=f"it needs {lost}, which failed")
                self._say("failed", task.name, f"it needs {lost}, which failed")
            elif all(each in self._trained or (each not in task.waits and self._goes_behind(task, each)) for each in before):
                yield task

    def _goes_behind(self, task: Task, name: str) -> bool:
        """Whether a training may be put behind one that has not ended: both are jobs."""
        if not self._place.chains or task.name in self._dropped or name not in self._working:
            return False
        return read_spec(self._working[name][1]).launch.job_id is not None

    def _follow(self, task: Task) -> bool:
        """Take over a training that ended, is at work or is in the queue, whoever started it: it needs no slot."""
        folder = self.folder.run_of(task.name)
        if folder is None:
            return False
        state = observe(folder)
        if state.state != "finished" and not state.at_work and not (state.state == "queued" and self._place.queued(folder)):
            return False
        try:
            self._check_changed(task, folder)
        except TlegError as error:
            self._fail(task, folder.id, str(error))
            return True
        if self.folder.run_of(task.name) is None:  # It is trained anew.
            return True
        if state.state == "finished":
            self._ended(task, folder, state)
        else:
            self._working[task.name] = task, folder
        return True

    def _start(self, task: Task) -> None:
        folder = self.folder.run_of(task.name)
        after = [self._working[each][1] for each in task.needs.values() if each in self._working]
        try:
            folder = folder or self._adopt(task)
            # A training whose values were chosen on the way was not compared when the study began.
            if folder is not None:
                self._check_changed(task, folder)
                folder = self.folder.run_of(task.name)
            if folder is None:
                later = tuple(task.needs) if self._place.chains else ()
                folder = self._place.make(self._recipe(task), self.folder.runs_dir, self._at_work(), later)
                self.folder.note(task.name, folder.id)
                self._place.start(folder, after)
                self._say("started", task.name, folder.id)
            else:
                state = observe(folder)
                if state.state == "finished":
                    self._ended(task, folder, state)
                    return
                if not state.at_work:
                    if state.state == "queued" and read_spec(folder).launch.job_id is not None:
                        stop(folder)
                    self._place.resume(folder, after, self._at_work())
                    self._say("started" if state.state == "queued" else "resumed", task.name, folder.id)
        except TlegError as error:
            self._fail(task, "" if folder is None else folder.id, str(error))
            return
        self._working[task.name] = task, folder

    def _check_changed(self, task: Task, folder: RunFolder) -> None:
        """Refuse a run of another recipe, or forget it with `force`. Raises InputError."""
        changed = self._change(task, folder)
        if changed is not None and not self._force:
            raise InputError(changed, field="study", code="changed")
        if changed is not None:
            if not observe(folder).ended:
                self._take_out(folder)
            del self.folder.runs[task.name]

    def _at_work(self) -> list[RunFolder]:
        return [folder for _, folder in self._working.values()]

    def _ended(self, task: Task, folder: RunFolder, state: RunState) -> None:
        if state.state == "finished":
            try:
                self._trained[task.name] = found = collect(task, folder)
            except (TlegError, OSError) as error:
                self._fail(task, folder.id, str(error))
                return
            write_results(self.folder.results_file, self.results())
            top1 = ", ".join(f"{depth}: {value:.2f}" for depth, value in found.top1.items())
            cosine = ", ".join(f"{depth}: {value:.3f}" for depth, value in (found.cosine or {}).items())
            known = f"cosine at depth {cosine}" if cosine else "no accuracy"
            self._say("finished", task.name, f"top-1 % at depth {top1}" if top1 else known)
            return
        self._tries[task.name] = self._tries.get(task.name, 0) + 1
        reason = state.message or f"the run is {state.state}"
        # Who stopped it wanted that, until the study is started again; what was refused would be refused again.
        hopeless = state.state == "stopped" or state.exit_code == ExitCode.USAGE
        if hopeless or self._tries[task.name] >= _TRIES:
            self._fail(task, folder.id, reason)
        self._release(task.name)

    def _fail(self, task: Task, run: str, reason: str) -> None:
        self._failed[task.name] = Failed(task=task.name, run=run, reason=reason)
        self._say("failed", task.name, reason)

    def _recipe(self, task: Task) -> TrainingRecipe:
        return self.plan.recipe(task, self._folders(task))

    def _seconds(self, task: str) -> float | None:
        """The time of an epoch that a training measured, the same whenever it is asked for; None while it is at work."""
        if task not in self._epoch:
            folder = self.folder.run_of(task)
            if folder is None or observe(folder).state != "finished":
                return None
            self._epoch[task] = epoch_seconds(folder)
        return self._epoch[task]

    def _folders(self, task: Task) -> dict[str, Path]:
        """What a training needs: runs, or for a job their results, which are there only once the runs are finished."""
        places = {}
        for option, name in task.needs.items():
            run = RunFolder((self.folder.runs_dir / self.folder.runs.get(name, "later")).absolute())
            learned = option != "teacher" and not self.study.arms[name.partition("/")[0]].by_depth
            result = run.exports / (LEARNGENE if learned else MODEL)
            places[name] = result if self._place.chains else run.path
        return places

    def _find_strays(self) -> None:
        """Find the runs that were made and not noted, because something ended in between."""
        noted = set(self.folder.runs.values())
        runs = [each for each in list_runs(self.folder.runs_dir) if each.id not in noted]
        self._strays = {each.id: trained_values(read_spec(each).recipe) for each in runs}

    def _adopt(self, task: Task) -> RunFolder | None:
        """Return the run of a task that is not noted yet, where there is one, and note it."""
        if not self._strays:
            return None
        values = trained_values(to_values(self._recipe(task)))
        found = next((name for name, recipe in self._strays.items() if recipe == values), None)
        if found is None:
            return None
        del self._strays[found]
        self.folder.note(task.name, found)
        return RunFolder(self.folder.runs_dir / found)

    def _check_same(self) -> None:
        for task in self._tasks():
            folder = self.folder.run_of(task.name)
            # How long a training is may not be measured yet; it is compared when it comes to its turn.
            if folder is None or self.plan.epochs(task) is None:
                continue
            self._check_changed(task, folder)

    def _change(self, task: Task, folder: RunFolder) -> str | None:
        """What a training's run was trained with that the study now says otherwise, in a sentence."""
        # Which run has a result is not what the study says: one that was removed is trained again, to the same result.
        return what_changed(task.name, folder, to_values(self._recipe(task)), task.needs)

    def _stop(self) -> None:
        """Save and stop what is at work, and wait for that."""
        for folder in self._at_work():
            self._take_out(folder)
        end = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < end and not all(observe(folder).ended for _, folder in self._working.values()):
            time.sleep(_LOOK_SECONDS)

    def _say(self, what: Happening, task: str, text: str) -> None:
        total = sum(1 for _ in self._tasks())
        self._report(Progress(what, task, len(self._trained) + len(self._failed), total, text))
