"""Evaluation: every image counts once, on any number of processes, by class, and not when it cannot be read."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tleg.data.fashion_mnist import ArrayImages
from tleg.errors import DataError, TlegError
from tleg.learngene.header import Preprocessing
from tleg.serialize import encode
from tleg.training.accuracy import Predictor, Score, evaluate, mean_top1, require_finite
from tleg.training.device import Placement
from tleg.training.distributed import World

CPU = Placement(torch.device("cpu"), "float32", "")


class Some(ArrayImages):
    """Noise with labels; some of it cannot be read."""

    def __init__(self, count: int, damaged: frozenset[int] = frozenset()) -> None:
        generator = np.random.default_rng(5)
        images = generator.integers(0, 256, (count, 6, 6), dtype=np.uint8)
        super().__init__(images, generator.integers(0, 7, count, dtype=np.uint8))
        self.damaged = damaged

    def image(self, index: int) -> Image.Image:
        if index in self.damaged:
            raise DataError("no")
        return super().image(index)


def predict(pixels: torch.Tensor) -> torch.Tensor:
    """Logits of eight classes, of which one is never right, that depend on every pixel."""
    weights = torch.randn(36, 8, generator=torch.Generator().manual_seed(1))
    return pixels.flatten(1) @ weights


def score(images: Any, model: Predictor = predict, **options: Any) -> Score:
    common: dict[str, Any] = {"input_size": (1, 6, 6), "preprocessing": Preprocessing((0.5,), (0.5,))}
    return evaluate({"m": model}, images, CPU, **{"batch_size": 4, **common, **options})["m"]


def processes(count: int, run: Callable[[World], Score]) -> list[Score]:
    """Run the same evaluation in so many processes: first to see what each contributes, then with the sums."""
    given: list[list[torch.Tensor]] = [[] for _ in range(count)]

    class Asking(World):
        def sum(self, values: torch.Tensor) -> torch.Tensor:
            given[self.rank].append(values.clone())
            return values

        def most(self, values: torch.Tensor) -> torch.Tensor:
            return torch.tensor([8])

    for rank in range(count):
        try:
            run(Asking(rank, count))
        except DataError:
            # A process without images of its own finds that out here; in the whole there are some.
            given[rank] += [torch.zeros(1, dtype=torch.float64)] * (3 - len(given[rank]))
    totals = [sum(parts[1:], start=parts[0]) for parts in zip(*given, strict=True)]

    class Answering(World):
        def sum(self, values: torch.Tensor) -> torch.Tensor:
            counted: torch.Tensor = totals[next(asked)]
            return counted

        def most(self, values: torch.Tensor) -> torch.Tensor:
            return torch.tensor([8])

    scores = []
    for rank in range(count):
        asked = iter(range(3))
        scores.append(run(Answering(rank, count)))
    return scores


@pytest.mark.parametrize(("images", "count"), [(37, 2), (37, 3), (16, 2), (2, 3)])
def test_processes_count_what_one_counts(images: int, count: int) -> None:
    # The official code pads the set with images that count twice.
    some = Some(images)
    alone = score(some)
    assert alone.images == images
    for shared in processes(count, lambda world: score(some, world=world)):
        assert (shared.images, shared.top1, shared.top5) == (images, alone.top1, alone.top5)
        assert shared.per_class == alone.per_class
        assert shared.loss == pytest.approx(alone.loss, rel=1e-6)


def test_the_score_is_what_counting_gives() -> None:
    some = Some(50)
    found = score(some)
    pixels = torch.from_numpy(some.images).unsqueeze(1).float() / 255
    labels = torch.from_numpy(some.labels).long()
    logits = predict(pixels)
    right = logits.argmax(1) == labels
    assert found.top1 == pytest.approx(100 * right.double().mean().item())
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    five = (logits.topk(5).indices == labels[:, None]).any(1)
    assert found.top5 == pytest.approx(100 * five.double().mean().item())
    for label in range(7):
        chosen = right[labels == label]
        assert found.per_class[label] == pytest.approx(100 * chosen.double().mean().item())
    assert found.per_class[7] is None
    assert found.images_per_second > 0


def test_batches_and_workers_do_not_matter() -> None:
    some = Some(23)
    one, other = score(some, batch_size=23), score(some, batch_size=3, workers=2)
    assert (one.images, one.top1, one.top5, one.per_class) == (other.images, other.top1, other.top5, other.per_class)


def test_too_little_memory_means_smaller_parts() -> None:
    some = Some(50)
    seen: list[int] = []

    def small(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        if len(pixels) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(pixels)

    whole = score(some, batch_size=40)
    parts = score(some, batch_size=40, model=small)
    assert (parts.images, parts.top1, parts.top5, parts.per_class) == (whole.images, whole.top1, whole.top5, whole.per_class)
    assert seen == [40, 20, 10, *[5] * 10]

    def never(pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        score(some, batch_size=40, model=never)


def test_unreadable_images_do_not_count() -> None:
    damaged = frozenset({3, 8, 9, 10, 11})
    found, whole = score(Some(50, damaged)), Some(50)
    kept = [index for index in range(50) if index not in damaged]
    rest = ArrayImages(whole.images[kept], whole.labels[kept])
    assert (found.images, found.unreadable) == (45, 5)
    assert found.top1 == score(rest).top1
    with pytest.raises(DataError, match="11 of 50 images cannot be read, image 0, image 1, image 2 among them"):
        score(Some(50, frozenset(range(11))), batch_size=50)


def test_a_limit_is_spread_over_the_set() -> None:
    some = Some(40)
    assert score(some, limit=10).images == 10
    chosen = [index * 4 for index in range(10)]
    assert score(some, limit=10).top1 == score(ArrayImages(some.images[chosen], some.labels[chosen])).top1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("batch_size", [3, 100])
def test_outputs_that_are_not_finite_have_no_accuracy(value: float, batch_size: int) -> None:
    def broken(pixels: torch.Tensor) -> torch.Tensor:
        logits = predict(pixels)
        logits[pixels.flatten(1).sum(1) > 18, 5] = value  # One output of some images.
        return logits

    images = Some(50)
    expected = sum(float(np.asarray(images.image(index)).sum()) / 255 > 18 for index in range(50))
    assert 5 < expected < 45
    found = score(images, broken, batch_size=batch_size)
    assert (found.images, found.nonfinite) == (50, expected)
    assert (found.top1, found.top5, found.loss) == (None, None, None)
    assert found.per_class == (None,) * 8
    with pytest.raises(TlegError, match=rf"outputs of the model are not finite .* for {expected} of 50 images"):
        require_finite({"m": found}, "the model")
    json.dumps(encode(found), allow_nan=False)


def test_other_models_of_the_same_pass_keep_their_figures() -> None:
    common: dict[str, Any] = {"input_size": (1, 6, 6), "preprocessing": Preprocessing((0.5,), (0.5,))}
    models: dict[int, Predictor] = {3: predict, 4: lambda pixels: predict(pixels) * float("nan")}
    scores = evaluate(models, Some(20), CPU, **common)
    assert scores[3].top1 == score(Some(20)).top1
    assert mean_top1(scores.values()) is None
    assert mean_top1([scores[3]]) == scores[3].top1
    with pytest.raises(TlegError, match="20 of 20 images at depth 4"):
        require_finite(scores, "it")
    require_finite({3: scores[3]}, "it")


def test_processes_count_what_is_not_finite_together() -> None:
    def broken(pixels: torch.Tensor) -> torch.Tensor:
        return torch.where(pixels.flatten(1).sum(1, keepdim=True) > 18, torch.nan, predict(pixels))

    alone = score(Some(23), broken)
    for found in processes(3, lambda world: score(Some(23), broken, world=world)):
        assert (found.nonfinite, found.top1) == (alone.nonfinite, None)


def test_a_loss_too_large_for_float32_is_still_a_number() -> None:
    found = score(Some(8), lambda pixels: predict(pixels).sign() * 3e38)
    assert found.nonfinite == 0
    assert found.loss is not None
    assert np.isfinite(found.loss)
    assert found.top1 is not None
