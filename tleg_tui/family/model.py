"""The form of a family without its widgets: the document that it holds, as texts, and what is wrong with it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from tleg.errors import InputError
from tleg.family.file import DeviceOptions, make_family, read_device
from tleg.recipes.fields import Option, options_of
from tleg.text import format_epochs
from tleg_tui.common.form_fields import FieldSpec

FILE, OUTPUT, NAME = "file", "output", "name"
# What is asked of the whole family; the first and the last are none of its file.
GENERAL: Final = (
    FieldSpec(FILE, "The file of this form: F2 opens it, ctrl+s saves it.", "devices.toml", required=True),
    FieldSpec("learngene", "A shipped learngene's name, a file or a run.", "as [learn] of the file says"),
    FieldSpec("data", "The images on which accuracy is measured.", "", required=True),
    FieldSpec("license", "Of what is made, such as apache-2.0.", "", required=True),
    FieldSpec("title", "Of report and model card.", "A family"),
    FieldSpec("depths", "To choose among, such as 2-6,8.", "all that it was trained at"),
    FieldSpec(OUTPUT, "The folder of the family.", "family", required=True),
)
_NAME: Final = FieldSpec(NAME, "What it is called, and its folder.", "", required=True)
_ORDER: Final = (
    *("max-params", "max-macs", "max-size", "max-memory", "max-latency", "profile", "top1", "depth", "part"),
    *("export", "dtype", "max-drop", "epochs", "image-size", "max-training-memory", "about"),
)
_OPTIONS: Final = {each.name: each for each in options_of(DeviceOptions)}
# Texts that TOML may have as numbers.
_NUMBERS: Final = ("depth", "image-size")
# By the names of the workbench's budget.
_LIMITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "parameters": "max-params",
        "macs": "max-macs",
        "size": "max-size",
        "memory": "max-memory",
        "latency": "max-latency",
        "device": "profile",
    }
)


def device_specs() -> tuple[FieldSpec, ...]:
    """What is asked of a device: its name, and the keys of its table."""
    return (_NAME, *(_spec(_OPTIONS[name]) for name in _ORDER))


def _spec(each: Option) -> FieldSpec:
    default = "" if each.default is None else str(each.default)
    return FieldSpec(each.name, each.help, default or "none", each.choices)


@dataclass(frozen=True, slots=True)
class Problems:
    """What is wrong: by field of the family, and by place of a device."""

    general: Mapping[str, str]
    devices: Mapping[int, str]

    def __bool__(self) -> bool:
        """Whether anything is."""
        return bool(self.general or self.devices)


@dataclass(slots=True)
class FamilyForm:
    """What is filled in.

    values   of the document but for its devices, tables that the form does not show included
    devices  name and table, in order
    """

    values: dict[str, Any] = field(default_factory=dict)
    devices: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @classmethod
    def begin(cls, learngene: str, data: str, budget: Mapping[str, str]) -> "FamilyForm":
        """A device with the workbench's budget; without one, with half of the depth."""
        limits = {_LIMITS[key]: text.strip() for key, text in budget.items() if key in _LIMITS and text.strip()}
        if (macs := limits.get("max-macs")) is not None and _is_number(macs):
            limits["max-macs"] = f"{macs}G"  # A bare number is in GMACs there.
        if "max-latency" not in limits:
            limits.pop("profile", None)
        return cls({"learngene": learngene, "data": data}, [("device", {**limits} if limits else {"part": 0.5})])

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "FamilyForm":
        """The form of a file's document."""
        values = {name: value for name, value in document.items() if name != "devices"}
        return cls(values, [(name, dict(table)) for name, table in document.get("devices", {}).items()])

    @property
    def document(self) -> dict[str, Any]:
        """What its file says."""
        return {**self.values, "devices": {name: dict(table) for name, table in self.devices}}

    def text(self, name: str) -> str:
        """The text of a field of the family."""
        return _text(self.values.get(name))

    def set_text(self, name: str, text: str) -> None:
        """Take what was typed."""
        if text == self.text(name):
            return
        if text.strip():
            self.values[name] = text.strip()
        else:
            self.values.pop(name, None)

    def device_text(self, place: int, name: str) -> str:
        """The text of a field of a device."""
        called, table = self.devices[place]
        return called if name == NAME else _text(table.get(name))

    def set_device_text(self, place: int, name: str, text: str) -> None:
        """Take what was typed or chosen; a value whose text is the same stays as it is in the file."""
        table = self.devices[place][1]
        if name == NAME:
            self.devices[place] = (text.strip(), table)
        elif text != _text(table.get(name)):
            if text.strip():
                table[name] = _value(_OPTIONS[name], text.strip())
            else:
                table.pop(name, None)

    def add(self, place: int | None) -> int:
        """Add a device like the one of a place, below it, and return its place."""
        table = {} if place is None else dict(self.devices[place][1])
        names, number = {name for name, _ in self.devices}, 1
        while (name := f"device-{number}") in names:
            number += 1
        at = len(self.devices) if place is None else place + 1
        self.devices.insert(at, (name, table))
        return at

    def remove(self, place: int) -> None:
        """Take a device away."""
        del self.devices[place]

    def problems(self) -> Problems:
        """What is wrong, as far as no file has to be read for it."""
        devices: dict[int, str] = {}
        names = [name for name, _ in self.devices]
        for place, (name, table) in enumerate(self.devices):
            error = _refusal_of(read_device, name, table, named=False)
            error = error or _refusal_of(make_family, {**_STANDS_IN, "devices": {name: table}})
            if names.index(name) != place:
                devices[place] = f"there are two devices called {name}"
            elif error is not None:
                devices[place] = str(error)
        general: dict[str, str] = {}
        values = {**self.values, "devices": {"device": {}}}
        # One is refused at a time: something stands in for it, and the rest is asked about.
        while (error := _refusal_of(make_family, values)) is not None and (name := error.field or FILE) not in general:
            general[name] = str(error)
            values = {key: value for key, value in values.items() if key != name}
            values |= {name: _STANDS_IN[name]} if name in _STANDS_IN else {}
        if not self.devices:
            general.setdefault("devices", "a family needs at least one device: a adds one")
        return Problems(general, devices)

    def sound(self, problems: Problems) -> dict[str, Any] | None:
        """The document with the devices that are right, whose depths can be chosen; None where there are none."""
        devices = {name: dict(table) for place, (name, table) in enumerate(self.devices) if place not in problems.devices}
        missing = {name: _STANDS_IN[name] for name in problems.general if name in ("data", "license")}
        if not devices or len(missing) < len(problems.general):
            return None
        return {**self.values, **missing, "devices": devices}


