"""Training a study: its runs on the slots that there are, resumable at any moment.

A study's folder holds `study.json`, which says which run is which training, `results.json`, and `runs`, a folder of runs
like any other: `tleg runs`, `tleg attach` and the workbench take it.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final, Literal

from tleg.errors import ExitCode, InputError, TlegError, describe_os_error
from tleg.files import new_file
from tleg.launch import make_training, resume_training
from tleg.recipes.io import from_values, to_values
from tleg.runs.control import request_stop
from tleg.runs.launch import launch
from tleg.runs.listing import list_runs
from tleg.runs.run import RunFolder, read_document
from tleg.runs.spec import read_spec
from tleg.runs.state import RunState, observe
from tleg.serialize import decode, to_json
from tleg.study.collect import collect, epoch_seconds
from tleg.study.file import Arm, Study
from tleg.study.grid import Task, seed_tasks, speed_tasks, trying_tasks
from tleg.study.plan import Plan
from tleg.study.results import Failed, StudyResults, Trained, Tried, write_results
from tleg.threads import available_cores
from tleg.versions import versions

_LOOK_SECONDS: Final = 0.3
_STOP_SECONDS: Final = 120.0
_TRIES: Final = 2
# What a training may be computed with without being another one.
_HOW: Final = frozenset({"threads", "workers", "device", "devices"})

Happening = Literal["started", "resumed", "finished", "failed"]


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


@dataclass(slots=True)
class StudyFolder:
    """The files of a study, and which run is which training."""

    path: Path
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def runs_dir(self) -> Path:
        """The folder of its runs."""
        return self.path / "runs"

    @property
    def results_file(self) -> Path:
        """What was measured so far."""
        return self.path / "results.json"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be the one who trains the study: the folder is made, and held until the end, however this process ends.

        Raises InputError when another process does already, and when the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / "study.lock").open("a")
        except OSError as error:
            reason = describe_os_error(error)
            raise InputError(
                f"cannot write the study's folder {self.path}: {reason}", field="output", code="system"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"another `tleg study` is at work in {self.path}", field="output", code="wrong-state"
                ) from None
            yield

    def read(self) -> None:
        """Read which run is which. Raises FileFormatError."""
        file = self.path / "study.json"
        if file.exists():
            self.runs = decode(dict[str, str], read_document(file), str(file))

    def note(self, task: str, run: str) -> None:
        """Note a run, in one step. Raises TlegError."""
        self.runs[task] = run
        with new_file(self.path / "study.json", overwrite=True) as target:
            target.write_text(to_json(self.runs) + "\n", encoding="utf-8")

    def run_of(self, task: str) -> RunFolder | None:
        """Return the run of a training, while it is there."""
        name = self.runs.get(task)
        folder = None if name is None else RunFolder(self.runs_dir / name)
        return folder if folder is not None and folder.exists else None


class Scheduler:
    """Trains what a study asks for.

    slots     trainings at a time
    report    told of all that happens
    """

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        slots: int = 1,
        *,
        force: bool = False,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        if slots < 1:
            raise InputError(f"a study needs at least 1 slot, not {slots}", field="slots", code="out-of-range")
        self.study, self.folder, self.slots, self._report, self._force = study, folder, slots, report, force
        self._threads = max(1, available_cores() // slots)
        self._plan = Plan(study, self._seconds)
        self._epoch: dict[str, float | None] = {}
        self._trained: dict[str, Trained] = {}
        self._failed: dict[str, Failed] = {}
        self._tries: dict[str, int] = {}
        self._strays: dict[str, dict[str, Any]] = {}
        self._working: dict[str, tuple[Task, RunFolder]] = {}

    def train(self) -> StudyResults:
        """Train all that is not trained yet, and return what was measured, which is written as it grows.

        A training that fails is tried once more, then left out with all that needs it. KeyboardInterrupt saves and stops
        the trainings at work, and goes on to the caller; a second one leaves them at work. Raises InputError, before
        anything is trained, where a training of the folder has another recipe than the study now says.
        """
        with self.folder.at_work():
            self.folder.read()
            self._find_strays()
            self._check_same()
            try:
                while self._turn():
                    time.sleep(_LOOK_SECONDS)
            except KeyboardInterrupt:
                self._stop()
                raise
            finally:
                results = self.results()
                write_results(self.folder.results_file, results)
        return results

    def results(self) -> StudyResults:
        """Return what was measured so far."""
        study = self.study
        reported = [task.name for task in self._reported()]
        complete = all(name in self._trained for name in reported) and all(
            self._choice(arm, data) is not None for arm in study.arms.values() for data in study.data
        )
        return StudyResults(
            title=study.title,
            study=study.text,
            arms={name: arm.about or name for name, arm in study.arms.items()},
            depths=study.depths,
            seeds=study.seeds,
            budget=study.budget_document,
            versions=versions("tleg", "torch", "timm"),
            machine=f"{available_cores()} processor cores; {self.slots} trainings at a time",
            complete=complete,
            trained=tuple(self._trained[name] for name in reported if name in self._trained),
            tried=tuple(self._all_tried()),
            failed=tuple(self._failed.values()),
        )

    def _turn(self) -> bool:
        """Look at what is at work, start what can start; return whether there is something left to wait for."""
        for name, (task, folder) in list(self._working.items()):
            state = observe(folder)
            if state.ended:
                del self._working[name]
                self._ended(task, folder, state)
        for task in self._ready():
            if len(self._working) >= self.slots:
                break
            self._start(task)
        return bool(self._working) or next(self._ready(), None) is not None

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
            if (choice := self._choice(arm, data)) is not None
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
            elif all(each in self._trained for each in before):
                yield task

    def _start(self, task: Task) -> None:
        folder = self.folder.run_of(task.name)
        try:
            folder = folder or self._adopt(task)
            # A training whose values were chosen on the way was not compared when the study began.
            if folder is not None and (changed := self._change(task, folder)) is not None:
                if not self._force:
                    raise InputError(changed, field="study", code="changed")
                folder = None
            if folder is None:
                folder = make_training(self._recipe(task), self.folder.runs_dir)
                self.folder.note(task.name, folder.id)
                launch(folder)
                self._say("started", task.name, folder.id)
            else:
                state = observe(folder)
                if state.state == "finished":
                    self._ended(task, folder, state)
                    return
                if state.state == "queued":
                    launch(folder)
                    self._say("started", task.name, folder.id)
                elif state.ended:
                    resume_training(folder)
                    self._say("resumed", task.name, folder.id)
        except TlegError as error:
            self._fail(task, "" if folder is None else folder.id, str(error))
            return
        self._working[task.name] = task, folder

    def _ended(self, task: Task, folder: RunFolder, state: RunState) -> None:
        if state.state == "finished":
            try:
                self._trained[task.name] = found = collect(task, folder)
            except (TlegError, OSError) as error:
                self._fail(task, folder.id, str(error))
                return
            write_results(self.folder.results_file, self.results())
            top1 = ", ".join(f"{depth}: {value:.2f}" for depth, value in found.top1.items())
            self._say("finished", task.name, f"top-1 % at depth {top1}" if top1 else "no accuracy")
            return
        self._tries[task.name] = self._tries.get(task.name, 0) + 1
        reason = state.message or f"the run is {state.state}"
        # Who stopped it wanted that, until the study is started again; what was refused would be refused again.
        hopeless = state.state == "stopped" or state.exit_code == ExitCode.USAGE
        if hopeless or self._tries[task.name] >= _TRIES:
            self._fail(task, folder.id, reason)

    def _fail(self, task: Task, run: str, reason: str) -> None:
        self._failed[task.name] = Failed(task=task.name, run=run, reason=reason)
        self._say("failed", task.name, reason)

    def _recipe(self, task: Task) -> Any:
        recipe = self._plan.recipe(task, self._folders(task))
        values = to_values(recipe)
        if recipe.compute.threads == "auto":
            values["threads"] = str(self._threads)
        return from_values(recipe.kind, values)

    def _seconds(self, task: str) -> float | None:
        """The time of an epoch that a training measured, the same whenever it is asked for; None while it is at work."""
        if task not in self._epoch:
            folder = self.folder.run_of(task)
            if folder is None or observe(folder).state != "finished":
                return None
            self._epoch[task] = epoch_seconds(folder)
        return self._epoch[task]

    def _folders(self, task: Task) -> dict[str, Path]:
        return {
            name: (self.folder.runs_dir / self.folder.runs.get(name, "later")).absolute() for name in task.needs.values()
        }

    def _choice(self, arm: Arm, data: str) -> Mapping[str, Any] | None:
        """The values of what is tuned: the best by the mean over depths and seeds; None while that is not known."""
        if not arm.tune:
            return {}
        tried = list(self._tried(arm, data))
        known = [each for each in tried if each.chosen]
        return known[0].values if known else None

    def _tried(self, arm: Arm, data: str) -> Iterator[Tried]:
        """Every combination of an arm's values that was tried; one is chosen once all were."""
        scores: list[tuple[dict[str, Any], float | None, bool]] = []
        tasks = list(trying_tasks(self.study, arm, data))
        for choice in arm.choices():
            mine = [task for task in tasks if task.choice == choice]
            found = [self._trained[task.name] for task in mine if task.name in self._trained]
            whole = len(found) == len(mine)
            score = (
                fmean(fmean(each.top1.values()) for each in found) if whole and all(each.top1 for each in found) else None
            )
            scores.append((choice, score, whole or any(task.name in self._failed for task in mine)))
        over = all(done for *_, done in scores)
        best = max((score for _, score, _ in scores if score is not None), default=None)
        chosen = next((n for n, (_, score, _) in enumerate(scores) if over and best is not None and score == best), None)
        for number, (choice, score, done) in enumerate(scores):
            if done:
                yield Tried(
                    arm=arm.name,
                    data=data,
                    values=choice,
                    top1=None if score is None else round(score, 2),
                    seeds=self.study.tuning_seeds,
                    chosen=number == chosen,
                )

    def _all_tried(self) -> Iterator[Tried]:
        for arm in self.study.arms.values():
            for data in self.study.data if arm.tune else ():
                yield from self._tried(arm, data)

    def _find_strays(self) -> None:
        """Find the runs that were made and not noted, because something ended in between."""
        noted = set(self.folder.runs.values())
        runs = [each for each in list_runs(self.folder.runs_dir) if each.id not in noted]
        self._strays = {each.id: _trained_values(read_spec(each).recipe) for each in runs}

    def _adopt(self, task: Task) -> RunFolder | None:
        """Return the run of a task that is not noted yet, where there is one, and note it."""
        if not self._strays:
            return None
        values = _trained_values(to_values(self._recipe(task)))
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
            if folder is None or self._plan.epochs(task) is None:
                continue
            changed = self._change(task, folder)
            if changed is not None and not self._force:
                raise InputError(changed, field="study", code="changed")
            if changed is not None:
                del self.folder.runs[task.name]

    def _change(self, task: Task, folder: RunFolder) -> str | None:
        """What a training's run was trained with that the study now says otherwise, in a sentence."""
        was, now = _trained_values(read_spec(folder).recipe), _trained_values(to_values(self._recipe(task)))
        # Which run has a result is not what the study says: one that was removed is trained again, to the same result.
        names = sorted({*was, *now} - {*task.needs})
        name = next((each for each in names if was.get(each) != now.get(each)), None)
        if name is None:
            return None
        return (
            f"{task.name} was trained with another {name} ({was.get(name)}, now {now.get(name)}); take another --output, or "
            "train it anew with --force"
        )

    def _stop(self) -> None:
        """Save and stop what is at work, and wait for that."""
        for _, folder in self._working.values():
            request_stop(folder)
        end = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < end and not all(observe(folder).ended for _, folder in self._working.values()):
            time.sleep(_LOOK_SECONDS)

    def _say(self, what: Happening, task: str, text: str) -> None:
        total = sum(1 for _ in self._tasks())
        self._report(Progress(what, task, len(self._trained) + len(self._failed), total, text))


def _trained_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _HOW}
