"""`tleg learn --sample-sizes`: the size of the inputs is drawn at every step, and one learngene is of use at all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.levels import registered
from tests.models.test_families import EXAMPLES
from tests.training.conftest import ARGUMENTS, PLAIN, VIT, Recorder, learn_job
from tleg.data.datasets import Data
from tleg.errors import ArchitectureError, InputError
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths
from tleg.recipes.io import from_values
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.training import Recipe
from tleg.study.compute import forward_at_depths, learngene_macs
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.init import learn_arguments
from tleg.training.learn import evaluate_learngene, learn, sampled_sizes
from tleg.training.observer import TrainingStoppedError
from tleg.training.students import AuxiliaryStudent

SIZES = ((4, 4), (6, 6), (8, 8))
LEARN = {"architecture": VIT, "data": "digits"}


def learned_at(digits: Data, placement: Placement, sizes: str, epochs: int = 24) -> Learngene:
    """Learned at depths 2 and 3, and evaluated at 8 and 4 pixels."""
    recipe = Recipe(epochs=epochs, batch_size=32, learning_rate=3e-3, workers=0, augmentation=PLAIN)
    job = learn_job(digits, VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=recipe, sample_sizes=sizes)
    return evaluate_learngene(learn(job, placement), digits, placement, (2, 3))


@pytest.fixture(scope="module")
def drawn(digits: Data, placement: Placement) -> Learngene:
    return learned_at(digits, placement, "4,6,8")


@pytest.mark.slow
def test_it_is_of_use_at_every_size_that_was_drawn(drawn: Learngene, digits: Data, placement: Placement) -> None:
    header = drawn.header
    assert header.version == 2
    assert [each.image_size for each in header.auxiliary.sampled_sizes or ()] == [*SIZES]
    assert header.reached is not None
    assert {each.image_size for each in header.further} == {(4, 4), (6, 6)}
    assert min(header.reached.top1.values()) > 50
    small = next(each for each in header.further if each.image_size == (4, 4))
    # One that saw 8 pixels alone does not know what it is shown at 4.
    other = learned_at(digits, placement, "none")
    from tleg.training.evaluate import evaluate_subject
    from tleg.training.subjects import learngene_subject

    subject = learngene_subject(other.at_image_size((4, 4)), placement, (2, 3))
    scores = evaluate_subject(subject, digits, placement)
    top1 = [score.top1 for score in scores.values() if score.top1 is not None]
    assert sum(small.top1.values()) / 2 > sum(top1) / 2 + 10


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"class_token": True, "reg_tokens": 2},
        {"class_token": True, "no_embed_class": True},
        {"pos_embed": "none"},
    ],
)
@pytest.mark.parametrize("size", [(4, 4), (6, 8), (16, 16)])
def test_the_auxiliary_computes_at_a_size_what_the_resampled_learngene_does(
    arguments: dict[str, Any], size: tuple[int, int]
) -> None:
    architecture = describe(VIT, {**ARGUMENTS, "in_chans": 1, **arguments}, 10)
    torch.manual_seed(1)
    model = AuxiliaryModel(architecture, Basis()).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    header = LearngeneHeader(
        architecture, Basis(), Auxiliary(3), Preprocessing((0.5,), (0.5,)), measure(architecture), tuple("0123456789")
    )
    resized = Learngene(header, model.tensors()).at_image_size(size)
    images = torch.randn(3, 1, *size)
    logits = model(images, model.coefficients(3))
    assert torch.allclose(logits, resized.expand(3)(images), atol=1e-5)
    # And the position embedding learns from it.
    logits.sum().backward()
    if "pos_embed" not in arguments:
        assert model.vit.pos_embed is not None
        gradient = model.vit.pos_embed.grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_sizes_follow_from_seed_and_step_alone() -> None:
    architecture = describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10)

    def student(seed: int, sizes: tuple[tuple[int, int], ...] = SIZES) -> AuxiliaryStudent:
        return AuxiliaryStudent(AuxiliaryModel(architecture, Basis()), Depths(3, (2, 3)), seed, 50, sizes)

    one, again, other, plain = student(3), student(3), student(4), student(3, ())
    sizes = [one.image_size(step) for step in range(50)]
    assert sizes == [again.image_size(step) for step in reversed(range(50))][::-1]
    assert sizes != [other.image_size(step) for step in range(50)]
    assert set(sizes) == {*SIZES}
    # Depths are what they are without sizes.
    assert [one.depths(step) for step in range(50)] == [plain.depths(step) for step in range(50)]
    assert plain.image_size(1) is None


def test_it_costs_the_mean_of_its_sizes(digits: Data, placement: Placement) -> None:
    drawn = learned_at(digits, placement, "4,6,8", epochs=1)
    recipe = from_values("learn", {**LEARN, "model-arg": {**ARGUMENTS}, "sample-sizes": "4,6,8"})
    assert isinstance(recipe, LearnRecipe)
    sizes = learngene_macs(recipe, digits, recipe.sizes)
    for depth in (2, 3):
        assert drawn.header.training_macs_at(depth) == sum(macs_at(depth) for macs_at in sizes) / 3
        assert sizes[-1](depth) == drawn.header.cost.macs.at(depth)
    depths = Depths(3, (2, 3))
    expected = sum(forward_at_depths(macs_at, depths) for macs_at in sizes) / 3
    assert forward_at_depths(drawn.header.training_macs_at, depths) == pytest.approx(expected)
    # At another size it still knows what it was trained with.
    there = drawn.header.at_image_size(drawn.header.architecture, drawn.header.cost)
    assert there.auxiliary == drawn.header.auxiliary


def test_the_largest_size_is_the_models(digits: Data) -> None:
    def arguments(**changes: Any) -> dict[str, Any]:
        recipe = from_values("learn", {**LEARN, "sample-sizes": "4,16x8,6", **changes})
        assert isinstance(recipe, LearnRecipe)
        return learn_arguments(recipe, digits)

    assert arguments()["img_size"] == [16, 8]
    assert arguments(**{"model-arg": {"img_size": [16, 8]}})["img_size"] == [16, 8]
    with pytest.raises(
        InputError, match="the largest of the sizes that are drawn is the model's, 16x8 pixels, and img_size"
    ) as caught:
        arguments(**{"model-arg": {"img_size": 32}})
    assert caught.value.fields == ("sample-sizes", "model-arg")


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no size"), ("8,,4", "no size"), ("8,x", "no size"), ("0,8", "1 to 4096 rows"), ("auto", "no size")],
)
def test_texts_that_are_no_sizes(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        from_values("learn", {**LEARN, "sample-sizes": text})
    assert caught.value.field == "sample-sizes"


@pytest.mark.parametrize("family", ["mlp-mixer", "tnt", "volo"])
def test_models_that_are_made_for_one_size_are_refused(family: str) -> None:
    with registered():
        architecture = describe(*EXAMPLES[family])
        with pytest.raises(ArchitectureError, match=r"is made for images of one size, and none of its parameters") as caught:
            sampled_sizes(architecture, [(16, 16), (32, 32)])
    assert caught.value.field == "sample-sizes"


# Models whose tables of positions are resampled at every step, of the digits at 8 and 16 pixels.
RESAMPLED: dict[str, tuple[str, dict[str, Any]]] = {
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 1, "window_size": 4, "embed_dim": 8, "num_heads": [1, 1, 2, 2], "depths": [1, 1, 2, 1]},
    ),
    "beit": ("beit_base_patch16_224", {"patch_size": 2, "embed_dim": 32, "num_heads": 2}),
}


class Trained:
    """A training of four steps of a model of `RESAMPLED`."""

    def __init__(self, digits: Data, placement: Placement, recipe: Callable[..., Recipe]) -> None:
        self.data, self.placement, self.recipe = digits, placement, recipe(epochs=4)

    def __call__(self, family: str, sizes: str, observer: Recorder | None = None, **arguments: Any) -> Learngene:
        name, given = RESAMPLED[family]
        checkpoints = arguments.pop("checkpoints", None)
        job = learn_job(
            self.data,
            name,
            {**given, **arguments},
            depths=Depths(2, (1, 2)),
            recipe=self.recipe,
            sample_sizes=sizes,
            epoch_images=64,
        )
        return learn(job, self.placement, observer=observer or Recorder(), checkpoints=checkpoints)


@pytest.fixture
def trained(digits: Data, placement: Placement, recipe: Callable[..., Recipe]) -> Trained:
    return Trained(digits, placement, recipe)


@pytest.mark.parametrize("family", [pytest.param("swin", marks=pytest.mark.slow), "beit"])
def test_tables_learn_at_drawn_sizes_and_resuming_gives_the_same_bits(family: str, trained: Trained, tmp_path: Path) -> None:
    whole = trained(family, "8,16")
    assert whole.header.image_size == (16, 16)
    assert [each.image_size for each in whole.header.auxiliary.sampled_sizes or ()] == [(8, 8), (16, 16)]
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(TrainingStoppedError):
        trained(family, "8,16", Recorder(stop_after=2), checkpoints=checkpoints)
    again = trained(family, "8,16", checkpoints=checkpoints)
    assert again.hash() == whole.hash()
    # The draws decide what is learned.
    assert trained(family, "16").hash() != whole.hash()


@pytest.mark.parametrize("family", RESAMPLED)
def test_one_size_alone_is_learned_to_the_bit_as_without_the_option(family: str, trained: Trained) -> None:
    assert trained(family, "16").hash() == trained(family, "none", img_size=16).hash()


@pytest.mark.parametrize("size", [(16, 16), (16, 32), (48, 48)])
def test_rotary_positions_follow_the_size(size: tuple[int, int]) -> None:
    with registered():
        name, given = EXAMPLES["eva"]
        recipe = from_values("learn", {"architecture": name, "data": "digits", "sample-sizes": "16,32"})
        assert isinstance(recipe, LearnRecipe)
        architecture = describe(name, {**given, "dynamic_img_size": True}, 10)
        assert sampled_sizes(architecture, [(16, 16), (32, 32)])[0].macs[0] > 0
        torch.manual_seed(1)
        model = AuxiliaryModel(architecture, Basis()).eval()
        header = LearngeneHeader(
            architecture, Basis(), Auxiliary(3), Preprocessing((0.5,) * 3, (0.5,) * 3), measure(architecture)
        )
        resized = Learngene(header, model.tensors()).at_image_size(size)
        images = torch.randn(3, 3, *size)
        assert torch.allclose(model(images, model.coefficients(3)), resized.expand(3)(images), atol=1e-5)


def test_a_model_that_can_take_several_sizes_is_made_to(digits: Data) -> None:
    recipe = from_values("learn", {**LEARN, "architecture": "eva02_tiny_patch14_224", "sample-sizes": "28,56"})
    assert isinstance(recipe, LearnRecipe)
    assert learn_arguments(recipe, digits)["dynamic_img_size"] is True
    recipe = from_values("learn", {**LEARN, "architecture": "eva02_tiny_patch14_224"})
    assert isinstance(recipe, LearnRecipe)
    assert "dynamic_img_size" not in learn_arguments(recipe, digits)


def test_a_size_that_patches_do_not_divide_is_refused() -> None:
    architecture = describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10)
    with pytest.raises(ArchitectureError, match=r"an image of 7 x 7 pixels .* of 2 x 2; one of 6 x 6 does$") as caught:
        sampled_sizes(architecture, [(7, 7), (8, 8)])
    assert caught.value.fields == ("sample-sizes",)


def test_what_cannot_be_evaluated_at_a_size_is_refused_before_it_is_trained() -> None:
    # timm resamples tables of squares alone.
    architecture = describe("eva02_tiny_patch14_224", {"img_size": [28, 56], "dynamic_img_size": True}, 10)
    with pytest.raises(ArchitectureError, match="timm resamples what was learned on square images") as caught:
        sampled_sizes(architecture, [(28, 28), (28, 56)])
    assert caught.value.fields == ("sample-sizes",)


def test_convolutions_take_any_size(digits: Data, placement: Placement, recipe: Callable[..., Recipe]) -> None:
    arguments = {"dims": [8, 8, 8, 8], "depths": [1, 1, 2, 1], "patch_size": 1}
    job = learn_job(
        digits, "convnext_atto", arguments, depths=Depths(2, (1, 2)), recipe=recipe(epochs=1), sample_sizes="8,16"
    )
    header = learn(job, placement).header
    assert header.image_size == (16, 16)
    assert [each.image_size for each in header.auxiliary.sampled_sizes or ()] == [(8, 8), (16, 16)]
