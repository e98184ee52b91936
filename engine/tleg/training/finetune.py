"""Fine-tuning: a descendant, a timm model or an earlier result, trained on a data set and saved as a timm folder."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from tleg.data.datasets import Data
from tleg.data.sampler import seed_everything
from tleg.data.transforms import training_transform
from tleg.errors import InputError
from tleg.export.plan import TRAINING_RECORD
from tleg.files import check_folder, new_file, new_folder
from tleg.models.timm_folder import save_timm_folder
from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Keeping, Recipe
from tleg.serialize import encode
from tleg.training.accuracy import Score, evaluate, require_finite
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.evaluate import model_predictor
from tleg.training.init import Start, as_read
from tleg.training.kept import MODEL, KeptModel
from tleg.training.models import check_forward
from tleg.training.observer import QUIET, Observer
from tleg.training.optim import freeze
from tleg.training.outcome import check_place, finished_model, told
from tleg.training.plan import Plan, check_enough
from tleg.training.students import PlainStudent
from tleg.training.teacher import Teacher, open_checked_teacher
from tleg.training.trainer import train
from tleg.versions import versions


@dataclass(frozen=True, slots=True)
class FinetuneJob:
    """Everything that decides a fine-tuned model.

    start        makes the model; it is called once the seed is set
    layer_decay  each layer's learning rate as a part of the next one's; 1 is off
    frozen       what is not trained, as `FinetuneRecipe.frozen` gives it
    keeping      evaluations and checkpoints on the way; they do not change the result
    epoch_images training images in an epoch; None: as many as there are
    """

    data: Data
    start: Callable[[Data], Start]
    teacher: str | None = None
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=Recipe)
    layer_decay: float = 1.0
    frozen: tuple[tuple[str, int | None], ...] = ()
    keeping: Keeping = field(default_factory=lambda: Keeping(evaluate_every=0))
    epoch_images: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the first step: all that can be wrong with a job was checked."""

    start: Start
    student: PlainStudent
    teacher: Teacher | None


def prepare(job: FinetuneJob, placement: Placement, observer: Observer = QUIET) -> Prepared:
    """Make the model and check all that can be checked before training.

    Raises what the start and the teacher raise, DataError and InputError, also for weights that are not finite.
    """
    seed_everything(job.recipe.seed, "initial weights")
    start = job.start(job.data)
    for note in start.notes:
        observer.warn("weights", note)
    _check_finite(start.model)
    start = replace(start, preprocessing=as_read(start.preprocessing, job.data))
    training_transform(start.architecture.input_size, start.preprocessing, job.recipe.augmentation)
    check_enough(len(job.data.train), job.recipe)
    check_forward(start.model, start.architecture.name, start.architecture.input_size)
    freeze(start.model, job.frozen)
    student = PlainStudent(start.model, token=job.distillation.method == "token")
    if job.recipe.gradient_checkpointing:
        student.set_gradient_checkpointing()
    teacher = None
    if job.teacher is not None:
        observer.stage("teacher", f"checking the teacher {job.teacher}")
        teacher = open_checked_teacher(
            job.teacher,
            job.data,
            placement,
            input_size=start.architecture.input_size,
            preprocessing=start.preprocessing,
        )
        for note in teacher.notes:
            observer.warn("teacher", note)
        if job.distillation.method == "feature":
            student.project_to(teacher.feature_size)
    return Prepared(start, student, teacher)


def finetune(
    job: FinetuneJob,
    placement: Placement,
    output: Path,
    *,
    overwrite: bool = False,
    observer: Observer = QUIET,
    checkpoints: Checkpoints | None = None,
    world: World = SINGLE,
) -> Score:
    """Train, write the model to `output`, a folder that timm loads, then return its validation score.

    What was trained is on the disk before it is evaluated. Of several processes the main one writes.

    Raises InputError when the folder exists and may not be replaced, TrainingStoppedError when the observer asked for it,
    and what `prepare` and `train` raise.
    """
    check_folder(output, overwrite=overwrite)
    prepared = prepare(job, placement, observer)
    start = prepared.start
    steps = (job.epoch_images or len(job.data.train)) // job.recipe.batch_size * job.recipe.epochs
    record = _describe_training(job, steps, prepared)
    plan = Plan(
        student=prepared.student,
        images=job.data.train,
        validation=job.data.validation,
        recipe=job.recipe,
        placement=placement,
        input_size=start.architecture.input_size,
        preprocessing=start.preprocessing,
        num_classes=len(job.data.classes),
        teacher=prepared.teacher,
        distillation=job.distillation,
        keeping=job.keeping,
        layer_decay=job.layer_decay,
        epoch_images=job.epoch_images,
        world=world,
        about={MODEL: encode(KeptModel(start.architecture, start.depth, start.preprocessing, job.data.classes, record))},
    )
    model = finished_model(train(plan, observer, checkpoints), checkpoints, world, observer)
    tensors = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    if world.is_main:
        check_place(observer)
        with new_folder(output, overwrite=overwrite) as folder:
            save_timm_folder(
                folder, tensors, start.architecture, start.depth, preprocessing=start.preprocessing, classes=job.data.classes
            )
            _write_record(folder / TRAINING_RECORD, record)
    scores = evaluate(
        {"model": model_predictor(model, start.preprocessing, placement)},
        job.data.validation,
        placement.in_float32(),
        workers=job.recipe.workers,
        input_size=start.architecture.input_size,
        preprocessing=start.preprocessing,
        world=world,
        progress=told(observer, "evaluating the result", world),
    )
    require_finite(scores, f"the model, which is in {output},")
    if world.is_main:
        check_place(observer)
        with new_file(output / TRAINING_RECORD, overwrite=True) as file:
            _write_record(file, {**record, "reached": _describe_score(scores["model"])})
    return scores["model"]


def _check_finite(model: nn.Module) -> None:
    """Refuse to start from weights, or running statistics, that are not finite: no learning rate would help."""
    # Other buffers may hold infinities on purpose, such as masks of attention.
    values = [*model.named_parameters(), *((name, value) for name, value in model.named_buffers() if "running_" in name)]
    broken = [name for name, value in values if not value.detach().isfinite().all()]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise InputError(
            f"'{broken[0]}'{more} of the weights to start from hold NaN or infinity; start from other weights",
            code="not-finite",
        )


def _describe_training(job: FinetuneJob, steps: int, prepared: Prepared) -> dict[str, Any]:
    record: dict[str, Any] = {
        "lineage": dict(prepared.start.lineage),
        "data": job.data.name,
        **({} if job.data.validation_split is None else {"validation_split": job.data.validation_split[0]}),
        "images": len(job.data.train),
        "steps": steps,
        "recipe": {**encode(job.recipe), "learning_rate": job.recipe.peak_rate},
        "teacher": None if prepared.teacher is None else encode(prepared.teacher.report),
        "distillation": None if prepared.teacher is None else encode(job.distillation),
        "reached": None,
        "versions": versions("tleg", "torch", "timm"),
    }
    if job.layer_decay != 1:
        record["layer_decay"] = job.layer_decay
    if job.frozen:
        record["frozen"] = [part if count is None else f"{part}:{count}" for part, count in job.frozen]
    return record


def _describe_score(score: Score) -> dict[str, Any]:
    """What a score says of the model; how fast it was measured says nothing."""
    return {key: value for key, value in encode(score).items() if key != "images_per_second"}


def _write_record(file: Path, record: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
