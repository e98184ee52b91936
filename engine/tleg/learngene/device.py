"""A device profile: what was measured of a learngene's exports on one device, and what follows for every depth.

It is a small JSON file that `tleg benchmark --save-profile` writes, or the program that `--bundle` puts beside files to
measure. Latency is nearly affine in depth, so a few depths are measured and a line says the others; where the line was
found to be off by more than a tenth, the measured depths are joined instead. No numpy.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tleg.errors import FileFormatError, InputError, describe_os_error
from tleg.files import new_file
from tleg.learngene.profile import Depth
from tleg.serialize import decode, encode, to_json

FORMAT_NAME: Final = "tleg.device-profile"
# From this relative error on, latency is not taken to be affine in depth.
NOT_AFFINE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Device:
    """What was measured on: the processor's name, operating system and architecture, how many processors."""

    name: str
    system: str
    processors: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """What computed, such as 'onnxruntime' or 'torch', its version, and its provider or device."""

    name: str
    version: str
    provider: str


@dataclass(frozen=True, slots=True)
class LatencyPoint:
    """The latency of one export, in seconds for a batch.

    depth         of its model; None where it is not known
    runs          that were counted
    jitter        p99 - median
    open_seconds  until the first result, in a process of its own; None where that was not measured
    peak_bytes    by which opening and running it made that process larger
    """

    depth: int | None
    runs: int
    median: float
    p90: float
    p95: float
    p99: float
    jitter: float
    open_seconds: float | None = None
    peak_bytes: int | None = None

    def __post_init__(self) -> None:
        values = (self.median, self.p90, self.p95, self.p99)
        if not all(map(math.isfinite, values)) or min(values) <= 0:
            raise FileFormatError(f"the latency of depth {self.depth} is no positive number of seconds")


@dataclass(frozen=True, slots=True)
class LatencyLine:
    """Seconds of all that occurs once, and of a layer."""

    base: float
    per_layer: float


@dataclass(frozen=True, slots=True)
class LatencyCheck:
    """How far the line is from a depth that it was not made of; the error is relative."""

    depth: int
    predicted: float
    measured: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """What one device takes for the exports of one learngene.

    batch       images in a batch, which all seconds are for
    export      the format that was measured, such as 'onnx'
    dtype       its number type
    image_size  height and width of the inputs
    learngene   SHA-256 of its tensors; None when what was measured is of none
    date        of the measurement, as 2026-11-28
    line        through the measured depths; None for one depth alone
    """

    format: Literal["tleg.device-profile"] = FORMAT_NAME
    version: Literal[1] = 1
    device: Device
    runtime: Runtime
    threads: int
    batch: int
    export: str
    dtype: str
    image_size: tuple[int, int]
    learngene: str | None
    date: str
    points: tuple[LatencyPoint, ...]
    line: LatencyLine | None
    check: LatencyCheck | None

    @property
    def affine(self) -> bool:
        """Whether the line stands for depths that were not measured."""
        return self.line is not None and (self.check is None or self.check.error <= NOT_AFFINE)

    def latency(self, depth: Depth) -> float | None:
        """Median seconds for a batch at a depth: measured, else what follows; None where nothing does, as for profiles."""
        if isinstance(depth, tuple):
            return None
        known = sorted((each.depth, each.median) for each in self.points if each.depth is not None)
        for place, seconds in known:
            if place == depth:
                return seconds
        if self.line is None:
            return None
        if self.affine:
            return max(0.0, self.line.base + depth * self.line.per_layer)
        after = next((index for index, (place, _) in enumerate(known) if place > depth), len(known) - 1)
        (low, first), (high, last) = known[max(1, after) - 1], known[max(1, after)]
        return max(0.0, first + (depth - low) * (last - first) / (high - low))

    def require(self, learngene: str | None, image_size: tuple[int, int]) -> None:
        """Refuse a learngene or a size that this was not measured with. Raises InputError.

        learngene  SHA-256 of its tensors
        """
        if self.learngene is None or self.learngene != learngene:
            whose = "of no learngene" if self.learngene is None else "of another learngene"
            raise InputError(
                f"the device profile is {whose}; measure this one: tleg benchmark LEARNGENE --save-profile FILE",
                field="profile",
                code="mismatch",
            )
        if self.image_size != image_size:
            sizes = " and not ".join(f"{height} x {width}" for height, width in (self.image_size, image_size))
            raise InputError(f"the device profile is of inputs of {sizes} pixels", field="profile", code="mismatch")

    def require_dtype(self, dtype: str) -> None:
        """Refuse exports of another number type than was measured. Raises InputError."""
        if self.dtype != dtype:
            raise InputError(
                f"the device profile is of exports in {self.dtype} and not in {dtype}; measure these: "
                f"tleg benchmark LEARNGENE --dtype {dtype} --save-profile FILE",
                field=("profile", "dtype"),
                code="mismatch",
            )

    def require_export(self, export: str) -> None:
        """Refuse another format than was measured. Raises InputError."""
        if self.export != export:
            raise InputError(
                f"the device profile is of exports to {self.export} and not to {export}; measure these: "
                f"tleg benchmark LEARNGENE --export {export} --save-profile FILE, or tleg benchmark EXPORT",
                field=("profile", "export"),
                code="mismatch",
            )

    def __str__(self) -> str:
        """'AMD EPYC, onnxruntime cpu, 1 thread, int8-dynamic': float32 goes without saying."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        batch = "" if self.batch == 1 else f", batch {self.batch}"
        dtype = "" if self.dtype == "float32" else f", {self.dtype}"
        return f"{self.device.name}, {self.runtime.name} {self.runtime.provider}, {threads}{batch}{dtype}"


def write_profile(profile: DeviceProfile, path: Path, *, overwrite: bool = False) -> None:
    """Write a device profile. Raises InputError when the file exists and may not be replaced, or cannot be written."""
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(to_json(encode(profile)), encoding="utf-8")


def read_profile(path: Path) -> DeviceProfile:
    """Read a device profile. Raises InputError when it cannot be read, FileFormatError when it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read the device profile {path}: {describe_os_error(error)}", field="profile", code="not-found"
        ) from error
    except ValueError as error:
        raise FileFormatError(f"{path} is no device profile: it is not JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise FileFormatError(f"{path} is no device profile, as tleg benchmark --save-profile writes them")
    profile = decode(DeviceProfile, document, str(path))
    if not profile.points or profile.batch < 1:
        raise FileFormatError(f"{path} is a device profile without measurements")
    return profile
