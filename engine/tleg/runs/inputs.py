"""What a run depends on, as it was when it began: the listing of its data, its models, its threads.

A run that goes on compares that with what it finds. Only what is cheap is looked at: names, sizes and numbers of images, not
their pixels; hashes of models.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tleg.errors import FileFormatError, InputError
from tleg.files import new_file
from tleg.runs.run import RunFolder, read_document
from tleg.runs.spec import read_spec
from tleg.serialize import decode, encode
from tleg.threads import AUTO, Threads, choose_threads

INPUTS_VERSION: Final = 1
_MOST_NAMED: Final = 3


class ChangedInputsError(InputError):
    """What a run depends on changed.

    told        what, in words
    acceptable  whether `--accept-changed-data` goes on all the same
    """

    default_code = "changed"

    def __init__(self, text: str, *, told: str, acceptable: bool) -> None:
        super().__init__(text)
        self.told = told
        self.acceptable = acceptable


@dataclass(frozen=True, slots=True)
class ClassListing:
    """The images of one class in one split: how many, and a hash of their names and sizes in order."""

    images: int
    digest: str


@dataclass(frozen=True, slots=True)
class SplitListing:
    """One split of a data set.

    classes  in the order of the labels
    digest   of the order of labels, and of the pixels of sets that are held in memory
    """

    classes: tuple[ClassListing, ...]
    digest: str

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(each.images for each in self.classes)


@dataclass(frozen=True, slots=True)
class DataListing:
    """A data set without its pixels.

    classes            names in the order of the labels
    form               what else decides the model's inputs: channels, image size, mean and std
    training, validation
    divided            whether the validation images are a part of the training images that was drawn
    """

    classes: tuple[str, ...]
    form: Mapping[str, object]
    training: SplitListing
    validation: SplitListing
    divided: bool = False


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A model that a run names.

    role     'learngene', 'start', 'teacher' or 'checkpoint', as the option
    name     as it was given
    path     what was hashed, to look at it again; None where that is known to the trainer alone
    weights  a hash of the weights
    form     a hash of what else it says of itself: architecture, preprocessing, classes
    """

    role: str
    name: str
    path: str | None
    weights: str
    form: str


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What inputs.json holds.

    threads       with which each process computes: sums on a processor depend on it in their last bits
    epoch_images  training images in an epoch, which decide its steps; they stay when images come or go
    accepted      the user said to go on with what changed; the trainer takes that back once it has
    """

    version: int = INPUTS_VERSION
    threads: int | None = None
    epoch_images: int | None = None
    data: DataListing | None = None
    models: tuple[ModelListing, ...] = ()
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class InputChange:
    """One difference, in words, and whether a run can go on with it."""

    text: str
    acceptable: bool


def read_inputs(folder: RunFolder) -> RunInputs | None:
    """Return what a run noted; None for one that did not, as those of earlier versions, or whose note cannot be read."""
    try:
        inputs = decode(RunInputs, read_document(folder.inputs_file), str(folder.inputs_file))
    except FileFormatError:
        return None
    return inputs if inputs.version == INPUTS_VERSION else None


def write_inputs(folder: RunFolder, inputs: RunInputs) -> None:
    """Replace inputs.json, whole or not at all. Raises ExportError when the operating system refuses to write."""
    with new_file(folder.inputs_file, overwrite=True) as temporary:
        temporary.write_text(json.dumps(encode(inputs), separators=(",", ":"), allow_nan=False) + "\n", "utf-8")


def check_unchanged(folder: RunFolder, changes: Sequence[InputChange], *, accepted: bool) -> None:
    """Raise ChangedInputsError, naming all, when there are changes that were not accepted or that nobody can accept."""
    acceptable = all(each.acceptable for each in changes)
    if not changes or (accepted and acceptable):
        return
    told = "; ".join(each.text for each in changes)
    if acceptable:
        advice = f"`tleg resume {folder.id} --accept-changed-data` goes on with that, for as many steps as were planned"
    else:
        advice = f"Put it back as it was, or start a new run; --checkpoint {folder.id} starts from what this one has learned"
    raise ChangedInputsError(
        f"what run {folder.id} is trained on changed since it began: {told}. {advice}", told=told, acceptable=acceptable
    )


def compare_data(before: DataListing, now: DataListing) -> Iterator[InputChange]:
    """Yield what is different in the data. With other classes nothing else is looked at: their images follow from that."""
    if before.classes != now.classes:
        yield from _compare_classes(before, now)
        return
    if dict(before.form) != encode(now.form):
        changed = [name for name in {**before.form, **now.form} if before.form.get(name) != encode(now.form).get(name)]
        told = ", ".join(
            f"{name.replace('_', ' ')} {_say(now.form.get(name))} instead of {_say(before.form.get(name))}"
            for name in changed
        )
        yield InputChange(f"its images have {told}", acceptable=False)
    # Of images without classes none can be those of another class.
    swapped = _swapped(before, now) if now.classes else []
    if swapped:
        yield InputChange(f"the images of {_names(swapped)} are those of another class", acceptable=False)
        return
    divided = before.divided or now.divided
    found = [
        text
        for word, old, new in (
            ("training", before.training, now.training),
            ("validation", before.validation, now.validation),
        )
        if (text := _compare_split(word, old, new, now.classes)) is not None
    ]
    for text in found:
        yield InputChange(text, acceptable=not divided)
    if found and divided:
        yield InputChange(
            "the validation images would be drawn anew from them, some of those that were trained on among them",
            acceptable=False,
        )


def compare_models(before: Sequence[ModelListing], now: Sequence[ModelListing]) -> Iterator[InputChange]:
    """Yield the models whose contents are others. A model that is not in both is not compared: not all can be looked at."""
    found = {each.role: each for each in now}
    for old in before:
        new = found.get(old.role)
        if new is None or (new.weights, new.form) == (old.weights, old.form):
            continue
        if new.form != old.form:
            yield InputChange(f"the {old.role} {old.name} describes another model", acceptable=False)
        else:
            yield InputChange(f"the {old.role} {old.name} has other weights", acceptable=True)


def _compare_classes(before: DataListing, now: DataListing) -> Iterator[InputChange]:
    gone = [name for name in before.classes if name not in now.classes]
    new = [name for name in now.classes if name not in before.classes]
    contents = {name: now.training.classes[now.classes.index(name)] for name in new}
    for name in list(gone):
        images = before.training.classes[before.classes.index(name)]
        same = next((each for each in new if contents[each] == images), None)
        if same is None and len(gone) == len(new) == 1 and len(before.classes) == len(now.classes):
            same = new[0]
        if same is not None:
            gone.remove(name)
            new.remove(same)
            yield InputChange(f"the class '{name}' is called '{same}' now", acceptable=False)
    if gone:
        yield InputChange(f"the {_classes(gone)} gone", acceptable=False)
    if new:
        yield InputChange(f"the {_classes(new)} new", acceptable=False)
    if set(before.classes) == set(now.classes):
        place, pair = next(
            (place, pair) for place, pair in enumerate(zip(before.classes, now.classes, strict=True)) if pair[0] != pair[1]
        )
        yield InputChange(f"the classes have another order: number {place + 1} is '{pair[1]}' and was '{pair[0]}'", False)


def _swapped(before: DataListing, now: DataListing) -> list[str]:
    """The classes whose training images were those of another class before, all of them."""
    owners = {listing: name for name, listing in zip(before.classes, before.training.classes, strict=True) if listing.images}
    listed = zip(now.classes, now.training.classes, before.training.classes, strict=True)
    return [name for name, new, old in listed if new != old and owners.get(new, name) != name]


def _compare_split(word: str, before: SplitListing, now: SplitListing, classes: Sequence[str]) -> str | None:
    """What is different in a split, in words; None when nothing is."""
    if before == now:
        return None
    names = classes or ("",)  # Images without classes are listed as one.
    differences = [
        (name, new.images - old.images) for name, old, new in zip(names, before.classes, now.classes, strict=True)
    ]
    counts = [(name, count) for name, count in differences if count]
    if not counts:
        others = [name for name, old, new in zip(names, before.classes, now.classes, strict=True) if old != new]
        where = f" in {_names(others)}" if others and classes else ""
        return f"as many {word} images, but others{where}"
    more, fewer = sum(count for _, count in counts if count > 0), -sum(count for _, count in counts if count < 0)
    parts = [
        f"{count:,} {word} image{'s' if count > 1 else ''} {how}"
        for count, how in ((more, "more"), (fewer, "fewer"))
        if count
    ]
    where = f" (in {_names([name for name, _ in counts])})" if classes else ""
    return f"{' and '.join(parts)}{where}"


def _classes(names: Sequence[str]) -> str:
    return f"class {_names(names)} is" if len(names) == 1 else f"classes {_names(names)} are"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) + more


def _say(value: object) -> str:
    return "unknown" if value is None else "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def threads_of(folder: RunFolder) -> Threads:
    """Return the threads of this process of a run. Never raises: what is wrong with the run is told when it is trained."""
    text, workers = AUTO, 0
    with suppress(InputError):
        recipe = read_spec(folder).recipe
        text, workers = str(recipe.get("threads", AUTO)), int(recipe.get("workers", 0))
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    try:
        return choose_threads(
            text,
            processes=max(1, int(processes)),
            workers=workers,
            recorded=_recorded(folder),
        )
    except (InputError, ValueError):
        return Threads(1, "nothing else is known")


def _recorded(folder: RunFolder) -> int | None:
    """The threads with which a run came to its checkpoint; None for one that has none, or that is to choose anew."""
    if not folder.has_checkpoint:
        return None
    inputs = read_inputs(folder)
    if inputs is not None:
        return inputs.threads
    # Versions that noted nothing had OMP_NUM_THREADS, or one.
    return choose_threads(AUTO, workers=10**6).count
