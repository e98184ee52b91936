"""Fine-tuning: a descendant, a timm model or an earlier result, trained on a data set and saved as a timm folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from tleg.data.sampler import seed_everything
from tleg.data.transforms import PixelTransform
from tleg.errors import InputError
from tleg.export.origin import TRAINING_RECORD
from tleg.files import check_folder, new_file, new_folder
from tleg.models.timm_folder import save_timm_folder
from tleg.serialize import encode
from tleg.training.accuracy import Score, evaluate, require_finite
from tleg.training.checkpoint import ABOUT_MODEL, Checkpoints, SingleModel
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.init import InitialModel, as_read
from tleg.training.job import FinetuneJob
from tleg.training.models import check_forward
from tleg.training.observer import QUIET, Observer, evaluation_progress, require_folder
from tleg.training.optim import freeze
from tleg.training.students import PlainStudent
from tleg.training.subjects import model_predictor
from tleg.training.teacher import Teacher
from tleg.training.trainer import Plan, train
from tleg.versions import versions


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the first step: all that can be wrong with a job was checked."""

    start: InitialModel
    student: PlainStudent
    transform: PixelTransform
    teacher: Teacher | None


def prepare(job: FinetuneJob, placement: Placement, observer: Observer = QUIET) -> Prepared:
    """Make the model and check all that can be checked before training.

    Raises what the initial model and the teacher raise, DataError and InputError, also for weights that are not finite.
    """
    recipe, data = job.recipe, job.data
    seed_everything(recipe.recipe.seed, "initial weights")
    start = job.start(data)
    for note in start.notes:
        observer.warn("weights", note)
    _check_finite(start.model)
    start = replace(start, preprocessing=as_read(start.preprocessing, data))
    input_size = start.architecture.input_size
    transform = job.training_transform(input_size, start.preprocessing, observer)
    job.check_enough()
    check_forward(start.model, start.architecture.name, input_size)
    freeze(start.model, recipe.frozen)
    student = PlainStudent(start.model, token=recipe.distillation.method == "token")
    if recipe.recipe.gradient_checkpointing:
        student.set_gradient_checkpointing()
    teacher = job.open_teacher(placement, observer, input_size=input_size, preprocessing=start.preprocessing)
    if teacher is not None and recipe.distillation.method == "feature":
        student.project_to(teacher.feature_size)
    return Prepared(start, student, transform, teacher)


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
    record = _describe_training(job, prepared)
    about = SingleModel(start.architecture, start.depth, start.preprocessing, job.data.classes, record)
    plan = Plan(
        job,
        prepared.student,
        transform=prepared.transform,
        input_size=start.architecture.input_size,
        preprocessing=start.preprocessing,
        placement=placement,
        world=world,
        teacher=prepared.teacher,
        layer_decay=job.recipe.layer_decay,
        about={ABOUT_MODEL: encode(about)},
    )
    model = train(plan, observer, checkpoints)
    tensors = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    if world.is_main:
        require_folder(observer)
        with new_folder(output, overwrite=overwrite) as folder:
            save_timm_folder(
                folder, tensors, start.architecture, start.depth, preprocessing=start.preprocessing, classes=job.data.classes
            )
            _write_record(folder / TRAINING_RECORD, record)
    scores = evaluate(
        {"model": model_predictor(model, start.preprocessing, placement)},
        job.data.validation,
        placement.in_float32(),
        workers=job.recipe.recipe.workers,
        input_size=start.architecture.input_size,
        preprocessing=start.preprocessing,
        world=world,
        progress=evaluation_progress(observer, "evaluating the result", world),
    )
    require_finite(scores, f"the model, which is in {output},")
    if world.is_main:
        require_folder(observer)
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


def _describe_training(job: FinetuneJob, prepared: Prepared) -> dict[str, Any]:
    recipe, teacher = job.recipe, prepared.teacher
    record: dict[str, Any] = {
        "lineage": dict(prepared.start.lineage),
        **job.record(),
        "teacher": None if teacher is None else encode(teacher.report),
        "distillation": None if teacher is None else encode(recipe.distillation),
        "reached": None,
        "versions": versions("tleg", "torch", "timm"),
    }
    if recipe.layer_decay != 1:
        record["layer_decay"] = recipe.layer_decay
    if recipe.frozen:
        record["frozen"] = [part if count is None else f"{part}:{count}" for part, count in recipe.frozen]
    return record


def _describe_score(score: Score) -> dict[str, Any]:
    """What a score says of the model; how fast it was measured says nothing."""
    return {key: value for key, value in encode(score).items() if key != "images_per_second"}


def _write_record(file: Path, record: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
