"""What can be evaluated: a learngene at all depths, a folder that timm loads, an ONNX export."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tleg.auxiliary import ElasticViT
from tleg.catalogue import resolve
from tleg.data.dataset import Data
from tleg.errors import InputError
from tleg.export.timm_folder import load_timm_folder, preprocessing_of, read_config
from tleg.header import Preprocessing
from tleg.learngene import Learngene, load
from tleg.training.defaults import input_size_of
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.evaluation import Predictor, Score, evaluate
from tleg.training.normaliser import Normaliser
from tleg.training.timm_weights import load_timm_weights, split_reference


@dataclass(frozen=True, slots=True)
class Subject:
    """Models that take the same inputs.

    kind        'learngene', 'folder', 'weights' or 'onnx'
    predictors  by depth; a model of one depth that is not known has the key None
    classes     names in the order of the outputs, empty when unknown
    """

    kind: str
    predictors: Mapping[int | None, Predictor]
    num_classes: int
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing


def open_subject(path_or_name: str, placement: Placement, depths: Sequence[int] | None) -> Subject:
    """Open a learngene (file or shipped name), a timm folder, 'TIMM_NAME:FILE' with its weights, or an ONNX export.

    depths  of a learngene (default: 1 to 16) or an elastic ONNX; nothing else takes them

    Raises InputError or FileFormatError when it cannot be opened.
    """
    path = Path(path_or_name)
    reference = split_reference(path_or_name)
    if reference is not None and not path.exists():
        _refuse_depths(depths, "a file of weights holds one model")
        return _open_weights(*reference, placement)
    if path.is_dir():
        _refuse_depths(depths, "a folder holds one model")
        return _open_folder(path, placement)
    path = resolve(path_or_name)
    if path.suffix == ".onnx":
        return _open_onnx(path, depths)
    return learngene_subject(load(path), placement, depths or range(1, 17))


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

    Raises InputError when the subject knows other classes than the data.
    """
    if subject.num_classes != len(data.classes):
        raise InputError(
            f"the model knows {subject.num_classes} classes and {data.name} has {len(data.classes)}; "
            "fine-tune it on this data first"
        )
    if subject.classes and subject.classes != data.classes:
        differing = next(pair for pair in zip(subject.classes, data.classes, strict=True) if pair[0] != pair[1])
        raise InputError(f"the model's classes are not the data's: '{differing[0]}' where {data.name} has '{differing[1]}'")
    return evaluate(
        subject.predictors,
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
        "learngene", predictors, architecture.num_classes, header.classes, architecture.input_size, header.preprocessing
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


def _open_folder(folder: Path, placement: Placement) -> Subject:
    config = read_config(folder)
    model = load_timm_folder(folder)
    known = dict(model.pretrained_cfg)
    size = input_size_of(known)
    preprocessing = preprocessing_of(known, size[0])
    depth = config.get("model_args", {}).get("depth")
    return Subject(
        "folder",
        {depth: model_predictor(model, preprocessing, placement)},
        int(model.num_classes),
        tuple(config.get("label_names", ())),
        size,
        preprocessing,
    )


def _open_weights(name: str, file: Path, placement: Placement) -> Subject:
    model, classes = load_timm_weights(name, file)
    known: dict[str, Any] = dict(cast(Any, model).pretrained_cfg)
    size = input_size_of(known)
    preprocessing = preprocessing_of(known, size[0])
    predictors: dict[int | None, Predictor] = {None: model_predictor(model, preprocessing, placement)}
    return Subject("weights", predictors, classes, (), size, preprocessing)


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
    )
