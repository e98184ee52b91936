"""Learning a learngene, on real images and for real."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tleg
from tests.training.conftest import ARGUMENTS, VIT, finetune_job, first_images, learn_job
from tleg.data.datasets import Data
from tleg.data.fashion_mnist import ArrayImages
from tleg.errors import DataError, InputError, TeacherError, TlegError
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Augmentation, Recipe
from tleg.training.device import Placement
from tleg.training.evaluate import evaluate_subject
from tleg.training.finetune import finetune
from tleg.training.init import init_from_timm
from tleg.training.job import LearnJob
from tleg.training.learn import evaluate_learngene, learn, learn_to_file, prepare
from tleg.training.students import depths_of_step
from tleg.training.subjects import learngene_subject

MakeRecipe = Callable[..., Recipe]


def job(digits: Data, recipe: Recipe, **changes: Any) -> LearnJob:
    return learn_job(digits, VIT, ARGUMENTS, recipe=recipe, **changes)


@pytest.fixture(scope="module")
def learned(digits: Data, placement: Placement) -> Learngene:
    from tests.training.conftest import PLAIN

    recipe = Recipe(epochs=12, batch_size=32, learning_rate=3e-3, workers=0, augmentation=PLAIN)
    depths = Depths(6, (2, 3, 4, 6))
    learngene = learn(learn_job(digits, VIT, ARGUMENTS, depths=depths, recipe=recipe), placement)
    return evaluate_learngene(learngene, digits, placement, (2, 3, 4, 5, 6, 8))


def test_descendants_of_every_depth_work_without_fine_tuning(learned: Learngene) -> None:
    assert learned.header.reached is not None
    top1 = learned.header.reached.top1
    assert set(top1) == {2, 3, 4, 5, 6, 8}
    # Guessing gives 10; depths 5 and 8 were never trained.
    assert min(top1.values()) > 50
    assert learned.header.reached.images == 397


def test_the_header_says_what_was_done(learned: Learngene) -> None:
    header = learned.header
    assert header.auxiliary.depth == 6
    assert header.auxiliary.sampled_depths == (2, 3, 4, 6)
    assert header.classes == tuple("0123456789")
    assert header.learned["steps"] == 12 * (1400 // 32)
    assert header.learned["recipe"]["learning_rate"] == 3e-3
    assert header.preprocessing.mean == (0.305,)
    assert header.architecture.structure is not None
    assert header.architecture.structure.eps == 1e-6


def test_the_header_states_what_an_expanded_descendant_reaches(
    learned: Learngene, digits: Data, placement: Placement, tmp_path: Path
) -> None:
    learned.save(tmp_path / "l.safetensors")
    model = tleg.load(tmp_path / "l.safetensors").expand(3)
    pixels = torch.from_numpy(digits.validation.images).unsqueeze(1).float() / 255  # type: ignore[attr-defined]
    with torch.inference_mode():
        predicted = model((pixels - 0.305) / 0.376).argmax(1).numpy()
    accuracy = 100 * (predicted == digits.validation.labels).mean()  # type: ignore[attr-defined]
    assert learned.header.reached is not None
    assert learned.header.reached.top1[3] == pytest.approx(accuracy, abs=0.01)


def test_the_same_seed_gives_the_same_learngene(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    few = replace(digits, train=first_images(digits.train, 200))
    sampled = Depths(4, (2, 4))
    hashes = [
        learn(job(few, recipe(seed=seed, workers=workers, epochs=1), depths=sampled), placement).hash()
        for seed, workers in ((0, 0), (0, 2), (1, 0))
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_distilling_follows_the_teacher(digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    arguments = {"in_chans": 1, "channels": [16, 16, 32, 32], "stem_width": 16}
    start = init_from_timm("resnet10t", arguments)
    score = finetune(
        finetune_job(digits, start, recipe=recipe(epochs=6, learning_rate=4e-3)), placement, tmp_path / "ancestor"
    )
    assert score.top1 is not None
    assert score.top1 > 70
    # The labels are wrong on purpose: all that the student can know comes from the teacher.
    shuffled = ArrayImages(digits.train.images, np.roll(digits.train.labels, 1))  # type: ignore[attr-defined]
    wrong = replace(digits, train=shuffled)
    learning = job(wrong, recipe(epochs=10, batch_size=32), teacher=str(tmp_path / "ancestor"), depths=Depths(3))
    learngene = evaluate_learngene(learn(learning, placement), digits, placement, (3,))
    assert learngene.header.reached is not None
    assert learngene.header.reached.top1[3] > 35
    ancestry = learngene.header.learned["ancestry"]
    assert (ancestry["name"], ancestry["images"]) == ("ancestor", 397)
    assert ancestry["accuracy"] == pytest.approx(score.top1, abs=0.01)
    distillation = learngene.header.learned["distillation"]
    assert (distillation["method"], distillation["temperature"], distillation["weight"]) == ("soft", 1.0, 1.0)


def test_an_untrained_teacher_is_refused(digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    start = init_from_timm("resnet10t", {"in_chans": 1, "channels": [8, 8, 8, 8], "stem_width": 8})
    finetune(
        finetune_job(digits, start, recipe=recipe(epochs=1, learning_rate=1e-12, warmup_epochs=0)), placement, tmp_path / "a"
    )
    with pytest.raises(TeacherError, match="it would teach noise"):
        prepare(job(digits, recipe(), teacher=str(tmp_path / "a")), placement)


def test_depths_are_drawn_evenly_and_by_step() -> None:
    depths = Depths(12, (4, 6, 8, 12))
    drawn = [depths_of_step(depths, 0, step) for step in range(4000)]
    assert drawn == [depths_of_step(depths, 0, step) for step in range(4000)]
    assert all(900 < drawn.count((depth,)) < 1100 for depth in (4, 6, 8, 12))
    assert {depths_of_step(Depths(9), 0, step) for step in range(10)} == {(9,)}


def test_balanced_depths_compute_as_many_layers_each() -> None:
    depths = Depths(12, (3, 4, 6, 12), "balanced")
    drawn = [depths_of_step(depths, 0, step) for step in range(8000)]
    assert drawn == [depths_of_step(depths, 0, step) for step in range(8000)]
    # A fourth of all layers each: 12 times the harmonic share.
    assert depths.odds == pytest.approx((0.4, 0.3, 0.2, 0.1))
    layers = [depth * drawn.count((depth,)) for depth in (3, 4, 6, 12)]
    assert layers == pytest.approx([9600] * 4, rel=0.06)


def test_the_size_of_the_terms_at_the_start_is_in_the_header(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    def learned_with(**fields: Any) -> Learngene:
        return learn(learn_job(digits, depths=Depths(3), recipe=recipe(epochs=1, learning_rate=1e-12), **fields), placement)

    plain, scaled = (learned_with(basis="linear", term_scale=scale) for scale in (1.0, 4.0))
    assert "term_scale" not in plain.header.learned
    assert scaled.header.learned["term_scale"] == 4.0
    name = next(name for name in plain.tensors if name.endswith("attn.qkv.weight"))
    assert scaled.tensors[name][1].std() == pytest.approx(4 * plain.tensors[name][1].std(), rel=1e-3)
    with pytest.raises(InputError, match="none is beyond the first: --term-scale means nothing") as refused:
        learned_with(term_scale=4.0)
    assert refused.value.fields == ("term-scale", "basis")


def test_how_it_began_is_in_the_header(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    warmed = Depths(4, (2, 3, 4), warmup=0.5)
    learned = learn(learn_job(digits, depths=warmed, recipe=recipe(epochs=1)), placement)
    assert learned.header.learned["depth_warmup"] == {"part": 0.5, "depth": 2}
    assert learned.header.learned["initial_matrices"] == "fan-in"
    default = learn(learn_job(digits, recipe=recipe(epochs=1), sample_depths="2,3"), placement)
    assert default.header.learned["depth_warmup"] == {"part": 0.5, "depth": 2}
    plain = learn(
        learn_job(digits, depths=Depths(4, (2, 3, 4)), recipe=recipe(epochs=1), initial_matrices="timm"), placement
    )
    assert not {"depth_warmup", "initial_matrices"} & {*plain.header.learned}


@pytest.mark.parametrize(
    "basis",
    ["polynomial:2", pytest.param("cosine:3", marks=pytest.mark.slow), pytest.param("piecewise:2", marks=pytest.mark.slow)],
)
def test_every_basis_learns(digits: Data, placement: Placement, recipe: MakeRecipe, basis: str) -> None:
    chosen = recipe(epochs=10, batch_size=32, learning_rate=3e-3)
    learning = job(digits, chosen, basis=basis, expand="attention,mlp", depths=Depths(4, (2, 3, 4)))
    learngene = evaluate_learngene(learn(learning, placement), digits, placement, (3, 4))
    assert learngene.header.basis == learning.recipe.basis_for()
    assert learngene.header.reached is not None
    # Guessing gives 10.
    assert min(learngene.header.reached.top1.values()) > 40


def test_images_too_few_for_a_batch(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    with pytest.raises(DataError, match="1400 training images are too few for a batch of 2000"):
        learn(job(digits, recipe(batch_size=2000)), placement)


def test_an_infinite_loss_stops_with_advice(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    with pytest.raises(TlegError, match="try a lower --lr"):
        learn(job(digits, recipe(epochs=4, learning_rate=100.0, warmup_epochs=0, clip_gradient=0.0)), placement)


@pytest.mark.parametrize("options", [{"mixup": 0.8}, {"cutmix": 1.0}, {"label_smoothing": 0.0}])
def test_mixing_and_smoothing_train(
    digits: Data, placement: Placement, recipe: MakeRecipe, options: dict[str, float]
) -> None:
    trained = learn(job(digits, recipe(epochs=4, batch_size=32, **options), depths=Depths(2)), placement)
    learngene = evaluate_learngene(trained, digits, placement, (2,))
    assert learngene.header.reached is not None
    assert learngene.header.reached.top1[2] > 20


def test_evaluation_counts_every_image_once(learned: Learngene, digits: Data, placement: Placement) -> None:
    subject = learngene_subject(learned, placement, (3,))
    whole = evaluate_subject(subject, digits, placement, batch_size=397)[3]
    uneven = evaluate_subject(subject, digits, placement, batch_size=64, workers=2)[3]
    assert uneven.images == whole.images == 397
    assert uneven.top1 == whole.top1
    assert uneven.loss == pytest.approx(whole.loss, rel=1e-5)
    assert whole.top5 is not None
    assert whole.top1 is not None
    assert whole.top1 < whole.top5 <= 100


class Unreadable:
    """Validation images that cannot be read."""

    def __len__(self) -> int:
        return 3

    def image(self, index: int) -> Image.Image:
        raise DataError(f"cannot read image {index}")

    def label(self, index: int) -> int:
        return 0

    def name(self, index: int) -> str:
        return f"image {index}"


def test_what_was_learned_is_kept_when_evaluation_fails(
    digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    broken = replace(digits, validation=Unreadable())
    learning = job(broken, recipe(epochs=1), depths=Depths(2), evaluate_depths="2")
    with pytest.raises(DataError, match="none of the images to evaluate on can be read"):
        learn_to_file(learning, placement, tmp_path / "gene.safetensors")
    assert tleg.load(tmp_path / "gene.safetensors").header.reached is None
    tuning = finetune_job(broken, init_from_timm(VIT, {**ARGUMENTS, "depth": 1}), recipe=recipe(epochs=1))
    with pytest.raises(DataError, match="none of the images to evaluate on can be read"):
        finetune(tuning, placement, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "training.json",
    ]


def test_a_sampled_auxiliary_was_trained_at_its_depth() -> None:
    with pytest.raises(InputError, match="never trained"):
        Depths(12, (2, 3))


@pytest.mark.parametrize("policy", ["foo", "rand-m9-what1"])
def test_an_unknown_augmentation_is_refused_before_training(
    digits: Data, placement: Placement, recipe: MakeRecipe, policy: str
) -> None:
    with pytest.raises(InputError, match="timm knows no augmentation"):
        prepare(job(digits, recipe(augmentation=Augmentation(auto_augment=policy))), placement)


@pytest.mark.parametrize("policy", ["v0", "original", "augmix-m5", "rand-m9-mstd0.5-inc1"])
def test_every_kind_of_policy_trains(digits: Data, placement: Placement, recipe: MakeRecipe, policy: str) -> None:
    few = replace(digits, train=first_images(digits.train, 256))
    chosen = recipe(epochs=1, augmentation=Augmentation(auto_augment=policy))
    assert learn(job(few, chosen, depths=Depths(1)), placement).header.learned["steps"] == 4


def test_full_augmentation_does_not_depend_on_the_workers(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    few = replace(digits, train=first_images(digits.train, 128))
    hashes = {
        learn(
            job(
                few, recipe(epochs=2, workers=workers, mixup=0.8, cutmix=1.0, augmentation=Augmentation()), depths=Depths(1)
            ),
            placement,
        ).hash()
        for workers in (0, 2)
    }
    assert len(hashes) == 1
