"""Which depth and size a device gets: what its budget allows that is best, or the cheapest that is accurate enough."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from tleg.errors import InputError
from tleg.family.file import Family, WantedDevice
from tleg.learngene.container import LearngeneFile
from tleg.learngene.device import DeviceProfile, read_profile
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.limits import why_none_fits
from tleg.learngene.preview import PreviewRow, preview
from tleg.learngene.profile import Depth, format_depth
from tleg.models.headers import headers_at
from tleg.text import format_bytes

# Of a weight in a file.
_BYTES: Final[Mapping[str, float]] = {
    "float32": 4,
    "float16": 2,
    "int8": 1,
    "int8-dynamic": 1,
    "int8-terms": 1,
    "int4-terms": 0.5,
}
# Height and width, depth -> top-1 in percent, on the family's own images.
Accuracies = Mapping[tuple[tuple[int, int], Depth], float]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a device gets.

    row     its depth, its size, what it costs and, with a profile, its latency on the device
    top1    accuracy in percent without fine-tuning, where it is known
    on      the device of that latency, in words
    doubt   what speaks against the depth as it is, where nothing is fine-tuned
    """

    device: WantedDevice
    row: PreviewRow
    top1: float | None
    on: str | None
    doubt: str | None


def depths_of(family: Family, header: LearngeneHeader) -> tuple[Depth, ...]:
    """The depths to choose among: the family's, else all up to the deepest that the learngene was trained at."""
    return family.depths or tuple(range(1, _deepest(header) + 1))


def _deepest(header: LearngeneHeader) -> int:
    return max(header.auxiliary.depth, *header.auxiliary.sampled_depths, 1)


def sizes_of(family: Family, header: LearngeneHeader) -> tuple[tuple[int, int], ...]:
    """The sizes of inputs that any device may get, each once."""
    return tuple(dict.fromkeys(size for device in family.devices for size in device.image_sizes or (header.image_size,)))


def file_size(row: PreviewRow, file: LearngeneFile, device: WantedDevice) -> int:
    """Bytes of the weights in a device's file: in a compact or elastic one no more than the terms, at any depth."""
    count = row.cost.parameters
    if device.export in ("onnx-compact", "onnx-elastic"):
        count = min(count, file.parameters) if device.export == "onnx-compact" else file.parameters
    return round(count * _BYTES[device.dtype])


def choose(
    family: Family, file: LearngeneFile, device: WantedDevice, known: Accuracies, *, below: PreviewRow | None = None
) -> Chosen:
    """Return what a device gets: of what its budget allows the most accurate, and the deepest where that is not known.

    With an accuracy that is wanted, and no fine-tuning, it is the cheapest that has it.

    below  something that computes less than this

    Raises InputError, naming the device, where nothing does what is wanted there.
    """
    with _of_device(device):
        header, profile = file.header, _profile_of(device)
        depth = device.depth if device.part is None else max(1, round(device.part * _deepest(header)))
        depths: Sequence[Depth] = depths_of(family, header) if depth is None else (depth,)
        batch = 1 if profile is None else profile.batch
        # What a file takes depends on its format: that of float32 weights is no budget of it.
        budget = replace(device.budget, size=None)
        result = preview(headers_at(header, device.image_sizes), depths, budget, batch, profile)
        fitting = [row for row in result.rows if row.fits]
        if not fitting:
            raise InputError(why_none_fits(result, mark=""), code="out-of-range")
        row = _best(_small_enough(fitting, file, device, below), device, known)
        on = None if profile is None else str(profile)
        doubt = None if device.epochs else header.auxiliary.doubt(row.depth)
        return Chosen(device, row, known.get((row.image_size, row.depth)), on, doubt)


def check_profiles(family: Family) -> None:
    """Refuse device profiles that cannot be read, or are of other files than their devices get. Raises InputError."""
    for device in family.devices:
        with _of_device(device):
            _profile_of(device)


def _profile_of(device: WantedDevice) -> DeviceProfile | None:
    """What was measured on a device, of such files as it gets; None where nothing was. Raises InputError."""
    if device.profile is None:
        return None
    profile = read_profile(device.profile)
    profile.require_export(device.export)
    profile.require_dtype(device.dtype)
    return profile


@contextmanager
def _of_device(device: WantedDevice) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"[devices.{device.name}]: {error}", field="devices", code=error.code) from error


def _small_enough(
    fitting: Sequence[PreviewRow], file: LearngeneFile, device: WantedDevice, below: PreviewRow | None
) -> list[PreviewRow]:
    most = device.budget.size
    if most is None:
        return list(fitting)
    sizes = {row: file_size(row, file, device) for row in fitting}
    small = [row for row in fitting if sizes[row] <= most and (below is None or row.cost.macs < below.cost.macs)]
    if small:
        return small
    raise InputError(
        f"no depth fits: the weights in its file take {format_bytes(min(sizes.values()))} and its graph some more, against "
        f"max-size {format_bytes(most)}",
        code="out-of-range",
    )


def _best(fitting: Sequence[PreviewRow], device: WantedDevice, known: Accuracies) -> PreviewRow:
    def top1(row: PreviewRow) -> float:
        return known.get((row.image_size, row.depth), -1.0)

    if device.epochs or any(top1(row) < 0 for row in fitting):  # What fine-tuning reaches is not known before.
        return max(fitting, key=lambda row: (row.cost.macs, row.blocks))
    if device.top1 is None:
        return max(fitting, key=lambda row: (top1(row), -row.cost.macs))
    enough = [row for row in fitting if top1(row) >= device.top1]
    if enough:
        return min(enough, key=lambda row: (row.cost.macs, -top1(row)))
    most = max(fitting, key=top1)
    raise InputError(
        f"{device.top1:g} % top-1 are wanted, and the best that fits, depth {format_depth(most.depth)}, has "
        f"{top1(most):.2f} % without fine-tuning; allow more, or give it epochs of fine-tuning",
        code="out-of-range",
    )