# What stands in for what is missing or wrong, where something else is judged.
_STANDS_IN: Final[Mapping[str, str]] = MappingProxyType({"learngene": "learngene", "data": "data", "license": "license"})


def _refusal_of(read: Callable[..., object], *given: Any, **options: Any) -> InputError | None:
    try:
        read(*given, **options)
    except InputError as error:
        return error
    return None


def wanted_words(table: Mapping[str, Any]) -> str:
    """What a device asks for, in few words: '≤400K params, ≥88 %'."""
    words = [f"≤{_text(table[name])}{unit}" for name, unit in _UNITS.items() if name in table]
    words += [f"≥{_text(table['top1'])} %"] if "top1" in table else []
    words += [f"depth {_text(table['depth'])}"] if "depth" in table else []
    words += [f"{_text(table['part'])} of the depth"] if "part" in table else []
    words += [f"{_text(table['image-size'])} px"] if "image-size" in table else []
    words += [format_epochs(table["epochs"])] if table.get("epochs") else []
    return ", ".join(words) or "the most accurate"


# After each limit. Bytes and seconds have units of their own.
_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max-params": " params",
        "max-macs": " MACs",
        "max-size": "",
        "max-memory": " memory",
        "max-latency": "",
        "max-training-memory": " training",
    }
)


def file_words(table: Mapping[str, Any]) -> str:
    """What its file is: 'onnx float16'; float32 goes without saying."""
    dtype = _text(table.get("dtype", "float32"))
    return _text(table.get("export", "onnx")) + ("" if dtype == "float32" else f" {dtype}")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _value(each: Option, text: str) -> Any:
    """A typed text as the file has it; one that is no number stays a text, and is refused as such."""
    if each.kind is int or (each.kind is float and text.isdecimal()) or (each.name in _NUMBERS and text.isdecimal()):
        with suppress(ValueError):
            return int(text)
    elif each.kind is float:
        with suppress(ValueError):
            return float(text)
    return text


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        return float(text) >= 0
    return False
