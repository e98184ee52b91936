"""What can be evaluated: a learngene at all depths, a folder that timm loads, an ONNX export."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tleg.auxiliary import ElasticViT
from tleg.classes import class_order
from tleg.data.dataset import Data
from tleg.errors import InputError, TlegError
from tleg.explanations import last_words
from tleg.export.folder_plan import training_record
from tleg.header import Preprocessing
from tleg.learngene import Learngene, load
from tleg.models.pretrained import PretrainedModel
from tleg.models.weights import Which
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.evaluation import Predictor, Score, evaluate
from tleg.training.forward import is_want_of_memory
from tleg.training.normaliser import Normaliser
from tleg.training.references import open_model, resolve_model


@dataclass(frozen=True, slots=True)
class Subject:
    """Models that take the same inputs.

    kind        'learngene', 'folder', 'weights' or 'onnx'
    predictors  by depth; a model of one depth that is not known has the key None
    classes     names in the order of the outputs, empty when unknown
    trained     the record of its training, as far as there is one
    """

    kind: str
    predictors: Mapping[int | None, Predictor]
    num_classes: int
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    trained: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_subject(
    path_or_name: str,
    placement: Placement,
    depths: Sequence[int] | None,
    *,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    weights: Which | None = None,
    runs_dir: Path | None = None,
) -> Subject:
    """Open a learngene (file or shipped name), a timm folder, 'TIMM_NAME:FILE' with its weights, a run, or an ONNX export.

    depths           of a learngene (default: 1 to 16) or an elastic ONNX; nothing else takes them
    model_arguments  of `timm.create_model`, for a folder or a file of weights
    image_size       of those, where it shall be another
    weights          which of those that a file holds, see `tleg.models.weights`

    Raises InputError or FileFormatError when it cannot be opened.
    """
    reference = resolve_model(path_or_name, "learngene", "folder", "weights", "onnx", "run", runs_dir=runs_dir)
    if reference.kind in ("folder", "weights"):
        _refuse_depths(depths, f"a {'folder' if reference.kind == 'folder' else 'file of weights'} holds one model")
        return _open_model(open_model(reference, model_arguments, image_size, weights), placement)
    for given, option in ((model_arguments, "--model-arg"), (image_size, "--image-size"), (weights, "--weights")):
        if given:
            raise InputError(f"{option} is for folders that timm loads and TIMM_NAME:FILE; {path_or_name} is neither")
    if reference.kind == "onnx":
        return _open_onnx(reference.place, depths)
    return learngene_subject(load(reference.place), placement, depths or range(1, 17))


def reading_as(subject: Subject, exif: bool | None) -> Subject:
    """Return a subject whose images are turned upright, or not, whatever it was trained with; None leaves it as it is."""
    return subject if exif is None else replace(subject, preprocessing=replace(subject.preprocessing, exif=exif))


def evaluate_subject(
    subject: Subject,
    data: Data,
    placement: Placement,
    *,
    batch_size: int = 256,
    workers: int = 0,
    limit: int | None = None,
    world: World = SINGLE,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int | None, Score]:
    """Return the score of every model of a subject on the validation images, in one pass.

    Classes are matched by name. Raises InputError when the subject knows other classes than the data.
    """
    if subject.num_classes == 0:
        raise InputError("the model is a backbone without a classifier; give it one first: tleg finetune --checkpoint …")
    if subject.num_classes != len(data.classes):
        raise InputError(
            f"the model knows {subject.num_classes} classes and {data.name} has {len(data.classes)}; "
            "fine-tune it on this data first"
        )
    try:
        order = class_order(subject.classes, data.classes)
    except InputError as error:
        raise InputError(f"the model's classes are not those of {data.name}: {error}") from error
    predictors: dict[int | None, Predictor] = {depth: _told(each, subject) for depth, each in subject.predictors.items()}
    if order is not None:
        predictors = {depth: _in_order(predictor, order) for depth, predictor in predictors.items()}
    return evaluate(
        predictors,
        data.validation,
        placement,
        input_size=subject.input_size,
        preprocessing=subject.preprocessing,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        world=world,
        progress=progress,
    )


def _told(predict: Predictor, subject: Subject) -> Predictor:
    """A predictor whose failure is told as the model's."""

    def told(pixels: Tensor) -> Tensor:
        try:
            return predict(pixels)
        except Exception as error:  # Of timm, torch or ONNX Runtime.
            if is_want_of_memory(error) or isinstance(error, TlegError):
                raise
            height, width = subject.input_size[1:]
            raise InputError(
                f"the model cannot be run on images of {height}x{width} pixels, as its own description says: "
                f"{last_words(error)[:200]}"
            ) from error

    return told


