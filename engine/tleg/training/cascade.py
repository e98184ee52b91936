"""Depth by image: a shallow descendant answers for the images that it is sure of, a deeper one for the others.

Descendants differ in all layers, so a deeper one takes nothing over from the shallower: an image that does not stop costs
all depths that it went through. The threshold is chosen on one half of the images and judged on the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor

from tleg.errors import InputError
from tleg.learngene.cascade import CascadePolicy, depths_text
from tleg.training.accuracy import Predictor
from tleg.training.calibration import DECIMALS, fit_temperature, require_choice
from tleg.training.learn import measured_on
from tleg.training.outputs import Half, collect_outputs
from tleg.training.prepared import PreparedEvaluation

# What is tried: the largest probability that is enough to stop.
THRESHOLDS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)


@dataclass(frozen=True, slots=True)
class CascadeRow:
    """What a threshold comes to.

    early   part of the images that stop before the last depth, 0 to 1
    blocks  mean number of blocks that an image goes through
    macs    mean multiply-accumulates of an image; None where they are not known
    top1    accuracy in percent
    """

    threshold: float
    early: float
    blocks: float
    macs: float | None
    top1: float


@dataclass(frozen=True, slots=True)
class SingleDepth:
    """A depth alone, on the same images: accuracy in percent and multiply-accumulates."""

    depth: int
    top1: float
    macs: int | None


@dataclass(frozen=True, slots=True)
class CascadeResult:
    """A cascade at every threshold that was tried.

    policy      what was chosen on the first half
    rows        on the second half, by rising threshold
    alone       each depth by itself, on the second half
    images      of the second half
    unreadable  images that could not be read, and are in neither half
    """

    policy: CascadePolicy
    rows: tuple[CascadeRow, ...]
    alone: tuple[SingleDepth, ...]
    images: int
    unreadable: int

    @property
    def chosen(self) -> CascadeRow:
        """The row of the threshold that was chosen."""
        return next(row for row in self.rows if row.threshold == self.policy.threshold)


def choose_cascade(prepared: PreparedEvaluation, progress: Callable[[int, int], None] | None = None) -> CascadeResult:
    """Find the threshold of a cascade of the depths that are evaluated.

    On the first half of the images a temperature is fitted to each depth, and the cheapest threshold is chosen of those
    whose accuracy is at most `options.max_drop` points below the deepest's.

    Raises TlegError where outputs are not finite or no temperature is best, InputError where no threshold keeps the accuracy
    or the classes are not the model's, DataError.
    """
    require_choice(prepared)
    depths = tuple(cast("tuple[int, ...]", tuple(prepared.subject.predictors)))
    seen = collect_outputs(prepared, progress)
    seed, max_drop = prepared.options.seed or 0, prepared.options.max_drop
    fit, rest = seen.halves(seed)
    temperatures = tuple(
        round(fit_temperature([fit.logits[depth]], fit.labels, f" at depth {depth}"), DECIMALS) for depth in depths
    )
    macs = [prepared.subject.macs.get(depth) for depth in depths]
    costs = None if None in macs else cast("list[int]", macs)
    tried = rows_of(fit, depths, temperatures, costs)
    least = _accuracy(fit.logits[depths[-1]], fit.labels) - max_drop
    enough = [row for row in tried if row.top1 >= least - 1e-9]
    if not enough:
        best = max(tried, key=lambda row: row.top1)
        raise InputError(
            f"no threshold keeps the cascade {depths_text(depths)} within {max_drop:g} points of depth {depths[-1]} on the "
            f"first half of the images: the best, {best.threshold:g}, is {least + max_drop - best.top1:.2f} points below",
            field=("max-drop", "cascade"),
            code="out-of-range",
            advice="allow more with --max-drop",
        )
    # Blocks where costs are not known: they rise together.
    chosen = min(enough, key=lambda row: row.blocks if row.macs is None else row.macs)
    policy = CascadePolicy(
        depths=depths,
        threshold=chosen.threshold,
        temperatures=temperatures,
        max_drop=max_drop,
        data=measured_on(prepared.data),
        images=len(fit),
        seed=seed,
        num_classes=prepared.subject.num_classes,
        image_size=prepared.subject.input_size[1:],
    )
    alone = tuple(
        SingleDepth(depth, _accuracy(rest.logits[depth], rest.labels), cost)
        for depth, cost in zip(depths, macs, strict=True)
    )
    return CascadeResult(policy, rows_of(rest, depths, temperatures, costs), alone, len(rest), seen.unreadable)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * (logits.argmax(1) == labels).double().mean().item()


def rows_of(
    half: Half, depths: Sequence[int], temperatures: Sequence[float], macs: Sequence[int] | None
) -> tuple[CascadeRow, ...]:
    """What every threshold comes to on some images."""
    surest = [
        (half.logits[depth].double() / temperature).softmax(1).max(1)
        for depth, temperature in zip(depths, temperatures, strict=True)
    ]
    confidences = torch.stack([each.values for each in surest])
    right = torch.stack([each.indices == half.labels for each in surest]).double()
    # Of all depths up to one: an image pays for each that it went through.
    blocks = torch.tensor(depths, dtype=torch.float64).cumsum(0)
    paid = None if macs is None else torch.tensor(macs, dtype=torch.float64).cumsum(0)
    rows = []
    for threshold in THRESHOLDS:
        stops = stopping_places(confidences, threshold)
        rows.append(
            CascadeRow(
                threshold,
                (stops < len(depths) - 1).double().mean().item(),
                blocks[stops].mean().item(),
                None if paid is None else paid[stops].mean().item(),
                100 * right.gather(0, stops[None]).mean().item(),
            )
        )
    return tuple(rows)


def stopping_places(confidences: Tensor, threshold: float) -> Tensor:
    """Which depth answers for each image, the first that reaches the threshold, or the last: (depths, N) -> (N,)."""
    enough = confidences >= threshold
    enough[-1] = True
    return enough.int().argmax(0)


def answer(
    predictors: Sequence[Predictor], temperatures: Sequence[float], threshold: float, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Ask one depth after another, each for the images that none before it was sure of.

    pixels  (N, C, H, W) in 0..1

    Returns outputs (N, classes), divided by the temperature of the depth that answered, and which one that was (N,).
    """
    left = torch.arange(len(pixels))
    places = torch.zeros(len(pixels), dtype=torch.long)
    answers: Tensor | None = None
    for place, (predict, temperature) in enumerate(zip(predictors, temperatures, strict=True)):
        logits = predict(pixels[left]).double().cpu() / temperature
        answers = logits.clone() if answers is None else answers
        answers[left], places[left] = logits, place
        left = left[logits.softmax(1).amax(1) < threshold]
        if not len(left):
            break
    assert answers is not None, "a cascade has a depth"
    return answers, places
