"""The limits of a deployment as people type them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tleg.errors import InputError, TlegError
from tleg.learngene.cost import Budget
from tleg.learngene.device import DeviceProfile, read_profile
from tleg.text import parse_bytes, parse_count, parse_latency
from tleg_tui.common.learngenes import resolve_path

# Key, label, example.
FIELDS: Final = (
    ("parameters", "params  ≤", "20M"),
    ("macs", "GMACs   ≤", "3"),
    ("size", "size    ≤", "50MB"),
    ("memory", "memory  ≤", "1GB"),
    ("latency", "latency ≤", "20ms"),
    ("device", "device", "profile"),
    ("batch", "batch", "1"),
)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a deployment allows.

    budget   upper limits, and `batch`, the images of a batch that memory and latency are of
    device   what was measured of the learngene where it shall run; None: nothing is known of latency
    problem  what is wrong with the first text that means nothing, beginning with its key; such a text is no limit
    """

    budget: Budget = field(default_factory=Budget)
    batch: int = 1
    device: DeviceProfile | None = None
    problem: str | None = None


def read_budget(texts: Mapping[str, str]) -> Wanted:
    """Return what the texts mean, by the keys of FIELDS."""
    problems: list[str] = []

    def read(key: str, parse: Callable[[str], Value]) -> Value | None:
        text = texts.get(key, "").strip().removeprefix("≤").strip()
        if text in ("", "-", "–"):
            return None
        try:
            return parse(text)
        except TlegError as error:
            problems.append(f"{key}: {error}")
            return None

    parameters, macs = read("parameters", parse_count), read("macs", _macs)
    size, memory = read("size", _bytes), read("memory", _bytes)
    latency, device = read("latency", _seconds), read("device", _profile)
    if latency is not None and device is None:
        problems.append("latency: name the profile of a device below, as tleg benchmark --save-profile writes it")
        latency = None
    batch = read("batch", _batch) or 1
    return Wanted(Budget(parameters, macs, size, memory, latency=latency), batch, device, problems[0] if problems else None)


def _macs(text: str) -> int:
    # A bare number is in GMACs, as the table shows them.
    return int(float(text) * 1e9) if _is_number(text) else parse_count(text)


def _bytes(text: str) -> int:
    # A bare number is in MB: nobody's budget is a few bytes.
    return int(float(text) * 1e6) if _is_number(text) else parse_bytes(text)


def _seconds(text: str) -> float:
    # A bare number is in milliseconds.
    return float(text) / 1e3 if _is_number(text) else parse_latency(text)


def _batch(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= 1_000_000:
        raise InputError(f"a batch is 1 to 1,000,000 images, not '{text[:20]}'")
    return int(text)


def _profile(text: str) -> DeviceProfile:
    return read_profile(resolve_path(text))


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < 1e9
    except ValueError:
        return False