def learngene_subject(learngene: Learngene, placement: Placement, depths: Sequence[int]) -> Subject:
    """Return a learngene's descendants, which share one set of terms."""
    header = learngene.header
    elastic = ElasticViT.from_learngene(learngene).to(placement.device).eval()
    normalise = Normaliser(header.preprocessing).to(placement.device)

    def at(depth: int) -> Predictor:
        def predict(pixels: Tensor) -> Tensor:
            logits: Tensor = elastic(normalise(pixels), depth)
            return logits

        return predict

    architecture = header.architecture
    predictors: dict[int | None, Predictor] = {depth: at(depth) for depth in depths}
    return Subject(
        "learngene",
        predictors,
        architecture.num_classes,
        header.classes,
        architecture.input_size,
        header.preprocessing,
        header.learned,
    )


def model_predictor(model: nn.Module, preprocessing: Preprocessing, placement: Placement) -> Predictor:
    """Return pixel values in 0..1 -> logits for a model that wants normalised inputs."""
    model = model.to(placement.device).eval()
    normalise = Normaliser(preprocessing).to(placement.device)

    def predict(pixels: Tensor) -> Tensor:
        logits: Tensor = model(normalise(pixels))
        return logits

    return predict


def _refuse_depths(depths: Sequence[int] | None, reason: str) -> None:
    if depths:
        raise InputError(f"--depths is for learngenes and elastic ONNX files: {reason}")


def _open_model(opened: PretrainedModel, placement: Placement) -> Subject:
    return Subject(
        opened.kind,
        {opened.depth: model_predictor(opened.model, opened.preprocessing, placement)},
        opened.num_classes,
        opened.classes,
        opened.input_size,
        opened.preprocessing,
        training_record(opened.file.parent) if opened.kind == "folder" else {},
        opened.notes,
    )


def _in_order(predictor: Predictor, order: tuple[int, ...]) -> Predictor:
    """A predictor whose outputs are in the order of the data's classes."""
    indices = torch.tensor(order)

    def predict(pixels: Tensor) -> Tensor:
        logits = predictor(pixels)
        return logits.index_select(1, indices.to(logits.device))

    return predict


def _open_onnx(path: Path, depths: Sequence[int] | None) -> Subject:
    from tleg.export.runtime import open_export

    export = open_export(path)
    if export.elastic and not depths:
        raise InputError(f"{path} holds every depth: say which with --depths, as in --depths 4,8,12")
    if not export.elastic:
        _refuse_depths(depths, f"{path} holds {'one model' if export.depth is None else f'depth {export.depth}'}")

    def at(depth: int | None) -> Predictor:
        def predict(pixels: Tensor) -> Tensor:
            normalised: Any = ((pixels.cpu() - mean) / std).numpy()
            return torch.from_numpy(export.run(normalised, depth)).to(pixels.device)

        return predict

    preprocessing = export.preprocessing
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    chosen: Sequence[int | None] = tuple(depths or ()) if export.elastic else (export.depth,)
    return Subject(
        "onnx",
        {depth: at(depth) for depth in chosen},
        export.num_classes,
        export.classes,
        export.input_size,
        preprocessing,
        export.trained,
    )
