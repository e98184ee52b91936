"""Fine-tuning: a descendant, a timm model or an earlier result, trained on a data set and saved as a timm folder."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tleg.atomic import check_folder, new_file, new_folder
from tleg.data.dataset import Data
from tleg.data.order import seed_everything
from tleg.data.transforms import training_transform
from tleg.export.folder_plan import TRAINING_RECORD
from tleg.export.timm_folder import save_timm_folder
from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Recipe
from tleg.schema import encode
from tleg.training.device import Placement
from tleg.training.evaluation import Score, evaluate
from tleg.training.loop import Progress, check_enough, train
from tleg.training.rescue import save_or_rescue
from tleg.training.starts import Start
from tleg.training.subjects import model_predictor
from tleg.training.teacher import open_checked_teacher
from tleg.versions import versions


@dataclass(frozen=True, slots=True)
class FinetuneJob:
    """Everything that decides a fine-tuned model. `start` makes the model; it is called once the seed is set."""

    data: Data
    start: Callable[[Data], Start]
    teacher: str | None = None
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=Recipe)


def finetune(
    job: FinetuneJob,
    placement: Placement,
    output: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    evaluating: Callable[[int, int], None] | None = None,
) -> Score:
    """Train, write the model to `output`, a folder that timm loads, then return its validation score.

    What was trained is on the disk before it is evaluated.

    Raises InputError when the folder exists and may not be replaced, and what the start, teacher and `train` raise.
    """
    check_folder(output, overwrite=overwrite)
    seed_everything(job.recipe.seed, "initial weights")
    start = job.start(job.data)
    model = start.model.to(placement.device)
    training_transform(start.architecture.input_size, start.preprocessing, job.recipe.augmentation)
    check_enough(len(job.data.train), job.recipe.batch_size)
    teacher = None
    if job.teacher is not None:
        teacher = open_checked_teacher(
            job.teacher,
            job.data,
            placement,
            input_size=start.architecture.input_size,
            preprocessing=start.preprocessing,
        )
    steps = train(
        model,
        lambda images, _: model(images),
        job.data.train,
        job.recipe,
        placement,
        num_classes=len(job.data.classes),
        teacher=teacher,
        distillation=job.distillation,
        progress=progress,
        input_size=start.architecture.input_size,
        preprocessing=start.preprocessing,
    )
    record = {
        "lineage": dict(start.lineage),
        "data": job.data.name,
        "steps": steps,
        "recipe": {**encode(job.recipe), "learning_rate": job.recipe.peak_rate},
        "teacher": None if teacher is None else encode(teacher.report),
        "distillation": None if teacher is None else encode(job.distillation),
        "reached": None,
        "versions": versions("tleg", "torch", "timm"),
    }
    tensors = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}

    def save(target: Path) -> None:
        with new_folder(target, overwrite=overwrite) as folder:
            save_timm_folder(
                folder, tensors, start.architecture, start.depth, preprocessing=start.preprocessing, classes=job.data.classes
            )
            _write_record(folder / TRAINING_RECORD, record)

    save_or_rescue(output, save)
    scores = evaluate(
        {"model": model_predictor(model, start.preprocessing, placement)},
        job.data.validation,
        replace(placement, bfloat16=False),
        workers=job.recipe.workers,
        input_size=start.architecture.input_size,
        preprocessing=start.preprocessing,
        progress=evaluating,
    )
    with new_file(output / TRAINING_RECORD, overwrite=True) as file:
        _write_record(file, {**record, "reached": encode(scores["model"])})
    return scores["model"]


def _write_record(file: Path, record: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(record, indent=2) + "\n")
