"""Choosing the values of what is tuned: the best by the mean accuracy over depths and seeds. Standard library only."""

from collections.abc import Collection, Iterator, Mapping
from statistics import fmean
from typing import Any

from tleg.study.file import Arm, Study
from tleg.study.grid import trying_tasks
from tleg.study.results import Trained, Tried


def choose(
    study: Study, arm: Arm, data: str, trained: Mapping[str, Trained], failed: Collection[str]
) -> Mapping[str, Any] | None:
    """Return the values that an arm's trainings have on a data set; None while that is not known.

    trained, failed  the trainings that ended, by name
    """
    if not arm.tune:
        return {}
    return next((each.values for each in tried(study, arm, data, trained, failed) if each.chosen), None)


def tried(study: Study, arm: Arm, data: str, trained: Mapping[str, Trained], failed: Collection[str]) -> Iterator[Tried]:
    """Yield every combination of an arm's values that was tried; one is chosen once all were."""
    scores: list[tuple[dict[str, Any], float | None, bool]] = []
    tasks = list(trying_tasks(study, arm, data))
    for choice in arm.choices():
        mine = [task for task in tasks if task.choice == choice]
        found = [trained[task.name] for task in mine if task.name in trained]
        whole = len(found) == len(mine)
        score = fmean(fmean(each.top1.values()) for each in found) if whole and all(each.top1 for each in found) else None
        scores.append((choice, score, whole or any(task.name in failed for task in mine)))
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
                seeds=study.tuning_seeds,
                chosen=number == chosen,
            )
