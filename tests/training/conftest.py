"""A real data set that trains in seconds: scikit-learn's digits, 8 by 8 pixels, ten classes."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tleg.data.datasets import Data, ImageSet
from tleg.data.fashion_mnist import ArrayImages
from tleg.recipes.distillation import Depths
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.training import Augmentation, Keeping, Recipe
from tleg.runs.scalars import StepReport
from tleg.training.device import Placement, choose_placement
from tleg.training.init import InitialModel
from tleg.training.job import FinetuneJob, Job, LearnJob
from tleg.training.observer import Observer

VIT = "vit_tiny_patch16_224"
ARGUMENTS: Mapping[str, Any] = {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2}
PLAIN = Augmentation(crop_scale=0.9, flip=0.0, auto_augment=None, random_erasing=0.0)


@cache
def load_digits_data() -> Data:
    """1,400 training and 397 validation images."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = (bunch.images * 255 / 16).round().astype(np.uint8)
    labels = bunch.target.astype(np.uint8)
    train, validation = ArrayImages(images[:1400], labels[:1400]), ArrayImages(images[1400:], labels[1400:])
    return Data("digits", tuple("0123456789"), train, validation, 1, (8, 8), (0.305,), (0.376,))


def first_images(images: ImageSet, count: int) -> ArrayImages:
    """The first so many of images that are arrays, as the digits are."""
    assert isinstance(images, ArrayImages)
    return ArrayImages(images.images[:count], images.labels[:count])


@pytest.fixture(scope="session")
def digits() -> Data:
    """scikit-learn's digits."""
    return load_digits_data()


@pytest.fixture(scope="session")
def placement() -> Placement:
    """The CPU in float32."""
    return choose_placement("cpu")


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe for seconds: recipe(epochs=2)."""

    def make(**changes: Any) -> Recipe:
        values: dict[str, Any] = {"epochs": 2, "batch_size": 64, "learning_rate": 2e-3, "workers": 0, "augmentation": PLAIN}
        return Recipe(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as an image folder: 20 training and 5 validation images of each class, as PNG."""
    root = tmp_path_factory.mktemp("digits")
    data = load_digits_data()
    counts: dict[tuple[str, int], int] = {}
    for split, images, most in (("train", data.train, 20), ("val", data.validation, 5)):
        for index in range(len(images)):
            label = images.label(index)
            counts[split, label] = counts.get((split, label), 0) + 1
            if counts[split, label] <= most:
                folder = root / split / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                images.image(index).save(folder / f"{index}.png")
    return root


class Recorder(Observer):
    """Remembers what a training tells; asks it to stop after a number of steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.asked = 0
        self.reports: list[StepReport] = []
        self.evaluations: list[tuple[int, str, dict[int | None, Any]]] = []
        self.checkpoints: list[tuple[int, bool]] = []
        self.warnings: list[tuple[str, str]] = []
        self.begun_at: int | None = None

    def started(self, step: int, steps: int, epochs: int) -> None:
        self.begun_at = step

    def stepped(self, report: StepReport) -> None:
        self.reports.append(report)

    def evaluated(self, step: int, epoch: int, weights: str, scores: Any) -> None:
        self.evaluations.append((step, weights, dict(scores)))

    def saved(self, step: int, name: str, seconds: float, size: int, best: bool) -> None:
        self.checkpoints.append((step, best))

    def warn(self, code: str, text: str, step: int | None = None) -> None:
        self.warnings.append((code, text))

    def stop_requested(self) -> bool:
        self.asked += 1
        return self.stop_after is not None and self.asked >= self.stop_after


def learn_job(
    data: Data,
    architecture: str = VIT,
    arguments: Mapping[str, Any] | None = None,
    *,
    depths: Depths | None = None,
    epoch_images: int | None = None,
    **fields: Any,
) -> LearnJob:
    """A job on data that is open: learn_job(digits, depths=Depths(3), recipe=recipe()). Nothing is evaluated on the way."""
    if depths is not None:
        sampled = ",".join(map(str, depths.sampled)) or "none"
        fields |= {"auxiliary_depth": depths.auxiliary, "sample_depths": sampled, "sampling": depths.sampling}
        fields |= {"depth_warmup": depths.warmup, "warmup_depth": depths.warmup_depth}
    chosen: dict[str, Any] = {"keeping": Keeping(evaluate_every=0), "evaluate_depths": "none", **fields}
    recipe = LearnRecipe(architecture=architecture, model_arguments=arguments or ARGUMENTS, data=data.name, **chosen)
    return Job(recipe, data, epoch_images)


def finetune_job(
    data: Data, start: Callable[[Data], InitialModel], *, epoch_images: int | None = None, **fields: Any
) -> FinetuneJob:
    """A job on data that is open, from what `start` makes, whatever its recipe says of that."""
    chosen: dict[str, Any] = {"keeping": Keeping(evaluate_every=0), **fields}
    return FinetuneJob(FinetuneRecipe(model=VIT, data=data.name, **chosen), data, epoch_images, start=start)
