"""Checkpoints: all that it takes to resume, in folders that appear whole.

    checkpoints/step-000001200/
        model.safetensors      the weights, as trained
        ema.safetensors        their average, where there is one
        optimizer.safetensors  the optimiser's state by parameter
        progress.json          the step, scores, and the hashes of the files above

Nothing else is stored: order, augmentation and noise follow from the seed and the step, so a run that resumes from here is
the run that was never interrupted, to the bit.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tleg.errors import ExportError, FileFormatError, InputError, describe_os_error
from tleg.files import new_folder
from tleg.learngene.architecture import Architecture
from tleg.learngene.header import LearngeneHeader, Preprocessing
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.learngene import Learngene
from tleg.models.timm_folder import save_timm_folder
from tleg.recipes.training import Keeping
from tleg.runs.history import best_of
from tleg.serialize import decode, encode

VERSION: Final = 1
PROGRESS: Final = "progress.json"
# The key in a checkpoint's `about` of what its weights are: a LearngeneHeader, or a SingleModel.
ABOUT_LEARNGENE: Final = "learngene"
ABOUT_MODEL: Final = "model"
_NAME: Final = re.compile(r"step-(\d{9})")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    step, epoch   done
    milestone     kept for good
    score         the validation accuracy that decides which checkpoint is best; None when this step was not evaluated
    optimizer     the optimiser's numbers that are no tensors
    scaler        float16's loss scale and its counters, or None
    about         what the weights are, so that they can be used without the run's inputs
    files         SHA-256 of each file by name
    """

    version: int
    step: int
    epoch: int
    milestone: bool
    score: float | None
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any] | None
    about: Mapping[str, Any]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was just written: folder name, bytes, seconds that it took, whether its score is the best."""

    name: str
    size: int
    seconds: float
    best: bool


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read: 'model', 'optimizer' and, where there is one, 'ema' tensors by name."""

    path: Path
    progress: Progress
    tensors: Mapping[str, Mapping[str, Tensor]] = field(repr=False)


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, keeping: Keeping | None = None) -> None:
        self.folder = folder
        self.keeping = keeping or Keeping()
        self._in_a_run = folder.parent.is_dir()

    def save(
        self,
        step: int,
        epoch: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        *,
        milestone: bool,
        score: float | None,
        optimizer: Mapping[str, Any],
        scaler: Mapping[str, Any] | None,
        about: Mapping[str, Any],
    ) -> Saved:
        """Write a checkpoint, then remove those that need not be kept. Raises ExportError; older ones stay then.

        A checkpoint of the same step is replaced.
        """
        started = time.monotonic()
        target = self.folder / checkpoint_name(step)
        contents = {f"{name}.safetensors": save_tensors(_on_cpu(group)) for name, group in tensors.items()}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        progress = Progress(VERSION, step, epoch, milestone, score, optimizer, scaler, about, hashes)
        contents[PROGRESS] = (json.dumps(encode(progress), indent=1, allow_nan=False) + "\n").encode()
        # The same step again has the same weights; what differs is what is known of them.
        again, renewed, aside = target.exists(), target.with_suffix(".new"), target.with_suffix(".old")
        if again:
            _remove(renewed)  # A kill may have left it.
        # Somebody removed the run; making its folder again would make a ghost.
        if self._in_a_run and not self.folder.parent.is_dir():
            raise ExportError(f"cannot write {target}: {self.folder.parent} is no folder any more")
        with new_folder(renewed if again else target) as folder:
            for name, content in contents.items():
                (folder / name).write_bytes(content)
        if again:
            _remove(aside)
            target.rename(aside)
            renewed.rename(target)
        for leftover in (renewed, aside):
            _remove(leftover)
        best = self.best()
        self._prune(step)
        size = sum(map(len, contents.values()))
        return Saved(target.name, size, time.monotonic() - started, best is not None and best.name == target.name)

    def tidy(self) -> None:
        """Remove what a killed writer left unfinished. Only the run's one writer may call it."""
        for path in self.folder.glob(".step-*.tmp") if self.folder.is_dir() else ():
            shutil.rmtree(path, ignore_errors=True)

    def paths(self) -> list[Path]:
        """The folders of all checkpoints, the latest first, one among them that was being replaced when the power went."""
        try:
            entries = list(self.folder.iterdir())
        except OSError:
            return []
        found = {}
        for path in sorted(entries, key=lambda path: path.suffix == ""):
            step = _step(path)
            if step is not None and path.is_dir():
                found[step] = path
        return [found[step] for step in sorted(found, reverse=True)]

    def at(self, step: int) -> Path:
        """The folder of a step's checkpoint: where it is, or where it should be."""
        return next((path for path in self.paths() if _step(path) == step), self.folder / checkpoint_name(step))

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the latest checkpoint that is whole, and a sentence for each later one that is not."""
        problems: list[str] = []
        for path in self.paths():
            try:
                return read_checkpoint(path), problems
            except FileFormatError as error:
                problems.append(str(error))
        return None, problems

    def best(self) -> Path | None:
        """The folder of the best checkpoint, by the rule of `best_of`; None when none has a score."""
        return best_of((_score(path), _step(path) or 0, path) for path in self.paths())

    def _prune(self, step: int) -> None:
        """Remove all but the latest up to this step, the best and the milestones.

        What cannot be read stays: the disk may be back in a moment, or a later tleg may have written it. So does what is
        later than this step: it was skipped on resume, and must not push out what was just saved.
        """
        best = self.best()
        earlier = [path for path in self.paths() if (_step(path) or 0) <= step]
        for path in earlier[self.keeping.keep_last :]:
            with suppress(FileFormatError):
                if path != best and not read_progress(path).milestone:
                    _remove(path)


def checkpoint_name(step: int) -> str:
    """The name of the folder of a step's checkpoint."""
    return f"step-{step:09d}"


