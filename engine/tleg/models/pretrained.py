"""A trained model from what people have: a folder that timm loads, a timm name with a file of weights, or a timm name.

Everything that takes a model (evaluation, teachers, fine-tuning, exports) takes it from here, so all see the same one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import timm
import torch
from torch import Tensor

from tleg.errors import ArchitectureError, FileFormatError, InputError, first_line
from tleg.files import hash_file
from tleg.learngene.architecture import RESERVED_ARGUMENTS
from tleg.learngene.families import family_covering
from tleg.learngene.header import Preprocessing
from tleg.models.architecture import known_name, normalise_name
from tleg.models.creation import create_model
from tleg.models.timm_folder import (
    READING,
    TimmFolder,
    image_argument,
    input_size_of,
    load_timm_folder,
    preprocessing_of,
    quiet_timm,
    read_timm_folder,
)
from tleg.models.weights import Which, read_weights, unwrap

# Names of classifiers in states that timm's filters convert to its own.
_CLASSIFIERS: Final = ("head", "fc", "classifier", "head.fc", "head_dist")
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class PretrainedModel:
    """A model with its weights, in eval mode, and all that is known of it.

    kind           'folder', 'weights' or 'timm'
    name           what to call it
    architecture   timm's name, without a tag
    arguments      of `timm.create_model`, besides depth and the number of classes
    depth          where the arguments state one
    num_classes    outputs of its classifier; 0 is a backbone without one
    classes        their names; empty when unknown
    input_size     (channels, height, width)
    preprocessing  what its images go through
    file           that holds the weights; None where timm made or downloaded them
    notes          what to know about what was taken from the file
    """

    kind: str
    model: Any
    name: str
    architecture: str
    arguments: Mapping[str, Any]
    depth: int | None
    num_classes: int
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    file: Path | None
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path | None:
        """The folder that timm loads; None for what came from elsewhere."""
        return self.file.parent if self.kind == "folder" and self.file is not None else None

    @property
    def sha256(self) -> str | None:
        """The hash of the file of weights, where there is one."""
        return None if self.file is None else hash_file(self.file)


def open_folder(
    folder: Path | TimmFolder, arguments: Mapping[str, Any] | None = None, image_size: tuple[int, int] | None = None
) -> PretrainedModel:
    """Open a folder that timm loads: `timm.create_model("local-dir:FOLDER", pretrained=True)`.

    folder      its path, or what was read of it, which is not read again
    arguments   of `timm.create_model`, given anew
    image_size  height and width of its images, where they shall be others; timm resamples what depends on them

    Raises InputError or FileFormatError.
    """
    known = folder if isinstance(folder, TimmFolder) else read_timm_folder(folder)
    folder = known.path
    if forbidden := (RESERVED_ARGUMENTS - {"depth", "num_classes"}) & {*known.arguments, *(arguments or {})}:
        raise FileFormatError(
            f"{folder} has '{min(forbidden)}' among its model_args, which is no argument of an architecture"
        )
    changed = _sized(dict(arguments or {}), image_size, bool(known.pretrained.get("fixed_input_size")))
    with quiet_timm():
        model = load_timm_folder(known, changed)
    depth, complete = family_covering(known.architecture).take_depth({**known.arguments, **changed})
    complete.pop("num_classes", None)
    config = dict(model.pretrained_cfg)
    size = _with_image(input_size_of(config, complete), image_size)
    if config.get("fixed_input_size"):
        # A name alone implies another size.
        complete = {"img_size": list(size[1:]), **complete}
    return PretrainedModel(
        "folder",
        model,
        folder.resolve().name,
        known.architecture,
        complete,
        depth,
        int(model.num_classes or 0),
        known.classes,
        size,
        preprocessing_of({**config, READING: known.config.get(READING)}, size[0]),
        known.weights,
    )


def open_weights(
    name: str,
    file: Path,
    arguments: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    which: Which | None = None,
) -> PretrainedModel:
    """Open a timm model with the weights of a file, through timm's own filters of foreign checkpoints.

    The number of classes is that of the file's classifier; 0 when it has none, as backbones that were trained without labels
    have none. Loading is strict: whatever is missing, unexpected or misshapen is named.

    name        timm's, with its tag when it has one: the tag decides normalisation, crop and size
    image_size  height and width of its images, where they shall be others than those that the weights were trained with
    which       the model's own weights or their average; None is timm's choice, the average where there is one

    Raises ArchitectureError, InputError, FileFormatError.
    """
    name = known_name(name)
    given = dict(arguments or {})
    if reserved := (RESERVED_ARGUMENTS - {"depth"}) & set(given):
        raise InputError(
            f"--model-arg cannot say '{min(reserved)}': it follows from the weights", field="model-arg", code="conflict"
        )
    state, notes = read_weights(file).take(which)
    default = timm.get_pretrained_cfg(name, allow_unregistered=True)
    given = _sized(given, image_size, bool(default is not None and default.fixed_input_size))
    template = _template(name, given)
    tensors, outside = unwrap(state, template.keys())
    left_out = list(outside)
    given |= _implied(given, tensors, template, default)
    if "global_pool" in given or "in_chans" in given:
        template = _template(name, given)
    tensors, classes = _classifier(tensors, default, left_out)
    resampled = _check_sizes(name, file, tensors, template, given)
    model = _create(name, file, given, tensors, classes)
    config = dict(model.pretrained_cfg)
    size = _with_image(input_size_of(config, given), image_size)
    if config.get("fixed_input_size"):
        given = {"img_size": list(size[1:]), **given}
    left_out = [each for each in left_out if each != "n_averaged"]
    if left_out:
        more = f" and {len(left_out) - _MOST_NAMED} more" if len(left_out) > _MOST_NAMED else ""
        notes = (*notes, f"{file} holds tensors that are no part of '{name}': {', '.join(left_out[:_MOST_NAMED])}{more}")
    if resampled:
        notes = (*notes, f"{', '.join(resampled)} of {file} resampled for images of {size[1]} x {size[2]} pixels")
    if not classes:
        notes = (*notes, f"{file} holds no classifier: '{name}' is a backbone")
    depth, given = family_covering(normalise_name(name)).take_depth(given)
    return PretrainedModel(
        "weights",
        model,
        name,
        normalise_name(name),
        given,
        depth,
        classes,
        (),
        size,
        preprocessing_of(config, size[0]),
        file,
        notes,
    )


def open_timm(name: str, arguments: Mapping[str, Any] | None = None, *, pretrained: bool, seed: int = 0) -> PretrainedModel:
    """Make a model by timm's name alone, with timm's pretrained weights, which are downloaded, or with random ones.

    seed  of random weights

    Raises ArchitectureError.
    """
    known_name(name)
    given = dict(arguments or {})
    with torch.random.fork_rng(devices=[]), quiet_timm():
        torch.manual_seed(seed)
        try:
            model: Any = create_model(name, pretrained=pretrained, **given).eval()
        except Exception as error:  # timm and the hub client report what does not fit in many ways.
            hint = f"; when offline, give its weights as {name}:FILE" if pretrained else ""
            raise ArchitectureError(
                f"timm cannot build '{name}': {first_line(error)}{hint}", code="not-found" if pretrained else None
            ) from error
    config = dict(model.pretrained_cfg)
    size = input_size_of(config, given)
    if config.get("fixed_input_size"):
        given = {"img_size": image_argument(size[1:]), **given}
    depth, given = family_covering(normalise_name(name)).take_depth(given)
    given.pop("num_classes", None)
    return PretrainedModel(
        "timm",
        model,
        name,
        normalise_name(name),
        given,
        depth,
        int(model.num_classes or 0),
        (),
        size,
        preprocessing_of(config, size[0]),
        None,
        () if pretrained else (f"{name} has random weights; --pretrained takes timm's (download)",),
    )


def _sized(arguments: dict[str, Any], image_size: tuple[int, int] | None, fixed: bool) -> dict[str, Any]:
    """The arguments with an image size, for models that are made for one."""
    return {**arguments, "img_size": image_argument(image_size)} if image_size is not None and fixed else arguments


def _with_image(size: tuple[int, int, int], image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    return size if image_size is None else (size[0], *image_size)


def _template(name: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state of the model that timm makes, without memory for its values."""
    reason = ""
    for device in ("meta", "cpu"):  # Some models compute values while they are made, which needs memory.
        try:
            with torch.device(device):
                return dict(create_model(name, **arguments).state_dict())
        except Exception as error:  # timm reports what does not fit in many ways.
            reason = first_line(error)
    raise ArchitectureError(f"timm cannot build '{name}': {reason}")


