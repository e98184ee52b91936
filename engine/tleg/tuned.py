"""What fine-tuning a learngene's descendants reached, as runs tell it. Standard library only."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tleg.errors import InputError
from tleg.learngene.container import LearngeneFile
from tleg.learngene.frontier import TunedPoint
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth, parse_depth
from tleg.references import SUFFIX, shipped
from tleg.runs.follower import RunFollower
from tleg.runs.listing import list_runs
from tleg.runs.reports import EvaluationReport
from tleg.runs.spec import RunSpec, read_spec
from tleg.text import parse_image_size, printable


@dataclass(frozen=True, slots=True)
class Tuned:
    """What fine-tuning a descendant reached: the best top-1 in percent, after how many epochs, in which run, on what."""

    top1: float
    epoch: int | None
    run: str
    data: str = ""


class Place(NamedTuple):
    """Which descendant of a learngene: height and width of the inputs, and the depth."""

    image_size: tuple[int, int]
    depth: Depth


class EvaluatedRun(NamedTuple):
    """A run: its id, what it trains, and its best evaluation so far."""

    id: str
    spec: RunSpec
    best: EvaluationReport | None


# By data set and place; the data set on which the learngene itself was measured comes first.
TunedByData = Mapping[str, Mapping[Place, Tuned]]


def runs_that_tuned(file: LearngeneFile, runs_dir: Path) -> Iterator[EvaluatedRun]:
    """Give the runs of a folder that fine-tuned a descendant of a learngene, newest first; events of no other are read.

    A run that is damaged is passed over. Raises InputError when the folder cannot be read.
    """
    here = file.path.resolve()
    for folder in list_runs(runs_dir):
        try:
            spec = read_spec(folder)
        except InputError:  # It was removed, or damaged, since it was listed.
            continue
        if _tunes(spec, here):
            yield EvaluatedRun(folder.id, spec, RunFollower(folder).look().snapshot.best)


def tuned_by_data(file: LearngeneFile, runs: Iterable[EvaluatedRun]) -> dict[str, dict[Place, Tuned]]:
    """Return what runs reached that fine-tuned a descendant of this learngene, by data set and place: the best of each.

    Accuracies on different images are not to be compared, so each data set has its own. That on which the learngene itself
    was measured comes first, then the one of the newest run. Of a set that is split, every split is another one.

    runs  newest first; others than those of this learngene are passed over
    """
    header = file.header
    found: dict[tuple[str, object, object], dict[Place, Tuned]] = {}
    here = file.path.resolve()
    for run in runs:
        top1 = None if run.best is None else run.best.top1
        if run.best is None or top1 is None or not _tunes(run.spec, here):
            continue
        place = _place_of(run.spec.recipe, header)
        if place is None:
            continue
        places = found.setdefault(_data_of(run.spec), {})
        if place not in places or top1 > places[place].top1:
            places[place] = Tuned(top1, run.best.epoch, run.id)
    names = _names_of(found)
    own = "" if header.reached is None else header.reached.data
    ordered = sorted(found, key=lambda data: not own.startswith(names[data]))
    return {
        names[data]: {place: replace(tuned, data=names[data]) for place, tuned in found[data].items()} for data in ordered
    }


def tuned_points(tuned: TunedByData) -> list[TunedPoint]:
    """What fine-tuning reached, as points of a frontier."""
    return [
        TunedPoint(data, place.image_size, place.depth, each.top1)
        for data, places in tuned.items()
        for place, each in places.items()
    ]


def _tunes(spec: RunSpec, here: Path) -> bool:
    """Whether a run fine-tunes a descendant of the learngene that lies here, and began with its layers."""
    recipe = spec.recipe
    return spec.kind == "finetune" and recipe.get("init") is None and _source(recipe.get("learngene"), spec.folder) == here


def _place_of(recipe: Mapping[str, Any], header: LearngeneHeader) -> Place | None:
    """Which descendant a run fine-tuned; None for one that the learngene does not have."""
    size = recipe.get("image-size")
    try:
        depth = header.architecture.simplest(parse_depth(str(recipe.get("depth"))))
        return Place(header.image_size if size is None else parse_image_size(str(size)), depth)
    except InputError:
        return None


def _data_of(spec: RunSpec) -> tuple[str, object, object]:
    """What tells the images that a run was evaluated on: the data set, and of one that is split the share and the seed."""
    text, split = str(spec.recipe.get("data") or ""), spec.recipe.get("validation-split")
    if (folder := Path(spec.folder) / text).is_dir():
        text = str(folder.resolve())
    return text, split, None if split is None else spec.recipe.get("seed")


def _names_of(found: Iterable[tuple[str, object, object]]) -> dict[tuple[str, object, object], str]:
    """Short names of data sets, which are longer where two would read alike."""
    short, long = {}, {}
    for data in found:
        text, split, seed = data
        part = "" if split is None else f" split {split}"
        short[data] = printable((text.rstrip("/").rpartition("/")[2] or text) + part)
        long[data] = printable(text + part + (f" seed {seed}" if part and seed is not None else ""))
    return {data: name if list(short.values()).count(name) == 1 else long[data] for data, name in short.items()}


def _source(text: object, folder: str) -> Path | None:
    """The learngene file that a recipe names, from the folder in which its run works."""
    if not isinstance(text, str):
        return None
    path = Path(folder) / text
    if path.is_file():
        return path.resolve()
    if path.is_dir():  # A run, whose result it is.
        return next((each.resolve() for each in sorted((path / "exports").glob(f"*{SUFFIX}"))), None)
    known = shipped().get(text)
    return None if known is None else known.resolve()
