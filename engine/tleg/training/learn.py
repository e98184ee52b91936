"""Learning a learngene: an auxiliary model is trained, and its terms are the learngene (TLEG section 3.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tleg.data.datasets import Data
from tleg.data.sampler import seed_everything
from tleg.data.transforms import training_transform
from tleg.errors import concerning
from tleg.files import check_file
from tleg.learngene.basis import Basis
from tleg.learngene.cost import CostModel
from tleg.learngene.header import Architecture, Auxiliary, LearngeneHeader, Precision, Preprocessing, Reached
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths, Distillation
from tleg.recipes.recipes import LearnRecipe
from tleg.recipes.training import Keeping, Recipe
from tleg.serialize import encode
from tleg.training.accuracy import Score, require_finite
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.evaluate import evaluate_subject, learngene_subject
from tleg.training.init import check_channels, model_arguments, preprocessing_for
from tleg.training.kept import LEARNGENE
from tleg.training.observer import QUIET, Observer
from tleg.training.outcome import check_place, finished_model, told
from tleg.training.plan import Plan, check_enough
from tleg.training.students import AuxiliaryStudent
from tleg.training.teacher import Teacher, open_checked_teacher
from tleg.training.trainer import train
from tleg.versions import versions


@dataclass(frozen=True, slots=True)
class LearnJob:
    """Everything that decides a learngene.

    architecture, arguments  timm's name and arguments of the ViT; image size and channels default to the data's
    teacher                  a timm folder or timm's name; None learns from the labels alone
    keeping                  evaluations and checkpoints on the way; they do not change the result
    epoch_images             training images in an epoch; None: as many as there are
    """

    data: Data
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    basis: Basis = field(default_factory=Basis)
    depths: Depths = field(default_factory=Depths)
    distillation: Distillation = field(default_factory=Distillation)
    recipe: Recipe = field(default_factory=Recipe)
    keeping: Keeping = field(default_factory=lambda: Keeping(evaluate_every=0))
    epoch_images: int | None = None

    @classmethod
    def of(cls, recipe: LearnRecipe, data: Data, epoch_images: int | None = None) -> "LearnJob":
        """Return the job that a recipe describes, on its data."""
        return cls(
            data,
            recipe.architecture,
            recipe.model_arguments,
            recipe.teacher,
            recipe.chosen_basis,
            recipe.depths,
            recipe.distillation,
            recipe.recipe,
            recipe.keeping,
            epoch_images,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the first step: all that can be wrong with a job was checked."""

    architecture: Architecture
    cost: CostModel
    preprocessing: Preprocessing
    teacher: Teacher | None


@concerning("architecture")
def prepare(job: LearnJob, placement: Placement, observer: Observer = QUIET) -> Prepared:
    """Check all that can be checked before training: architecture, augmentation, teacher and its accuracy on some images.

    Raises ArchitectureError, TeacherError, DataError, InputError.
    """
    arguments = model_arguments(job.data, job.arguments, sized=True)
    architecture = describe(job.architecture, arguments, len(job.data.classes))
    check_channels(architecture.input_size[0])
    preprocessing = preprocessing_for(job.data, architecture.input_size[0])
    training_transform(architecture.input_size, preprocessing, job.recipe.augmentation)
    check_enough(len(job.data.train), job.recipe)
    teacher = None
    if job.teacher is not None:
        observer.stage("teacher", f"checking the teacher {job.teacher}")
        teacher = open_checked_teacher(
            job.teacher, job.data, placement, input_size=architecture.input_size, preprocessing=preprocessing
        )
        for note in teacher.notes:
            observer.warn("teacher", note)
    return Prepared(architecture, measure(architecture), preprocessing, teacher)


