"""Budgets: what a study's file may say, and how many epochs follow from it."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.documents import document
from tleg.errors import InputError
from tleg.learngene.container import read_file
from tleg.models.architecture import describe
from tleg.models.flops import measure
from tleg.recipes.distillation import Depths
from tleg.references import shipped
from tleg.study.budget import Budget, read_budget
from tleg.study.compute import count_model, forward_at_depths, training_macs
from tleg.study.file import Study, make_study
from tleg.study.grid import list_tasks
from tleg.study.plan import Plan, check_grid

ARMS = {"gene": {"kind": "learn"}, "free": {"kind": "train"}, "own": {"kind": "train", "epochs": 7}}


def budgeted(data: Path | str = "digits", arms: dict[str, Any] = ARMS, **budget: Any) -> Study:
    values = document(data, arms=arms)
    del values["epochs"]
    return make_study({**values, "budget": budget})


def epochs_of(study: Study, seconds: dict[str, float] | None = None) -> dict[str, int | None]:
    plan = Plan(study, (seconds or {}).get)
    return {each.task.name.replace("/digits/seed-0", ""): each.epochs for each in check_grid(study, plan)}


# --- the table


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "takes one of epochs, images, macs, minutes, not 0"),
        ({"epochs": 3, "macs": 4}, "not 2 of them"),
        ({"of": "family"}, "not 0 of them"),
        ({"image": 3}, "unknown key 'image'. Did you mean 'images'"),
        ({"images": 0}, "images: give a number above 0"),
        ({"macs": -1.0}, "macs: give a number above 0"),
        ({"minutes": float("nan")}, "a number above 0"),
        ({"minutes": float("inf")}, "a number above 0"),
        ({"epochs": True}, "a number above 0"),
        ({"epochs": "3"}, "a number above 0"),
        ({"epochs": 3, "of": "arm"}, 'write "training" or "family", not \'arm\''),
        ({"epochs": 3, "of": ["family"]}, "not ['family']"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        read_budget(table)
    assert caught.value.field == "study"


def test_epochs_are_given_once() -> None:
    for more in ({"epochs": 3}, {"common": {"epochs": 3}}):
        values = {**document(), "budget": {"images": 10}}
        del values["epochs"]
        with pytest.raises(InputError, match=re.escape("give epochs or a [budget], not both")):
            make_study({**values, **more})


@given(st.floats(1e-3, 1e20), st.floats(1e-3, 1e20))
def test_epochs_are_the_nearest_whole_number(amount: float, epoch: float) -> None:
    budget, exact = Budget(unit="macs", amount=amount), amount / epoch
    if 0.5 <= exact < 1e9:
        assert abs(budget.epochs(epoch) - exact) <= 0.5 + 1e-6
        assert budget.epochs(epoch) >= 1
    else:
        with pytest.raises(InputError, match=r"a budget of .* MACs is"):
            budget.epochs(epoch)


# --- the epochs of trainings


def test_a_budget_of_epochs() -> None:
    assert epochs_of(budgeted(epochs=4)) == {
        "gene": 4,
        "free/depth-2": 4,
        "free/depth-3": 4,
        "own/depth-2": 7,
        "own/depth-3": 7,
    }
    family = epochs_of(budgeted(epochs=5, of="family"))
    # All of it in the learngene's one training; 2.5 for each of two depths, to the nearest.
    assert (family["gene"], family["free/depth-2"], family["free/depth-3"], family["own/depth-2"]) == (5, 3, 3, 7)


def test_recipes_have_the_epochs() -> None:
    study = budgeted(epochs=4)
    assert {each.task.arm.name: each.recipe.recipe.epochs for each in check_grid(study)} == {"gene": 4, "free": 4, "own": 7}
    assert study.budget_document == {"epochs": 4, "of": "training", "own": {"own": 7}}
    assert make_study(document()).budget_document == {"epochs": {"gene": 2, "further": 1}}
    bare = document(arms={"gene": {"kind": "learn"}})
    del bare["epochs"]
    (planned,) = check_grid(make_study(bare))
    assert make_study(bare).budget_document == {"epochs": {"gene": planned.recipe.recipe.epochs}}


def test_a_budget_of_images(digits: Path) -> None:
    # 1,000 training images.
    assert epochs_of(budgeted(digits, images=3400))["gene"] == 3
    family = epochs_of(budgeted(digits, images=3400, of="family"))
    assert (family["gene"], family["free/depth-2"], family["free/depth-3"]) == (3, 2, 2)
    assert epochs_of(budgeted(digits, images=500))["gene"] == 1
    with pytest.raises(InputError, match="gene/digits/seed-0: a budget of 499 images is less than half an epoch"):
        epochs_of(budgeted(digits, images=499))


def test_images_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(InputError, match="images of nowhere cannot be counted") as caught:
        epochs_of(budgeted("nowhere", images=1000))
    assert caught.value.code == "unsupported"
    # Where the file gives epochs, there is nothing to count.
    assert epochs_of(budgeted("nowhere", arms={"own": ARMS["own"]}, images=1000)) == {"own/depth-2": 7, "own/depth-3": 7}


def test_a_budget_of_macs(digits: Path) -> None:
    given = {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2}
    cost = measure(describe("vit_tiny_patch16_224", given, 10)).macs
    free = {depth: count_model("vit_tiny_patch16_224", {**given, "depth": depth}, 10, (3, 8, 8)).macs for depth in (2, 3)}
    # Depth 2 is drawn three times where depth 3 is drawn twice.
    amount = 3 * 1000 * 4 * (3 * cost.at(2) + 2 * cost.at(3)) / 5
    study = budgeted(digits, macs=amount)
    found = epochs_of(study)
    assert found["gene"] == 4
    assert found["free/depth-2"] == round(amount / (3000 * free[2]))
    assert found["free/depth-3"] == round(amount / (3000 * free[3]))
    assert found["free/depth-2"] != found["free/depth-3"]
    plan = Plan(study)
    by_name = {each.task.name: plan.macs(each) for each in check_grid(study, plan)}
    assert by_name["gene/digits/seed-0"] == pytest.approx(amount)
    family = epochs_of(budgeted(digits, macs=4 * amount, of="family"))
    assert family["gene"] == 16
    assert family["free/depth-2"] == family["free/depth-3"] == round(4 * amount / (3000 * (free[2] + free[3])))


def test_an_arm_whose_cost_is_not_known_is_refused_by_name(digits: Path) -> None:
    odd: dict[str, dict[str, Any]] = {"odd": {"kind": "learn", "architecture": "resnet18", "model-arg": {}}}
    with pytest.raises(InputError, match="what the arm 'odd' computes is not known") as caught:
        epochs_of(budgeted(digits, arms=odd, macs=1e12))
    assert (caught.value.field, caught.value.code) == ("study", "unsupported")
    odd["odd"]["epochs"] = 2
    assert epochs_of(budgeted(digits, arms=odd, macs=1e12)) == {"odd": 2}


def test_descendants_cost_what_their_learngene_says_and_a_teacher_computes_as_well(digits: Path) -> None:
    arms = {
        "big": {"kind": "train"},
        "gene": {"kind": "learn", "teacher": "arm:big", "teacher-depth": 3},
        "further": {"kind": "finetune", "start": "gene"},
        "taught": {"kind": "finetune", "start": "gene", "teacher": "vit_tiny_patch16_224"},
    }
    study = budgeted(digits, arms=arms, macs=1e12)
    plan, tasks = Plan(study), {task.name.replace("/digits/seed-0", ""): task for task in list_tasks(study)}
    each = {name: plan.image_macs(task) for name, task in tasks.items()}
    drawn = (3 * each["further/depth-2"] + 2 * each["further/depth-3"]) / 5
    assert each["gene"] == pytest.approx(drawn + each["big/depth-3"] / 3)
    teacher = count_model("vit_tiny_patch16_224", {}, 1000, (3, 224, 224)).macs
    assert each["taught/depth-2"] == each["further/depth-2"] + teacher


def test_a_learning_computes_the_same_whatever_arm_it_begins_with(digits: Path) -> None:
    arms = {
        "gene": {"kind": "learn"},
        "big": {"kind": "train"},
        "grown": {"kind": "learn", "start": "arm:gene", "basis": "chebyshev:3", "model-arg": {}},
        "fitted": {"kind": "learn", "start": "arm:big", "start-depth": 3, "model-arg": {"patch_size": 2}},
        "further": {"kind": "finetune", "start": "grown"},
        "again": {"kind": "finetune", "start": "gene"},
    }
    study = budgeted(digits, arms=arms, macs=1e12)
    plan, tasks = Plan(study), {task.name.replace("/digits/seed-0", ""): task for task in list_tasks(study)}
    each = {name: plan.image_macs(task) for name, task in tasks.items()}
    # What nobody says is as in the arm that it starts from.
    assert each["grown"] == each["fitted"] == each["gene"]
    assert each["further/depth-2"] == each["again/depth-2"]


def test_a_pruned_model_computes_as_much_as_the_other_arms_model_of_its_depth(digits: Path) -> None:
    arms: dict[str, dict[str, Any]] = {
        "big": {"kind": "train"},
        "pruned": {"kind": "finetune", "init": "prune", "start": "big", "start-depth": 3},
        "grown": {"kind": "learn", "start": "arm:pruned", "start-depth": 2, "model-arg": {}},
        "gene": {"kind": "learn"},
    }
    study = budgeted(digits, arms=arms, macs=1e12)
    plan, tasks = Plan(study), {task.name.replace("/digits/seed-0", ""): task for task in list_tasks(study)}
    each = {name: plan.image_macs(task) for name, task in tasks.items()}
    assert [each[f"pruned/depth-{depth}"] for depth in (2, 3)] == [each[f"big/depth-{depth}"] for depth in (2, 3)]
    assert each["big/depth-2"] < each["big/depth-3"]
    assert each["grown"] == each["gene"]
    # An arm that reads its images larger computes more, whatever the one had that it starts from.
    arms["pruned"]["image-size"] = "16"
    larger = budgeted(digits, arms=arms, macs=1e12)
    pruned = next(task for task in list_tasks(larger) if task.name == "pruned/digits/seed-0/depth-2")
    assert Plan(larger).image_macs(pruned) > each["big/depth-2"]


def test_descendants_of_a_file_cost_what_they_compute(digits: Path) -> None:
    study = budgeted(digits, arms={"other": {"kind": "finetune", "learngene": "characters"}}, macs=1e12)
    plan, tasks = Plan(study), list_tasks(study)
    # A new head of ten classes has fewer multiply-accumulates than the learngene's own.
    header = read_file(shipped()["characters"]).header
    expected = [3 * (header.cost_at(depth).macs - 64 * (62 - 10)) for depth in (2, 3)]
    assert [plan.image_macs(task) for task in tasks] == expected


def test_a_budget_of_minutes_follows_from_a_measured_epoch() -> None:
    arms = {**ARMS, "gene": {"kind": "learn", "tune": {"lr": [1e-3, 3e-3]}}}
    study = budgeted(arms=arms, minutes=2)
    tasks = {task.name: task for task in list_tasks(study)}
    assert [name for name in tasks if "speed" in name] == [
        "gene/digits/speed",
        "free/digits/speed/depth-2",
        "free/digits/speed/depth-3",
    ]
    speed = tasks["gene/digits/speed"]
    assert (speed.seed, dict(speed.choice), speed.waits) == (1000, {"lr": 1e-3}, ())
    assert tasks["gene/digits/tuning-1000/1"].waits == ("gene/digits/speed",)
    assert tasks["free/digits/seed-0/depth-3"].waits == ("free/digits/speed/depth-3",)
    assert tasks["own/digits/seed-0/depth-3"].waits == ()
    seconds = {"gene/digits/speed": 50.0, "free/digits/speed/depth-2": 20.0}
    found = epochs_of(study, seconds)
    assert (found["gene"], found["gene/digits/tuning-1000/0"], found["gene/digits/speed"]) == (2, 2, 1)
    assert (found["free/depth-2"], found["free/depth-3"]) == (6, None)
    with pytest.raises(InputError, match="is not measured yet"):
        Plan(study).recipe(tasks["gene/digits/seed-0"], {})
    together = budgeted(arms=arms, minutes=2, of="family")
    assert epochs_of(together, seconds)["free/depth-2"] is None
    found = epochs_of(together, {**seconds, "free/digits/speed/depth-3": 30.0})
    assert (found["free/depth-2"], found["free/depth-3"]) == (2, 2)
    waits = next(task.waits for task in list_tasks(together) if task.name == "free/digits/seed-0/depth-2")
    assert waits == ("free/digits/speed/depth-2", "free/digits/speed/depth-3")


# --- what a step computes


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6, unique=True))
def test_a_sandwich_computes_three_depths_and_a_single_draw_one(depths: list[int]) -> None:
    low, *between, high = sorted(depths)
    single = forward_at_depths(lambda depth: 100 * depth, Depths(high, tuple(depths)))
    assert single == pytest.approx(100 * sum(depths) / len(depths))
    sandwich = forward_at_depths(lambda depth: 100 * depth, Depths(high, tuple(depths), "sandwich"))
    assert sandwich == pytest.approx(100 * (low + high + (sum(between) / len(between) if between else 0)))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6, unique=True))
def test_balanced_draws_compute_the_harmonic_mean(depths: list[int]) -> None:
    balanced = forward_at_depths(lambda depth: 100 * depth, Depths(max(depths), tuple(depths), "balanced"))
    assert balanced == pytest.approx(100 * len(depths) / sum(1 / depth for depth in depths))


def test_a_fixed_depth_and_a_teacher() -> None:
    assert forward_at_depths(lambda depth: 10 * depth + 5, Depths(12)) == 125
    assert training_macs(100, 40) == 340


def test_a_model_that_cannot_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="cannot count what 'nothing' computes"):
        count_model("nothing", {}, 10, (3, 32, 32))


@given(st.floats(0, 1), st.floats(0.01, 1), st.integers(1, 24))
def test_a_warmup_computes_its_depth_alone(warmup: float, part: float, first: int) -> None:
    depths = Depths(6, (2, 4, 6), warmup=warmup, warmup_depth=first)
    found = forward_at_depths(lambda depth: 10 * depth, depths, part)
    # Step by step: what comes before the end of the warm-up has its depth, and all else the mean of those drawn.
    steps = 2000
    parts = [10 * first if (step + 0.5) / steps * part < warmup else 40 for step in range(steps)]
    assert found == pytest.approx(sum(parts) / steps, abs=0.2)


def test_half_of_a_training_is_not_half_of_its_work() -> None:
    depths = Depths(12, (3, 6, 9, 12), warmup=0.5)
    whole, half = (forward_at_depths(lambda depth: depth, depths, part) * part for part in (1.0, 0.5))
    assert (whole, half) == (0.5 * 3 + 0.5 * 7.5, 1.5)
