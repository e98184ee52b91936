"""Several processes that train one model: who this one is, and what they tell each other, under torchrun."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from tleg.errors import InputError, TlegError

_BUCKET_VALUES: Final = 8 * 2**20
# A process that waits longer for the others has lost them; the first evaluation and a slow disk are well within it.
TIMEOUT: Final = timedelta(minutes=15)
# While the main process downloads a data set and unpacks it.
PREPARATION_TIMEOUT: Final = timedelta(days=1)
_TEXT_BYTES: Final = 2048


class LostProcessError(TlegError):
    """Another process of the run is gone, or says nothing any more. What went wrong, it knows itself."""

    default_code = "lost-process"


@contextmanager
def _with_others() -> Iterator[None]:
    """Around what processes do together. Raises LostProcessError when it fails: by itself it cannot."""
    try:
        yield
    except RuntimeError as error:
        # Not its subclasses for what this process's own memory and device do.
        if type(error) is RuntimeError or isinstance(error, dist.DistError):
            raise LostProcessError(" ".join(str(error).split())) from error
        raise


@dataclass(frozen=True, slots=True)
class World:
    """One process of `size`, numbered `rank`; `local_rank` is its number on this machine.

    control is the group for small messages between processors: they never wait for a GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    control: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes events, checkpoints and results."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a CPU tensor over all processes, the same in each."""
        if self.size > 1:
            values = values.clone()
            with _with_others():
                dist.all_reduce(values, group=self.control)
        return values

    def most(self, values: Tensor) -> Tensor:
        """Return the largest of a CPU tensor's values over all processes, the same in each."""
        if self.size > 1:
            values = values.clone()
            with _with_others():
                dist.all_reduce(values, op=dist.ReduceOp.MAX, group=self.control)
        return values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set in any process, the same answer in each."""
        if self.size == 1:
            return flags
        return tuple(bool(value) for value in self.most(torch.tensor(flags, dtype=torch.int32)).tolist())

    def from_main(self, value: int) -> int:
        """Return the main process's value in each."""
        if self.size == 1:
            return value
        values = torch.tensor([value], dtype=torch.int64)
        with _with_others():
            dist.broadcast(values, src=0, group=self.control)
        return int(values.item())

    def first(self, text: str) -> str:
        """Return the text of the first process, by rank, that has one, the same in each; empty when none has."""
        if self.size == 1:
            return text
        # Cut at a whole character.
        encoded = text.encode()[:_TEXT_BYTES].decode(errors="ignore").encode()
        mine = torch.tensor([*encoded, *bytes(_TEXT_BYTES - len(encoded))], dtype=torch.uint8)
        everybody = [torch.empty_like(mine) for _ in range(self.size)]
        with _with_others():
            dist.all_gather(everybody, mine, group=self.control)
        texts = (bytes(each.tolist()).rstrip(b"\0").decode() for each in everybody)
        return next((each for each in texts if each), "")

    def share(self, tensor: Tensor) -> None:
        """Put the main process's values into a tensor on this process's device, in place."""
        if self.size > 1:
            values = tensor.contiguous()
            with _with_others():
                dist.broadcast(values, src=0)
            if values is not tensor:
                tensor.copy_(values)

    def barrier(self, timeout: timedelta = TIMEOUT) -> None:
        """Wait for all processes."""
        if self.size > 1:
            with _with_others():
                dist.monitored_barrier(self.control, timeout)


SINGLE: Final = World()


def is_distributed() -> bool:
    """Whether torchrun, or srun with torchrun's variables, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join_world(device: torch.device, together: tuple[type[Exception], ...] = ()) -> Iterator[World]:
    """Join the other processes that torchrun started, and leave them at the end. Alone, there is nothing to join.

    The processes average gradients with NCCL between GPUs and with gloo between CPUs.

    together  the exceptions that all processes raise at the same step. After any other, the rest of them may be gone or wait
              for this one, and NCCL would wait for them in turn: then nothing is undone, and `leave` ends the process.

    Raises InputError when torchrun's variables are incomplete, LostProcessError when the others do not come.
    """
    if not is_distributed():
        yield SINGLE
        return
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ["LOCAL_RANK"])
    except (KeyError, ValueError) as error:
        raise InputError(f"WORLD_SIZE is set, but not what torchrun sets beside it: {error}", code="malformed") from error
    with _with_others():
        try:
            store, _, _ = next(rendezvous("env://", rank, size, timeout=TIMEOUT))
        except ValueError as error:  # MASTER_ADDR or MASTER_PORT is missing.
            raise InputError(
                f"WORLD_SIZE is set, but not what torchrun sets beside it: {error}", code="malformed"
            ) from error
        # torchrun keeps its store when it starts the processes again, with the addresses of those that died.
        attempt = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}-{size}", store)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=size, timeout=TIMEOUT)
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield World(rank, size, local_rank, control)
    except together:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End this process with an exit code: at once when it fails among others, whose connections must close now.

    The interpreter would take the group of processes apart on its way out, where NCCL waits for those that are gone.
    Whatever there is to tell has been written before.
    """
    if dist.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def average_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """Replace gradients by their mean over all processes, in buckets, always in the same order.

    torch's DistributedDataParallel sums in an order that its first step decides, so that a run that goes on from a
    checkpoint would differ in the last bits from one that was not interrupted; and it allows one backward pass a step, where
    a sandwich of depths has three. They are summed after the backward pass, which costs little for the 17 MB of an auxiliary
    ViT-S; with the 346 MB of a fine-tuned ViT-B a slow connection between machines is waited for.
    """
    if world.size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        with _with_others():
            dist.all_reduce(flat)
        flat /= world.size
        for gradient, mean in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def in_eval_mode(model: nn.Module, world: World) -> nn.Module:
    """Put a model into eval mode with the same running statistics in every process, the main one's, and return it.

    Running statistics follow the images that a process saw. A change of mode is what makes timm's models forget what they
    keep of their weights for evaluations: an average is never trained, so nothing else would change its mode, and its
    weights change all the same.
    """
    for buffer in model.buffers():
        world.share(buffer)
    model.train()
    model.eval()
    return model


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one type, about 32 MB at a time."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size > _BUCKET_VALUES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket
