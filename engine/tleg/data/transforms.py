"""From an image to an input: timm's augmentation in training, resize and crop in evaluation.

Images are normalised on the model's device, not here, so that a teacher can have its own mean and std: a transform returns
pixel values in 0..1.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from tleg.errors import InputError
from tleg.learngene.header import Preprocessing
from tleg.recipes.training import Augmentation

ImageTransform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True, slots=True)
class PixelTransform:
    """Steps on a PIL image in RGB, then pixel values (C, H, W) in 0..1 with the model's channels, then steps on those.

    exif  turn the image upright first, as its EXIF orientation says
    """

    channels: int
    before: tuple[Callable[[Any], Any], ...]
    after: tuple[Callable[[Tensor], Tensor], ...] = ()
    exif: bool = False

    def __call__(self, image: Image.Image) -> Tensor:
        """Apply the steps to an image of any mode."""
        if self.exif:
            image = upright(image)
        # timm's augmentation fills with RGB colours, so greyscale images pass through it as RGB.
        image = image.convert("RGB")
        for step in self.before:
            image = step(image)
        pixels: Tensor = pil_to_tensor(image.convert("L") if self.channels == 1 else image).float().div_(255)
        for tensor_step in self.after:
            pixels = tensor_step(pixels)
        return pixels


def training_transform(
    input_size: tuple[int, int, int], preprocessing: Preprocessing, augmentation: Augmentation
) -> PixelTransform:
    """Return timm's training transform for an input of (C, H, W) pixels.

    Random erasing fills with noise around the mean colour, as timm's does after normalisation.
    """
    from timm.data import create_transform
    from timm.data.random_erasing import RandomErasing

    colours = _three(preprocessing.mean)
    try:
        primary, secondary, _ = create_transform(
            input_size=(3, *input_size[1:]),
            is_training=True,
            scale=(augmentation.crop_scale, 1.0),
            hflip=augmentation.flip,
            color_jitter=augmentation.color_jitter or None,  # type: ignore[arg-type]  # timm reads None as none
            auto_augment=augmentation.auto_augment,
            interpolation=preprocessing.interpolation,
            mean=colours,
            std=_three(preprocessing.std),
            separate=True,
        )
    except Exception as error:  # timm asserts, and parses numbers.
        policy = augmentation.auto_augment
        raise InputError(
            f"timm knows no augmentation '{policy}': write one like rand-m9-mstd0.5-inc1, or none",
            field="auto-augment",
            code="unknown-name",
        ) from error
    after: tuple[Callable[[Tensor], Tensor], ...] = ()
    if augmentation.random_erasing > 0:
        erase = RandomErasing(1.0, mode="pixel", device="cpu")
        after = (EraseNormalised(augmentation.random_erasing, erase, preprocessing),)
    steps = (*primary.transforms, *secondary.transforms)
    for step in steps:
        _keep_one_bit(step)
    return PixelTransform(input_size[0], steps, after, preprocessing.exif)


def _keep_one_bit(policy: Any) -> None:
    """timm's posterize asks for 0 bits at full magnitude, which Pillow 13 refuses; keep 1 instead."""
    # RandAugment and AugMix hold operations, AutoAugment lists of them.
    nested = (operation for chosen in getattr(policy, "policy", ()) for operation in chosen)
    for operation in (*getattr(policy, "ops", ()), *nested):
        if operation.name.startswith("Posterize"):
            operation.aug_fn = partial(_posterize, operation.aug_fn)


def _posterize(posterize: Callable[..., Any], image: Image.Image, bits: int, **options: Any) -> Any:
    return posterize(image, max(1, bits), **options)


@dataclass(frozen=True, slots=True)
class EraseNormalised:
    """timm's random erasing draws normal noise for normalised values: normalise, erase, undo."""

    probability: float
    erase: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing

    def __call__(self, pixels: Tensor) -> Tensor:
        """Erase a rectangle of pixel values (C, H, W) in 0..1."""
        if random.random() >= self.probability:
            return pixels
        mean, std = channel_values(self.preprocessing)
        return self.erase(normalise(pixels, mean, std)).mul_(std).add_(mean)


def evaluation_transform(input_size: tuple[int, int, int], preprocessing: Preprocessing) -> PixelTransform:
    """Return timm's evaluation transform (resize, crop) for an input of (C, H, W) pixels."""
    from timm.data import create_transform

    steps = create_transform(
        input_size=(3, *input_size[1:]),
        is_training=False,
        interpolation=preprocessing.interpolation,
        mean=_three(preprocessing.mean),
        std=_three(preprocessing.std),
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
    ).transforms
    # The last two make a tensor and normalise it.
    return PixelTransform(input_size[0], tuple(steps[:-2]), exif=preprocessing.exif)


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says; one without it, or whose EXIF is damaged, stays as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Of damaged EXIF Pillow raises many kinds, and viewers show the image nevertheless.
        return image


def channel_values(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Return mean and std, each of shape (C, 1, 1)."""
    return torch.tensor(preprocessing.mean).view(-1, 1, 1), torch.tensor(preprocessing.std).view(-1, 1, 1)


def _three(values: tuple[float, ...]) -> tuple[float, ...]:
    return values if len(values) == 3 else (values[0],) * 3


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Pixel values in 0..1 to a model's inputs: the one place where it is written.

    Subtracted, then divided, in float32, as timm and torchvision do: another order rounds otherwise.
    """
    return (pixels - mean) / std


class Normaliser(nn.Module):
    """Pixel values in 0..1 to a model's inputs, as its preprocessing says, on the device of the module."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, std = channel_values(preprocessing)
        # They follow from the preprocessing, so that they are no part of a state.
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (N, C, H, W) -> (pixels - mean) / std, of the same shape."""
        return normalise(pixels, self.mean, self.std)
