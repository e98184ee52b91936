"""Initial weights of a model that is trained: a learngene's descendant, a timm model, a folder, a file of weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, cast

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from tleg.data.datasets import Data
from tleg.errors import ArchitectureError, InputError, concerning, first_line
from tleg.export.origin import earlier_lineage
from tleg.learngene.architecture import Architecture
from tleg.learngene.expansion import choose_head, new_head
from tleg.learngene.families import family_covering
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth, plain_depth
from tleg.models.architecture import describe, normalise_name, timm_family_of
from tleg.models.classes import class_order, same_classes
from tleg.models.creation import create_model
from tleg.models.initial import draw_matrices
from tleg.models.learngene import load
from tleg.models.pretrained import PretrainedModel
from tleg.models.timm_folder import for_channels, image_argument, input_size_of, preprocessing_of, read_timm_folder
from tleg.models.weights import Which
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.initial_weights import INITIAL_WEIGHTS, InitialWeights, Origin, parse_init, weights_of_learngene
from tleg.recipes.learning import LearnRecipe
from tleg.runs.run import name_of
from tleg.text import format_image_size
from tleg.training.models import open_model
from tleg.training.names import resolve_model
from tleg.training.start import Start


def model_arguments(data: Data, given: Mapping[str, Any], *, sized: bool) -> dict[str, Any]:
    """Return timm arguments with what the data implies added: channels, and the image size where a model has one."""
    arguments = dict(given)
    arguments.setdefault("in_chans", data.channels)
    if sized and data.image_size is not None:
        arguments.setdefault("img_size", image_argument(data.image_size))
    return arguments


def learn_arguments(recipe: LearnRecipe, data: Data, start: Start | None = None) -> dict[str, Any]:
    """Return the timm arguments of an auxiliary model. Where sizes are drawn, the largest is the model's.

    start  that it begins from: what nobody says is as there, such as channels, and the size where the data has none

    Raises InputError where --model-arg says another.
    """
    given = dict(recipe.model_arguments)
    if start is not None:
        given = start.arguments(recipe.architecture, given)
    if recipe.sizes:
        if family_covering(recipe.architecture).dynamic:
            given.setdefault("dynamic_img_size", True)
        largest = image_argument(recipe.sizes[-1])
        if _pair(given.setdefault("img_size", largest)) != recipe.sizes[-1]:
            raise InputError(
                f"the largest of the sizes that are drawn is the model's, {format_image_size(recipe.sizes[-1])} pixels, and "
                f"img_size says {given['img_size']}; leave it out",
                field=("sample-sizes", "model-arg"),
                code="conflict",
            )
    arguments = model_arguments(data, given, sized=True)
    if start is not None and start.is_of(recipe.architecture):
        arguments.setdefault("img_size", image_argument(start.header.image_size))
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
class InitialModel:
    """A model with its initial weights, and what it takes to train it and to save it as a timm folder.

    architecture, depth, preprocessing  as its configuration states them; the depth None where that is no argument
    lineage                             where the weights come from, for the record of the training
    notes                               what somebody should know about that
    """

    model: nn.Module
    architecture: Architecture
    depth: int | None
    preprocessing: Preprocessing
    lineage: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@concerning("learngene")
def init_from_learngene(
    path_or_name: str,
    depth: Depth,
    drop_path: float = 0.0,
    init: str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Callable[[Data], InitialModel]:
    """Return what makes a learngene's descendant. A head for other classes than the data's is replaced by a new one.

    path_or_name  a file, a name of the catalogue, or a run of `tleg learn`, finished or not
    init          a baseline instead of the expansion: see `tleg.recipes.initial_weights`
    image_size    height and width of the inputs, where they shall be others than the learngene's
    """
    weights = weights_of_learngene(init)
    maker = weights.load_maker()
    reference = resolve_model(path_or_name, "learngene", "run")
    learngene, name = load(reference.place), name_of(reference.place) if reference.run is None else reference.run.id
    if image_size is not None:
        learngene = learngene.at_image_size(image_size)
    header = learngene.header
    with concerning("depth"):
        depth = header.architecture.simplest(depth)

    @concerning("learngene")
    def make(data: Data) -> InitialModel:
        matching = same_classes(header.classes, data.classes)
        head = choose_head(header.architecture.num_classes, len(data.classes))
        model = maker(learngene, depth, num_classes=head.num_classes, drop_path=drop_path)
        classifier = family_covering(header.architecture.name).classifier
        policy = head.policy if weights.keeps_head else "new"
        if policy == "kept" and matching:
            reorder_outputs(model, (classifier,), class_order(header.classes, data.classes))
        elif policy == "kept":
            # As many classes, but others: what the head knows is of no use.
            inputs = tuple(model.get_submodule(classifier).get_parameter("weight").shape[1:])
            values = new_head(inputs, head.num_classes, classifier=classifier)
            model.load_state_dict(
                {**model.state_dict(), **{name: torch.from_numpy(value) for name, value in values.items()}}
            )
            policy = "new"
        lineage = {
            "learngene": name,
            "sha256": header.sha256,
            "ancestry": header.learned.get("ancestry"),
            "depth": plain_depth(depth),
            "head": policy,
            **({} if init is None else {"init": init}),
            **({} if image_size is None else {"image_size": list(image_size)}),
        }
        architecture = replace(header.architecture, num_classes=head.num_classes)
        number = depth
        if isinstance(depth, tuple):
            # Its other stages are those of this model alone.
            architecture, number = replace(architecture, stages=depth), depth[architecture.elastic]
        assert isinstance(number, int)
        return InitialModel(model, architecture, number, header.preprocessing, lineage)

    return make


@concerning("model")
def init_from_timm(
    name: str,
    arguments: Mapping[str, Any],
    *,
    pretrained: bool = False,
    image_size: tuple[int, int] | None = None,
    initial_matrices: str = "timm",
) -> Callable[[Data], InitialModel]:
    """Return what makes a timm model, with random weights or its pretrained ones (downloaded).

    initial_matrices  of random weights: see `tleg.models.initial`. For architectures that can be expanded alone
    image_size  height and width of its inputs; None is what the arguments, the data or the name say

    Raises ArchitectureError.
    """
    base = normalise_name(name)

    @concerning("model")
    def make(data: Data) -> InitialModel:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        sized = bool(config is not None and config.fixed_input_size)
        complete = dict(arguments)
        if image_size is not None and sized:
            complete["img_size"] = image_argument(image_size)
        if not pretrained:
            complete = model_arguments(data, complete, sized=sized)
        try:
            model = create_model(name, pretrained=pretrained, num_classes=len(data.classes), **complete)
        except Exception as error:  # timm and the hub client report what does not fit in many ways.
            reason = first_line(error)
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
            size = (channels, *image_size)
        depth, complete = family_covering(base).take_depth(complete)
        if known.get("fixed_input_size"):
            # The name without its tag implies another size.
            complete = {"img_size": list(size[1:]), **complete}
        architecture = Architecture(base, complete, len(data.classes), (channels, size[1], size[2]))
        lineage: dict[str, Any] = {"model": name, "pretrained": pretrained}
        if initial_matrices != "timm":
            try:
                family = timm_family_of(describe(base, complete, len(data.classes)))
            except ArchitectureError as error:
                raise ArchitectureError(
                    f"--initial-matrices is for architectures that can be expanded, and '{name}' is none; leave it out",
                    field="initial-matrices",
                    code="unsupported",
                ) from error
            for stage in range(len(family.stages)):
                draw_matrices(family.blocks(model, stage), initial_matrices)
            lineage["initial_matrices"] = initial_matrices
        return InitialModel(model, architecture, depth, preprocessing, lineage)

    return make


@concerning("checkpoint")
def init_from_checkpoint(
    text: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    weights: Which | None = None,
) -> Callable[[Data], InitialModel]:
    """Return what makes the model of a timm folder, of 'TIMM_NAME:FILE', or of a run of `tleg finetune`, finished or not.

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
    def make(data: Data) -> InitialModel:
        opened = open_model(reference, arguments, image_size, weights)
        head, note = fit_head(opened, data.classes)
        lineage: dict[str, Any] = {"checkpoint": opened.name, "head": head}
        if opened.kind == "weights":
            lineage = {"checkpoint": reference.place.name, "model": opened.name, "head": head, "classes": opened.num_classes}
        else:
            lineage |= earlier_lineage(reference.place)
        check_channels(opened.input_size[0])
        architecture = Architecture(opened.architecture, opened.arguments, len(data.classes), opened.input_size)
        notes = (*opened.notes, note) if note else opened.notes
        return InitialModel(opened.model, architecture, opened.depth, opened.preprocessing, lineage, notes)

    return make


