"""The trainings of a study: arms over data sets, seeds and depths. Standard library alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tleg.errors import InputError
from tleg.recipes.initial_weights import changes_to_depth
from tleg.recipes.io import from_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.study.file import Arm, Study

# 'reported': a training of the study's seeds. 'tuning': one that tries values. 'speed': one epoch, whose time is measured.
Purpose = Literal["reported", "tuning", "speed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One training.

    name    'ARM/DATA/seed-N', then '/depth-N' where a depth is a training; one that tries a value has 'tuning-N/CHOICE'
            for the seed, and one that measures the time of an epoch 'speed'
    choice  the values of what is tuned
    needs   the tasks whose results it takes, by option
    waits   the tasks that measure how long it can be, when the budget is one of time
    """

    name: str
    arm: Arm
    data: str
    seed: int
    depth: int | None
    choice: Mapping[str, Any]
    purpose: Purpose
    needs: Mapping[str, str]
    waits: tuple[str, ...] = ()

    @property
    def speed(self) -> str:
        """The name of the training that measures an epoch of this one's arm, data set and depth."""
        return f"{self.arm.name}/{self.data}/speed" + ("" if self.depth is None else f"/depth-{self.depth}")

    def own_epochs(self, study: Study) -> Any:
        """The epochs that the file gives apart from the budget, or None."""
        return {**self.arm.values, **study.data[self.data], **self.choice}.get("epochs")

    def recipe(self, study: Study, results: Mapping[str, Path], epochs: int | None = None) -> TrainingRecipe:
        """Return what is trained. Raises InputError.

        results  has the folders of the runs that it needs, by task
        epochs   those of the budget; the file's own go before them, except where an epoch is measured
        """
        values = {**self.arm.values, **study.data[self.data], **self.choice, "seed": self.seed}
        if epochs is not None and study.budget is not None and "epochs" not in values:
            values["epochs"] = epochs
        values |= {option: str(results[task]) for option, task in self.needs.items()}
        changes = changes_to_depth(init := values.get("init"))
        if changes:
            values["init"] = f"{init}:{self.depth}"
        if self.arm.kind == "learn":
            values["evaluate-depths"] = ",".join(map(str, study.depths))
        elif "learngene" in values:
            values["depth"] = self.depth
        elif not changes:
            values["model-arg"] = {**values.get("model-arg", {}), "depth": self.depth}
        try:
            return from_values(self.arm.kind, values)
        except InputError as error:
            raise InputError(f"{self.name}: {error}", **error.about) from error


def trying_tasks(study: Study, arm: Arm, data: str) -> Iterator[Task]:
    """Yield the trainings that choose among an arm's values; none where it has nothing to tune."""
    if not arm.tune:
        return
    for number, choice in enumerate(arm.choices()):
        for seed in study.tuning_seeds:
            yield from _tasks(study, arm, data, seed, choice, f"tuning-{seed}/{number}")


def speed_tasks(study: Study, arm: Arm, data: str) -> Iterator[Task]:
    """Yield the trainings that measure an epoch of an arm, where its budget is one of time."""
    if _is_timed(study, arm, data):
        yield from _tasks(study, arm, data, study.tuning_seeds[0], next(arm.choices()), "speed")


def _is_timed(study: Study, arm: Arm, data: str) -> bool:
    own = {*arm.values, *study.data[data], *arm.tune}
    return study.budget is not None and study.budget.unit == "minutes" and "epochs" not in own


def seed_tasks(study: Study, arm: Arm, data: str, choice: Mapping[str, Any]) -> Iterator[Task]:
    """Yield the trainings of an arm that are reported, with the values that were chosen."""
    for seed in study.seeds:
        yield from _tasks(study, arm, data, seed, choice, f"seed-{seed}")


def _tasks(study: Study, arm: Arm, data: str, seed: int, choice: Mapping[str, Any], place: str) -> Iterator[Task]:
    purpose: Purpose = "speed" if place == "speed" else "reported" if place.startswith("seed") else "tuning"
    timed = purpose != "speed" and _is_timed(study, arm, data)
    depths = study.depths if arm.by_depth else (None,)
    for depth in depths:
        # Values are tried with what the arms before have by their own choice, of the first seed.
        other = f"seed-{seed if purpose == 'reported' else study.seeds[0]}"
        needs = {}
        if arm.start is not None:
            option = "start" if arm.kind == "learn" else "checkpoint" if arm.prunes else "learngene"
            needs[option] = f"{arm.start}/{data}/{other}" + _which(study.arms[arm.start], arm.start_depth)
        if arm.teacher is not None:
            needs["teacher"] = f"{arm.teacher}/{data}/{other}" + _which(study.arms[arm.teacher], arm.teacher_depth)
        task = Task(
            name=f"{arm.name}/{data}/{place}" + ("" if depth is None else f"/depth-{depth}"),
            arm=arm,
            data=data,
            seed=seed,
            depth=depth,
            choice=choice,
            purpose=purpose,
            needs=needs,
        )
        together = depths if study.budget is not None and study.budget.of == "family" else (depth,)
        yield replace(task, waits=tuple(replace(task, depth=each).speed for each in together)) if timed else task


def _which(arm: Arm, depth: int | None) -> str:
    """The end of the name of one of an arm's trainings."""
    return f"/depth-{depth}" if arm.by_depth else ""


def list_tasks(study: Study) -> list[Task]:
    """Return all trainings; those of an arm's seeds with the first of its values, as long as none is chosen."""
    return [
        task
        for arm in study.arms.values()
        for data in study.data
        for task in (
            *speed_tasks(study, arm, data),
            *trying_tasks(study, arm, data),
            *seed_tasks(study, arm, data, next(arm.choices())),
        )
    ]
