"""Learning a learngene: an auxiliary model is trained, and its terms are the learngene (TLEG section 3.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from tleg.data.datasets import Data
from tleg.data.sampler import seed_everything
from tleg.data.transforms import PixelTransform
from tleg.errors import ArchitectureError, InputError, concerning
from tleg.files import check_file
from tleg.learngene.architecture import Architecture
from tleg.learngene.feature_cosine import with_feature_cosine
from tleg.learngene.header import Auxiliary, LearngeneHeader, Precision, Reached, SampledSize
from tleg.learngene.profile import Depth
from tleg.models.architecture import build, describe, timm_family_of
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.image_size import cost_at
from tleg.models.learngene import Learngene
from tleg.models.other_size import OtherSize
from tleg.models.starting import StartTensors
from tleg.recipes.distillation import Distillation
from tleg.serialize import encode
from tleg.training.accuracy import Score, require_finite
from tleg.training.checkpoint import ABOUT_LEARNGENE, Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.evaluate import evaluate_subject
from tleg.training.feature_cosine import measure_cosines
from tleg.training.init import as_read, check_channels, learn_arguments, preprocessing_for
from tleg.training.job import LearnJob
from tleg.training.observer import QUIET, Observer, evaluation_progress, require_folder
from tleg.training.start import begin, open_start
from tleg.training.students import AuxiliaryStudent
from tleg.training.subjects import learngene_subject
from tleg.training.teacher import Teacher
from tleg.training.trainer import Plan, train
from tleg.versions import versions


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the first step: all that can be wrong with a job was checked.

    job        with the learning rate in force
    header     of the learngene that will be learned, without its accuracy
    transform  of training images
    start      what the auxiliary model begins with; None where it begins anew
    """

    job: LearnJob
    header: LearngeneHeader
    transform: PixelTransform
    teacher: Teacher | None
    start: StartTensors | None = None


@concerning("architecture")
def prepare(job: LearnJob, placement: Placement, observer: Observer = QUIET) -> Prepared:
    """Check all that can be checked before training: architecture, augmentation, teacher and its accuracy on some images.

    Raises ArchitectureError, TeacherError, DataError, InputError.
    """
    recipe, data = job.recipe, job.data
    start = open_start(recipe)
    # Features alone need no head.
    classes = () if recipe.distillation.embeds else data.classes
    architecture = describe(recipe.architecture, learn_arguments(recipe, data, start), len(classes))
    check_channels(architecture.input_size[0])
    if (start is None or not start.layers) and recipe.recipe.learning_rate is None:
        job = replace(job, recipe=replace(recipe, recipe=recipe.recipe.at_width(_feature_width(architecture))))
    preprocessing = preprocessing_for(data, architecture.input_size[0])
    basis = recipe.basis_for(stages=max(1, len(architecture.stages)), start=None if start is None else start.basis)
    if recipe.term_scale != 1 and basis.kind.selects:
        raise InputError(
            f"every term of a {basis.name} basis is a block of its own, and none is beyond the first: --term-scale means "
            "nothing for it; name another --basis, such as linear",
            field=("term-scale", "basis"),
            code="conflict",
        )
    begun = None
    if start is not None:
        begun = start.tensors_for(architecture, basis, classes)
        # A stem knows the pixel values that it was trained on.
        preprocessing = as_read(start.header.preprocessing, data)
        for note in (*start.notes, *begun.notes):
            observer.warn("start", note)
    transform = job.training_transform(architecture.input_size, preprocessing, observer)
    job.check_enough()
    teacher = job.open_teacher(placement, observer, input_size=architecture.input_size, preprocessing=preprocessing)
    learned = {
        "how": "trained in an auxiliary model",
        **job.record(),
        "precision": placement.precision,
        "versions": versions("tleg", "torch", "timm"),
    }
    # How many processes prepared the images has no influence on the result.
    learned["recipe"].pop("workers")
    if recipe.depths.sampling != "single":
        learned["sampling"] = recipe.depths.sampling
    if recipe.term_scale != 1:
        learned["term_scale"] = recipe.term_scale
    if recipe.initial_matrices != "timm":
        learned["initial_matrices"] = recipe.initial_matrices
    if start is not None and begun is not None:
        learned["start"] = {**start.lineage, "layers": recipe.start_layers, "head": begun.head}
    if recipe.scales_all and not architecture.stages:
        raise ArchitectureError(
            f"'{architecture.name}' has one stage; leave --profiles out", field="profiles", code="unsupported"
        )
    sizes = sampled_sizes(architecture, recipe.sizes, scaled=recipe.scales_all)
    if recipe.depths.warmup:
        learned["depth_warmup"] = {"part": recipe.depths.warmup, "depth": recipe.depths.first}
    if teacher is not None and recipe.distillation.projection == "none":
        check_widths(architecture, teacher)
    if teacher is not None:
        learned["ancestry"] = encode(teacher.report)
        learned["distillation"] = encode(recipe.distillation)
    header = LearngeneHeader(
        architecture=architecture,
        basis=basis,
        auxiliary=Auxiliary(recipe.depths.auxiliary, recipe.depths.sampled, sizes or None, recipe.scales_all or None),
        preprocessing=preprocessing,
        cost=measure(architecture),
        classes=classes,
        learned=learned,
    )
    return Prepared(job, header, transform, teacher, begun)


