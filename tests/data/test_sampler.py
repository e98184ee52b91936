"""The order of images: every one once an epoch, on one process too, and the same whoever prepares them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from tleg.data.fashion_mnist import ArrayImages
from tleg.data.loader import worker_options
from tleg.data.sampler import READABLE, ShuffledBatches, TrainingImages, derive_seed, share_of
from tleg.data.transforms import training_transform
from tleg.data.unreadable import UnreadableImages
from tleg.errors import DataError, InputError
from tleg.learngene.header import Preprocessing
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
        assert len({index for _, index, _ in places}) == len(places) == per_epoch * batch


def test_ten_epochs_on_one_process_see_all_the_data() -> None:
    # The official loader shows one process the same third of the images for ever.
    seen = {index for chosen in ShuffledBatches(1000, 128, 10, seed=0) for _, index, _ in chosen}
    assert seen == set(range(1000))


def test_epochs_have_different_orders() -> None:
    batches = list(ShuffledBatches(50, 50, 2, seed=0))
    first, second = ([index for _, index, _ in chosen] for chosen in batches)
    assert first != second
    assert sorted(first) == sorted(second)


@given(st.integers(4, 40), st.integers(1, 7), st.integers(1, 4), st.data())
def test_a_start_continues_the_same_order(images: int, batch: int, epochs: int, data: st.DataObject) -> None:
    batches = list(ShuffledBatches(images, batch, epochs, seed=3))
    start = data.draw(st.integers(0, len(batches)))
    rest = ShuffledBatches(images, batch, epochs, seed=3, start=start)
    assert list(rest) == batches[start:]
    assert len(rest) == len(batches) - start


@given(st.integers(1, 40), st.sampled_from([1, 2, 3, 4]), st.integers(1, 3), st.integers(0, 99))
def test_the_shares_of_the_processes_are_the_batch(half: int, size: int, repeats: int, seed: int) -> None:
    batch = 2 * half * size * repeats
    images = 2 * batch + 1
    whole = list(ShuffledBatches(images, batch, 2, seed, repeats=repeats))
    shares = [list(ShuffledBatches(images, batch, 2, seed, repeats=repeats, rank=rank, size=size)) for rank in range(size)]
    for step, everything in enumerate(whole):
        partner = dict(zip(everything, reversed(everything), strict=True))
        seen = []
        for share in shares:
            assert len(share[step]) == batch // size
            # Mixup pairs the images that it pairs in one process.
            for place, other in zip(share[step], reversed(share[step]), strict=True):
                assert partner[place] == other
            seen += share[step]
        assert sorted(seen) == sorted(everything)


@given(st.integers(1, 30), st.integers(1, 6))
def test_an_odd_share_is_a_slice(count: int, size: int) -> None:
    places = [share_of(count * size, rank, size) for rank in range(size)]
    assert sorted(place for share in places for place in share) == list(range(count * size))
    if count % 2:
        assert places[-1] == list(range((size - 1) * count, size * count))


@pytest.mark.parametrize("size", [1, 2])
def test_repeated_augmentation_covers_the_data(size: int) -> None:
    # Three versions of an image a step, and a third of the images an epoch: another third in each of three epochs.
    seen: list[set[int]] = [set(), set(), set()]
    for rank in range(size):
        for chosen in ShuffledBatches(1200, 120, 3, seed=1, repeats=3, rank=rank, size=size):
            for epoch, index, version in chosen:
                seen[epoch].add(index)
                assert 0 <= version < 3
    assert [len(part) for part in seen] == [400, 400, 400]
    assert set.union(*seen) == set(range(1200))


def test_versions_of_an_image_differ() -> None:
    first, *_ = ShuffledBatches(24, 12, 1, seed=0, repeats=3)
    assert len({(index, version) for _, index, version in first}) == 12
    assert len({index for _, index, _ in first}) == 4
    # A batch that is no multiple of the versions, as the paper's 512.
    odd = [place for chosen in ShuffledBatches(1000, 10, 3, seed=0, repeats=3) for place in chosen]
    assert len(set(odd)) == len(odd) == 3000
    assert {index for _, index, _ in odd} == set(range(1000))
    images = TrainingImages(some_images(), training_transform((1, 12, 12), PREPROCESSING, Augmentation()), seed=5)
    versions = [images[(0, 7, version)][0] for version in range(3)]
    assert not torch.equal(versions[0], versions[1])
    assert not torch.equal(versions[1], versions[2])


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="a batch of 9 images does not divide into 2 shares"):
        ShuffledBatches(100, 9, 1, 0, size=2)


class Damaged(ArrayImages):
    """Some images cannot be read."""

    def __init__(self, count: int, damaged: set[int]) -> None:
        super().__init__(some_images(count).images, some_images(count).labels)
        self.damaged = damaged

    def image(self, index: int) -> Image.Image:
        if index in self.damaged:
            raise DataError(f"cannot read image {index}")
        return super().image(index)

    def name(self, index: int) -> str:
        return f"image-{index}.png"


def test_another_image_takes_the_place_of_a_damaged_one() -> None:
    transform = training_transform((1, 12, 12), PREPROCESSING, Augmentation())
    images, whole = (TrainingImages(Damaged(24, damaged), transform, seed=5) for damaged in ({7}, set[int]()))
    pixels, label, unreadable = images[(0, 7, 0)]
    assert unreadable == 7
    others = [index for index in range(24) if torch.equal(whole[(0, index, 0)][0], pixels)]
    assert len(others) == 1
    assert others != [7]
    assert label == whole.images.label(others[0])
    assert torch.equal(images[(0, 7, 0)][0], pixels)
    assert images[(0, 8, 0)][2] == READABLE


def test_a_set_without_readable_images_is_refused() -> None:
    transform = training_transform((1, 12, 12), PREPROCESSING, Augmentation())
    with pytest.raises(DataError, match=r"cannot read image-3\.png, nor 19 others"):
        TrainingImages(Damaged(24, set(range(24))), transform, seed=5)[(0, 3, 0)]


def test_unreadable_images_are_named_once_and_bounded() -> None:
    found = UnreadableImages(Damaged(24, set(range(12))))
    assert found.add([READABLE, 5, 3, 5]) == ["cannot read image 3", "cannot read image 5"]
    assert found.add([3, READABLE]) == []
    assert len(found) == 2
    found.add(range(8))
    with pytest.raises(DataError, match=r"12 of 24 images cannot be read, image-0\.png, image-1\.png, image-2\.png among"):
        found.add(range(12))


def test_an_image_depends_on_its_place_alone() -> None:
    transform = training_transform((1, 12, 12), PREPROCESSING, Augmentation())
    images = TrainingImages(some_images(), transform, seed=5)
    first = images[(2, 7, 0)]
    torch.rand(100)
    images[(0, 3, 0)]
    assert torch.equal(first[0], images[(2, 7, 0)][0])
    assert not torch.equal(first[0], images[(3, 7, 0)][0])
    assert not torch.equal(first[0], TrainingImages(some_images(), transform, seed=6)[(2, 7, 0)][0])


def test_workers_do_not_change_what_is_seen() -> None:
    transform = training_transform((1, 12, 12), PREPROCESSING, Augmentation())

    def load(workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = ShuffledBatches(24, 8, 2, seed=0)
        dataset = TrainingImages(some_images(), transform, seed=0)
        loader = DataLoader(dataset, batch_sampler=batches, **worker_options(workers))
        return [(pixels, labels) for pixels, labels, _ in loader]

    for (alone, alone_labels), (shared, shared_labels) in zip(load(0), load(2), strict=True):
        assert torch.equal(alone, shared)
        assert torch.equal(alone_labels, shared_labels)


def test_seeds_of_neighbouring_places_are_unrelated() -> None:
    seeds = {derive_seed(seed, name, step) for seed in range(3) for name in ("step", "image") for step in range(200)}
    assert len(seeds) == 3 * 2 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)