def _implied(
    given: Mapping[str, Any], tensors: Mapping[str, Tensor], template: Mapping[str, Tensor], default: Any
) -> dict[str, Any]:
    """Arguments that follow from the names and shapes of the weights, where nobody gave them."""
    implied: dict[str, Any] = {}
    # Fine-tuned by average pooling, as MAE's: the norm follows the pooling.
    follows = "fc_norm.weight" in tensors and "norm.weight" not in tensors
    if "global_pool" not in given and follows and "fc_norm.weight" not in template and "norm.weight" in template:
        implied["global_pool"] = "avg"
    stem = getattr(default, "first_conv", None)
    names = (stem,) if isinstance(stem, str) else tuple(stem or ())
    for each in names:
        mine, theirs = template.get(f"{each}.weight"), tensors.get(f"{each}.weight")
        if "in_chans" in given or mine is None or theirs is None or mine.ndim != theirs.ndim or mine.ndim < 2:
            continue
        if mine.shape[1] == 3 and theirs.shape[1] != 3 and mine.shape[2:] == theirs.shape[2:]:
            implied["in_chans"] = int(theirs.shape[1])
    return implied


def _classifier(tensors: dict[str, Tensor], default: Any, left_out: list[str]) -> tuple[dict[str, Tensor], int]:
    """The weights without the projection head of a pretraining, and the number of classes that their classifier knows."""
    stated = getattr(default, "classifier", None)
    known = (stated,) if isinstance(stated, str) else tuple(stated or ())
    for each in (*known, *_CLASSIFIERS):
        weight = tensors.get(f"{each}.weight")
        if weight is not None and weight.ndim in (2, 4):
            return tensors, int(weight.shape[0])
    roots = tuple(f"{each}." for each in {*known, "head", "fc", "classifier"})
    # Layers where a classifier would be, numbered or named: a projection head (DINO, MoCo).
    projection = [name for name in tensors if name.startswith(roots) and not _part_of_model(name, tensors)]
    left_out += projection
    return {name: value for name, value in tensors.items() if name not in projection}, 0


