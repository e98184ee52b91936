"""What a family is: its slices, named and by depth, in one JSON document that the next run of the command reads as well.

Standard library only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tleg.errors import FileFormatError
from tleg.files import new_file
from tleg.serialize import decode, encode

SLICES: Final = "slices.json"
FORMAT_NAME: Final = "tleg.slices"


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthSlice:
    """A depth that devices choose among, with inputs of a size.

    depth       a number such as '6', or a profile such as '2-2-6-2'
    parameters, counts; multiply-accumulates for one image; bytes of float32 weights, and to run one image
    macs, size, memory
    top1        accuracy in percent without fine-tuning, where it was measured
    """

    depth: str
    image_size: tuple[int, int]
    parameters: int
    macs: int
    size: int
    memory: int
    top1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSlice:
    """What was made for a device.

    path             of its file or folder, as seen from the family's folder
    sha256, bytes    of the file, as its manifest has them
    zero_shot        accuracy in percent without fine-tuning, where it was measured
    top1, images     of the file itself, in its own runtime, on the family's images
    wanted           the accuracy that was asked for
    latency          median seconds for one image of the file itself, on the machine where the family was made
    expected         seconds for a batch on the device of its profile, and which that is
    epochs, run      of fine-tuning, and the run that did it
    made_from        what all of this follows from: a family with the same is not made again
    """

    name: str
    about: str
    depth: str
    image_size: tuple[int, int]
    export: str
    dtype: str
    path: str
    sha256: str
    bytes: int
    parameters: int
    macs: int
    memory: int
    zero_shot: float | None
    top1: float | None
    images: int
    wanted: float | None
    latency: float
    expected: float | None
    on: str | None
    epochs: int
    run: str | None
    made_from: str

    @property
    def missed(self) -> bool:
        """Whether it is less accurate than was asked for."""
        return self.wanted is not None and (self.top1 is None or self.top1 < self.wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyResults:
    """A family, complete or as far as it is made.

    learngene  its name and the hash of its tensors
    lineage    what its header says of where it comes from
    data       the images on which accuracy was measured, by their full name
    machine    where latency was measured, in words
    failed     device -> why there is nothing for it
    """

    format: Literal["tleg.slices"] = FORMAT_NAME
    version: Literal[1] = 1
    title: str
    license: str
    data: str
    learngene: str
    learngene_sha256: str
    architecture: str
    lineage: Mapping[str, Any]
    machine: str
    versions: Mapping[str, str]
    devices: tuple[DeviceSlice, ...]
    depths: tuple[DepthSlice, ...]
    failed: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether there is what was wanted for every device."""
        return not self.failed and not any(each.missed for each in self.devices)


def write_slices(folder: Path, results: FamilyResults) -> None:
    """Write what is known into the folder, in one step. Raises ExportError when the operating system refuses."""
    with new_file(folder / SLICES, overwrite=True) as temporary:
        temporary.write_text(json.dumps(encode(results), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_slices(folder: Path) -> FamilyResults | None:
    """Read what is known; None where nothing is. Raises FileFormatError."""
    path = folder / SLICES
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot read {path}: {error}") from error
    return decode(FamilyResults, document, str(path))
