"""What a family would make, without making it: what is trained, and what each device gets, or by how much nothing fits."""

from dataclasses import dataclass
from typing import Any

from tleg.data.sources import data_name
from tleg.errors import InputError
from tleg.family.choose import Chosen, choose, file_size
from tleg.family.file import Family, WantedDevice
from tleg.learngene.container import LearngeneFile, read_file
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import format_depth
from tleg.learngene.reached import Reached
from tleg.references import find


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """A device, and what it gets.

    chosen   None where the learngene is not there yet, or where nothing fits
    bytes    of the weights in its file; its graph takes some more
    problem  why nothing does
    """

    device: WantedDevice
    chosen: Chosen | None = None
    bytes: int | None = None
    problem: InputError | None = None

    def document(self) -> dict[str, Any]:
        """What is known of it, for programs."""
        device, chosen = self.device, self.chosen
        row = None if chosen is None else chosen.row
        return {
            "name": device.name,
            "export": device.export,
            "dtype": device.dtype,
            "epochs": device.epochs,
            "depth": None if row is None else format_depth(row.depth),
            "image_size": None if row is None else list(row.image_size),
            "parameters": None if row is None else row.cost.parameters,
            "macs": None if row is None else row.cost.macs,
            "bytes": self.bytes,
            "memory": None if row is None else row.cost.inference_memory,
            "latency": None if row is None else row.latency,
            "top1": None if chosen is None else chosen.top1,
            "doubt": None if chosen is None else chosen.doubt,
            "problem": None if self.problem is None else str(self.problem),
        }


@dataclass(frozen=True, slots=True)
class FamilyPlan:
    """What would be made.

    ancestor   epochs of the training of a model that teaches; None where none is trained
    learngene  its name; None where one is learned
    learned    the architecture of the one that is learned
    measured   on what the accuracies are known that decide, in words; None where none are, and they are measured first
    unused     on which other images the learngene's accuracies are, where those are the only ones, in words
    """

    ancestor: int | None
    learngene: str | None
    learned: str | None
    measured: str | None
    devices: tuple[PlannedDevice, ...]
    unused: str | None = None

    def document(self) -> dict[str, Any]:
        """What is known, for programs."""
        return {
            "ancestor_epochs": self.ancestor,
            "learngene": self.learngene,
            "learned": self.learned,
            "measured_on": self.measured,
            "unused": self.unused,
            "devices": [each.document() for each in self.devices],
        }

    def require(self) -> None:
        """Raise InputError for the first device for which nothing fits."""
        for each in self.devices:
            if each.problem is not None:
                raise each.problem


def plan_family(family: Family) -> FamilyPlan:
    """Return what a family would make. Of a learngene that is there the header says what each device gets.

    Accuracies that decide are those of the header on the family's own images. Where it has none, the deepest is told that
    fits: the family itself measures first, and may decide otherwise. Raises InputError for a learngene that is not there,
    FileFormatError for one that is damaged.
    """
    ancestor = family.ancestor_recipe().recipe.epochs if family.trains_ancestor else None
    if family.learngene is None:
        devices = tuple(PlannedDevice(device) for device in family.devices)
        return FamilyPlan(ancestor, None, str(family.learn["architecture"]), None, devices)
    file = read_file(find(family.learngene, "learngene"))
    header = file.header
    own = _measured_on(header, family.data)
    known = {(size, depth): top1 for size, each in own.items() for depth, top1 in each.by_depth.items()}

    def plan(device: WantedDevice) -> PlannedDevice:
        try:
            chosen = choose(family, file, device, known)
        except InputError as error:
            return PlannedDevice(device, problem=error)
        return PlannedDevice(device, chosen, _bytes(file, chosen))

    devices = tuple(plan(device) for device in family.devices)
    measured = next((str(each) for each in own.values()), None)
    unused = None if own or header.reached is None else str(header.reached)
    return FamilyPlan(ancestor, family.learngene, None, measured, devices, unused)


def _measured_on(header: LearngeneHeader, data: str) -> dict[tuple[int, int], Reached]:
    """The accuracies of a header in float32 on some data, by the size of the inputs."""
    name = f"{data_name(data)} "  # What follows is the part, or how it was split.
    found = [each for each in header.measured if each.precision == "float32" and each.data.startswith(name)]
    return {each.image_size or header.image_size: each for each in found}


def _bytes(file: LearngeneFile, chosen: Chosen) -> int:
    return file_size(chosen.row, file, chosen.device)