def _feature_width(architecture: Architecture) -> int:
    """The channels of what goes into a head, which are those of the last stage."""
    one_block_each = (1,) * max(1, len(architecture.stages))
    return int(build(architecture, one_block_each, device="meta").num_features)


def check_widths(architecture: Architecture, teacher: Teacher) -> None:
    """Refuse a teacher whose features are of another size than the student's. Raises InputError that names both."""
    width = _feature_width(architecture)
    if width != teacher.feature_size:
        raise InputError(
            f"the teacher {teacher.report.name} has embeddings of {teacher.feature_size} values and the student of {width}; "
            "leave --projection none out",
            field=("projection", "teacher", "architecture"),
            code="mismatch",
        )


def project(student: AuxiliaryStudent, teacher: Teacher, distillation: Distillation) -> None:
    """Give a student the projection to its teacher's features that its distillation needs."""
    size = teacher.feature_size
    if distillation.method == "feature" or (distillation.embeds and student.width != size):
        student.project_to(size)


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
    return _learn(job, placement, observer, checkpoints, world).learngene


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """A learngene with what its features are compared by."""

    learngene: Learngene
    model: AuxiliaryModel
    projection: nn.Module | None
    teacher: Teacher | None


def _learn(
    job: LearnJob, placement: Placement, observer: Observer, checkpoints: Checkpoints | None, world: World
) -> _Learned:
    prepared = prepare(job, placement, observer)
    job, header, teacher = prepared.job, prepared.header, prepared.teacher
    recipe = job.recipe.recipe
    seed_everything(recipe.seed, "initial weights")
    auxiliary = AuxiliaryModel(header.architecture, header.basis, job.recipe.term_scale, job.recipe.initial_matrices)
    auxiliary.take_sizes(job.recipe.sizes)
    if prepared.start is not None:
        # Where there is a checkpoint, it comes over this.
        begin(auxiliary, prepared.start)
    profile_of = header.scaled if job.recipe.scales_all else None
    student = AuxiliaryStudent(auxiliary, job.recipe.depths, recipe.seed, job.steps, job.recipe.sizes, profile_of)
    if recipe.gradient_checkpointing:
        student.set_gradient_checkpointing()
    if teacher is not None:
        project(student, teacher, job.recipe.distillation)
    plan = Plan(
        job,
        student,
        transform=prepared.transform,
        input_size=header.architecture.input_size,
        preprocessing=header.preprocessing,
        placement=placement,
        world=world,
        teacher=teacher,
        about={ABOUT_LEARNGENE: encode(header)},
    )
    model = train(plan, observer, checkpoints)
    assert isinstance(model, AuxiliaryModel)
    return _Learned(Learngene(header, model.tensors()), model, student.projection, teacher)


