"""What can be evaluated: a learngene at all depths, a folder that timm loads, an export; what turns pixels into logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from tleg.data.transforms import Normaliser
from tleg.errors import InputError, TlegError, concerning, last_words
from tleg.export.backend import OpenExport, backend_of
from tleg.export.formats import format_of_path
from tleg.export.origin import training_record
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth
from tleg.models.auxiliary import ElasticViT
from tleg.models.features import pooled_features
from tleg.models.learngene import Learngene, load
from tleg.models.pretrained import PretrainedModel
from tleg.models.weights import Which
from tleg.references import Reference
from tleg.training.accuracy import Predictor
from tleg.training.device import Placement
from tleg.training.models import is_want_of_memory, open_model
from tleg.training.names import resolve_model

# What to write where depths are missing.
_EXAMPLE: Final = {"depths": "4,8,12"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Models that take the same inputs.

    kind        'learngene', 'folder', 'weights', or the kind of file that an export is, such as 'onnx'
    predictors  by depth; a model of one depth that is not known has the key None
    classes     names in the order of the outputs, empty when unknown
    trained     the record of its training, as far as there is one
    embedders   by depth: pixel values (N, C, H, W) in 0..1 -> pooled features (N, size); empty where it gives none
    macs        multiply-accumulates of an image by depth, where they are known
    """

    kind: str
    predictors: Mapping[Depth | None, Predictor]
    num_classes: int
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    trained: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    embedders: Mapping[Depth | None, Predictor] = field(default_factory=dict)
    macs: Mapping[Depth | None, int] = field(default_factory=dict)


@concerning("path")
def open_subject(
    path_or_name: str,
    placement: Placement,
    depths: Sequence[Depth] | None,
    *,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    weights: Which | None = None,
    runs_dir: Path | None = None,
    option: str = "depths",
) -> Subject:
    """Open a learngene (file or shipped name), a timm folder, 'TIMM_NAME:FILE' with its weights, a run, or an export.

    depths           of a learngene (default: 1 to 16) or an export of every depth; nothing else takes them
    model_arguments  of `timm.create_model`, for a folder or a file of weights
    image_size       height and width of the inputs of what is no export, where they shall be others
    weights          which of those that a file holds, see `tleg.models.weights`
    option           what depths are given by, for what is said of them

    Raises InputError or FileFormatError when it cannot be opened.
    """
    reference = resolve_model(path_or_name, "learngene", "folder", "weights", "export", "run", runs_dir=runs_dir)
    exported = is_export(reference)
    if reference.kind in ("folder", "weights") and not exported:
        refuse_depths(depths, option, f"a {'folder' if reference.kind == 'folder' else 'file of weights'} holds one model")
        return _open_model(open_model(reference, model_arguments, image_size, weights), placement)
    for given, name in ((model_arguments, "--model-arg"), (weights, "--weights")):
        if given:
            raise InputError(
                f"{name} is for folders that timm loads and TIMM_NAME:FILE; {path_or_name} is neither",
                field=name.removeprefix("--"),
                code="conflict",
            )
    if exported:
        if image_size is not None:
            raise InputError(
                f"{path_or_name} takes images of one size, that which it was built for; build it with another --image-size",
                field="image-size",
                code="conflict",
            )
        return _open_export(reference.place, depths, option)
    learngene = load(reference.place)
    if image_size is not None:
        learngene = learngene.at_image_size(image_size)
    return learngene_subject(learngene, placement, depths or range(1, 17))


def is_export(reference: Reference) -> bool:
    """Whether it is an export that timm does not load: any folder may be one for timm, others say so by their suffix."""
    if reference.kind != "folder":
        return reference.kind == "export"
    entry = format_of_path(reference.place.name, is_folder=reference.place.is_dir())
    return entry is not None and entry.suffix != ""


def reading_as(subject: Subject, exif: bool | None) -> Subject:
    """Return a subject whose images are turned upright, or not, whatever it was trained with; None leaves it as it is."""
    return subject if exif is None else replace(subject, preprocessing=replace(subject.preprocessing, exif=exif))


def told_of(predict: Predictor, subject: Subject) -> Predictor:
    """A predictor of a subject whose failure is told as the model's."""

    def told(pixels: Tensor) -> Tensor:
        try:
            return predict(pixels)
        except Exception as error:  # Of timm, torch or ONNX Runtime.
            if is_want_of_memory(error) or isinstance(error, TlegError):
                raise
            height, width = subject.input_size[1:]
            raise InputError(
                f"the model cannot be run on images of {height}x{width} pixels, as its own description says: "
                f"{last_words(error)[:200]}",
                field="path",
                code="unsupported",
            ) from error

    return told


