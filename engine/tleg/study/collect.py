"""From the runs of a study to what they measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from tleg.errors import ArchitectureError
from tleg.learngene.container import read_file
from tleg.learngene.cost import CostModel
from tleg.recipes.io import from_values
from tleg.recipes.recipes import FinetuneRecipe, LearnRecipe
from tleg.references import resolve
from tleg.runs.events import EventReader
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.reports import EvaluationReport, StartReport
from tleg.runs.run import LEARNGENE, MODEL, RunFolder, read_document
from tleg.runs.scalars import StepReport
from tleg.runs.spec import read_spec
from tleg.study.grid import Task
from tleg.study.results import CurvePoint, Trained

# Multiply-accumulates of a training step for those of a forward pass: the backward pass makes two products for each one.
FORWARD_AND_BACKWARD = 3


def collect(task: Task, folder: RunFolder) -> Trained:
    """Return what a finished run of a task measured. Raises TlegError for one whose result is damaged or gone."""
    spec = read_spec(folder)
    recipe = from_values(spec.kind, spec.recipe)
    events = EventReader(folder).read()
    snapshot = fold(RunSnapshot(), events)
    reports = [report for event in events if (report := event.read()) is not None]
    steps = snapshot.start.steps if snapshot.start is not None else None
    cost: CostModel | None
    parameters: int | None
    size: int | None
    if isinstance(recipe, LearnRecipe):
        file = read_file(folder.exports / LEARNGENE)
        header, parameters, size = file.header, file.parameters, file.size
        top1 = {} if header.reached is None else dict(header.reached.top1)
        images = _images(header.learned, recipe.recipe.epochs)
        depths = recipe.depths.sampled or (recipe.depths.auxiliary,)
        cost = header.cost
    else:
        record = read_document(folder.exports / MODEL / "training.json")
        reached = (record.get("reached") or {}).get("top1")
        top1 = {} if reached is None or task.depth is None else {task.depth: float(reached)}
        images = _images(record, recipe.recipe.epochs)
        cost, depths = _cost(recipe, folder), (task.depth or 0,)
        parameters = None if cost is None else cost.parameters.at(depths[0])
        size = sum(each.stat().st_size for each in (folder.exports / MODEL).glob("*.safetensors")) or None
    # A learngene draws every depth as often as the others. What a teacher computes is known where it is a model of ours.
    forward = None if cost is None else sum(cost.macs.at(depth) for depth in depths) / len(depths)
    each = None if forward is None or recipe.teacher is not None else FORWARD_AND_BACKWARD * forward
    return Trained(
        task=task.name,
        arm=task.arm.name,
        data=task.data,
        seed=task.seed,
        depth=task.depth,
        kind=task.arm.kind,
        values={**task.arm.own, **task.choice},
        run=folder.id,
        epochs=recipe.recipe.epochs,
        images=images,
        macs=None if each is None else round(each * images),
        seconds=training_seconds(reports),
        parameters=parameters,
        bytes=size,
        top1={depth: round(value, 2) for depth, value in sorted(top1.items())},
        curve=_curve(snapshot, task, steps, None if each is None else each * images, recipe.recipe.epochs),
    )


def _images(record: Mapping[str, Any], epochs: int) -> int:
    """Images seen: full batches of every epoch."""
    steps, batch = record.get("steps"), (record.get("recipe") or {}).get("batch_size")
    return int(steps * batch) if isinstance(steps, int) and isinstance(batch, int) else int(record["images"]) * epochs


def _cost(recipe: FinetuneRecipe, folder: RunFolder) -> CostModel | None:
    """What the architecture costs; None for one whose cost is not known to be affine in its depth."""
    if recipe.learngene is not None:
        return read_file(resolve(recipe.learngene).place).header.cost
    from tleg.models.architecture import describe
    from tleg.models.flops import measure

    record = read_document(folder.exports / MODEL / "config.json")
    arguments = dict(record.get("model_args") or {})
    arguments.pop("depth", None)
    try:
        return measure(describe(str(record["architecture"]), arguments, int(record["num_classes"])))
    except (ArchitectureError, KeyError):
        return None


def training_seconds(reports: Sequence[Any]) -> float | None:
    """Time from each start to the last step before the next one: evaluations between steps are in it."""
    total, begun, last = 0.0, None, None
    for report in reports:
        if isinstance(report, StartReport):
            total += 0.0 if begun is None or last is None else last - begun
            begun, last = report.t, None
        elif isinstance(report, StepReport):
            last = report.t
    total += 0.0 if begun is None or last is None else last - begun
    return round(total, 1) or None


def _curve(snapshot: RunSnapshot, task: Task, steps: int | None, macs: float | None, epochs: int) -> tuple[CurvePoint, ...]:
    points = []
    for each in snapshot.evaluations:
        top1 = _scores(each, task.depth)
        if not top1 or not steps:
            continue
        part = each.step / steps
        points.append(
            CurvePoint(
                epoch=round(part * epochs, 3), macs=None if macs is None else round(macs * part), seconds=None, top1=top1
            )
        )
    return tuple(points)


def _scores(report: EvaluationReport, depth: int | None) -> dict[int, float]:
    found = {}
    for score in report.scores:
        place = depth if depth is not None else score.depth
        if place is not None and score.top1 is not None:
            found[place] = round(score.top1, 2)
    return found
