"""Opening a model to analyse how linear its layers are, and running images through it.

The layers are the longest run of blocks of one shape, wherever timm's model has it: the blocks of a ViT of whatever kind, or
those of the longest stage of a model with several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tleg.data.sampler import READABLE, EvaluationImages
from tleg.data.transforms import Normaliser, evaluation_transform
from tleg.errors import ArchitectureError, DataError, InputError, concerning, last_words
from tleg.export.origin import training_record
from tleg.learngene.header import Preprocessing
from tleg.models.descendant import expand
from tleg.models.learngene import load
from tleg.models.linearity import (
    FEWEST_LAYERS,
    Linearity,
    Matrix,
    Orders,
    analyse_grams,
    cosines,
    gram_of_layers,
    linear_cka,
)
from tleg.models.pretrained import open_timm
from tleg.models.weights import Which
from tleg.recipes.analysis import Analysis
from tleg.recipes.images import EvaluatedImages
from tleg.references import Reference
from tleg.training.evaluate import open_evaluation_data, trained_on
from tleg.training.models import is_want_of_memory, open_model
from tleg.training.names import resolve_model

# Tokens that outputs are compared at: a kernel of so many rows and columns for each layer.
MAX_TOKENS: Final = 1024


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike layers are, each to each.

    of      what was compared: 'outputs' by linear CKA, or 'weights' by the cosine of what differs from their mean, each
            parameter alike
    on      the images that passed through the model, in words; empty for weights
    values  (L, L), 1 for what is the same
    """

    of: str
    on: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class LayerAnalysis:
    """How linear the layers of a model are in their position. See `tleg.models.linearity`.

    model       what was named, and `description` what that turned out to be
    blocks      the name of the layers inside timm's model, as in 'blocks'
    layers      how many there are: L
    shuffles    orders that each figure is compared with, drawn with `seed`
    parameters  of a layer, by name inside it, in the model's order
    overall     all of them together, each value alike: large values decide, such as those of layer scale
    balanced    all of them together, each parameter alike: its R^2 is the mean of theirs
    similarity  of the layers, each to each
    notes       what to know about the model and the images
    """

    model: str
    description: str
    blocks: str
    layers: int
    shuffles: int
    seed: int
    parameters: tuple[Linearity, ...]
    overall: Linearity
    balanced: Linearity
    similarity: Similarity
    notes: tuple[str, ...]

    @property
    def positions(self) -> tuple[float, ...]:
        """t = l / L of each layer."""
        return tuple(layer / self.layers for layer in range(self.layers))


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A model in eval mode and what its images go through."""

    model: Any
    description: str
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    trained: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def analyze_model(text: str, options: Analysis) -> LayerAnalysis:
    """Analyse the layers of what a text names: a learngene's descendant, a folder, TIMM_NAME:FILE, a run or a timm name.

    Raises InputError, ArchitectureError for a model that has no equal blocks, FileFormatError, DataError.
    """
    with concerning("model"):
        opened = _open(text, options)
        blocks, layers, others = find_layers(opened.model, text)
        orders = Orders(len(layers), options.shuffles, options.seed)
        grams = grams_of_layers([dict(layer.named_parameters()) for layer in layers], text)
    found = analyse_grams(grams, options.chosen_bases, orders)
    similarity, notes = _similarity(opened, layers, found.gram, options)
    return LayerAnalysis(
        text,
        opened.description,
        blocks,
        len(layers),
        options.shuffles,
        options.seed,
        found.parameters,
        found.overall,
        found.balanced,
        similarity,
        (*opened.notes, *others, *notes),
    )


def find_layers(model: nn.Module, name: str) -> tuple[str, list[nn.Module], tuple[str, ...]]:
    """Return the longest run of blocks of one shape: its name in the model, the blocks, and notes when there are others.

    Raises ArchitectureError when there is none of three or more.
    """
    found: list[tuple[str, list[nn.Module]]] = []
    for path, module in model.named_modules():
        if any(path.startswith(f"{outer}.") for outer, _ in found) or not isinstance(module, nn.Sequential | nn.ModuleList):
            continue
        blocks = list(module.children())
        shapes = [{key: value.shape for key, value in block.named_parameters()} for block in blocks]
        if len(blocks) >= FEWEST_LAYERS and shapes[0] and all(each == shapes[0] for each in shapes):
            found.append((path, blocks))
    if not found:
        raise ArchitectureError(
            f"{name} has no run of {FEWEST_LAYERS} or more blocks of one shape, so it has no layers that could follow a "
            "line; the blocks of a ViT are such a run"
        )
    path, blocks = max(found, key=lambda each: len(each[1]))
    others = [f"{other} ({len(each)})" for other, each in found if other != path]
    notes = (f"the layers are those of {path}; other runs of equal blocks are left out: {', '.join(others)}",)
    return path, blocks, notes if others else ()


def grams_of_layers(layers: Sequence[Mapping[str, Tensor]], name: str) -> dict[str, tuple[int, Matrix]]:
    """By parameter: how many values a layer has, and the Gram matrix of the layers. `name` is the model's, for errors.

    Raises InputError for values that are not finite.
    """
    grams = {}
    for key, first in layers[0].items():
        try:
            grams[key] = first.numel(), gram_of_layers([layer[key].detach().float().numpy() for layer in layers])
        except InputError as error:
            raise InputError(f"{name}: the layers' {key}: {error.message}", **error.about) from error
    return grams


def _open(text: str, options: Analysis) -> _Opened:
    reference = resolve_model(text, "learngene", "folder", "weights", "run", "timm")
    if reference.kind == "learngene":
        _refuse(text, "a learngene", options, "pretrained", "model_arguments", "image_size", "weights")
        learngene = load(reference.place)
        header = learngene.header
        depth = options.depth or header.auxiliary.depth
        description = f"{header.architecture.name}, {header.basis.name} basis, descendant of depth {depth}"
        size = header.architecture.input_size
        model = expand(learngene, depth)
        return _Opened(model, description, size, header.preprocessing, header.learned)
    _refuse(text, "no learngene", options, "depth")
    if reference.kind == "timm":
        _refuse(text, "a name of timm", options, "image_size", "weights")
        return _from_timm(reference.name, options)
    _refuse(text, "no name of timm", options, "pretrained")
    return _from_files(reference, options)


def _from_files(reference: Reference, options: Analysis) -> _Opened:
    opened = open_model(reference, options.model_arguments, options.pixels, cast("Which | None", options.weights))
    trained = None if opened.folder is None else training_record(opened.folder)
    return _Opened(
        opened.model.eval(),
        opened.architecture,
        opened.input_size,
        opened.preprocessing,
        trained,
        opened.notes,
    )


def _from_timm(name: str, options: Analysis) -> _Opened:
    opened = open_timm(name, options.model_arguments, pretrained=options.pretrained, seed=options.seed)
    kind = "timm's pretrained weights" if options.pretrained else f"random weights, seed {options.seed}"
    return _Opened(opened.model, f"{name}, {kind}", opened.input_size, opened.preprocessing, notes=opened.notes)


_OPTIONS: Final = {"model_arguments": "model-arg", "image_size": "image-size"}


def _refuse(text: str, what: str, options: Analysis, *names: str) -> None:
    """Refuse options that mean nothing for what a text names."""
    for name in names:
        if getattr(options, name):
            option = _OPTIONS.get(name, name)
            raise InputError(f"{text} is {what}: --{option} means nothing for it", field=option, code="conflict")


def _similarity(
    opened: _Opened, layers: list[nn.Module], balanced: Matrix, options: Analysis
) -> tuple[Similarity, tuple[str, ...]]:
    if not options.images:
        return Similarity("weights", "", _rows(cosines(balanced))), ()
    pixels, on, notes = _images(opened, options)
    with concerning("images"):
        values = linear_cka(_outputs(opened.model, layers, pixels))
    return Similarity("outputs", on, _rows(values)), notes


def _images(opened: _Opened, options: Analysis) -> tuple[Tensor, str, tuple[str, ...]]:
    """Inputs (N, C, H, W) as the model takes them, what they are in words, and notes."""
    if options.data is None:
        noise = torch.randn(options.images, *opened.input_size, generator=torch.Generator().manual_seed(options.seed))
        on = f"{options.images} image{'s' * (options.images != 1)} of noise"
        return noise, on, ("outputs are compared on noise; --data gives real images",)
    data = open_evaluation_data(
        options.data,
        EvaluatedImages(),
        trained=trained_on(opened.trained or {}),
        preprocessing=opened.preprocessing,
    )
    transform = evaluation_transform(opened.input_size, opened.preprocessing)
    images = EvaluationImages(data.validation, transform, opened.input_size)
    count = min(options.images, len(images))
    chosen = (images[index * len(images) // count] for index in range(count))
    readable = [pixels for pixels, _, broken in chosen if broken == READABLE]
    if not readable:
        raise DataError(f"none of the {count} images of {data.name} that were looked at can be read")
    pixels = Normaliser(opened.preprocessing)(torch.stack(readable))
    return pixels, f"{len(readable)} {data.part} image{'s' * (len(readable) != 1)} of {data.name}", data.notes


@torch.inference_mode()
def _outputs(model: Any, layers: list[nn.Module], pixels: Tensor) -> list[NDArray[np.float32]]:
    """The outputs of each layer at some tokens of all images, (tokens, features), the same tokens in each."""
    kept: dict[int, list[Tensor]] = {index: [] for index in range(len(layers))}
    channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    each = max(MAX_TOKENS // len(pixels), 1)

    def keep(index: int, output: Any) -> None:
        value = output[0] if isinstance(output, tuple | list) else output
        if value.ndim == 4 and not channels_last:
            value = value.permute(0, 2, 3, 1)
        tokens = value.flatten(1, -2)[0]
        count = min(each, len(tokens))
        kept[index].append(tokens[torch.arange(count) * len(tokens) // count].float().clone())

    def hook(index: int) -> Any:
        return lambda _module, _given, output: keep(index, output)

    hooks = [layer.register_forward_hook(hook(index)) for index, layer in enumerate(layers)]
    try:
        for image in pixels:
            model(image[None])
    except Exception as error:  # Of timm or torch.
        if is_want_of_memory(error):
            raise
        raise InputError(
            f"the model cannot be run on images of {tuple(pixels.shape[2:])} pixels: {last_words(error)[:200]}; --images 0 "
            "runs none",
            field="model",
            code="unsupported",
        ) from error
    finally:
        for each_hook in hooks:
            each_hook.remove()
    return [torch.cat(each_layer).numpy() for each_layer in kept.values()]


def _rows(values: Matrix) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in values)
