"""A training looked at without training: is all there, does the teacher know something, will it fit?"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tleg.data.dataset import Data, class_counts
from tleg.quantities import format_bytes
from tleg.recipes.kinds import FinetuneRecipe, LearnRecipe, TrainingRecipe
from tleg.threads import choose_threads
from tleg.training.device import Placement, choose_placement
from tleg.training.devices import sample_host
from tleg.training.finetune import prepare as prepare_finetune
from tleg.training.jobs import finetune_job, open_data_of
from tleg.training.learn import LearnJob
from tleg.training.learn import prepare as prepare_learn
from tleg.training.memory import (
    Load,
    MemoryEstimate,
    advise,
    checkpoint_bytes,
    estimate_memory,
    expanded_parameters,
)
from tleg.training.observer import Observer
from tleg.training.teacher import Teacher, TeacherReport


@dataclass(frozen=True, slots=True)
class DryRun:
    """What was found.

    class_counts       class -> its training and validation images
    left_out           what lies among the images and does not count: reason -> how many
    parameters, depth  of the model, at its deepest
    chance             percent that guessing gets right
    threads            of each process on the processor, and why
    memory             of each device, in bytes; memory_available likewise
    disk_needed        bytes for checkpoints and the result; disk_free where the runs are
    notes              what to know
    problems           what will not work
    """

    data: str
    classes: int
    training: int
    validation: int
    model: str
    parameters: int
    depth: int | None
    teacher: TeacherReport | None
    chance: float
    device: str
    processes: int
    threads: int
    threads_reason: str
    steps: int
    epochs: int
    peak_rate: float
    memory: MemoryEstimate
    memory_available: int
    disk_needed: int
    disk_free: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    class_counts: Mapping[str, tuple[int, int]]
    left_out: Mapping[str, int]


class _Notes(Observer):
    """Collects warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, code: str, text: str, step: int | None = None) -> None:
        self.texts.append(text)


def examine(recipe: TrainingRecipe, runs_dir: Path) -> DryRun:
    """Open the data, make the model, check the teacher, estimate memory and disk.

    Raises whatever would keep the training from starting.
    """
    notes = _Notes()
    placement = choose_placement(recipe.compute.device, recipe.compute.precision, local_size=recipe.compute.devices or 1)
    data = open_data_of(recipe, observer=notes)
    if isinstance(recipe, LearnRecipe):
        learning = prepare_learn(LearnJob.of(recipe, data), placement, notes)
        depth: int | None = max(recipe.depths.choices)
        assert depth is not None
        block = learning.cost.at(2).parameters - learning.cost.at(1).parameters
        parameters = learning.cost.at(1).parameters + (recipe.chosen_basis.terms - 1) * block
        shown, teacher, structure = learning.cost.at(depth).parameters, learning.teacher, learning.architecture.structure
        name, expanded = recipe.architecture, expanded_parameters(learning.cost, depth)
    else:
        tuning = prepare_finetune(finetune_job(recipe, data), placement, notes)
        depth, teacher, structure = tuning.start.depth, tuning.teacher, tuning.start.architecture.structure
        parameters = shown = sum(value.numel() for value in tuning.start.model.parameters())
        name, expanded = tuning.start.architecture.name, 0
    load = _load(recipe, placement, parameters, depth, expanded, teacher)
    if structure is not None:
        load = replace(load, structure=structure)
    else:
        notes.texts.append("the activations of this model are not estimated; memory is more than stated")
    memory = estimate_memory(load)
    available = _available(placement)
    # While one checkpoint is written, the one that it replaces is still there.
    checkpoints = (recipe.keeping.keep_last + 2 + _milestones(recipe)) * checkpoint_bytes(load)
    free = shutil.disk_usage(
        next(path for path in (runs_dir.absolute(), *runs_dir.absolute().parents) if path.exists())
    ).free
    disk = checkpoints + 2 * 4 * shown
    problems = [text for text in (advise(memory, available),) if text]
    if disk > free:
        problems.append(f"{format_bytes(disk)} of disk are needed and {format_bytes(free)} are free in {runs_dir}")
    threads = choose_threads(recipe.compute.threads, processes=recipe.compute.devices or 1, workers=recipe.recipe.workers)
    steps = len(data.train) // recipe.recipe.batch_size * recipe.recipe.epochs
    return DryRun(
        data=data.name,
        classes=len(data.classes),
        training=len(data.train),
        validation=len(data.validation),
        model=name,
        parameters=shown,
        depth=depth,
        teacher=None if teacher is None else teacher.report,
        chance=100 / len(data.classes),
        device=str(placement),
        processes=recipe.compute.processes,
        threads=threads.count,
        threads_reason=threads.reason,
        steps=steps,
        epochs=recipe.recipe.epochs,
        peak_rate=recipe.recipe.peak_rate,
        memory=memory,
        memory_available=available,
        disk_needed=disk,
        disk_free=free,
        notes=tuple(notes.texts),
        problems=tuple(problems),
        class_counts=_class_counts(data),
        left_out=data.left_out,
    )


def _class_counts(data: Data) -> dict[str, tuple[int, int]]:
    train, validation = (class_counts(images, len(data.classes)) for images in (data.train, data.validation))
    return dict(zip(data.classes, zip(train, validation, strict=True), strict=True))


def _load(
    recipe: TrainingRecipe,
    placement: Placement,
    parameters: int,
    depth: int | None,
    expanded: int,
    teacher: Teacher | None,
) -> Load:
    return Load(
        parameters=parameters,
        images=recipe.recipe.batch_size // (recipe.compute.processes * recipe.recipe.accumulate),
        precision=placement.precision,
        optimizer=recipe.recipe.optimizer,
        ema=recipe.recipe.ema > 0,
        gradient_checkpointing=recipe.recipe.gradient_checkpointing,
        depth=depth,
        expanded=expanded,
        teacher_parameters=0 if teacher is None else sum(value.numel() for value in teacher.parameters()),
    )


def _milestones(recipe: LearnRecipe | FinetuneRecipe) -> int:
    every = recipe.keeping.keep_every
    return recipe.recipe.epochs // every if every else 0


def _available(placement: Placement) -> int:
    """Bytes that a training may use: of the GPU, or of the machine."""
    if placement.device.type == "cuda":
        return int(torch.cuda.mem_get_info(placement.device)[0])
    host = sample_host()
    return int((host["memory_total"] or 0) - (host["memory_used"] or 0))