def read_progress(folder: Path) -> Progress:
    """Read a checkpoint's progress. Raises FileFormatError."""
    path = folder / PROGRESS
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {describe_os_error(error)}", code="system") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is damaged") from error
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version != VERSION:
        # Before anything else is looked at, which another version may call by other names.
        raise FileFormatError(f"{path} has version {version}; this version of tleg reads {VERSION}")
    return decode(Progress, document, str(path))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint; its files are those that were written, or it is refused. Raises FileFormatError."""
    progress = read_progress(folder)
    tensors = {}
    for name, sha256 in progress.files.items():
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FileFormatError(f"cannot read {path}: {describe_os_error(error)}", code="system") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FileFormatError(f"{path} is damaged: it changed since it was written")
        try:
            tensors[name.removesuffix(".safetensors")] = load_tensors(content)
        except SafetensorError as error:
            raise FileFormatError(f"{path} is no safetensors file") from error
    return Checkpoint(folder, progress, tensors)


# What the weights of a checkpoint are, so that a run that is not finished can be exported, evaluated and started from.


@dataclass(frozen=True, slots=True)
class SingleModel:
    """A model of one depth: what it takes to save it as a timm folder, and the record of its training."""

    architecture: Architecture
    depth: int | None
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    record: Mapping[str, Any]


def learngene_of_checkpoint(run: Path, which: str = "last") -> Learngene:
    """Return the learngene in the last (or best) checkpoint of a run of `tleg learn`: the average, where there is one.

    Raises InputError when the run has no checkpoint or learns no learngene, FileFormatError when it is damaged.
    """
    checkpoint = _choose(run, which)
    about = checkpoint.progress.about
    if ABOUT_LEARNGENE not in about:
        raise InputError(f"the run {run.name} trains one model, not a learngene", code="wrong-kind")
    header = decode(LearngeneHeader, about[ABOUT_LEARNGENE], str(checkpoint.path))
    model = AuxiliaryModel(header.architecture, header.basis)
    _load_auxiliary(model, checkpoint)
    learned = {**header.learned, "steps": checkpoint.progress.step}
    return Learngene(replace(header, learned=learned), model.tensors())


def model_folder_of_checkpoint(run: Path, which: str, target: Path) -> Path:
    """Write the model in the last (or best) checkpoint of a run of `tleg finetune` to `target`, a folder that timm loads.

    Raises InputError when the run has no checkpoint or learns a learngene, FileFormatError when it is damaged.
    """
    checkpoint = _choose(run, which)
    about = checkpoint.progress.about
    if ABOUT_MODEL not in about:
        raise InputError(
            f"the run {run.name} learns a learngene; give its depth, with --learngene {run.name} --depth N",
            code="wrong-kind",
        )
    model = decode(SingleModel, about[ABOUT_MODEL], str(checkpoint.path))
    tensors = {name: value.numpy() for name, value in result_state(checkpoint).items()}
    with new_folder(target, overwrite=True) as folder:
        save_timm_folder(
            folder, tensors, model.architecture, model.depth, preprocessing=model.preprocessing, classes=model.classes
        )
    return target


def _choose(run: Path, which: str) -> Checkpoint:
    checkpoints = Checkpoints(run / "checkpoints")
    if which == "best":
        if (path := checkpoints.best()) is None:
            raise InputError(
                f"no checkpoint of the run {run.name} has an accuracy, so none is known to be the best", code="not-found"
            )
        return read_checkpoint(path)
    checkpoint, problems = checkpoints.latest()
    if checkpoint is None:
        reason = f": {problems[0]}" if problems else " yet"
        raise InputError(f"the run {run.name} has no checkpoint that can be used{reason}", code="not-found")
    return checkpoint


def result_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The model's state: its average's, where there is one."""
    if "ema" in checkpoint.tensors:
        return dict(checkpoint.tensors["ema"])
    own = checkpoint.tensors["model"].items()
    return {name.removeprefix("model."): value for name, value in own if name.startswith("model.")}


def projection_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state of the projection to a teacher's features; empty where none was trained."""
    own = checkpoint.tensors["model"].items()
    return {name.removeprefix("projection."): value for name, value in own if name.startswith("projection.")}


def _load_auxiliary(model: AuxiliaryModel, checkpoint: Checkpoint) -> None:
    try:
        model.load_state_dict(result_state(checkpoint), strict=True)
    except RuntimeError as error:
        raise FileFormatError(f"{checkpoint.path} does not fit its own description: {error}") from error


# Files


def _remove(folder: Path) -> None:
    """Out of sight in one step: a kill in the middle leaves nothing that looks like a checkpoint."""
    hidden = folder.with_name(f".{folder.name}.removed.tmp")
    with suppress(OSError):
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _step(folder: Path) -> int | None:
    """The step in a folder's name, also while it is replaced; None for a folder that is no checkpoint."""
    match = _NAME.fullmatch(folder.name.removesuffix(".new").removesuffix(".old"))
    return int(match[1]) if match else None


def _score(folder: Path) -> float | None:
    try:
        return read_progress(folder).score
    except FileFormatError:
        return None


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
