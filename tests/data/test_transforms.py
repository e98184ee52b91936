"""Transforms: pixel values in 0..1, the model's channels, and augmentation that never fails."""

import numpy as np
import pytest
import torch
from PIL import Image

from tleg.data.sampler import seed_everything
from tleg.data.transforms import channel_values, evaluation_transform, training_transform
from tleg.learngene.header import Preprocessing
from tleg.recipes.training import Augmentation

GREY = Preprocessing((0.286,), (0.353,), crop_pct=1.0)
COLOUR = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop_pct=0.5)


def picture(height: int = 28, width: int = 28) -> Image.Image:
    values = np.arange(height * width, dtype=np.uint32).reshape(height, width) * 7 % 256
    return Image.fromarray(values.astype(np.uint8))


def test_evaluation_keeps_an_image_of_the_right_size_exactly() -> None:
    pixels = evaluation_transform((1, 28, 28), GREY)(picture())
    assert torch.equal(pixels[0], torch.from_numpy(np.asarray(picture()).astype(np.float32) / np.float32(255)))


def test_evaluation_resizes_and_crops_the_centre() -> None:
    image = Image.new("RGB", (100, 100), (0, 0, 0))
    image.paste((255, 0, 0), (25, 25, 75, 75))
    pixels = evaluation_transform((3, 32, 32), COLOUR)(image)
    assert pixels.shape == (3, 32, 32)
    # Half of the image is kept: the red square fills it but for the blur of resizing at its edge.
    assert pixels[0, 2:-2, 2:-2].min() > 0.97
    assert pixels[1:].max() < 0.03


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I", "CMYK", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_the_models_channels(mode: str, channels: int) -> None:
    preprocessing = GREY if channels == 1 else COLOUR
    pixels = evaluation_transform((channels, 16, 16), preprocessing)(picture().convert(mode))
    assert pixels.shape == (channels, 16, 16)
    assert pixels.dtype == torch.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize(("channels", "preprocessing"), [(1, GREY), (3, COLOUR)])
def test_augmentation_never_fails_and_stays_in_range(channels: int, preprocessing: Preprocessing) -> None:
    # Pillow refuses the zero bits that timm's posterize asks for at full magnitude.
    augmentation = Augmentation(auto_augment="rand-m10-inc1", random_erasing=0.0)
    transform = training_transform((channels, 28, 28), preprocessing, augmentation)
    shapes = set()
    for index in range(300):
        seed_everything(index)
        pixels = transform(picture())
        shapes.add(tuple(pixels.shape))
        assert 0 <= pixels.min() <= pixels.max() <= 1
    assert shapes == {(channels, 28, 28)}


def test_erasing_fills_with_noise_around_the_mean_colour() -> None:
    augmentation = Augmentation(crop_scale=1.0, flip=0.0, auto_augment=None, random_erasing=1.0)
    transform = training_transform((1, 64, 64), GREY, augmentation)
    erased = []
    for index in range(40):
        seed_everything(index)
        pixels = transform(Image.new("L", (64, 64), 255))
        changed = pixels[pixels != 1]
        assert 0.01 < changed.numel() / pixels.numel() < 0.4
        erased.append(changed)
    values = torch.cat(erased)
    assert values.mean() == pytest.approx(0.286, abs=0.01)
    assert values.std() == pytest.approx(0.353, abs=0.01)


def test_flips_as_often_as_asked() -> None:
    augmentation = Augmentation(crop_scale=1.0, flip=0.25, auto_augment=None, random_erasing=0.0)
    transform = training_transform((1, 28, 28), GREY, augmentation)
    half = Image.new("L", (28, 28), 0)
    half.paste(255, (0, 0, 14, 28))
    flipped = 0
    for index in range(400):
        seed_everything(index)
        flipped += int(transform(half)[0, 14, 0] < 0.5)
    assert 70 <= flipped <= 130


def test_channel_values_broadcast_over_an_image() -> None:
    mean, std = channel_values(COLOUR)
    assert mean.shape == std.shape == (3, 1, 1)
