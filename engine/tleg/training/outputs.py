"""What models gave for every image of an evaluation, kept, and a seeded cut of the images into two halves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tleg.errors import DataError
from tleg.learngene.profile import Depth
from tleg.training.accuracy import AccuracyTally, Score, Tally, require_finite
from tleg.training.distributed import World
from tleg.training.prepared import PreparedEvaluation

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """Some of the images: logits (N, classes) by depth, float32, and labels (N,)."""

    logits: Mapping[Depth | None, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What models gave for all images that can be read.

    logits  (N, classes) by depth, float32; classes in the order of the data's
    labels  (N,)
    scores  of the same images, by depth
    """

    logits: Mapping[Depth | None, Tensor]
    labels: Tensor
    scores: Mapping[Depth | None, Score]

    @property
    def unreadable(self) -> int:
        """Images that could not be read, and are not among these."""
        return next(iter(self.scores.values())).unreadable

    def halves(self, seed: int) -> tuple[Half, Half]:
        """Cut the images into two halves that `seed` decides; of an odd number the second has one more.

        Raises DataError where there are fewer than two images.
        """
        count = len(self.labels)
        if count < 2:
            raise DataError("one image cannot be cut into a half to fit on and a half to measure on")
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        return self._part(order[: count // 2]), self._part(order[count // 2 :])

    def _part(self, indices: Tensor) -> Half:
        return Half({depth: logits[indices] for depth, logits in self.logits.items()}, self.labels[indices])


class _Kept(Tally):
    """Accuracies, and the outputs that they are of."""

    def __init__(self) -> None:
        self._accuracies = AccuracyTally()
        self._outputs = list[Tensor]()
        self.labels = list[Tensor]()

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch, and keep it."""
        self._accuracies.add(outputs, labels)
        self._outputs.append(outputs.cpu())
        self.labels.append(labels.cpu())

    def all_outputs(self) -> Tensor:
        """The outputs of all batches (N, classes), which are kept no longer: there may be gigabytes of them."""
        found = torch.cat(self._outputs)
        self._outputs.clear()
        return found

    def score(self, world: World, reasons: Mapping[str, int], speed: float) -> Score:
        """Return the score."""
        return self._accuracies.score(world, reasons, speed)


def collect_outputs(prepared: PreparedEvaluation, progress: Progress | None = None) -> Outputs:
    """Run what is evaluated on all of its images and keep what it gives: 4 bytes for each depth, image and class.

    Raises as the evaluation does, and TlegError where outputs are not finite.
    """
    kept = list[_Kept]()

    def keep() -> Tally:
        kept.append(_Kept())
        return kept[-1]

    scores = prepared.run(progress, tally=keep)
    require_finite(scores, "the model")
    return Outputs(
        {depth: each.all_outputs() for depth, each in zip(scores, kept, strict=True)}, torch.cat(kept[0].labels), scores
    )