def initial_model_of(recipe: FinetuneRecipe) -> Callable[[Data], InitialModel]:
    """Return what makes the model that a recipe names, with its initial weights. Raises InputError and FileFormatError."""
    weights = initial_weights_of(recipe)
    if not weights.changes:
        return _MAKERS[weights.origin](recipe)
    assert recipe.init is not None
    whole = _MAKERS["checkpoint" if recipe.model is None else "model"](recipe)
    changes, (_, parameter) = weights.load_changes(), parse_init(recipe.init)

    @concerning("init")
    def make(data: Data) -> InitialModel:
        changed: InitialModel = changes(whole(data), data, parameter)
        return replace(changed, lineage={**changed.lineage, "init": recipe.init})

    return make


def initial_weights_of(recipe: FinetuneRecipe) -> InitialWeights:
    """Return which initial weights a recipe names."""
    if recipe.learngene is not None:
        return weights_of_learngene(recipe.init)
    if recipe.init is not None:
        return parse_init(recipe.init)[0]
    if recipe.model is not None:
        return INITIAL_WEIGHTS["pretrained" if recipe.pretrained else "random"]
    return INITIAL_WEIGHTS["checkpoint"]


def _of_learngene(recipe: FinetuneRecipe) -> Callable[[Data], InitialModel]:
    assert recipe.learngene is not None
    assert recipe.descends_to is not None
    return init_from_learngene(recipe.learngene, recipe.descends_to, recipe.drop_path, recipe.init, recipe.pixels)


def _of_timm(recipe: FinetuneRecipe) -> Callable[[Data], InitialModel]:
    assert recipe.model is not None
    return init_from_timm(
        recipe.model,
        recipe.model_arguments,
        pretrained=recipe.pretrained,
        image_size=recipe.pixels,
        initial_matrices=recipe.initial_matrices,
    )


def _of_checkpoint(recipe: FinetuneRecipe) -> Callable[[Data], InitialModel]:
    assert recipe.checkpoint is not None
    weights = cast(Which | None, recipe.weights)
    return init_from_checkpoint(recipe.checkpoint, recipe.model_arguments, image_size=recipe.pixels, weights=weights)


_MAKERS: Final[Mapping[Origin, Callable[[FinetuneRecipe], Callable[[Data], InitialModel]]]] = MappingProxyType(
    {"learngene": _of_learngene, "model": _of_timm, "checkpoint": _of_checkpoint}
)


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
