"""Initial weights of a model that is trained: a learngene's descendant, a timm model, a folder, a file of weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from tleg.data.datasets import Data
from tleg.errors import ArchitectureError, FileFormatError, InputError, concerning
from tleg.export.manifest import manifest_path, read_manifest
from tleg.export.plan import TRAINING_RECORD
from tleg.files import hash_file
from tleg.learngene.expansion import choose_head, new_head
from tleg.learngene.header import Architecture, Preprocessing
from tleg.models.architecture import normalise_name
from tleg.models.classes import class_order, same_classes
from tleg.models.descendant import baseline
from tleg.models.descendant import expand as expand_descendant
from tleg.models.learngene import load
from tleg.models.pretrained import PretrainedModel
from tleg.models.timm_folder import for_channels, input_size_of, preprocessing_of, read_timm_folder, weights_file
from tleg.models.weights import Which
from tleg.runs.run import name_of
from tleg.training.models import open_model
from tleg.training.names import resolve_model


def model_arguments(data: Data, given: Mapping[str, Any], *, sized: bool) -> dict[str, Any]:
    """Return timm arguments with what the data implies added: channels, and the image size where a model has one."""
    arguments = dict(given)
    arguments.setdefault("in_chans", data.channels)
    if sized and data.image_size is not None:
        height, width = data.image_size
        arguments.setdefault("img_size", height if height == width else [height, width])
    return arguments


def preprocessing_for(data: Data, channels: int) -> Preprocessing:
    """Return the preprocessing of a model that is trained from scratch on the data.

    Mean and std are the data's where they are known, ImageNet's otherwise; images of one known size are not cropped.
    """
    mean, std = (for_channels(each, channels) for each in _statistics(data))
    return as_read(Preprocessing(mean, std, crop_pct=0.875 if data.image_size is None else 1.0), data)


def as_read(preprocessing: Preprocessing, data: Data) -> Preprocessing:
    """Return a preprocessing that says how the images of the data are read, whatever those of an earlier training were."""
    return replace(preprocessing, exif=data.exif, pixel_range=data.pixel_range)


def check_channels(channels: int) -> None:
    """Refuse models that take neither greyscale nor colour images. Raises InputError."""
    if channels not in (1, 3):
        raise InputError(
            f"images have 1 or 3 channels, and this model takes {channels}", field="model-arg", code="unsupported"
        )


def _statistics(data: Data) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return data.mean or IMAGENET_DEFAULT_MEAN, data.std or IMAGENET_DEFAULT_STD


@dataclass(frozen=True, slots=True)
class Start:
    """A model to train, what it takes to save it as a timm folder, where it comes from, and what to know about that."""

    model: nn.Module
    architecture: Architecture
    depth: int | None
    preprocessing: Preprocessing
    lineage: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@concerning("learngene")
def start_from_learngene(
    path_or_name: str, depth: int, drop_path: float = 0.0, init: str | None = None
) -> Callable[[Data], Start]:
    """Start from a learngene's descendant. A head for other classes than the data's is replaced by a new one.

    path_or_name  a file, a name of the catalogue, or a run of `tleg learn`, finished or not
    init          a baseline to start from instead of the expansion: see `tleg.models.descendant`
    """
    reference = resolve_model(path_or_name, "learngene", "run")
    learngene, name = load(reference.place), name_of(reference.place) if reference.run is None else reference.run.id
    header = learngene.header

    @concerning("learngene")
    def start(data: Data) -> Start:
        matching = same_classes(header.classes, data.classes)
        head = choose_head(header.architecture.num_classes, len(data.classes))
        if init is not None:
            model = baseline(learngene, depth, init, num_classes=head.num_classes, drop_path=drop_path)
        else:
            model = expand_descendant(learngene, depth, num_classes=head.num_classes, drop_path=drop_path)
        policy = "new" if init in ("scratch", "mimetic") else head.policy
        if policy == "kept" and matching:
            reorder_outputs(model, ("head",), class_order(header.classes, data.classes))
        elif policy == "kept":
            # As many classes, but others: what the head knows is of no use.
            values = new_head(model.embed_dim, head.num_classes)
            model.load_state_dict(
                {**model.state_dict(), **{name: torch.from_numpy(value) for name, value in values.items()}}
            )
            policy = "new"
        lineage = {
            "learngene": name,
            "sha256": header.sha256,
            "ancestry": header.learned.get("ancestry"),
            "depth": depth,
            "head": policy,
            **({} if init is None else {"init": init}),
        }
        architecture = replace(header.architecture, num_classes=head.num_classes)
        return Start(model, architecture, depth, header.preprocessing, lineage)

    return start


@concerning("model")
def start_from_timm(
    name: str, arguments: Mapping[str, Any], *, pretrained: bool = False, image_size: int | None = None
) -> Callable[[Data], Start]:
    """Start from a timm model, with random weights or its pretrained ones (downloaded).

    image_size  height and width of its inputs; None is what the arguments, the data or the name say

    Raises ArchitectureError.
    """
    base = normalise_name(name)

    @concerning("model")
    def start(data: Data) -> Start:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        sized = bool(config is not None and config.fixed_input_size)
        complete = dict(arguments)
        if image_size is not None and sized:
            complete["img_size"] = image_size
        if not pretrained:
            complete = model_arguments(data, complete, sized=sized)
        try:
            model = timm.create_model(name, pretrained=pretrained, num_classes=len(data.classes), **complete)
        except Exception as error:  # timm and the hub client report what does not fit in many ways.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            hint = f"; when offline, use --checkpoint {name}:FILE" if pretrained else ""
            raise ArchitectureError(f"timm cannot build '{name}': {reason}{hint}") from error
        known: dict[str, Any] = dict(cast(Any, model.pretrained_cfg))
        size = input_size_of(known, complete)
        channels = size[0]
        check_channels(channels)
        if pretrained:
            preprocessing = preprocessing_of(known, channels)
        else:
            preprocessing = preprocessing_for(data, channels)
            size = (channels, *(_pair(complete.get("img_size")) or data.image_size or size[1:]))
        if image_size is not None:
            size = (channels, image_size, image_size)
        depth = complete.pop("depth", None)
        if known.get("fixed_input_size"):
            # The name without its tag implies another size.
            complete = {"img_size": list(size[1:]), **complete}
        architecture = Architecture(base, complete, len(data.classes), (channels, size[1], size[2]))
        lineage = {"model": name, "pretrained": pretrained}
        return Start(model, architecture, depth, preprocessing, lineage)

    return start


@concerning("checkpoint")
def start_from_checkpoint(
    text: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    image_size: int | None = None,
    weights: Which | None = None,
) -> Callable[[Data], Start]:
    """Start from a timm folder, 'TIMM_NAME:FILE', or a run of `tleg finetune`, finished or not.

    A classifier of the data's classes is kept, in the order of the data's; another one, and none, is replaced by a new one.

    arguments   of `timm.create_model`, given anew, such as drop_path_rate
    image_size  height and width of the inputs, where they shall be others; timm resamples position embeddings
    weights     which of those that a file holds, see `tleg.models.weights`

    Raises InputError or FileFormatError.
    """
    reference = resolve_model(text, "folder", "weights", "run")
    if reference.kind == "folder":
        read_timm_folder(reference.place)

    @concerning("checkpoint")
    def start(data: Data) -> Start:
        opened = open_model(reference, arguments, image_size, weights)
        head, note = fit_head(opened, data.classes)
        lineage: dict[str, Any] = {"checkpoint": opened.name, "head": head}
        if opened.kind == "weights":
            lineage = {"checkpoint": opened.file.name, "model": opened.name, "head": head, "classes": opened.num_classes}
        else:
            lineage |= _earlier(reference.place)
        check_channels(opened.input_size[0])
        architecture = Architecture(opened.architecture, opened.arguments, len(data.classes), opened.input_size)
        notes = (*opened.notes, note) if note else opened.notes
        return Start(opened.model, architecture, opened.depth, opened.preprocessing, lineage, notes)

    return start


def fit_head(opened: PretrainedModel, classes: tuple[str, ...]) -> tuple[str, str]:
    """Keep the head of a model that knows the classes, in their order, or give it a new one. Says which, and why."""
    model, count = opened.model, len(classes)
    matching = opened.num_classes == count and same_classes(opened.classes, classes)
    if matching:
        order = class_order(opened.classes, classes)
        if reorder_outputs(model, classifier_names(model, opened.architecture), order):
            return "kept", ""
    model.reset_classifier(count)
    if opened.num_classes == 0:
        return "new", f"{opened.name} is a backbone without a classifier; it gets a new one for {count} classes"
    if opened.num_classes != count:
        return "new", f"{opened.name} knows {opened.num_classes} classes and the data has {count}; it gets a new head"
    return "new", f"{opened.name} knows other classes than the data; it gets a new head"


def classifier_names(model: Any, architecture: str) -> tuple[str, ...]:
    """The modules that give a model's logits, by timm's names; empty when timm states none."""
    config = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    stated = dict(model.pretrained_cfg).get("classifier") or getattr(config, "classifier", None) or ()
    return (stated,) if isinstance(stated, str) else tuple(stated)


def reorder_outputs(model: nn.Module, names: tuple[str, ...], order: tuple[int, ...] | None) -> bool:
    """Put the outputs of classifiers into another order, in place. False when it cannot be known which weights give them."""
    if order is None:
        return True
    state = model.state_dict()
    keys = [f"{name}.{part}" for name in names for part in ("weight", "bias") if f"{name}.{part}" in state]
    if not keys or any(state[key].shape[0] != len(order) for key in keys):
        return False
    with torch.no_grad():
        for key in keys:
            state[key].copy_(state[key][list(order)])
    return True


def _pair(size: object) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return None


def _earlier(folder: Path) -> dict[str, Any]:
    """The lineage that a folder carries from its own training, or that its manifest states when it was built."""
    record = folder / TRAINING_RECORD
    if not record.is_file():
        return _built(folder)
    try:
        return {"from": json.loads(record.read_text())["lineage"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _built(folder: Path) -> dict[str, Any]:
    """The lineage of a folder that tleg built from a learngene, while its weights are those that were built."""
    try:
        manifest = read_manifest(manifest_path(folder, "pytorch"))
        weights = weights_file(folder)
        if manifest.learngene is None or manifest.file.files.get(weights.name) != hash_file(weights):
            return {}
    except (FileFormatError, OSError):
        return {}
    learngene = manifest.learngene
    return {
        "from": {
            "learngene": learngene.name,
            "sha256": learngene.sha256,
            "ancestry": learngene.ancestry,
            "depth": manifest.model.depth,
        }
    }
