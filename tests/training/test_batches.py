"""Images that cannot be read, in a training on several processes."""

import numpy as np
import pytest
import torch

from tests.training.conftest import Recorder
from tleg.data.fashion_mnist import ArrayImages
from tleg.errors import DataError
from tleg.training.batches import UnreadableWarnings
from tleg.training.distributed import SINGLE, World

IMAGES = ArrayImages(np.zeros((50, 2, 2), np.uint8), np.zeros(50, np.uint8))


class Together(World):
    """A process whose sums hold what another one gave."""

    given: torch.Tensor = torch.zeros(0)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values + Together.given


def test_one_process_tells_at_once() -> None:
    recorder = Recorder()
    unreadable = UnreadableWarnings(IMAGES, SINGLE, recorder)
    unreadable.note(torch.tensor([-1, 7, -1, 7]), 3)
    unreadable.note(torch.tensor([7]), 4)
    unreadable.share(4)
    assert recorder.warnings == [("unreadable", "cannot read image 7; another image takes its place")]
    with pytest.raises(DataError, match="11 of 50 images cannot be read"):
        unreadable.note(torch.arange(11), 5)


def test_the_main_process_tells_what_another_could_not_read() -> None:
    recorder = Recorder()
    unreadable = UnreadableWarnings(IMAGES, Together(0, 2), recorder)
    Together.given = torch.zeros(2, 16, dtype=torch.float64)
    Together.given[1, :2] = torch.tensor([1.0, 42.0])
    unreadable.note(torch.tensor([-1, 7]), 3)
    assert recorder.warnings == []
    unreadable.share(3)
    assert [text.split(";")[0] for _, text in recorder.warnings] == [
        "cannot read image 0",
        "cannot read image 7",
        "cannot read image 41",
    ]
    # The bound is one for all: six of each process are too many together.
    Together.given[1, :6] = torch.arange(20, 26) + 1.0
    unreadable.note(torch.arange(10, 16), 4)
    with pytest.raises(DataError, match="of 50 images cannot be read"):
        unreadable.share(4)
