"""What a family would make, without making it: what is trained, and what each device gets, or by how much nothing fits."""

from dataclasses import dataclass
from typing import Any

from tleg.errors import InputError
from tleg.family.choose import Chosen, choose, file_size
from tleg.family.file import Family, WantedDevice
from tleg.learngene.container import LearngeneFile, read_file
from tleg.learngene.preview import measured_for
from tleg.learngene.profile import format_depth
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
            "problem": None if self.problem is None else str(self.problem),
        }


@dataclass(frozen=True, slots=True)
class FamilyPlan:
    """What would be made.

    ancestor   epochs of the training of a model that teaches; None where none is trained
    learngene  its name; None where one is learned
    learned    the architecture of the one that is learned
    measured   on what the accuracies are known that decide, in words; None where none are
    """

    ancestor: int | None
    learngene: str | None
    learned: str | None
    measured: str | None
    devices: tuple[PlannedDevice, ...]

    def document(self) -> dict[str, Any]:
        """What is known, for programs."""
        return {
            "ancestor_epochs": self.ancestor,
            "learngene": self.learngene,
            "learned": self.learned,
            "measured_on": self.measured,
            "devices": [each.document() for each in self.devices],
        }

    def require(self) -> None:
        """Raise InputError for the first device for which nothing fits."""
        for each in self.devices:
            if each.problem is not None:
                raise each.problem


def plan_family(family: Family) -> FamilyPlan:
    """Return what a family would make. Of a learngene that is there the header says what each device gets.

    The accuracies are those of the header, on whichever images: what the family measures itself may decide otherwise. Raises
    InputError for a learngene that is not there, FileFormatError for one that is damaged.
    """
    ancestor = family.ancestor_recipe().recipe.epochs if family.trains_ancestor else None
    if family.learngene is None:
        devices = tuple(PlannedDevice(device) for device in family.devices)
        return FamilyPlan(ancestor, None, str(family.learn["architecture"]), None, devices)
    file = read_file(find(family.learngene, "learngene"))
    header = file.header
    reached = measured_for([header])
    known = {} if reached is None else {(header.image_size, depth): top1 for depth, top1 in reached.by_depth.items()}

    def plan(device: WantedDevice) -> PlannedDevice:
        try:
            chosen = choose(family, file, device, known)
        except InputError as error:
            return PlannedDevice(device, problem=error)
        return PlannedDevice(device, chosen, _bytes(file, chosen))

    devices = tuple(plan(device) for device in family.devices)
    return FamilyPlan(ancestor, family.learngene, None, None if reached is None else str(reached), devices)


def _bytes(file: LearngeneFile, chosen: Chosen) -> int:
    return file_size(chosen.row, file, chosen.device)
