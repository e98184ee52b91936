"""A few runs side by side: in which options they differ, and what each reached and cost so far. Standard library only.

Runs whose recipes differ in their seed alone are the seeds of one arm; arms are compared by the seeds that both have.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

from tleg.errors import InputError, TlegError
from tleg.learngene.container import count_values, read_file
from tleg.learngene.cost import BYTES_PER_VALUE
from tleg.learngene.profile import depth_number
from tleg.recipes import Kind
from tleg.recipes.distillation import Depths
from tleg.recipes.fields import options_of
from tleg.recipes.io import default_of, from_values
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import RECIPES
from tleg.references import resolve
from tleg.runs.events import EventReader
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.reports import EvaluationReport
from tleg.runs.run import LEARNGENE, MODEL, RunFolder, read_document
from tleg.runs.spec import RunSpec, read_spec
from tleg.runs.state import RunState, observe
from tleg.study.collect import training_seconds
from tleg.study.compute import forward_at_depths, training_macs
from tleg.study.statistics import Paired, holm, paired
from tleg.text import join_words

# Where and how a run computes, and what it keeps: runs that differ in these are still seeds of one arm.
_NO_PART_OF_AN_ARM: Final = frozenset(
    {
        *("seed", "workers", "device", "threads", "nodes", "max-restarts", "compile", "gradient-checkpointing"),
        *("checkpoint-minutes", "keep-last", "keep-every", "evaluate-every", "evaluate-depths"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One run, as far as it is.

    options     option name -> value, of the options in which the runs differ; one that the run has no value of is missing
    data        what it is trained on, as its recipe says
    epochs      trained, of epochs_in_all
    images      seen in training
    macs        multiply-accumulates of training: three times the forward pass; None with a teacher, and for a model whose
                cost no learngene tells
    seconds     of training, evaluations included
    parameters  of the result, once there is one
    bytes       of them in float32
    top1        percent by depth, of the latest evaluation, or of the best one where the run keeps that, or what its result
                states where it was not evaluated on the way; None is the depth of a model of which it is not known
    cosine      with the teacher's features by depth, of the same evaluation, where features are learned
    """

    id: str
    path: Path
    kind: str
    state: str
    seed: int
    data: str
    options: Mapping[str, Any]
    epochs: float | None
    epochs_in_all: int | None
    images: int | None
    macs: int | None
    seconds: float | None
    parameters: int | None
    bytes: int | None
    top1: Mapping[int | None, float]
    cosine: Mapping[int | None, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedArms:
    """The accuracy of runs minus that of others which differ from them in more than the seed, paired by seed.

    Where features are learned it is the cosine with the teacher's.

    first, second  ids of the runs
    depths         over which figures are means: those of all these runs
    result         in points, of cosines as they are
    of             'top1' or 'cosine'
    corrected      its p after Holm's correction over all arms that are compared here
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    depths: tuple[int | None, ...]
    result: Paired
    corrected: float | None
    of: Literal["top1", "cosine"] = "top1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs side by side.

    options  the names of the options in which they differ, in the order of the recipes
    depths   at which any was evaluated, rising; None, for a depth that is not known, comes last
    arms     every arm against the first run's
    notes    what to know before one compares
    """

    runs: tuple[ComparedRun, ...]
    options: tuple[str, ...]
    depths: tuple[int | None, ...]
    arms: tuple[ComparedArms, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Read:
    """All that is read of a run."""

    folder: RunFolder
    spec: RunSpec
    state: RunState
    snapshot: RunSnapshot
    seconds: float | None

    @property
    def values(self) -> Mapping[str, Any]:
        """The options of its recipe."""
        return self.spec.recipe


def compare_folders(folders: Sequence[RunFolder]) -> Comparison:
    """Compare at least two runs, finished or not. A run that is named twice counts once.

    Raises InputError for fewer than two, FileFormatError for one whose spec.json is damaged.
    """
    # By path, because a folder may be named in several ways.
    different = list({folder.path.resolve(): folder for folder in folders}.values())
    if len(different) < 2:
        raise InputError("name two runs or more to compare", field="run", code="missing")
    read = [_read(folder) for folder in different]
    options = _differing(read)
    runs = tuple(_describe(each, options) for each in read)
    depths = {depth for run in runs for depth in run.top1}
    notes = _notes(runs)
    alike = len({run.data for run in runs}) == 1
    return Comparison(
        runs=runs,
        options=options,
        depths=tuple(sorted(depths, key=_by_depth)),
        arms=_compare_arms(read, runs) if alike else (),
        notes=notes,
    )


def _by_depth(depth: int | None) -> tuple[bool, int]:
    return depth is None, depth or 0


def _read(folder: RunFolder) -> _Read:
    spec, state = read_spec(folder), observe(folder)
    events = EventReader(folder).read()
    seconds = training_seconds(events)
    return _Read(folder, spec, state, fold(RunSnapshot(), events), seconds and (round(seconds, 1) or None))


def _differing(read: Sequence[_Read]) -> tuple[str, ...]:
    """The options in which runs differ; of one that only some kinds have, where a run has another value than the default."""
    kinds = dict.fromkeys(cast(Kind, each.spec.kind) for each in read)
    names = dict.fromkeys(each.name for kind in kinds for each in options_of(RECIPES[kind]))
    # Of another version of tleg there may be options that this one does not know.
    names |= dict.fromkeys(name for each in read for name in each.values)
    known = {kind: {each.name: each for each in options_of(RECIPES[kind])} for kind in kinds}
    found = []
    for name in names:
        having = [each for each in read if name in known[cast(Kind, each.spec.kind)]]
        if 0 < len(having) < len(read):
            defaults = (default_of(known[kind][name], kind) for kind in (cast(Kind, each.spec.kind) for each in having))
            differs = any(each.values.get(name) != default for each, default in zip(having, defaults, strict=True))
        else:
            differs = len({_key(each.values.get(name)) for each in read}) > 1
        if differs:
            found.append(name)
    return tuple(found)


def _key(value: object) -> str:
    """A text that is equal for equal values."""
    return json.dumps(value, sort_keys=True, default=str)


def _describe(read: _Read, options: Iterable[str]) -> ComparedRun:
    spec, state, start = read.spec, read.state, read.snapshot.start
    recipe = read.values
    epochs_in_all = recipe.get("epochs")
    steps = state.steps or (start.steps if start is not None else None)
    done = state.step if state.step is not None else getattr(read.snapshot.step, "step", None)
    part = done / steps if steps and done is not None else None
    batch = recipe.get("batch-size")
    images = done * batch if done is not None and isinstance(batch, int) else None
    parameters, macs_at = _stored(read.folder, spec)
    return ComparedRun(
        id=read.folder.id,
        path=read.folder.path,
        kind=spec.kind,
        state=state.state,
        seed=int(recipe.get("seed", 0)),
        data=str(recipe.get("data", "")),
        options={name: recipe[name] for name in options if name in recipe},
        epochs=round(part * epochs_in_all, 2) if part is not None and isinstance(epochs_in_all, int) else None,
        epochs_in_all=epochs_in_all if isinstance(epochs_in_all, int) else None,
        images=images,
        macs=_macs(spec, macs_at, images, part),
        seconds=read.seconds,
        parameters=parameters,
        bytes=None if parameters is None else BYTES_PER_VALUE["float32"] * parameters,
        top1=_accuracies(read) or _reached(read),
        cosine=_cosines(read),
    )


def _kept_evaluation(read: _Read) -> EvaluationReport | None:
    """Of the weights that the run keeps: the average, where there is one, of the last evaluation or the best."""
    evaluations = read.snapshot.evaluations
    averaged = [each for each in evaluations if each.weights == "ema"]
    kept: EvaluationReport | None = next(iter(reversed(averaged or evaluations)), None)
    if read.values.get("result") == "best":
        kept = read.snapshot.best
    return kept


def _accuracies(read: _Read) -> dict[int | None, float]:
    kept = _kept_evaluation(read)
    if kept is None:
        return {}
    return {
        (score.depth if score.depth is not None else _depth_of(read.spec)): score.top1
        for score in kept.scores
        if score.top1 is not None
    }


def _cosines(read: _Read) -> dict[int | None, float]:
    kept = _kept_evaluation(read)
    return {} if kept is None else {each.depth: each.cosine for each in kept.scores if each.cosine is not None}


def _reached(read: _Read) -> dict[int | None, float]:
    """What the result states, which was measured once the training had ended; nothing without a result."""
    with suppress(OSError, TlegError):
        if read.spec.kind == "learn":
            reached = read_file(read.folder.exports / LEARNGENE).header.reached
            return {} if reached is None else dict(sorted(reached.top1.items()))
        top1 = (read_document(read.folder.exports / MODEL / "training.json").get("reached") or {}).get("top1")
        return {} if top1 is None else {_depth_of(read.spec): float(top1)}
    return {}


def _depth_of(spec: RunSpec) -> int | None:
    """The depth of the one model of a run, where its recipe says it."""
    arguments = spec.recipe.get("model-arg")
    depth = spec.recipe.get("depth") or (arguments.get("depth") if isinstance(arguments, Mapping) else None)
    return depth_number(depth)  # A profile is no depth that others have.


def _stored(folder: RunFolder, spec: RunSpec) -> tuple[int | None, Callable[[int], float] | None]:
    """The parameters of a result, and what a depth of it computed in training, as far as files say so. Never raises."""
    parameters, macs_at = None, None
    # There is none yet, or it is damaged, which other commands say.
    with suppress(OSError, TlegError):
        if spec.kind == "learn":
            file = read_file(folder.exports / LEARNGENE)
            return file.parameters, file.header.training_macs_at
        parameters = count_values(folder.exports / MODEL / "model.safetensors")
    learngene = spec.recipe.get("learngene")
    # With inputs of another size than the learngene's it would have to be measured.
    if isinstance(learngene, str) and spec.recipe.get("image-size") is None:
        with suppress(OSError, TlegError):  # It was moved, or is another name.
            macs_at = read_file(resolve(Path(spec.folder, learngene)).place).header.cost.macs.at
    return parameters, macs_at


def _macs(spec: RunSpec, macs_at: Callable[[int], float] | None, images: int | None, part: float | None) -> int | None:
    """Of the images seen, which are a part of all, in (0, 1]."""
    if macs_at is None or not images or not part or spec.recipe.get("teacher") is not None:
        return None
    depths = _trained_depths(spec)
    return None if depths is None else round(training_macs(forward_at_depths(macs_at, depths, part)) * images)


def _trained_depths(spec: RunSpec) -> Depths | None:
    """The depths of a training, and how they are drawn; None where its recipe does not say them."""
    if spec.kind != "learn":
        depth = _depth_of(spec)
        return None if depth is None else Depths(depth)
    try:
        recipe = from_values(spec.kind, spec.recipe)
    except InputError:  # Of another version of tleg.
        return None
    assert isinstance(recipe, LearnRecipe)
    return recipe.depths


def _notes(runs: Sequence[ComparedRun]) -> tuple[str, ...]:
    notes = []
    data = list(dict.fromkeys(run.data for run in runs))
    if len(data) > 1:
        notes.append(f"the runs are trained on different data ({join_words(data)}): their accuracies do not compare")
    unfinished = [run.id for run in runs if run.state != "finished"]
    if unfinished:
        notes.append(f"not finished: {join_words(unfinished)}")
    return tuple(notes)


def _compare_arms(read: Sequence[_Read], runs: Sequence[ComparedRun]) -> tuple[ComparedArms, ...]:
    """Every arm against that of the first run, on the mean over the depths that all runs of both have."""
    arms: dict[str, list[ComparedRun]] = {}
    for each, run in zip(read, runs, strict=True):
        values = {name: value for name, value in each.values.items() if name not in _NO_PART_OF_AN_ARM}
        arms.setdefault(_key((each.spec.kind, values)), []).append(run)
    second, *others = arms.values()
    found = []
    for first in others:
        of: Literal["top1", "cosine"]
        for of in ("top1", "cosine"):
            sides = [[(run.seed, run.top1 if of == "top1" else run.cosine) for run in arm] for arm in (first, second)]
            common = set.intersection(*(set(figures) for side in sides for _, figures in side))
            if not common:
                continue
            depths = tuple(sorted(common, key=_by_depth))
            means = [
                {seed: sum(figures[depth] for depth in depths) / len(depths) for seed, figures in side} for side in sides
            ]
            result = paired(means[0], means[1])
            if result is not None:
                found.append((first, depths, result, of))
            break
    corrected = holm([result.p for _, _, result, _ in found])
    return tuple(
        ComparedArms(
            first=tuple(run.id for run in first),
            second=tuple(run.id for run in second),
            depths=depths,
            result=result,
            corrected=p,
            of=of,
        )
        for (first, depths, result, of), p in zip(found, corrected, strict=True)
    )