def _part_of_model(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a backbone without classes has it all the same: the norm before the classifier (ConvNeXt's 'head.norm')."""
    return "norm" in name.rpartition(".")[0].rpartition(".")[2]


def _check_sizes(
    name: str, file: Path, tensors: Mapping[str, Tensor], template: Mapping[str, Tensor], given: Mapping[str, Any]
) -> list[str]:
    """Refuse what timm's filters would resample without a word: weights of other images or patches than the model's.

    Returns the names of the position embeddings that are resampled because somebody asked for a size of images.
    """
    resampled = []
    differing = {key: (mine, tensors[key]) for key, mine in template.items() if key in tensors}
    differing = {key: pair for key, pair in differing.items() if pair[0].numel() != pair[1].numel()}
    # Patches before positions: their size decides how many positions there are.
    for key, (mine, theirs) in sorted(differing.items(), key=lambda each: not each[0].startswith("patch_embed")):
        if mine.ndim != theirs.ndim or (mine.shape[0] != theirs.shape[0] and mine.shape[-1] != theirs.shape[-1]):
            continue
        if "pos" in key and mine.shape[-1] != theirs.shape[-1] and mine.ndim < 4:
            continue  # Of another width: strict loading names it.
        if "pos" in key and (size := _image_of(mine, template)) is not None and size == _image_of(theirs, template):
            continue  # With a position for the class token, and without.
        if "pos" in key and "img_size" in given:
            resampled.append(key)
        elif "pos" in key:
            size = _image_of(theirs, template)
            as_trained = f"--image-size {size} takes them as they are, and another" if size else "--image-size"
            raise FileFormatError(
                f"{file} holds weights for images of another size than '{name}' takes: '{key}' is {tuple(theirs.shape)} and "
                f"the model's {tuple(mine.shape)}; {as_trained} resamples them",
                field="image-size",
                code="mismatch",
            )
        elif key.startswith("patch_embed") and "patch_size" not in given:
            raise FileFormatError(
                f"{file} does not fit '{name}': '{key}' is {tuple(theirs.shape)} and the model's {tuple(mine.shape)}; "
                "say how the model was made, as in --model-arg patch_size=8",
                field="model-arg",
                code="mismatch",
            )
    return resampled


def _image_of(position: Tensor, template: Mapping[str, Tensor]) -> int | None:
    """The side of the square images that a position embedding (1, tokens, width) was trained for."""
    patch = template.get("patch_embed.proj.weight")
    if position.ndim != 3 or patch is None or patch.ndim != 4:
        return None
    sides = (round((position.shape[1] - prefix) ** 0.5) for prefix in (1, 0, 2, 5))
    counts = zip((1, 0, 2, 5), sides, strict=True)
    side = next((side for prefix, side in counts if side > 0 and side * side == position.shape[1] - prefix), None)
    return None if side is None else side * int(patch.shape[-1])


def _create(name: str, file: Path, arguments: Mapping[str, Any], tensors: dict[str, Tensor], classes: int) -> Any:
    overlay = {"state_dict": tensors, "num_classes": classes, "label_offset": 0, "custom_load": False}
    try:
        with quiet_timm():
            model = create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes, **arguments)
    except TypeError as error:
        raise ArchitectureError(f"timm cannot build '{name}': {error}") from error
    except Exception as error:  # timm's filters fail in many ways at a state that is not theirs.
        raise FileFormatError(f"{file} does not fit '{name}': {' '.join(str(error).split())[:300]}") from error
    config = cast(dict[str, Any], model.pretrained_cfg)
    # Which would hold the weights a second time.
    config.pop("state_dict", None)
    return model.eval()
