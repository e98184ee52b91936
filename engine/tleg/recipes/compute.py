"""Where a training runs, and what it keeps while it does."""

import re
from dataclasses import dataclass
from typing import Final

from tleg.errors import InputError
from tleg.recipes.fields import check_fields, option
from tleg.threads import parse_threads

THREADS_HELP: Final = "Threads of each process on the processor; auto: its cores, less the workers."
PRECISIONS: Final = ("auto", "float32", "bfloat16", "float16")


def check_device(device: str) -> None:
    """Refuse a text that names no device. Whether it is there is known where it is used. Raises InputError."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", device, re.ASCII) is None:
        raise InputError(f"unknown device '{device}': choose auto, cpu, cuda or cuda:N")


@dataclass(frozen=True, slots=True)
class Compute:
    """Devices and precision.

    device        'auto', 'cpu', 'cuda' or 'cuda:N'
    precision     'auto' is bfloat16 where the GPU computes with it, else float32
    devices       processes on each machine, one to a device; None is one
    nodes         machines
    max_restarts  how often the processes are started again when one of them dies
    threads       with which each process computes on the processor: 'auto', or a number
    """

    device: str = option("auto", help="auto, cpu, cuda or cuda:N.", group="Compute")
    precision: str = option("auto", help="auto, float32, bfloat16 or float16.", group="Compute", choices=PRECISIONS)
    devices: int | None = option(
        None, help="Devices to use on each machine, a process for each. Default: 1.", group="Compute", least=1, most=1024
    )
    nodes: int = option(1, help="Machines.", group="Compute", least=1, most=4096)
    max_restarts: int = option(
        0,
        help="Starts from the last checkpoint when a process dies.",
        group="Compute",
        least=0,
        most=1000,
    )

    threads: str = option("auto", help=THREADS_HELP, group="Compute", metavar="auto|N")

    def __post_init__(self) -> None:
        check_fields(self)
        parse_threads(self.threads)
        check_device(self.device)
        if ":" in self.device and self.processes > 1:
            raise InputError(f"device {self.device} is one device, and {self.processes} were asked for; write --device cuda")

    @property
    def processes(self) -> int:
        """Processes in all."""
        return (self.devices or 1) * self.nodes


@dataclass(frozen=True, slots=True)
class Keeping:
    """Evaluations and checkpoints during training.

    evaluate_every      epochs between evaluations; 0 evaluates at the end alone
    checkpoint_minutes  minutes between checkpoints; 0 leaves those at the end of an epoch
    checkpoint_steps    steps between checkpoints, instead of minutes
    keep_last           how many of the latest checkpoints are kept; the best is kept as well
    keep_every          epochs between checkpoints that are kept for good; 0 keeps none
    result              'last' or 'best': which weights become the result
    """

    evaluate_every: int = option(
        1, help="Epochs between evaluations; 0: at the end alone.", group="Checkpoints", least=0, most=100_000
    )
    checkpoint_minutes: float = option(
        10.0,
        help="Minutes between checkpoints; 0: at the end of every epoch alone.",
        group="Checkpoints",
        least=0,
        most=100_000,
    )
    checkpoint_steps: int | None = option(
        None, help="Steps between checkpoints, instead of minutes.", group="Checkpoints", least=1, most=10**9
    )
    keep_last: int = option(2, help="How many of the latest checkpoints to keep.", group="Checkpoints", least=1, most=10_000)
    keep_every: int = option(
        0, help="Keep a checkpoint every so many epochs for good; 0: none.", group="Checkpoints", least=0, most=100_000
    )
    result: str = option("last", help="Which weights become the result.", group="Checkpoints", choices=("last", "best"))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.result == "best" and self.evaluate_every == 0:
            raise InputError("the best weights are known when they are evaluated; give evaluate-every 1 or more")
