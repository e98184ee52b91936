"""A folder that timm loads in one line: the one reader, and the writer of ours (the PyTorch export).

    timm.create_model("local-dir:PATH", pretrained=True)

Ours hold model.safetensors and config.json, in the form that `timm.models.save_for_hf` writes and timm's hub loader reads
(timm 1.0, `timm.models._hub`); timm needs no tleg to load them. What timm loads is read in every form that timm has written:
weights as pytorch_model.bin, class names by number, the fields of pretrained_cfg at the top.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tleg.errors import FileFormatError, InputError, describe_os_error
from tleg.files import require_utf8
from tleg.learngene.architecture import Architecture, Layout
from tleg.learngene.families import family_covering, family_of, fetches_backbone
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth
from tleg.learngene.structure import PLAIN_VIT
from tleg.serialize import decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
# Which file of a folder timm takes: these first, then the first of a suffix (timm 1.0, `timm.models._hub`).
PREFERRED_WEIGHTS: Final = (
    *(WEIGHTS, "pytorch_model.bin", "pytorch_model.pth", "model.pth"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    *("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth"),
)
WEIGHTS_SUFFIXES: Final = (".safetensors", ".pth", ".pth.tar", ".bin")
# How the images of its training were read, beside what timm's own configuration holds.
READING: Final = "tleg_images"
# For those who wonder why timm does not load one.
NOTE: Final = "tleg_note"


def save_timm_folder(
    folder: Path,
    tensors: "Mapping[str, NDArray[Any]]",
    architecture: Architecture,
    depth: Depth | None,
    *,
    preprocessing: Preprocessing,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    classes: tuple[str, ...] = (),
) -> None:
    """Write weights and config of a model into an existing folder.

    tensors      the model's whole state by timm's names, in the layout given, float32 or float16
    depth        of a descendant; None when the architecture is that of another timm model and takes no depth
    num_classes  another number than the architecture's; 0 where `tensors` hold no classifier
    classes      names in the order of the head's outputs, or empty

    Raises ExportError when timm's config cannot express the model, OSError when the disk refuses.
    """
    config = timm_config(
        architecture, depth, preprocessing=preprocessing, layout=layout, num_classes=num_classes, classes=classes
    )
    write_timm_folder(folder, tensors, config)


def write_timm_folder(folder: Path, tensors: "Mapping[str, NDArray[Any]]", config: Mapping[str, Any]) -> None:
    """Write weights, by timm's names, and the contents of config.json into an existing folder. Raises OSError."""
    import numpy as np
    from safetensors.numpy import save_file

    contiguous = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def timm_config(
    architecture: Architecture,
    depth: Depth | None,
    *,
    preprocessing: Preprocessing,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    classes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the contents of config.json. See `save_timm_folder`."""
    if num_classes:
        architecture = replace(architecture, num_classes=num_classes)
    count = architecture.num_classes if num_classes is None else num_classes
    architecture = architecture.in_layout(layout)
    family = family_of(architecture)
    name, arguments = family.spelled_out(architecture)
    arguments |= family.layout_arguments(layout)
    if depth is not None:
        arguments |= family.depth_arguments(architecture.profile(depth))
    pretrained = {
        "input_size": list(architecture.input_size),
        # Where it is true, timm passes input_size to the model as img_size, which only models of one size take.
        "fixed_input_size": (
            architecture.structure is not None
            or "img_size" in arguments
            # The family of plain ViTs stands for all that no other covers.
            or (_fixes_size(name) if family.name == PLAIN_VIT.name else family.sized)
        ),
        "interpolation": preprocessing.interpolation,
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": preprocessing.crop_mode,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "num_classes": count,
        "custom_load": False,
    }
    config: dict[str, Any] = {"architecture": name, "num_classes": count}
    # timm's own configuration takes no other fields than its own.
    config[READING] = {"exif": preprocessing.exif, "pixel_range": encode(preprocessing.pixel_range)}
    if (note := _only_tleg(name, arguments)) is not None:
        config[NOTE] = f"{note}: tleg.models.timm_folder.load_timm_folder(FOLDER)"
    if classes:
        config["label_names"] = list(classes)
        pretrained["label_names"] = list(classes)
    if depth is not None:
        pretrained |= {"first_conv": family.first_conv, "classifier": family.classifier}
    return {**config, "model_args": arguments, "pretrained_cfg": pretrained}


def _fixes_size(name: str) -> bool:
    """Whether timm says of a model that it takes images of one size."""
    import timm

    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return known is not None and bool(known.fixed_input_size)


def config_at_size(config: Mapping[str, Any], input_size: tuple[int, int, int]) -> dict[str, Any]:
    """Return the contents of a config.json for the same model with inputs of another size (channels, height, width)."""
    # Where writers left out what they had no other value for, timm's settings stand beside the name.
    own = config.get("pretrained_cfg")
    known = {**(own if isinstance(own, Mapping) else config), "input_size": list(input_size)}
    changed = {**config, "pretrained_cfg": known} if isinstance(own, Mapping) else known
    if known.get("fixed_input_size"):
        changed["model_args"] = {**(config.get("model_args") or {}), "img_size": image_argument(input_size[1:])}
    return dict(changed)


def config_without_classes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of a config.json for the same model without its classifier."""
    own = config.get("pretrained_cfg")
    names = ("label_names", "labels", "label_descriptions")
    changed = {name: value for name, value in config.items() if name not in names}
    if isinstance(own, Mapping):
        changed["pretrained_cfg"] = {**{name: each for name, each in own.items() if name not in names}, "num_classes": 0}
    arguments = {name: value for name, value in (config.get("model_args") or {}).items() if name != "num_classes"}
    return {**changed, "num_classes": 0, **({"model_args": arguments} if arguments else {})}


@dataclass(frozen=True, slots=True)
class TimmFolder:
    """What a folder that timm loads says of its model, read as timm 1.0 reads it (`timm.models._hub`).

    path          the folder
    config        its config.json as it is
    architecture  timm's name
    arguments     of `timm.create_model`, as they are recorded: with num_classes where the writer recorded it
    pretrained    timm's pretrained_cfg: input size, normalisation, crop, classifier
    weights       the file of weights that timm takes
    classes       names in the order of the outputs; empty when unknown
    """

    path: Path
    config: Mapping[str, Any]
    architecture: str
    arguments: Mapping[str, Any]
    pretrained: Mapping[str, Any]
    weights: Path
    classes: tuple[str, ...]

    @property
    def depth(self) -> int | None:
        """The depth that the arguments state."""
        return family_covering(self.architecture).take_depth(self.arguments)[0]

    @property
    def architecture_arguments(self) -> dict[str, Any]:
        """The arguments that say which architecture it is: without depth, and without what `Architecture` states itself."""
        _, others = family_covering(self.architecture).take_depth(self.arguments)
        return {name: value for name, value in others.items() if name != "num_classes"}

    @property
    def note(self) -> str | None:
        """Why timm alone does not load it, in one sentence; None where it does."""
        return _only_tleg(self.architecture, self.arguments)


def is_timm_folder(folder: Path) -> bool:
    """Whether a folder is one that timm loads, as far as the files that it holds say so."""
    return (folder / CONFIG).is_file()


def read_timm_folder(folder: Path) -> TimmFolder:
    """Read a folder's config.json, in any form that timm has written, and find its weights. Loads neither timm nor torch.

    Raises InputError when it is no such folder, FileFormatError when its config.json is damaged.
    """
    config = _read_config(folder)
    name = config.get("architecture")
    if not isinstance(name, str):
        if isinstance(config.get("model_type"), str):
            raise InputError(_transformers_refusal(folder, config), code="unsupported")
        raise FileFormatError(f"{folder / CONFIG} names no architecture")
    # Before there was pretrained_cfg, its fields stood at the top.
    pretrained = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    if not isinstance(pretrained, dict) or not isinstance(arguments, dict):
        raise FileFormatError(f"{folder} has model_args or a pretrained_cfg that are no objects")
    count = config.get("num_classes", pretrained.get("num_classes"))
    names = next(
        (source[key] for source in (config, pretrained) for key in ("label_names", "labels") if source.get(key)), ()
    )
    classes = _class_names(folder, names, count if type(count) is int else None)
    return TimmFolder(folder, config, name, arguments, pretrained, weights_file(folder), classes)


def weights_file(folder: Path) -> Path:
    """Return the file of weights that timm takes from a folder. Raises InputError when there is none."""
    found = next((folder / name for name in PREFERRED_WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        others = (path for suffix in WEIGHTS_SUFFIXES for path in sorted(folder.glob(f"*{suffix}")))
        found = next(others, None)
    if found is None:
        raise InputError(
            f"{folder} holds no weights, such as {WEIGHTS}, so it is not a folder that timm loads", code="wrong-kind"
        )
    return found


def _read_config(folder: Path) -> dict[str, Any]:
    if not is_timm_folder(folder):
        raise InputError(f"{folder} holds no {CONFIG}, so it is not a folder that timm loads", code="wrong-kind")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else "it is not JSON"
        raise FileFormatError(f"cannot read {folder / CONFIG}: {reason}") from error
    if not isinstance(config, dict):
        raise FileFormatError(f"{folder / CONFIG} names no architecture")
    return config


def _class_names(folder: Path, names: Any, count: int | None) -> tuple[str, ...]:
    """A list of names, or timm's mapping from the number of an output to its name. One with gaps names no classes."""
    if isinstance(names, dict):
        try:
            by_number = {int(number): name for number, name in names.items()}
        except (TypeError, ValueError) as error:
            raise FileFormatError(f"{folder / CONFIG} has label_names that are not numbered") from error
        names = [by_number.get(number) for number in range(count if count is not None else len(by_number))]
        if None in names:
            return ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise FileFormatError(f"{folder / CONFIG} has label_names that are no names")
    if names and count is not None and len(names) != count:
        raise FileFormatError(f"{folder / CONFIG} names other classes in label_names than the model's {count}")
    return tuple(names)


def _transformers_refusal(folder: Path, config: Mapping[str, Any]) -> str:
    """What a folder of Hugging Face transformers is, and what to do with it."""
    kinds = config.get("architectures")
    kind = kinds[0] if isinstance(kinds, list) and kinds else config["model_type"]
    origin = config.get("_name_or_path")
    of = f" of {origin}" if isinstance(origin, str) and "/" in origin and not Path(origin).exists() else ""
    return (
        f"{folder} was written by Hugging Face transformers ({kind}{of}), which names weights in another way than timm; "
        "take the same model from timm (`tleg models` lists the names), load its weights there and write a folder with "
        "timm.models.save_for_hf(model, FOLDER, safe_serialization=True)"
    )


def _only_tleg(architecture: str, arguments: Mapping[str, Any]) -> str | None:
    """Why timm alone does not load a model that was made with arguments, in one sentence; None where it does."""
    if fetches_backbone(architecture):
        return f"tleg opens it, and timm alone fetches weights from the hub first, for the backbone of '{architecture}'"
    fixed = family_covering(architecture).fixed_by_timm(arguments)
    if not fixed:
        return None
    return f"tleg opens it and timm alone does not, because timm's function '{architecture}' fixes {' and '.join(fixed)}"


def preprocessing_of(config: Mapping[str, Any], channels: int) -> Preprocessing:
    """Return the preprocessing that a timm config states, for a model of so many channels. Raises InputError.

    config  its pretrained_cfg; with how images are read, as the config.json of a folder has it. Without, they are not turned
            upright, as with timm's own models
    """
    mean, std = for_channels(config["mean"], channels), for_channels(config["std"], channels)
    interpolation: Any = config.get("interpolation", "bicubic")
    crop_mode: Any = config.get("crop_mode") or "center"
    if interpolation not in ("bicubic", "bilinear", "nearest", "lanczos"):
        raise InputError(f"tleg knows no interpolation '{interpolation}'", code="unsupported")
    if crop_mode not in ("center", "squash", "border"):
        raise InputError(f"tleg knows no crop mode '{crop_mode}'", code="unsupported")
    crop = float(config.get("crop_pct") or 0.875)
    reading = _decode_reading(config.get(READING))
    return Preprocessing(mean, std, interpolation, crop, crop_mode, reading.exif, reading.pixel_range)


def for_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return a mean or std by channel for images of so many channels: as it is, or the mean over its own for each."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels


def input_size_of(known: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return (channels, height, width) of the inputs of a model that timm made.

    known      its pretrained_cfg; without an input size, timm's usual one
    arguments  those that it was made with, which win: in_chans, and img_size where it takes images of one size alone
    """
    channels, height, width = known.get("input_size") or (3, 224, 224)
    image = arguments.get("img_size") if known.get("fixed_input_size", True) else None
    if isinstance(image, int):
        height = width = image
    elif isinstance(image, list | tuple) and len(image) == 2:
        height, width = image
    return int(arguments.get("in_chans") or channels), int(height), int(width)


def image_argument(size: tuple[int, int]) -> int | list[int]:
    """Return the height and width of images as timm's argument img_size: one number where they are square."""
    height, width = size
    return height if height == width else [height, width]


def load_timm_folder(folder: Path | TimmFolder, arguments: Mapping[str, Any] | None = None) -> Any:
    """Return the model of a timm folder, in eval mode; some arguments of `timm.create_model` may be given anew.

    folder  its path, or what was read of it, which is not read again

    A float16 folder gives a model in float32, as timm makes it. Raises InputError or FileFormatError.
    """
    import timm

    from tleg.models.creation import create_model

    known = folder if isinstance(folder, TimmFolder) else read_timm_folder(folder)
    folder = known.path
    require_utf8(folder, "timm")
    try:
        fixes_depths = known.arguments and family_covering(known.architecture).timm_fixes_depths
        if not fixes_depths and not fetches_backbone(known.architecture):
            model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, **dict(arguments or {})).eval()
        else:
            # As timm does, whose own reader gives the depths to a function that takes none.
            given = {**known.arguments, **(arguments or {})}
            weights = {**known.pretrained, "file": str(folder), "source": "local-dir"}
            if "num_classes" in known.config:
                weights["num_classes"] = known.config["num_classes"]
            model = create_model(known.architecture, pretrained=True, pretrained_cfg=weights, **given).eval()
        return model
    except Exception as error:  # timm and safetensors report what does not fit in many ways.
        raise FileFormatError(f"timm cannot load {folder}: {' '.join(str(error).split())[:400]}") from error


@contextmanager
def quiet_timm() -> Iterator[None]:
    """timm logs what it resamples and converts; what matters of it is said by us."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a folder says of how images are read. One that says nothing was made without turning them upright."""

    exif: bool = False
    pixel_range: tuple[float, float] | None = None


def _decode_reading(document: object) -> _Reading:
    return _Reading() if document is None else decode(_Reading, document, f"{CONFIG}: {READING}")