def learn(
    job: LearnJob,
    placement: Placement,
    *,
    observer: Observer = QUIET,
    checkpoints: Checkpoints | None = None,
    world: World = SINGLE,
) -> Learngene:
    """Train an auxiliary model, from its checkpoint where there is one, and return its learngene, not yet evaluated.

    Sampled depths follow from the seed and the step alone. Raises TrainingStoppedError when the observer asked for it, and
    what `prepare` and `train` raise.
    """
    prepared = prepare(job, placement, observer)
    seed_everything(job.recipe.seed, "initial weights")
    student = AuxiliaryStudent(AuxiliaryModel(prepared.architecture, job.basis), job.depths, job.recipe.seed)
    if job.recipe.gradient_checkpointing:
        student.set_gradient_checkpointing()
    if prepared.teacher is not None and job.distillation.method == "feature":
        student.project_to(prepared.teacher.feature_size)
    steps = (job.epoch_images or len(job.data.train)) // job.recipe.batch_size * job.recipe.epochs
    header = LearngeneHeader(
        architecture=prepared.architecture,
        basis=job.basis,
        auxiliary=Auxiliary(job.depths.auxiliary, job.depths.sampled),
        preprocessing=prepared.preprocessing,
        cost=prepared.cost,
        classes=job.data.classes,
        learned=_describe_learning(job, steps, prepared, placement),
    )
    plan = Plan(
        student=student,
        images=job.data.train,
        validation=job.data.validation,
        recipe=job.recipe,
        placement=placement,
        input_size=prepared.architecture.input_size,
        preprocessing=prepared.preprocessing,
        num_classes=len(job.data.classes),
        teacher=prepared.teacher,
        distillation=job.distillation,
        keeping=job.keeping,
        epoch_images=job.epoch_images,
        world=world,
        about={LEARNGENE: encode(header)},
    )
    model = finished_model(train(plan, observer, checkpoints), checkpoints, world, observer)
    assert isinstance(model, AuxiliaryModel)
    return Learngene(header, model.tensors())


def evaluate_learngene(
    learngene: Learngene,
    data: Data,
    placement: Placement,
    depths: Sequence[int],
    *,
    workers: int = 0,
    world: World = SINGLE,
    progress: Callable[[int, int], None] | None = None,
) -> Learngene:
    """Return the learngene with the zero-shot accuracy of these depths in its header, measured in float32."""
    subject = learngene_subject(learngene, placement, depths)
    scores = evaluate_subject(subject, data, placement.in_float32(), workers=workers, world=world, progress=progress)
    return record_scores(learngene, data, scores, overwrite=True)


def learn_to_file(
    job: LearnJob,
    placement: Placement,
    output: Path,
    *,
    overwrite: bool = False,
    depths: Sequence[int] = (),
    observer: Observer = QUIET,
    checkpoints: Checkpoints | None = None,
    world: World = SINGLE,
) -> Learngene:
    """Learn a learngene, write it, then evaluate it at these depths and write that into its header.

    What was learned is on the disk before it is evaluated. Of several processes the main one writes.

    Raises InputError before training when `output` cannot be written, and what `learn` raises.
    """
    check_file(output, overwrite=overwrite)
    learngene = learn(job, placement, observer=observer, checkpoints=checkpoints, world=world)
    if world.is_main:
        check_place(observer)
        learngene.save(output, overwrite=overwrite)
    if not depths:
        return learngene
    learngene = evaluate_learngene(
        learngene,
        job.data,
        placement,
        depths,
        workers=job.recipe.workers,
        world=world,
        progress=told(observer, "evaluating all depths", world),
    )
    if world.is_main:
        check_place(observer)
        learngene.save(output, overwrite=True)
    return learngene


def record_scores(
    learngene: Learngene,
    data: Data,
    scores: Mapping[int | None, Score],
    precision: Precision = "float32",
    *,
    overwrite: bool = False,
) -> Learngene:
    """Return the learngene with accuracies in its header, beside those on other images and in other precisions.

    Raises InputError where figures would be replaced by others without `overwrite`, TlegError for outputs that are not
    finite.
    """
    require_finite(scores, "the learngene")
    images = next(iter(scores.values())).images
    top1 = {depth: round(score.top1, 2) for depth, score in scores.items() if depth is not None and score.top1 is not None}
    found = Reached(measured_on(data), images, dict(sorted(top1.items())), precision)
    return Learngene(learngene.header.with_measured(found, replace_others=overwrite), learngene.tensors)


def measured_on(data: Data) -> str:
    """What the images that accuracies are measured on are called, in headers and reports."""
    return f"{data.name} {data.part}"


def _describe_learning(job: LearnJob, steps: int, prepared: Prepared, placement: Placement) -> dict[str, Any]:
    described: dict[str, Any] = {
        "how": "trained in an auxiliary model",
        "data": job.data.name,
        **({} if job.data.validation_split is None else {"validation_split": job.data.validation_split[0]}),
        "images": len(job.data.train),
        "steps": steps,
        "recipe": {**encode(job.recipe), "learning_rate": job.recipe.peak_rate},
        "precision": placement.precision,
        "versions": versions("tleg", "torch", "timm"),
    }
    # How many processes prepared the images has no influence on the result.
    described["recipe"].pop("workers")
    if job.depths.sampling != "single":
        described["sampling"] = job.depths.sampling
    if prepared.teacher is not None:
        described["ancestry"] = encode(prepared.teacher.report)
        described["distillation"] = encode(job.distillation)
    return described
