"""A training looked at without training: is all there, does the teacher know something, will it fit in memory?"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from tleg.data.datasets import Data, class_counts
from tleg.learngene.architecture import Structure
from tleg.learngene.cost import CostModel
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import TrainingRecipe
from tleg.text import format_bytes
from tleg.threads import choose_threads
from tleg.training.device import Placement, choose_placement
from tleg.training.finetune import prepare as prepare_finetune
from tleg.training.job import FinetuneJob, open_job
from tleg.training.learn import prepare as prepare_learn
from tleg.training.observer import Observer
from tleg.training.teacher import Teacher, TeacherReport
from tleg.training.telemetry import sample_host

# States of the size of the weights that an optimiser keeps.
_STATES: Final = {"adamw": 2, "adam": 2, "nadamw": 2, "adopt": 2, "lamb": 2, "lion": 1, "sgd": 1, "momentum": 1}
_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_FLOAT32: Final = 4


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on each device. Activations are those that the backward pass needs; None where they cannot be foretold."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int | None
    teacher: int

    @property
    def total(self) -> int:
        """All that is known of."""
        return self.weights + self.gradients + self.optimizer + self.average + (self.activations or 0) + self.teacher


@dataclass(frozen=True, slots=True)
class Load:
    """What a training puts on a device.

    parameters          that are trained
    images              computed at once: the batch over processes and accumulated parts
    depth, structure    of a plain ViT; None for other models, whose activations are not estimated
    expanded            parameters of the layers that an auxiliary model makes from its terms, with their gradients; else 0
    teacher_parameters  of a teacher, else 0
    """

    parameters: int
    images: int
    precision: str
    optimizer: str
    ema: bool
    gradient_checkpointing: bool
    depth: int | None = None
    structure: Structure | None = None
    expanded: int = 0
    teacher_parameters: int = 0


def estimate_memory(load: Load) -> MemoryEstimate:
    """Return the estimate. What torch and CUDA need for themselves, about a gigabyte on a GPU, is not in it."""
    weights = load.parameters * _FLOAT32
    activations = None
    if load.structure is not None and load.depth is not None:
        activations = _activations(load, load.structure, load.depth)
    return MemoryEstimate(
        weights=weights,
        gradients=weights,
        optimizer=weights * _STATES[load.optimizer],
        average=weights if load.ema else 0,
        # The expanded weights and their gradients live as long as activations do.
        activations=None if activations is None else activations + 2 * _FLOAT32 * load.expanded,
        teacher=load.teacher_parameters * _FLOAT32,
    )


def _activations(load: Load, structure: Structure, depth: int) -> int:
    """What the backward pass of a ViT keeps, with attention that stores no scores (scaled_dot_product_attention).

    In values a token, a block keeps in float32 its input and that of its second norm (width each) with two numbers for each
    norm and one for each head, whatever the precision; and in the precision of the matrix products both normalised inputs
    (width each), queries, keys and values (3 width), attention's output (width), the hidden layer before and after its
    activation, and with layer scale what is scaled (2 width). With gradient checkpointing every block keeps its input, and
    one block all. In half precision there are copies of the weights as well, of one block with gradient checkpointing.
    """
    width, tokens, precise = structure.width, structure.tokens, _BYTES[load.precision]
    scaled = 2 * width if structure.layer_scale else 0
    single = 2 * width + 4 + structure.heads
    block = tokens * (single * _FLOAT32 + (6 * width + 2 * structure.hidden + scaled) * precise)
    blocks = depth * tokens * width * _FLOAT32 + block if load.gradient_checkpointing else depth * block
    height, breadth = structure.image_size
    # Of the final norm, all tokens before the class token is taken, or the mean over tokens.
    final = (tokens if structure.pool == "token" else 1) * width * _FLOAT32
    before = tokens * width * _FLOAT32 if structure.pre_norm else 0
    kept = load.images * (structure.channels * height * breadth * precise + before + blocks + final)
    if precise == _FLOAT32:
        return kept
    copies = (load.expanded or load.parameters) * precise
    return kept + (copies // depth if load.gradient_checkpointing else copies)


def advise(estimate: MemoryEstimate, available: int) -> str | None:
    """Return what to change when an estimate is more than the memory that is available, else None."""
    if estimate.total <= available:
        return None
    needed = f"about {format_bytes(estimate.total)} are needed and {format_bytes(available)} are available"
    if (estimate.activations or 0) > estimate.total / 3:
        return f"{needed}: give --accumulate 2 or more, --gradient-checkpointing, or a smaller --batch-size"
    return f"{needed}: choose a smaller model or teacher, or another device"


def checkpoint_bytes(load: Load) -> int:
    """Return the size of a checkpoint."""
    return load.parameters * _FLOAT32 * (1 + _STATES[load.optimizer] + int(load.ema))


def expanded_parameters(cost: CostModel, depth: int) -> int:
    """Return the parameters of all layers at a depth."""
    return cost.at(depth).parameters - (2 * cost.at(1).parameters - cost.at(2).parameters)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What was found.

    class_counts       class -> its training and validation images
    left_out           what lies among the images and does not count: reason -> how many
    parameters, depth  of the model, at its deepest
    basis, depths      of a learngene, for people: its terms, and the depths that are trained; else None
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
    basis: str | None
    depths: str | None
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
    job = open_job(recipe, observer=notes)
    data, peak_rate = job.data, recipe.recipe.peak_rate
    depth: int | None
    basis: str | None
    depths: str | None
    if isinstance(job, FinetuneJob):
        tuning = prepare_finetune(job, placement, notes)
        depth, teacher, structure = tuning.start.depth, tuning.teacher, tuning.start.architecture.structure
        parameters = shown = sum(value.numel() for value in tuning.start.model.parameters())
        name, expanded, basis, depths = tuning.start.architecture.name, 0, None, None
    else:
        learning = prepare_learn(job, placement, notes)
        peak_rate = learning.job.recipe.recipe.peak_rate
        cost, teacher, structure = learning.header.cost, learning.teacher, learning.header.architecture.structure
        deepest = depth = max(job.recipe.depths.choices)
        block = cost.at(2).parameters - cost.at(1).parameters
        parameters = cost.at(1).parameters + (learning.header.basis.terms - 1) * block
        shown = cost.at(deepest).parameters
        name, expanded = job.recipe.architecture, expanded_parameters(cost, deepest)
        basis, depths = learning.header.basis.title, job.recipe.depths.describe(job.steps)
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
    return DryRun(
        data=data.name,
        classes=len(data.classes),
        training=len(data.train),
        validation=len(data.validation),
        model=name,
        parameters=shown,
        depth=depth,
        basis=basis,
        depths=depths,
        teacher=None if teacher is None else teacher.report,
        chance=100 / max(1, len(data.classes)),
        device=str(placement),
        processes=recipe.compute.processes,
        threads=threads.count,
        threads_reason=threads.reason,
        steps=job.steps,
        epochs=recipe.recipe.epochs,
        peak_rate=peak_rate,
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
    if not data.classes:
        return {}
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
