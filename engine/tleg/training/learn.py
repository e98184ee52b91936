"""Learning a learngene: an auxiliary model is trained, and its terms are the learngene (TLEG section 3.2)."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from tleg.architecture import describe
from tleg.auxiliary import AuxiliaryModel
from tleg.basis import Basis
from tleg.data.dataset import Data
from tleg.data.order import derive_seed, seed_everything
from tleg.header import Architecture, Auxiliary, LearngeneHeader, Preprocessing, Reached
from tleg.learngene import Learngene
from tleg.measure import measure
from tleg.schema import encode
from tleg.training.defaults import check_channels, model_arguments, preprocessing_for
from tleg.training.device import Placement
from tleg.training.evaluation import Score, evaluate
from tleg.training.loop import Progress, train
from tleg.training.recipe import Depths, Distillation, Recipe
from tleg.training.subjects import evaluate_subject, learngene_subject
from tleg.training.teacher import Teacher, TeacherReport, check_accuracy
from tleg.versions import versions

TEACHER_CHECK_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class LearnJob:
    """Everything that decides a learngene.

    architecture, arguments  timm's name and arguments of the ViT; image size and channels default to the data's
    teacher                  a timm folder or timm's name; None learns from the labels alone
    evaluated                depths whose zero-shot accuracy goes into the header
    """

    data: Data
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    basis: Basis = field(default_factory=Basis)
    depths: Depths = field(default_factory=Depths)
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=Recipe)
    evaluated: Sequence[int] = tuple(range(1, 17))


def prepare(job: LearnJob, placement: Placement) -> tuple[Architecture, Preprocessing, Teacher | None]:
    """Check all that can be checked before training: architecture, teacher, the teacher's accuracy on some images.

    Raises ArchitectureError, TeacherError, DataError.
    """
    arguments = model_arguments(job.data, job.arguments, sized=True)
    architecture = describe(job.architecture, arguments, len(job.data.classes))
    channels = architecture.input_size[0]
    check_channels(channels)
    preprocessing = preprocessing_for(job.data, channels)
    if job.teacher is None:
        return architecture, preprocessing, None
    teacher = Teacher.open(job.teacher, len(job.data.classes)).to(placement.device)
    scores = evaluate(
        {"teacher": teacher},
        job.data.validation,
        placement,
        input_size=architecture.input_size,
        preprocessing=preprocessing,
        limit=TEACHER_CHECK_IMAGES,
    )
    score = scores["teacher"]
    check_accuracy(score.top1, score.images, len(job.data.classes), teacher.report.name)
    teacher.report = replace(teacher.report, accuracy=round(score.top1, 2))
    return architecture, preprocessing, teacher


def learn(
    job: LearnJob,
    placement: Placement,
    *,
    progress: Progress | None = None,
    evaluating: Callable[[int, int], None] | None = None,
) -> Learngene:
    """Train an auxiliary model and return its learngene, with accuracies in the header.

    A sampled depth follows from the seed and the step alone. Raises what `prepare` and `train` raise.
    """
    architecture, preprocessing, teacher = prepare(job, placement)
    seed_everything(job.recipe.seed, "initial weights")
    model = AuxiliaryModel(architecture, job.basis).to(placement.device)

    def forward(images: Tensor, step: int) -> Tensor:
        logits: Tensor = model(images, model.coefficients(depth_of_step(job.depths, job.recipe.seed, step)))
        return logits

    steps = train(
        model,
        forward,
        job.data.train,
        job.recipe,
        placement,
        input_size=architecture.input_size,
        preprocessing=preprocessing,
        num_classes=len(job.data.classes),
        teacher=teacher,
        distillation=job.distillation,
        progress=progress,
    )
    header = LearngeneHeader(
        architecture=architecture,
        basis=job.basis,
        auxiliary=Auxiliary(job.depths.auxiliary, job.depths.sampled),
        preprocessing=preprocessing,
        cost=measure(architecture),
        classes=job.data.classes,
        learned=_describe_learning(job, steps, None if teacher is None else teacher.report, placement),
    )
    learngene = Learngene(header, model.tensors())
    if not job.evaluated:
        return learngene
    subject = learngene_subject(learngene, placement, job.evaluated)
    scores = evaluate_subject(subject, job.data, placement, workers=job.recipe.workers, progress=evaluating)
    return record_scores(learngene, job.data, scores)


def depth_of_step(depths: Depths, seed: int, step: int) -> int:
    """The depth of the auxiliary model at a step: the fixed one, or one drawn for (seed, step)."""
    return random.Random(derive_seed(seed, "depth", step)).choice(depths.choices)


def record_scores(learngene: Learngene, data: Data, scores: Mapping[int | None, Score]) -> Learngene:
    """Return the learngene with accuracies in its header."""
    images = next(iter(scores.values())).images
    top1 = {depth: round(score.top1, 2) for depth, score in scores.items() if depth is not None}
    return learngene.with_header(reached=Reached(f"{data.name} validation", images, top1))


def _describe_learning(job: LearnJob, steps: int, teacher: TeacherReport | None, placement: Placement) -> dict[str, Any]:
    described: dict[str, Any] = {
        "how": "trained in an auxiliary model",
        "data": job.data.name,
        "images": len(job.data.train),
        "steps": steps,
        "recipe": {**encode(job.recipe), "learning_rate": job.recipe.peak_rate},
        "precision": "bfloat16" if placement.bfloat16 else "float32",
        "versions": versions("tleg", "torch", "timm"),
    }
    # How many processes prepared the images has no influence on the result.
    described["recipe"].pop("workers")
    if teacher is not None:
        described["ancestry"] = encode(teacher)
        described["distillation"] = encode(job.distillation)
    return described
