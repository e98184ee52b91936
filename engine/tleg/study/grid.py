"""The trainings of a study: arms over data sets, seeds and depths. Standard library alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tleg.errors import InputError
from tleg.recipes.io import from_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.study.file import Arm, Study

# Where a result will be that is not there while a study is checked.
_LATER = Path("later")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One training.

    name    'ARM/DATA/seed-N', then '/depth-N' where a depth is a training; one that tries a value has 'tuning-N/CHOICE'
            for the seed
    choice  the values of what is tuned
    trying  whether it is trained to choose among values
    needs   the tasks whose results it takes, by option
    """

    name: str
    arm: Arm
    data: str
    seed: int
    depth: int | None
    choice: Mapping[str, Any]
    trying: bool
    needs: Mapping[str, str]

    def recipe(self, study: Study, results: Mapping[str, Path]) -> TrainingRecipe:
        """Return what is trained. `results` has the folders of the runs that it needs, by task. Raises InputError."""
        values = {**self.arm.values, **study.data[self.data], **self.choice, "seed": self.seed}
        values |= {option: str(results[task]) for option, task in self.needs.items()}
        if self.arm.kind == "learn":
            values["evaluate-depths"] = ",".join(map(str, study.depths))
        elif self.arm.start is not None:
            values["depth"] = self.depth
        else:
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


def seed_tasks(study: Study, arm: Arm, data: str, choice: Mapping[str, Any]) -> Iterator[Task]:
    """Yield the trainings of an arm that are reported, with the values that were chosen."""
    for seed in study.seeds:
        yield from _tasks(study, arm, data, seed, choice, f"seed-{seed}")


def _tasks(study: Study, arm: Arm, data: str, seed: int, choice: Mapping[str, Any], place: str) -> Iterator[Task]:
    for depth in study.depths if arm.by_depth else (None,):
        # Values are tried with what the arms before have by their own choice, of the first seed.
        other = f"seed-{seed if place.startswith('seed') else study.seeds[0]}"
        needs = {}
        if arm.start is not None:
            needs["learngene"] = f"{arm.start}/{data}/{other}"
        if arm.teacher is not None:
            ending = f"/depth-{arm.teacher_depth}" if study.arms[arm.teacher].by_depth else ""
            needs["teacher"] = f"{arm.teacher}/{data}/{other}{ending}"
        yield Task(
            name=f"{arm.name}/{data}/{place}" + ("" if depth is None else f"/depth-{depth}"),
            arm=arm,
            data=data,
            seed=seed,
            depth=depth,
            choice=choice,
            trying=not place.startswith("seed"),
            needs=needs,
        )


def check_grid(study: Study) -> int:
    """Make every recipe once, and return how many trainings there are. Raises InputError naming the training."""
    tasks = list_tasks(study)
    for task in tasks:
        task.recipe(study, dict.fromkeys(task.needs.values(), _LATER))
    return len(tasks)


def list_tasks(study: Study) -> list[Task]:
    """Return all trainings; those of an arm's seeds with the first of its values, as long as none is chosen."""
    return [
        task
        for arm in study.arms.values()
        for data in study.data
        for task in (*trying_tasks(study, arm, data), *seed_tasks(study, arm, data, next(arm.choices())))
    ]
