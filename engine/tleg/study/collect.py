"""From the runs of a study to what they measured."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tleg.errors import InputError
from tleg.learngene.container import read_file
from tleg.learngene.feature_cosine import FeatureCosine, feature_cosine_in
from tleg.learngene.header import LearngeneHeader
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.io import from_values
from tleg.recipes.learning import LearnRecipe
from tleg.references import resolve
from tleg.runs.events import Event, EventReader
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.reports import EvaluationReport, StartReport
from tleg.runs.run import LEARNGENE, MODEL, RunFolder, read_document
from tleg.runs.scalars import StepReport
from tleg.runs.spec import read_spec
from tleg.study.compute import Counted, count_folder, count_teacher, forward_at_depths, training_macs
from tleg.study.grid import Task
from tleg.study.results import CurvePoint, Trained


def collect(task: Task, folder: RunFolder) -> Trained:
    """Return what a finished run of a task measured. Raises TlegError for one whose result is damaged or gone."""
    spec = read_spec(folder)
    recipe = from_values(spec.kind, spec.recipe)
    events = EventReader(folder).read()
    snapshot = fold(RunSnapshot(), events)
    seconds = training_seconds(events)
    steps = snapshot.start.steps if snapshot.start is not None else None
    forward_until: Callable[[float], float] | None
    parameters: int | None
    size: int | None
    cosine: dict[int, float] | None = None
    if isinstance(recipe, LearnRecipe):
        file = read_file(folder.exports / LEARNGENE)
        header, parameters, size = file.header, file.parameters, file.size
        top1 = {} if header.reached is None else dict(header.reached.top1)
        if header.auxiliary.scaled and header.reached is not None:
            by_depth = header.reached.by_depth
            top1 = {depth: by_depth[profile] for depth in recipe.evaluated if (profile := header.scaled(depth)) in by_depth}
        if (features := feature_cosine_in(header.learned)) is not None:
            cosine = {depth: value for depth in recipe.evaluated if (value := _figure(header, features, depth)) is not None}
        images = _images(header.learned, recipe.recipe.epochs)
        forward_until = partial(forward_at_depths, header.training_macs_at, recipe.depths)
    else:
        record = read_document(folder.exports / MODEL / "training.json")
        reached = (record.get("reached") or {}).get("top1")
        top1 = {} if reached is None or task.depth is None else {task.depth: float(reached)}
        images = _images(record, recipe.recipe.epochs)
        model = _count(recipe, folder)
        parameters = None if model is None else model.parameters
        forward_until = None if model is None else partial(_always, model.macs)
        size = sum(each.stat().st_size for each in (folder.exports / MODEL).glob("*.safetensors")) or None
    teacher = count_teacher(recipe)
    macs_until: Callable[[float], int] | None = None
    if forward_until is not None and teacher is not None:
        macs_until = partial(_macs_until, forward_until, teacher, images)
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
        macs=None if macs_until is None else macs_until(1.0),
        seconds=seconds and (round(seconds, 1) or None),
        parameters=parameters,
        bytes=size,
        top1={depth: round(value, 2) for depth, value in sorted(top1.items())},
        curve=_curve(snapshot, task, steps, macs_until, recipe.recipe.epochs),
        cosine=cosine,
    )


def _figure(header: LearngeneHeader, features: FeatureCosine, depth: int) -> float | None:
    """The cosine of a depth, at which all stages may be scaled."""
    return features.figures.get(header.as_trained(depth))


def _always(macs: int, _part: float) -> float:
    """The forward pass of a model of one depth, whatever the part of the training."""
    return macs


def _macs_until(forward_until: Callable[[float], float], teacher: int, images: int, part: float) -> int:
    """The multiply-accumulates of the first part of a training that sees so many images in all."""
    return round(training_macs(forward_until(part), teacher) * images * part)


def _images(record: Mapping[str, Any], epochs: int) -> int:
    """Images seen: full batches of every epoch."""
    steps, batch = record.get("steps"), (record.get("recipe") or {}).get("batch_size")
    return int(steps * batch) if isinstance(steps, int) and isinstance(batch, int) else int(record["images"]) * epochs


def _count(recipe: FinetuneRecipe, folder: RunFolder) -> Counted | None:
    """What the trained model is; None for one whose operations cannot be counted."""
    if recipe.learngene is not None and recipe.descends_to is not None:
        header = read_file(resolve(recipe.learngene).place).header
        if recipe.pixels is not None:
            from tleg.models.image_size import resize_header

            header = resize_header(header, recipe.pixels)
        cost = header.cost_at(recipe.descends_to)
        return Counted(cost.parameters, cost.macs)
    try:
        return count_folder(read_document(folder.exports / MODEL / "config.json"))
    except (InputError, KeyError, TypeError, ValueError):
        return None


def epoch_seconds(folder: RunFolder) -> float | None:
    """Return the time of an epoch of a run that ended, which trained one or more; None where it is not known."""
    events = EventReader(folder).read()
    seconds, snapshot = training_seconds(events), fold(RunSnapshot(), events)
    start, last = (
        snapshot.start,
        max((report.step for report in _reports(events) if isinstance(report, StepReport)), default=0),
    )
    if seconds is None or start is None or not start.steps or not start.epochs or not last:
        return None
    return seconds * start.steps / last / start.epochs


def _reports(events: Sequence[Event]) -> Iterator[Any]:
    return (report for event in events if (report := event.read()) is not None)


def training_seconds(events: Sequence[Event]) -> float | None:
    """Return the time from each start to the last step before the next one: evaluations between steps are in it."""
    total, begun, last = 0.0, None, None
    for report in _reports(events):
        if isinstance(report, StartReport):
            total += 0.0 if begun is None or last is None else last - begun
            begun, last = report.t, None
        elif isinstance(report, StepReport):
            last = report.t
    total += 0.0 if begun is None or last is None else last - begun
    return total or None


def _curve(
    snapshot: RunSnapshot, task: Task, steps: int | None, macs_until: Callable[[float], int] | None, epochs: int
) -> tuple[CurvePoint, ...]:
    points = []
    for each in snapshot.evaluations:
        top1 = _scores(each, task.depth)
        if not top1 or not steps or not each.step:
            continue
        part = each.step / steps
        points.append(
            CurvePoint(
                epoch=round(part * epochs, 3),
                macs=None if macs_until is None else macs_until(part),
                seconds=None,
                top1=top1,
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