def learngene_subject(learngene: Learngene, placement: Placement, depths: Sequence[Depth]) -> Subject:
    """Return a learngene's descendants, which share one set of terms."""
    header = learngene.header
    elastic = ElasticViT.from_learngene(learngene).to(placement.device).eval()
    normalise = Normaliser(header.preprocessing).to(placement.device)

    def at(depth: Depth) -> Predictor:
        def predict(pixels: Tensor) -> Tensor:
            logits: Tensor = elastic(normalise(pixels), depth)
            return logits

        return predict

    def embedding_at(depth: Depth) -> Predictor:
        def embed(pixels: Tensor) -> Tensor:
            return elastic.forward_pooled(normalise(pixels), elastic.coefficients(depth), elastic.profile(depth))

        return embed

    architecture = header.architecture
    predictors: dict[Depth | None, Predictor] = {architecture.simplest(depth): at(depth) for depth in depths}
    return Subject(
        "learngene",
        predictors,
        architecture.num_classes,
        header.classes,
        architecture.input_size,
        header.preprocessing,
        header.learned,
        embedders={architecture.simplest(depth): embedding_at(depth) for depth in depths},
        macs={architecture.simplest(depth): header.cost_at(depth).macs for depth in depths},
    )


def model_predictor(model: nn.Module, preprocessing: Preprocessing, placement: Placement) -> Predictor:
    """Return pixel values in 0..1 -> logits for a model that wants normalised inputs."""
    model = model.to(placement.device).eval()
    normalise = Normaliser(preprocessing).to(placement.device)

    def predict(pixels: Tensor) -> Tensor:
        logits: Tensor = model(normalise(pixels))
        return logits

    return predict


def model_embedder(model: nn.Module, preprocessing: Preprocessing, placement: Placement) -> Predictor:
    """Return pixel values in 0..1 -> pooled features for a model of timm that wants normalised inputs."""
    model = model.to(placement.device).eval()
    normalise = Normaliser(preprocessing).to(placement.device)
    return lambda pixels: pooled_features(model, normalise(pixels))


def refuse_depths(depths: Sequence[Depth] | None, option: str, reason: str) -> None:
    """Refuse depths of what has one alone; `option` is what they are given by. Raises InputError."""
    if depths:
        raise InputError(f"--{option} is for learngenes and elastic ONNX files: {reason}", field=option, code="conflict")


def _open_model(opened: PretrainedModel, placement: Placement) -> Subject:
    return Subject(
        opened.kind,
        {opened.depth: model_predictor(opened.model, opened.preprocessing, placement)},
        opened.num_classes,
        opened.classes,
        opened.input_size,
        opened.preprocessing,
        {} if opened.folder is None else training_record(opened.folder),
        opened.notes,
        {opened.depth: model_embedder(opened.model, opened.preprocessing, placement)}
        if hasattr(opened.model, "forward_head")
        else {},
    )


def in_order(predictor: Predictor, order: tuple[int, ...]) -> Predictor:
    """A predictor whose outputs are in the order of the data's classes."""
    indices = torch.tensor(order)

    def predict(pixels: Tensor) -> Tensor:
        logits = predictor(pixels)
        return logits.index_select(1, indices.to(logits.device))

    return predict


def _open_export(path: Path, depths: Sequence[Depth] | None, option: str) -> Subject:
    """Open an export by its name. Raises InputError, FileFormatError."""
    entry = format_of_path(path.name, is_folder=path.is_dir())
    if entry is None:
        raise InputError(
            f"{path} has a manifest beside it, and no suffix of a format that tleg writes", field="path", code="wrong-kind"
        )
    return export_subject(backend_of(entry).open(path), depths, option)


def export_subject(export: OpenExport, depths: Sequence[Depth] | None, option: str = "depths") -> Subject:
    """Return what is evaluated of an export that was opened; see `open_subject`. Raises InputError."""
    export.require_classes()
    path = export.path
    elastic = export.format.every_depth
    if elastic and not depths:
        raise InputError(
            f"{path} holds every depth: say which with --{option}, as in --{option} {_EXAMPLE.get(option, '8')}",
            field=option,
            code="missing",
        )
    if not elastic:
        refuse_depths(depths, option, f"{path} holds {'one model' if export.depth is None else f'depth {export.depth}'}")

    if any(isinstance(depth, tuple) for depth in depths or ()):
        raise InputError(
            f"{path} takes a depth that is one number, not a profile of stages", field=option, code="unsupported"
        )

    def at(depth: Depth | None) -> Predictor:
        def predict(pixels: Tensor) -> Tensor:
            return torch.from_numpy(export.run(normalise(pixels.cpu()).numpy(), depth)).to(pixels.device)

        return predict

    preprocessing = export.preprocessing
    normalise = Normaliser(preprocessing)
    chosen: Sequence[Depth | None] = tuple(depths or ()) if elastic else (export.depth,)
    lineage = export.known_lineage
    return Subject(
        export.format.suffix.rpartition(".")[2],
        {depth: at(depth) for depth in chosen},
        export.num_classes,
        export.classes,
        export.input_size,
        preprocessing,
        {} if lineage is None else lineage.training,
    )
