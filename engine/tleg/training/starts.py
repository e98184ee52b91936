"""Where fine-tuning starts: a learngene's descendant, a timm model, a folder that timm loads, a file of weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from tleg.architecture import normalise_name
from tleg.data.dataset import Data
from tleg.descendant import expand as expand_descendant
from tleg.errors import ArchitectureError, FileFormatError
from tleg.export.folder_plan import TRAINING_RECORD
from tleg.export.manifest import hash_file, manifest_path, read_manifest
from tleg.export.timm_folder import WEIGHTS, load_timm_folder, preprocessing_of, read_config
from tleg.head import choose_head, new_head
from tleg.header import Architecture, Preprocessing
from tleg.learngene import Learngene, load
from tleg.runs.results import name_of
from tleg.training.baselines import baseline
from tleg.training.defaults import check_channels, input_size_of, model_arguments, preprocessing_for
from tleg.training.kept import learngene_of_checkpoint
from tleg.training.references import find_run, finished_learngene, resolve_model
from tleg.training.timm_weights import load_timm_weights, split_reference


@dataclass(frozen=True, slots=True)
class Start:
    """A model to train, what it takes to save it as a timm folder, and where it comes from."""

    model: nn.Module
    architecture: Architecture
    depth: int | None
    preprocessing: Preprocessing
    lineage: Mapping[str, Any]


def start_from_learngene(
    path_or_name: str, depth: int, drop_path: float = 0.0, init: str | None = None
) -> Callable[[Data], Start]:
    """Start from a learngene's descendant. A head for other classes than the data's is replaced by a new one.

    path_or_name  a file, a name of the catalogue, or a run of `tleg learn`, finished or not
    init          a baseline to start from instead of the expansion: see `tleg.training.baselines`
    """
    learngene, name = _open_learngene(path_or_name)
    header = learngene.header

    def start(data: Data) -> Start:
        matching = not header.classes or header.classes == data.classes
        head = choose_head(header.architecture.num_classes, len(data.classes))
        if init is not None:
            model = baseline(learngene, depth, init, num_classes=head.num_classes, drop_path=drop_path)
        else:
            model = expand_descendant(learngene, depth, num_classes=head.num_classes, drop_path=drop_path)
        policy = "new" if init in ("scratch", "mimetic") else head.policy
        if policy == "kept" and not matching:
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


def _open_learngene(path_or_name: str) -> tuple[Learngene, str]:
    """The learngene that a text names, and what to call it."""
    run = find_run(path_or_name)
    if run is None:
        return load(path_or_name), name_of(Path(path_or_name))
    result = finished_learngene(run)
    return (learngene_of_checkpoint(run.path) if result is None else load(result)), run.id


def start_from_timm(
    name: str, arguments: Mapping[str, Any], *, pretrained: bool = False, image_size: int | None = None
) -> Callable[[Data], Start]:
    """Start from a timm model, with random weights or its pretrained ones (downloaded).

    image_size  height and width of its inputs; None is what the arguments, the data or the name say

    Raises ArchitectureError.
    """
    base = normalise_name(name)

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
        size = input_size_of(known)
        channels = int(complete.get("in_chans", size[0]))
        check_channels(channels)
        if pretrained:
            preprocessing = preprocessing_of(known, channels)
        else:
            preprocessing = preprocessing_for(data, channels)
            size = (channels, *(_pair(complete.get("img_size")) or data.image_size or size[1:]))
        if image_size is not None:
            size = (channels, image_size, image_size)
        depth = complete.pop("depth", None)
        architecture = Architecture(base, complete, len(data.classes), (channels, size[1], size[2]))
        lineage = {"model": name, "pretrained": pretrained}
        return Start(model, architecture, depth, preprocessing, lineage)

    return start


def start_from_checkpoint(text: str) -> Callable[[Data], Start]:
    """Start from a timm folder, or from 'TIMM_NAME:FILE'. A head for other classes than the data's is replaced by a new one.

    Raises InputError or FileFormatError.
    """
    text = resolve_model(text)
    reference = split_reference(text)
    if reference is not None and not Path(text).exists():
        return lambda data: _start_from_weights(*reference, data)
    folder = Path(text)
    config = read_config(folder)

    def start(data: Data) -> Start:
        model = load_timm_folder(folder)
        known = dict(model.pretrained_cfg)
        names = tuple(config.get("label_names", ())) or data.classes
        head = _fit_head(model, names == data.classes, len(data.classes))
        size = input_size_of(known)
        arguments = config.get("model_args", {})
        if not isinstance(arguments, dict):
            raise FileFormatError(f"{folder} has model_args that are no object")
        if known.get("fixed_input_size"):
            arguments = {"img_size": list(size[1:]), **arguments}
        depth = arguments.get("depth")
        arguments = {key: value for key, value in arguments.items() if key != "depth"}
        architecture = Architecture(config["architecture"], arguments, len(data.classes), size)
        lineage = {"checkpoint": folder.resolve().name, "head": head, **_earlier(folder)}
        return Start(model, architecture, depth, preprocessing_of(known, size[0]), lineage)

    return start


def _start_from_weights(name: str, file: Path, data: Data) -> Start:
    model, classes = load_timm_weights(name, file)
    head = _fit_head(model, True, len(data.classes))
    known: dict[str, Any] = dict(cast(Any, model).pretrained_cfg)
    size = input_size_of(known)
    architecture = Architecture(name.partition(".")[0], {}, len(data.classes), size)
    lineage = {"checkpoint": file.name, "model": name, "head": head, "classes": classes}
    return Start(model, architecture, None, preprocessing_of(known, size[0]), lineage)


def _fit_head(model: Any, same_names: bool, num_classes: int) -> str:
    """Keep the head of a model that knows the classes, or give it a new one. Says which."""
    if model.num_classes == num_classes and same_names:
        return "kept"
    model.reset_classifier(num_classes)
    return "new"


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
        if manifest.learngene is None or manifest.file.files.get(WEIGHTS) != hash_file(folder / WEIGHTS):
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
