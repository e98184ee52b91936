"""Where the trainings of a study are: on this machine, each on its part of the cores and on a GPU of its own."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from tleg.errors import InputError
from tleg.launch import make_training, resume_training
from tleg.recipes.io import from_values, to_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.launch import launch
from tleg.runs.processes import jobs_in_queue
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.threads import AUTO, available_cores

# Without one of these no program computes with CUDA (or ROCm, which torch calls by that name).
_DRIVERS: Final = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


class Place(ABC):
    """Where trainings are.

    chains  whether a training may be put behind others that have not ended
    """

    chains: ClassVar[bool] = False

    @property
    @abstractmethod
    def limit(self) -> int | None:
        """The trainings at a time; None is as many as there are."""

    @property
    @abstractmethod
    def machine(self) -> str:
        """Where it is, in words."""

    @abstractmethod
    def make(
        self, recipe: TrainingRecipe, runs_dir: Path, working: Sequence[RunFolder], later: Sequence[str] = ()
    ) -> RunFolder:
        """Make the run of a training. Raises TlegError.

        working  the runs at work
        later    options that name a result which is not there yet
        """

    @abstractmethod
    def start(self, folder: RunFolder, after: Sequence[RunFolder]) -> None:
        """Start a run that was made, behind others. Raises TlegError."""

    @abstractmethod
    def resume(self, folder: RunFolder, after: Sequence[RunFolder], working: Sequence[RunFolder]) -> None:
        """Start a run again that ended, or that waits for nobody, behind others. Raises TlegError."""

    @abstractmethod
    def queued(self, folder: RunFolder) -> bool:
        """Whether a run waits for its turn as a job of SLURM."""

    def gone(self, waiting: Sequence[RunFolder]) -> list[RunFolder]:
        """Return those of the runs in the state 'queued' that nobody will start."""
        return []


@dataclass(frozen=True, slots=True)
class Here(Place):
    """This machine.

    slots    trainings at a time, each on its part of the cores
    devices  CUDA devices to share out; None counts them when there is more than one slot
    """

    slots: int = 1
    devices: int | None = None

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise InputError(f"a study needs at least 1 slot, not {self.slots}", field="slots", code="out-of-range")
        if self.devices is None:
            object.__setattr__(self, "devices", count_devices() if self.slots > 1 else 0)

    @property
    def limit(self) -> int:
        """The slots."""
        return self.slots

    @property
    def machine(self) -> str:
        """The cores, the GPUs where trainings share them out, and the slots."""
        gpus = f", {self.devices} GPUs" if self._shares else ""
        return f"{available_cores()} processor cores{gpus}; {self.slots} training{'s' * (self.slots > 1)} at a time"

    def make(
        self, recipe: TrainingRecipe, runs_dir: Path, working: Sequence[RunFolder], later: Sequence[str] = ()
    ) -> RunFolder:
        """Make the run of a training, with its part of the cores and the GPU that has the fewest at work."""
        values = to_values(recipe)
        if recipe.compute.threads == AUTO:
            values["threads"] = str(max(1, available_cores() // self.slots))
        values |= self._device(recipe.compute.device, recipe.compute.processes, working)
        return make_training(from_values(recipe.kind, values), runs_dir, later=later)

    def start(self, folder: RunFolder, after: Sequence[RunFolder]) -> None:
        """Start a run. Here none is put behind others."""
        launch(folder)

    def resume(self, folder: RunFolder, after: Sequence[RunFolder], working: Sequence[RunFolder]) -> None:
        """Start a run again, on the GPU that has the fewest at work by now."""
        values = read_spec(folder).recipe
        changes = self._device(str(values.get("device", AUTO)), values.get("devices") or 1, working, again=True)
        resume_training(folder, changes, "here")

    def queued(self, folder: RunFolder) -> bool:
        """Whether a run of a study that was begun with SLURM is still a job there."""
        job = read_spec(folder).launch.job_id
        return job is not None and job in (jobs_in_queue() or ())

    @property
    def _shares(self) -> bool:
        return self.slots > 1 and (self.devices or 0) > 1

    def _device(self, device: str, processes: int, working: Iterable[RunFolder], *, again: bool = False) -> dict[str, Any]:
        """The device of a training that leaves it open, or that was given one when it was started before."""
        left_open = device in (AUTO, "cuda") or (again and device.startswith("cuda:"))
        if not self._shares or processes > 1 or not left_open:
            return {}
        used = Counter(str(read_spec(each).recipe.get("device")) for each in working)
        return {"device": min((f"cuda:{number}" for number in range(self.devices or 0)), key=lambda each: used[each])}


def count_devices() -> int:
    """Return how many CUDA devices torch sees. It is loaded only where there can be one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "" or not any(os.path.exists(path) for path in _DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
