"""The order of images: every one once an epoch, on one process too, and the same whoever prepares them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tleg.data.fashion_mnist import ArrayImages
from tleg.data.order import ShuffledBatches, TrainingImages, derive_seed
from tleg.data.transforms import training_transform
from tleg.header import Preprocessing
from tleg.recipes.training import Augmentation

PREPROCESSING = Preprocessing((0.3,), (0.35,))


def some_images(count: int = 24) -> ArrayImages:
    generator = np.random.default_rng(1)
    return ArrayImages(generator.integers(0, 256, (count, 12, 12), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 3)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 2**31))
def test_every_image_comes_once_an_epoch(images: int, batch: int, epochs: int, seed: int) -> None:
    batches = list(ShuffledBatches(images, batch, epochs, seed))
    per_epoch = images // batch
    assert len(batches) == epochs * per_epoch == len(ShuffledBatches(images, batch, epochs, seed))
    for epoch in range(epochs):
        places = [place for chosen in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for place in chosen]
        assert {place[0] for place in places} <= {epoch}
        assert len({index for _, index in places}) == len(places) == per_epoch * batch


def test_ten_epochs_on_one_process_see_all_the_data() -> None:
    # The official loader shows one process the same third of the images for ever.
    seen = {index for chosen in ShuffledBatches(1000, 128, 10, seed=0) for _, index in chosen}
    assert seen == set(range(1000))


def test_epochs_have_different_orders() -> None:
    batches = list(ShuffledBatches(50, 50, 2, seed=0))
    first, second = ([index for _, index in chosen] for chosen in batches)
    assert first != second
    assert sorted(first) == sorted(second)


@given(st.integers(4, 40), st.integers(1, 7), st.integers(1, 4), st.data())
def test_a_start_continues_the_same_order(images: int, batch: int, epochs: int, data: st.DataObject) -> None:
    batches = list(ShuffledBatches(images, batch, epochs, seed=3))
    start = data.draw(st.integers(0, len(batches)))
    rest = ShuffledBatches(images, batch, epochs, seed=3, start=start)
    assert list(rest) == batches[start:]
    assert len(rest) == len(batches) - start


def test_an_image_depends_on_its_place_alone() -> None:
    transform = training_transform((1, 12, 12), PREPROCESSING, Augmentation())
    images = TrainingImages(some_images(), transform, seed=5)
    first = images[(2, 7)]
    torch.rand(100)
    images[(0, 3)]
    assert torch.equal(first[0], images[(2, 7)][0])
    assert not torch.equal(first[0], images[(3, 7)][0])
    assert not torch.equal(first[0], TrainingImages(some_images(), transform, seed=6)[(2, 7)][0])


def test_workers_do_not_change_what_is_seen() -> None:
    transform = training_transform((1, 12, 12), PREPROCESSING, Augmentation())

    def load(workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = ShuffledBatches(24, 8, 2, seed=0)
        dataset = TrainingImages(some_images(), transform, seed=0)
        return [(pixels, labels) for pixels, labels in DataLoader(dataset, batch_sampler=batches, num_workers=workers)]

    for (alone, alone_labels), (shared, shared_labels) in zip(load(0), load(2), strict=True):
        assert torch.equal(alone, shared)
        assert torch.equal(alone_labels, shared_labels)


def test_seeds_of_neighbouring_places_are_unrelated() -> None:
    seeds = {derive_seed(seed, name, step) for seed in range(3) for name in ("step", "image") for step in range(200)}
    assert len(seeds) == 3 * 2 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)
