"""Pooled features of all images of a set, by depth: what nearest neighbours, retrieval and linear probes look at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tleg.data.datasets import ImageSet
from tleg.errors import DataError, TlegError
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth, format_depth
from tleg.training.accuracy import Predictor, Score, Tally, evaluate
from tleg.training.device import Placement
from tleg.training.distributed import World

# Bytes of features that are held at a time, over all depths; one depth at least is.
_MOST_BYTES: Final = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a model makes of images.

    values  (N, size) float32 on the CPU
    labels  (N,) the indices of their classes
    """

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class _Collected(Tally):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        self._values.append(outputs.float().cpu())
        self._labels.append(labels.cpu())

    def score(self, world: World, reasons: Mapping[str, int], speed: float) -> Score:
        images, missing = sum(map(len, self._labels)), sum(reasons.values())
        return Score(images, None, None, None, speed, missing, (), reasons)

    def features(self) -> Features:
        if not self._labels:
            raise DataError("none of the images can be read")
        return Features(torch.cat(self._values), torch.cat(self._labels))


def collect_features(
    embedders: Mapping[Depth | None, Predictor],
    sets: Sequence[ImageSet],
    placement: Placement,
    *,
    input_size: tuple[int, int, int],
    preprocessing: Preprocessing,
    batch_size: int = 256,
    workers: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Depth | None, tuple[Features, ...]]]:
    """Yield each depth with the features of every set, in the order of the sets. Images that cannot be read are left out.

    embedders  pixel values (N, C, H, W) in 0..1 -> features (N, size), by depth
    limit      look at so many images of each set only, spread evenly
    progress   called with (images done, images in all), over all passes

    As many depths are computed in one pass over the images as a gibibyte of features allows. Raises DataError when there are
    no images, TlegError for features that are not finite.
    """
    counts = [len(each) if limit is None else min(limit, len(each)) for each in sets]
    at_once = max(1, _MOST_BYTES // max(1, 4 * sum(counts) * _size_of(embedders, placement, input_size)))
    names = list(embedders)
    groups = [names[first : first + at_once] for first in range(0, len(names), at_once)]
    done, total = 0, sum(counts) * len(groups)
    for group in groups:
        found: dict[Depth | None, list[Features]] = {name: [] for name in group}
        for images, count in zip(sets, counts, strict=True):
            made: list[_Collected] = []

            def make(made: list[_Collected] = made) -> _Collected:
                made.append(_Collected())
                return made[-1]

            def tell(now: int, _: int, before: int = done) -> None:
                if progress is not None:
                    progress(before + now, total)

            evaluate(
                {name: embedders[name] for name in group},
                images,
                placement,
                input_size=input_size,
                preprocessing=preprocessing,
                batch_size=batch_size,
                workers=workers,
                limit=limit,
                progress=tell,
                tally=make,
            )
            done += count
            for name, each in zip(group, made, strict=True):
                found[name].append(_finite(each.features(), name))
        for name in group:
            yield name, tuple(found.pop(name))


@torch.inference_mode()
def _size_of(embedders: Mapping[Depth | None, Predictor], placement: Placement, input_size: tuple[int, int, int]) -> int:
    first = next(iter(embedders.values()))
    return int(first(torch.zeros(1, *input_size, device=placement.device)).shape[1])


def _finite(features: Features, depth: Depth | None) -> Features:
    broken = int((~features.values.isfinite().all(dim=1)).sum())
    if broken:
        where = "" if depth is None else f" at depth {format_depth(depth)}"
        raise TlegError(
            f"the features are not finite (NaN or infinite) for {broken} of {len(features)} images{where}", code="not-finite"
        )
    return features