def learn_to_file(
    job: LearnJob,
    placement: Placement,
    output: Path,
    *,
    overwrite: bool = False,
    observer: Observer = QUIET,
    checkpoints: Checkpoints | None = None,
    world: World = SINGLE,
) -> Learngene:
    """Learn a learngene, write it, then evaluate it at the recipe's depths and write that into its header.

    What was learned is on the disk before it is evaluated. Of several processes the main one writes.

    Raises InputError before training when `output` cannot be written, and what `learn` raises.
    """
    check_file(output, overwrite=overwrite)
    learned = _learn(job, placement, observer, checkpoints, world)
    learngene = learned.learngene
    if world.is_main:
        require_folder(observer)
        learngene.save(output, overwrite=overwrite)
    depths = job.recipe.evaluated
    if not depths:
        return learngene
    workers, progress = job.recipe.recipe.workers, evaluation_progress(observer, "evaluating all depths", world)
    header, teacher = learngene.header, learned.teacher
    if header.architecture.num_classes:
        learngene = evaluate_learngene(
            learngene, job.data, placement, depths, workers=workers, world=world, progress=progress
        )
    elif teacher is not None:
        # Without a head there is no accuracy.
        model, projection = learned.model, learned.projection
        found = measure_cosines(
            model, projection, teacher, header, job.data, placement, depths, workers=workers, world=world, progress=progress
        )
        learngene = Learngene(replace(header, learned=with_feature_cosine(header.learned, found)), learngene.tensors)
    if world.is_main:
        require_folder(observer)
        learngene.save(output, overwrite=True)
    return learngene


def evaluate_learngene(
    learngene: Learngene,
    data: Data,
    placement: Placement,
    depths: Sequence[Depth],
    *,
    workers: int = 0,
    world: World = SINGLE,
    progress: Callable[[int, int], None] | None = None,
) -> Learngene:
    """Return the learngene with the zero-shot accuracy of these depths in its header, measured in float32.

    At each of the sizes that it was trained with, where sizes were drawn, and in the profiles that it was trained in.
    """
    header = learngene.header
    depths = list(dict.fromkeys(map(header.as_trained, depths)))
    drawn = [each.image_size for each in header.auxiliary.sampled_sizes or ()]
    for size in dict.fromkeys((header.image_size, *drawn)):
        subject = learngene_subject(learngene.at_image_size(size), placement, depths)
        scores = evaluate_subject(subject, data, placement.in_float32(), workers=workers, world=world, progress=progress)
        learngene = record_scores(learngene, data, scores, image_size=size, overwrite=True)
    return learngene


def sampled_sizes(
    architecture: Architecture, sizes: Sequence[tuple[int, int]], *, scaled: bool = False
) -> tuple[SampledSize, ...]:
    """Return the sizes of inputs that are drawn, with what they cost.

    scaled  whether all stages are scaled with the depth

    Raises ArchitectureError for an architecture that takes images of one size, or a size that it does not take.
    """
    family = timm_family_of(architecture)
    if sizes and not family.takes_sizes(architecture):
        raise ArchitectureError(
            f"'{architecture.name}' is made for images of one size, and none of its parameters can be resampled at every "
            "step; leave --sample-sizes out",
            field="sample-sizes",
            code="unsupported",
        )
    try:
        for size in sizes:
            if family.resampled and size != architecture.input_size[1:]:
                OtherSize(architecture, size)  # It says what cannot be resampled.
        return tuple(SampledSize.of(size, cost_at(architecture, size), scaled=scaled) for size in sizes)
    except ArchitectureError as error:
        raise ArchitectureError(error.message, field="sample-sizes", code=error.code) from error


def record_scores(
    learngene: Learngene,
    data: Data,
    scores: Mapping[Depth | None, Score],
    precision: Precision = "float32",
    *,
    image_size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Learngene:
    """Return the learngene with accuracies in its header, beside those on other images and in other precisions.

    image_size  height and width of the inputs that they were measured with, where they were not the learngene's own

    Raises InputError where figures would be replaced by others without `overwrite`, TlegError for outputs that are not
    finite.
    """
    require_finite(scores, "the learngene")
    images = next(iter(scores.values())).images
    top1 = {depth: round(score.top1, 2) for depth, score in scores.items() if depth is not None and score.top1 is not None}
    size = None if image_size == learngene.header.image_size else image_size
    found = Reached.of(measured_on(data), images, top1, precision, size)
    return Learngene(learngene.header.with_measured(found, replace_others=overwrite), learngene.tensors)


def measured_on(data: Data) -> str:
    """What the images that accuracies are measured on are called, in headers and reports."""
    return f"{data.name} {data.part}"
