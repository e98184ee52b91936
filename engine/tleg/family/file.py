"""The file of a family: devices with their budgets, and what their models come from. Standard library alone.

All of it is checked when it is read, the recipes of its trainings included.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError, concerning, did_you_mean
from tleg.export.formats import FORMATS, PRECISIONS, find_format, parse_precision
from tleg.learngene.cost import Budget
from tleg.learngene.limits import LIMITS, read_budget
from tleg.learngene.profile import Depth, parse_depth, parse_profiles
from tleg.recipes.building import build_options
from tleg.recipes.fields import Option, check_fields, option, options_of
from tleg.recipes.io import from_values, read_toml, read_value
from tleg.recipes.precision import MAX_DROP
from tleg.recipes.recipes import TrainingRecipe
from tleg.text import parse_image_size

_KEYS: Final = ("title", "data", "license", "learngene", "depths", "ancestor", "learn", "finetune", "devices")
# What the family decides for its trainings.
_DECIDED: Final = ("data", "teacher", "learngene", "depth", "image-size", "epochs")
# Names of trainings, and of the folder of their runs.
_TAKEN: Final = ("ancestor", "learngene", "runs")
# Where something will be that is not there while the file is checked.
LATER: Final = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """What a device's table may say; a limit as people write it."""

    about: str = option("", help="What it is, in words.")
    export: str = option("onnx", help="The format of its file.", choices=tuple(FORMATS))
    dtype: str = option("float32", help="The number type.", choices=PRECISIONS)
    max_drop: float | None = option(
        None, help=f"Points of top-1 that a smaller dtype may lose. Default: {MAX_DROP}.", least=0, most=100
    )
    depth: str | None = option(None, help="The depth, where no budget shall choose it.")
    part: float | None = option(
        None, help="The depth as a part of the deepest that the learngene was trained at.", least=0.01, most=1
    )
    image_size: str | None = option(None, help="Pixels of the inputs; of several with commas the budget chooses.")
    max_params: str | None = option(None, help="Most parameters, such as 20M.")
    max_macs: str | None = option(None, help="Most MACs for one image, such as 3G.")
    max_size: str | None = option(None, help="Largest file, such as 50MB.")
    max_memory: str | None = option(None, help="Most memory to run one image, such as 1.5GiB.")
    max_training_memory: str | None = option(None, help="Most memory to fine-tune on one image.")
    max_latency: str | None = option(None, help="Most time for an image on the device of profile, such as 20ms.")
    profile: str | None = option(None, help="A device that tleg benchmark measured.")
    top1: float | None = option(None, help="The accuracy that is wanted, in percent.", least=0, most=100)
    epochs: int = option(0, help="Epochs of fine-tuning; 0 takes the descendant as it is.", least=0, most=1_000_000)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDevice:
    """A device, and what is wanted for it.

    depth, part  that were asked for; None leaves it to the budget
    image_sizes  height and width of the inputs to choose among; empty is the learngene's
    profile      the file of what tleg benchmark measured there
    top1         the accuracy that is wanted, in percent
    epochs       of fine-tuning
    max_drop     points of top-1 that a number type other than float32 may lose; None is the usual
    """

    name: str
    about: str
    export: str
    dtype: str
    depth: Depth | None
    part: float | None
    image_sizes: tuple[tuple[int, int], ...]
    budget: Budget
    profile: Path | None
    top1: float | None
    epochs: int
    max_drop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What is made.

    text       of the file
    file       its path, where it alone says all of this
    learngene  a learngene's name or path; None learns one, as `learn` says
    ancestor   a model's name or path that teaches, or the options with which it is trained; None is no teacher
    learn      options of `tleg learn`
    finetune   options of `tleg finetune`, for the devices that have epochs
    depths     to choose among; empty is each up to the deepest that the learngene was trained at
    """

    title: str
    text: str
    data: str
    license: str
    learngene: str | None
    ancestor: str | Mapping[str, Any] | None
    learn: Mapping[str, Any]
    finetune: Mapping[str, Any]
    depths: tuple[Depth, ...]
    devices: tuple[WantedDevice, ...]
    file: Path | None = None

    @property
    def trains_ancestor(self) -> bool:
        """Whether the model that teaches is trained first."""
        return self.ancestor is not None and not isinstance(self.ancestor, str)

    def ancestor_recipe(self) -> TrainingRecipe:
        """Return how the model that teaches is trained. Raises InputError."""
        assert isinstance(self.ancestor, Mapping)
        return _recipe("ancestor", "train", {**self.ancestor, "data": self.data})

    def learn_recipe(self, teacher: str | None) -> TrainingRecipe:
        """Return how the learngene is learned, from a teacher that is there by now. Raises InputError."""
        given = {} if teacher is None else {"teacher": teacher}
        return _recipe("learn", "learn", {**self.learn, **given, "data": self.data})

    def finetune_recipe(
        self, device: WantedDevice, learngene: str, depth: str, image_size: str | None, teacher: str | None
    ) -> TrainingRecipe:
        """Return how the descendant of a device is trained. Raises InputError.

        image_size  where it is another than the learngene's
        """
        values = {**self.finetune, "learngene": learngene, "depth": depth, "epochs": device.epochs, "data": self.data}
        if image_size is not None:
            values["image-size"] = image_size
        if teacher is not None:
            values["teacher"] = teacher
        return _recipe("finetune", "finetune", values)


def read_family(path: Path | None, given: Mapping[str, str] | None = None) -> Family:
    """Read and check the file of a family.

    path   None is no file: devices small, medium and large, a quarter, half and all of the learngene's depth, and where
           there is no learngene, one of vit_small_patch16_224
    given  keys that stand above the file's: 'data', 'license', 'learngene', 'ancestor'

    Raises FileFormatError for what is no TOML, InputError for what is wrong in it.
    """
    text, document = ("", dict(_WITHOUT_FILE)) if path is None else read_toml(path, "family")
    document |= given or {}
    if path is None and "learngene" not in document:
        document["learn"] = {"architecture": "vit_small_patch16_224"}
    family = make_family(document, text)
    return family if given else replace(family, file=path)


_WITHOUT_FILE: Final[Mapping[str, Any]] = {
    "title": "A family of vision transformers",
    "devices": {
        name: {"about": f"{part:.0%} of the depth", "part": part}
        for name, part in {"small": 0.25, "medium": 0.5, "large": 1.0}.items()
    },
}


def make_family(document: Mapping[str, Any], text: str = "") -> Family:
    """Return the family of a document. Raises InputError naming what is unknown, missing or wrong."""
    _known(document, _KEYS, "a family")
    tables = _table(document, "devices")
    if not tables:
        raise _wrong("devices", "a family needs at least one device, as in [devices.NAME]", "missing")
    learn, finetune, ancestor = _table(document, "learn"), _table(document, "finetune"), document.get("ancestor")
    learngene = _text(document, "learngene")
    if (learngene is None) == (not learn):
        what = 'a family needs learngene = "NAME", or a table [learn] that says how one is learned'
        raise _wrong("learngene", what if learngene is None else "give learngene or [learn], not both", "conflict")
    if ancestor is not None and not isinstance(ancestor, str | dict):
        raise _wrong("ancestor", "ancestor is a model's name or path, or a table of options of tleg train")
    for name, table in {"learn": learn, "finetune": finetune, "ancestor": ancestor}.items():
        if isinstance(table, Mapping) and (decided := next((key for key in _decided(name) if key in table), None)):
            raise _wrong(name, f"[{name}] has {decided}, which the family decides", "conflict")
    licence = _text(document, "license")
    if not licence or not licence.strip():
        raise _wrong(
            "license",
            'name the licence of what is made, as in license = "apache-2.0"; a model without one is nobody\'s to use',
            "missing",
        )
    data = _text(document, "data")
    if not data:
        raise _wrong("data", 'name the images on which accuracy is measured, as in data = "fashion-mnist"', "missing")
    with concerning("depths"):
        depths = parse_profiles(_text(document, "depths") or "") if "depths" in document else ()
    family = Family(
        title=_text(document, "title") or "A family",
        text=text,
        data=data,
        license=licence.strip(),
        learngene=learngene,
        ancestor=ancestor,
        learn=learn,
        finetune=finetune,
        depths=depths,
        devices=tuple(read_device(name, _table(tables, name)) for name in tables),
    )
    _check_recipes(family)
    return family


def _decided(name: str) -> tuple[str, ...]:
    return tuple(each for each in _DECIDED if each != "epochs" or name == "finetune")


def read_device(name: str, table: Mapping[str, Any], *, named: bool = True) -> WantedDevice:
    """Return the device of a table. Raises InputError, which says whose table is wrong where it is `named`."""
    where = f"[devices.{name}]"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name, re.ASCII):
        raise _wrong("devices", f"a device is called by letters, digits, '-', '_' and '.', not '{name[:64]}'")
    if name in _TAKEN:
        raise _wrong("devices", f"a device cannot be called {name}, as something else of a family is", "conflict")
    _known(table, [each.name for each in options_of(DeviceOptions)], where)
    known = {each.name: each for each in options_of(DeviceOptions)}
    try:
        values = {key: _read_value(known[key], value) for key, value in table.items()}
        options = build_options(DeviceOptions, values)
        budget = read_budget({limit.name: getattr(options, limit.name.replace("-", "_")) for limit in LIMITS.values()})
        depth = None if options.depth is None else parse_depth(options.depth)
        sizes = () if options.image_size is None else tuple(map(parse_image_size, options.image_size.split(",")))
        if options.max_latency is not None and options.profile is None:
            raise _wrong(
                "devices",
                "max-latency needs a device: profile = FILE, as tleg benchmark --save-profile writes it",
                "missing",
            )
        entry, precision = find_format(options.export), parse_precision(options.dtype)
        entry.check_installed()
        if entry.elsewhere:
            raise _wrong(
                "devices",
                f"a family measures every file, and {entry.elsewhere}; make it by tleg build --export {entry.name}",
            )
        # The folder that fine-tuning leaves is a folder that timm loads already.
        if not (options.epochs and entry.is_timm_folder and precision == "float32"):
            entry.check_source("folder" if options.epochs else "learngene", precision, "a fine-tuned model")
        if options.max_drop is not None and precision == "float32":
            raise _wrong("devices", "max-drop decides whether a smaller dtype is kept, and it is float32", "conflict")
        fixed = [name for name in ("depth", "part") if getattr(options, name) is not None]
        if len(fixed) > 1 or (fixed and budget.limited):
            raise _wrong("devices", "depth, part and a budget each choose the depth; give one of them", "conflict")
        if fixed and len(sizes) > 1:
            raise _wrong("devices", "a depth is built for one image-size; several are for a budget", "conflict")
    except InputError as error:
        raise InputError(f"{where}: {error}" if named else str(error), field="devices", code=error.code) from error
    return WantedDevice(
        name=name,
        about=options.about,
        export=options.export,
        dtype=options.dtype,
        depth=depth,
        part=options.part,
        image_sizes=tuple(dict.fromkeys(sizes)),
        budget=budget,
        profile=None if options.profile is None else Path(options.profile),
        top1=options.top1,
        epochs=options.epochs,
        max_drop=options.max_drop,
    )


def _read_value(each: Option, value: Any) -> Any:
    written_as_number = each.name in _TEXTS and isinstance(value, int | float) and not isinstance(value, bool)
    return read_value(each, str(value) if written_as_number else value)


# What a person may write as a number, and is a text.
_TEXTS: Final = frozenset({"depth", "image-size", *(limit.name for limit in LIMITS.values())})


def _check_recipes(family: Family) -> None:
    """Make every recipe once. Raises InputError."""
    if family.trains_ancestor:
        family.ancestor_recipe()
    teacher = None if family.ancestor is None else LATER
    if family.learngene is None:
        family.learn_recipe(teacher)
    for device in family.devices:
        if device.epochs:
            family.finetune_recipe(device, LATER, "1", None, teacher)


def _recipe(table: str, kind: str, values: Mapping[str, Any]) -> TrainingRecipe:
    try:
        return from_values(kind, values)
    except InputError as error:
        raise InputError(f"[{table}]: {error}", field=table, code=error.code) from error


def _known(values: Mapping[str, Any], known: Any, where: str) -> None:
    for name in values:
        if name not in known:
            raise _wrong("file", f"{where} has an unknown key '{name}'.{did_you_mean(name, known)}", "unknown-name")


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise _wrong(name if name in _KEYS else "devices", f"{name} is a table, as in [{name}]", "malformed")
    return value


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(name, f"{name} is a text in quotes, not {value!r}")
    return value


def _wrong(field: str, text: str, code: str = "malformed") -> InputError:
    return InputError(text, field=field, code=code)
