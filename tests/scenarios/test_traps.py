"""What the official trainer does wrong (research code of TLEG, SWS and LeTs), and the test that ours does it right.

Each trap names the tests that would fail if we fell into it.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, first_images, learn_job
from tleg.data.datasets import Data
from tleg.errors import FileFormatError, InputError, TlegError
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Keeping, Recipe
from tleg.training.checkpoint import Checkpoints, read_checkpoint
from tleg.training.device import Placement, choose_placement
from tleg.training.finetune import finetune, prepare
from tleg.training.init import init_from_checkpoint, init_from_learngene, init_from_timm
from tleg.training.learn import learn

TRAPS = {
    "1 a single process sees the same third of the data for ever": [
        "tests.data.test_sampler:test_repeated_augmentation_covers_the_data",
        "tests.data.test_sampler:test_ten_epochs_on_one_process_see_all_the_data",
    ],
    "2 small sets give no steps": ["tests.training.test_learn:test_images_too_few_for_a_batch"],
    "3 accumulated gradients are thrown away": [
        "tests.training.test_trainer:test_accumulated_parts_make_the_step_of_the_whole_batch"
    ],
    "4 clipping gradients fails": ["tests.scenarios.test_traps:test_clipping_bounds_the_step"],
    "5 the average starts from random weights": ["tests.scenarios.test_traps:test_the_average_starts_from_the_start"],
    "6 the average is not restored": ["tests.scenarios.test_resume:test_the_average_is_restored_and_kept"],
    "7 resuming loads the learngene over the trained weights": [
        "tests.scenarios.test_resume:test_resuming_does_not_load_the_start_again"
    ],
    "8 wrong weights load silently": ["tests.scenarios.test_traps:test_a_checkpoint_of_something_else_is_refused"],
    "9 checkpoints hold pickled arguments": ["tests.scenarios.test_traps:test_checkpoints_hold_no_pickles"],
    "10 mixed labels meet a loss for plain ones": ["tests.training.test_trainer:test_cutmix_alone_learns_from_mixed_labels"],
    "11 the divergence is divided by the classes, unsaid": [
        "tests.training.test_losses:test_distillation_is_the_divergence_by_definition"
    ],
    "12 the teacher sees the student's normalisation; a random head teaches noise": [
        "tests.scenarios.test_distillation:test_a_teacher_keeps_its_own_pooling_and_normalisation",
        "tests.training.test_learn:test_an_untrained_teacher_is_refused",
    ],
    "13 the teacher's pooling is replaced": [
        "tests.scenarios.test_distillation:test_a_teacher_keeps_its_own_pooling_and_normalisation"
    ],
    "14 two epochs share a rate": ["tests.training.test_optim:test_every_step_has_a_rate_of_its_own"],
    "15 float16 alone, no CPU, random unseeded": [
        "tests.scenarios.test_traps:test_a_precision_has_a_reason",
        "tests.data.test_sampler:test_an_image_depends_on_its_place_alone",
    ],
    "16 a loss that is not finite ends without a checkpoint": [
        "tests.scenarios.test_resume:test_a_loss_that_is_not_finite_spares_the_checkpoints"
    ],
    "17 one checkpoint, overwritten in place, the best not kept": [
        "tests.scenarios.test_resume:test_the_last_the_best_and_the_milestones_are_kept",
        "tests.scenarios.test_run:test_a_killed_run_goes_on_to_the_same_bits",
    ],
    "18 any folder has 1000 classes": ["tests.scenarios.test_traps:test_the_classes_are_those_of_the_data"],
    "19 validation images count twice": ["tests.training.test_accuracy:test_processes_count_what_one_counts"],
    "20 gradient checkpointing computes wrong gradients": [
        "tests.learngene.test_expansion:test_computing_blocks_twice_gives_the_same_gradients",
        "tests.training.test_trainer:test_gradient_checkpointing_changes_no_bit",
    ],
    "21 drop path belongs to the layer's number": ["tests.scenarios.test_traps:test_drop_path_rises_over_every_depth"],
    "22 weight decay is not said to act on the terms": [
        "tests.training.test_optim:test_weight_decay_spares_vectors_embeddings_and_their_terms"
    ],
    "23 the terms start larger than a layer": ["tests.scenarios.test_traps:test_all_layers_start_alike"],
    "the descendant pools before it normalises, and is not the auxiliary": [
        "tests.models.test_official:test_descendant_at_the_auxiliary_depth_is_the_auxiliary",
        "tests.learngene.test_expansion:test_layouts",
    ],
    "the stated epsilon is not the one that is used": ["tests.models.test_official:test_sizes_are_read_from_the_tensors"],
    "the auxiliary's depth is not stored": [
        "tests.models.test_official:test_auxiliary_depth_is_asked_for",
        "tests.training.test_learn:test_the_header_says_what_was_done",
    ],
    "another coefficient than the paper's": [
        "tests.learngene.test_basis:test_linear_is_the_paper",
        "tests.learngene.test_expansion:test_the_papers_rule_to_the_bit",
    ],
    "other heads fit the same shapes, and mean something else": [
        "tests.models.test_official:test_heads_are_asked_for",
        "tests.models.test_official:test_heads_are_read_from_the_model_name_when_its_width_is_this_one",
    ],
    "layers beyond a list of sources stay random": [
        "tests.models.test_descendant:test_layer_skip_takes_layers_of_the_auxiliary",
        "tests.models.test_descendant:test_layer_skip_repeats_layers_when_it_is_deeper",
    ],
    "a layer is made from the terms of another": [
        "tests.learngene.test_expansion:test_agrees_with_the_formula_in_double_precision",
        "tests.learngene.test_expansion:test_gradient_of_expansion_is_the_formulas",
    ],
    "an evaluation overwrites what it evaluates": ["tests.scenarios.test_traps:test_an_evaluation_changes_no_file"],
    "fine-tuning throws the head away": [
        "tests.learngene.test_expansion:test_head_is_kept_or_new",
        "tests.scenarios.test_traps:test_the_head_is_kept_for_the_same_classes",
    ],
    "no workers, or more than there are processors, change the result": [
        "tests.data.test_sampler:test_workers_do_not_change_what_is_seen"
    ],
    "a traced export has a second file": ["tests.export.test_onnx:test_torch_writer_equals_timm_and_ours"],
    "the batch of an export is frozen": ["tests.export.test_onnx:test_any_batch"],
    "an export answers something else than the model": [
        "tests.export.test_build:test_all_kinds_verified_with_manifests",
        "tests.export.test_build:test_failed_verification_leaves_nothing",
    ],
    "counters leave attention out": [
        "tests.learngene.test_cost:test_fvcore",
        "tests.learngene.test_cost:test_torchs_own_counter_agrees_but_for_layer_norm",
    ],
}
MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_test(trap: str) -> None:
    for name in TRAPS[trap]:
        module, _, function = name.partition(":")
        assert inspect.isfunction(getattr(importlib.import_module(module), function))


@pytest.fixture
def few(digits: Data) -> Data:
    """96 training images, 20 for validation."""
    train = first_images(digits.train, 96)
    validation = first_images(digits.validation, 20)
    return replace(digits, train=train, validation=validation)


def test_clipping_bounds_the_step(few: Data, placement: Placement, recipe: MakeRecipe) -> None:
    # With SGD without momentum in the first step, the weights move by rate times the clipped norm.
    moved = {}
    for limit in (0.0, 0.01):
        chosen = recipe(
            epochs=1,
            batch_size=96,
            optimizer="momentum",
            learning_rate=1.0,
            clip_gradient=limit,
            weight_decay=0.0,
            warmup_epochs=0,
        )
        recorder = Recorder()
        job = learn_job(few, VIT, ARGUMENTS, depths=Depths(2), recipe=chosen)
        trained = learn(job, placement, observer=recorder)
        still = learn_job(few, VIT, ARGUMENTS, depths=Depths(2), recipe=replace(chosen, learning_rate=1e-12))
        start = learn(still, placement)
        squares = sum(float(((value - start.tensors[name]) ** 2).sum()) for name, value in trained.tensors.items())
        moved[limit] = squares**0.5, recorder.reports[0].gradient_norm
    distance, norm = moved[0.01]
    assert distance == pytest.approx(0.01, rel=0.02)
    assert norm is not None
    assert norm > 0.05
    assert moved[0.0][0] == pytest.approx(norm, rel=0.02)


def test_the_average_starts_from_the_start(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, tiny_learngene: Any
) -> None:
    learngene = tiny_learngene(arguments={"img_size": 8, "patch_size": 4, "in_chans": 1}, num_classes=10)
    learngene.save(tmp_path / "gene.safetensors")
    start = init_from_learngene(str(tmp_path / "gene.safetensors"), 2)
    still = recipe(epochs=1, batch_size=32, learning_rate=1e-12, ema=0.9)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    finetune(finetune_job(few, start, recipe=still), placement, tmp_path / "m", checkpoints=checkpoints)
    average = read_checkpoint(checkpoints.paths()[0]).tensors["ema"]
    for name, value in learngene.expand(2).state_dict().items():
        torch.testing.assert_close(average[name], value, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_something_else_is_refused(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(2), recipe=recipe(epochs=1, batch_size=32))
    learn(job, placement, checkpoints=Checkpoints(tmp_path, Keeping()))
    arguments = {**ARGUMENTS, "embed_dim": 64}
    wider = learn_job(few, VIT, arguments, depths=Depths(2), recipe=recipe(epochs=2, batch_size=32))
    with pytest.raises(TlegError, match=r"size mismatch for model\."):
        learn(wider, placement, checkpoints=Checkpoints(tmp_path, Keeping()))


def test_checkpoints_hold_no_pickles(few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), recipe=recipe(epochs=1, batch_size=32, ema=0.9))
    learn(job, placement, checkpoints=Checkpoints(tmp_path, Keeping()))
    (folder,) = Checkpoints(tmp_path).paths()
    assert sorted(path.name for path in folder.iterdir()) == [
        "ema.safetensors",
        "model.safetensors",
        "optimizer.safetensors",
        "progress.json",
    ]
    for path in folder.iterdir():
        assert path.read_bytes()[:1] == b"{" or path.read_bytes()[8:9] == b"{"


def test_a_precision_has_a_reason() -> None:
    assert str(choose_placement("cpu")) == "cpu in float32 (the CPU gains nothing from less)"
    assert choose_placement("cpu", "bfloat16").precision == "bfloat16"
    with pytest.raises(InputError, match="float16 trains on GPUs alone"):
        choose_placement("cpu", "float16")


def test_the_classes_are_those_of_the_data(few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    import timm

    job = finetune_job(few, init_from_timm(VIT, {**ARGUMENTS, "depth": 1}), recipe=recipe(epochs=1, batch_size=32))
    finetune(job, placement, tmp_path / "m")
    model: Any = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True)
    assert model.num_classes == 10
    assert learn(
        learn_job(few, VIT, ARGUMENTS, depths=Depths(1), recipe=recipe(epochs=1)), placement
    ).header.classes == tuple("0123456789")
    other = replace(few, classes=(*few.classes, "ten"))
    again = finetune_job(other, init_from_checkpoint(str(tmp_path / "m")), recipe=recipe())
    assert prepare(again, placement).start.lineage["head"] == "new"


@pytest.mark.parametrize("depth", [3, 12])
def test_drop_path_rises_over_every_depth(few: Data, tiny_learngene: Any, tmp_path: Path, depth: int) -> None:
    learngene = tiny_learngene(arguments={"img_size": 8, "patch_size": 4, "in_chans": 1}, num_classes=10)
    learngene.save(tmp_path / "gene.safetensors")
    blocks = init_from_learngene(str(tmp_path / "gene.safetensors"), depth, 0.22)(few).model.blocks
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0.22 * layer / (depth - 1) for layer in range(depth)])


def test_an_evaluation_changes_no_file(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, digits_folder: Path, run_cli: Any
) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    job = finetune_job(few, init_from_timm(VIT, {**ARGUMENTS, "depth": 1}), recipe=recipe(epochs=1, batch_size=32))
    finetune(job, placement, tmp_path / "m", checkpoints=Checkpoints(tmp_path / "checkpoints"))
    before = contents()
    assert run_cli("evaluate", tmp_path / "m", "--data", digits_folder).code == 0
    assert contents() == before


def test_the_head_is_kept_for_the_same_classes(few: Data, tiny_learngene: Any, tmp_path: Path) -> None:
    arguments = {"img_size": 8, "patch_size": 4, "in_chans": 1}
    for classes, policy in ((few.classes, "kept"), (tuple("abcdefghij"), "new")):
        learngene = tiny_learngene(arguments=arguments, num_classes=10, classes=classes)
        learngene.save(tmp_path / "gene.safetensors", overwrite=True)
        start = init_from_learngene(str(tmp_path / "gene.safetensors"), 2)(few)
        weight: Any = start.model.head
        assert start.lineage["head"] == policy
        assert torch.equal(weight.weight, torch.from_numpy(learngene.tensors["head.weight"])) == (policy == "kept")


def test_all_layers_start_alike() -> None:
    from tleg.learngene.basis import Basis
    from tleg.models.architecture import describe
    from tleg.models.auxiliary import AuxiliaryModel

    torch.manual_seed(0)
    model = AuxiliaryModel(describe(VIT, {"embed_dim": 192, "num_heads": 3}, 10), Basis())
    layers = model.expand(model.coefficients(12))
    first, last = (layers[index]["mlp.fc1.weight"].std().item() for index in (0, 11))
    # Two terms of one distribution: the last layer is at most sqrt(1 + (11/12)^2) as large, and it is trained from there.
    assert first == pytest.approx(0.02, rel=0.05)
    assert first < last < 1.4 * first
    assert layers[11]["norm1.weight"].eq(1).all()
    assert layers[11]["mlp.fc1.bias"].eq(layers[0]["mlp.fc1.bias"]).all()


def test_an_unfinished_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".step-000000003.abcdefgh.tmp").mkdir()
    (tmp_path / "step-000000002").mkdir()
    checkpoints = Checkpoints(tmp_path)
    found, problems = checkpoints.latest()
    assert found is None
    assert len(problems) == 1
    checkpoints.tidy()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000002"]
    with pytest.raises(FileFormatError, match=r"cannot read .*progress\.json"):
        read_checkpoint(tmp_path / "step-000000002")
