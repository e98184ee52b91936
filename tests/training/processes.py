"""Several processes of a training played by threads: what they tell each other, without starting any."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tleg.training.distributed import TIMEOUT, LostProcessError, World


class _Table:
    """Where each of several threads lays something down and then sees what all laid down."""

    def __init__(self, size: int) -> None:
        self._laid: list[list[Any]] = [[] for _ in range(size)]
        self._left = False
        self._changed = threading.Condition()

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Return everybody's values, by rank. Raises LostProcessError when another one left."""
        with self._changed:
            self._laid[rank].append(value)
            count = len(self._laid[rank])
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._left or self._complete(count), timeout=60)
            if not self._complete(count):
                raise LostProcessError("Connection closed by peer")
            return [values[count - 1] for values in self._laid]

    def leave(self) -> None:
        """Nobody waits any more for who left."""
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def _complete(self, count: int) -> bool:
        return all(len(values) >= count for values in self._laid)


@dataclass(frozen=True)
class ThreadWorld(World):
    """A world whose processes are threads."""

    table: Any = None

    def sum(self, values: Tensor) -> Tensor:
        """The sum of everybody's."""
        return torch.stack(self.table.exchange(self.rank, values)).sum(0)

    def most(self, values: Tensor) -> Tensor:
        """The largest of everybody's."""
        return torch.stack(self.table.exchange(self.rank, values)).max(0).values

    def from_main(self, value: int) -> int:
        """The first one's."""
        return int(self.table.exchange(self.rank, value)[0])

    def first(self, text: str) -> str:
        """The first that is not empty."""
        return next(filter(None, self.table.exchange(self.rank, text)), "")

    def share(self, tensor: Tensor) -> None:
        """The first one's values."""
        tensor.copy_(self.table.exchange(self.rank, tensor.clone())[0])

    def barrier(self, timeout: Any = TIMEOUT) -> None:
        """Wait for all."""
        self.table.exchange(self.rank, None)


def play(*parts: Callable[[World], Any]) -> Sequence[Any]:
    """Run each part as one process of a world and return what each returned, or the exception that ended it."""
    table = _Table(len(parts))
    results: list[Any] = [None] * len(parts)

    def run(rank: int) -> None:
        try:
            results[rank] = parts[rank](ThreadWorld(rank, len(parts), rank, table=table))
        except BaseException as error:
            results[rank] = error
            table.leave()

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
