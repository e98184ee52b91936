"""The file of a study: what it means, and what is refused."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.documents import document
from tleg.errors import FileFormatError, InputError
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.learning import LearnRecipe
from tleg.study.file import make_study, read_study
from tleg.study.grid import list_tasks
from tleg.study.plan import check_grid

PAGE = Path(__file__).parents[2] / "docs" / "study-files.md"


def test_a_grid_has_every_arm_seed_and_depth() -> None:
    study = make_study(document(seeds=[0, 5]))
    assert [task.name for task in list_tasks(study)] == [
        "gene/digits/tuning-1000/0",
        "gene/digits/tuning-1000/1",
        "gene/digits/seed-0",
        "gene/digits/seed-5",
        "further/digits/seed-0/depth-2",
        "further/digits/seed-0/depth-3",
        "further/digits/seed-5/depth-2",
        "further/digits/seed-5/depth-3",
    ]
    assert len(check_grid(study)) == 8


def test_options_of_the_arm_go_before_those_of_its_kind_and_of_all() -> None:
    changed = document()
    changed["common"] = {**changed["common"], "lr": 1e-2, "weight-decay": 0.3, "batch-size": 10}
    changed["common"]["learn"] = {**changed["common"]["learn"], "weight-decay": 0.2, "batch-size": 20}
    changed["arms"]["gene"] = {"kind": "learn", "weight-decay": 0.1}
    changed["data"]["digits"] |= {"flip": 0.25}
    task = next(task for task in list_tasks(make_study(changed)) if task.arm.name == "gene")
    recipe = task.recipe(make_study(changed), {}).recipe
    assert (recipe.learning_rate, recipe.weight_decay, recipe.batch_size) == (1e-2, 0.1, 20)
    assert recipe.augmentation.flip == 0.25
    assert (recipe.epochs, recipe.seed) == (2, 0)


def test_what_a_learning_begins_with_is_an_option_and_no_arm() -> None:
    arms = {"gene": {"kind": "learn", "start": "fit.safetensors", "start-layers": "initial"}}
    study = make_study(document(arms=arms))
    (task,) = [task for task in list_tasks(study) if task.name == "gene/digits/seed-0"]
    recipe = task.recipe(study, {})
    assert isinstance(recipe, LearnRecipe)
    assert (recipe.start, recipe.start_layers) == ("fit.safetensors", "initial")
    assert dict(task.needs) == {}


def test_a_learning_may_begin_with_the_result_of_an_arm() -> None:
    arms = {
        "shared": {"kind": "learn", "expand": "norm"},
        "grown": {"kind": "learn", "start": "arm:shared", "epochs": 1},
        "big": {"kind": "train"},
        "fitted": {"kind": "learn", "start": "arm:big", "start-depth": 3},
    }
    study = make_study(document(arms=arms, seeds=[0, 5]))
    tasks = {task.name: task for task in list_tasks(study)}
    assert dict(tasks["grown/digits/seed-5"].needs) == {"start": "shared/digits/seed-5"}
    assert dict(tasks["fitted/digits/seed-0"].needs) == {"start": "big/digits/seed-0/depth-3"}
    recipe = tasks["grown/digits/seed-5"].recipe(study, {"shared/digits/seed-5": Path("runs/one")})
    assert isinstance(recipe, LearnRecipe)
    assert (recipe.start, recipe.expand, recipe.recipe.epochs) == ("runs/one", "attention,mlp,norm", 1)


def test_a_model_of_an_arm_is_pruned_to_each_depth() -> None:
    arms = {
        "big": {"kind": "train"},
        "pruned": {"kind": "finetune", "init": "prune", "start": "big", "start-depth": 3},
    }
    study = make_study(document(arms=arms, seeds=[0, 5]))
    tasks = {task.name: task for task in list_tasks(study)}
    task = tasks["pruned/digits/seed-5/depth-2"]
    assert dict(task.needs) == {"checkpoint": "big/digits/seed-5/depth-3"}
    recipe = task.recipe(study, {"big/digits/seed-5/depth-3": Path("runs/one")})
    assert isinstance(recipe, FinetuneRecipe)
    assert (recipe.checkpoint, recipe.init, recipe.depth, recipe.learngene) == ("runs/one", "prune:2", None, None)


def test_a_training_names_the_results_that_it_needs() -> None:
    arms = {
        "gene": {"kind": "learn", "teacher": "arm:big", "teacher-depth": 3},
        "big": {"kind": "train"},
        "further": {"kind": "finetune", "start": "gene"},
    }
    study = make_study(document(arms=arms))
    needs = {task.name: dict(task.needs) for task in list_tasks(study)}
    assert needs["gene/digits/seed-0"] == {"teacher": "big/digits/seed-0/depth-3"}
    assert needs["further/digits/seed-0/depth-2"] == {"learngene": "gene/digits/seed-0"}
    big = next(task for task in list_tasks(study) if task.name == "big/digits/seed-0/depth-2")
    assert big.recipe(study, {}).model_arguments["depth"] == 2


def test_descendants_of_a_file_begin_alike_with_every_seed() -> None:
    arms = {"other": {"kind": "finetune", "learngene": "characters"}}
    study = make_study(document(arms=arms, seeds=[0, 1]))
    tasks = list_tasks(study)
    assert [task.name for task in tasks] == [
        f"other/digits/seed-{seed}/depth-{depth}" for seed in (0, 1) for depth in (2, 3)
    ]
    found = []
    for task in tasks:
        recipe = task.recipe(study, {})
        assert isinstance(recipe, FinetuneRecipe)
        found.append((recipe.learngene, recipe.depth, recipe.recipe.seed))
    assert found == [("characters", depth, seed) for seed in (0, 1) for depth in ("2", "3")]
    assert not any(task.needs for task in tasks)


def arms(**gene: Any) -> dict[str, Any]:
    return document(arms={"gene": {"kind": "learn", **gene}})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"seed": [1]}, "unknown key 'seed'. Did you mean 'seeds'"),
        (document(tuning_seeds=[0]), "unknown key 'tuning_seeds'"),
        ({**document(), "tuning-seeds": [0]}, "seed 0 is one of seeds as well"),
        (document(depths=[]), "give each number once"),
        (document(depths=[0, 2]), "at least 1"),
        (document(seeds=[1, 1]), "give each number once"),
        (document(seeds="all"), "seeds must be a list"),
        ({key: value for key, value in document().items() if key != "depths"}, "needs depths"),
        (document(arms={}), "at least one"),
        (document(arms={"a b": {"kind": "learn"}}), "not 'a b'"),
        (document(arms={"gene": {"basis": "linear"}}), "needs kind"),
        (arms(lrr=1e-3), "unknown key 'lrr'. Did you mean 'lr'"),
        (arms(seed=3), "the study decides it"),
        (
            document(arms={"g": {"kind": "learn"}, "f": {"kind": "finetune", "start": "g", "learngene": "x"}}),
            "has a start and a learngene",
        ),
        (
            document(arms={"g": {"kind": "train"}, "f": {"kind": "finetune", "start": "g", "checkpoint": "x"}}),
            "has a start and a checkpoint",
        ),
        (
            document(arms={"f": {"kind": "finetune", "start": "t", "init": "prune"}, "t": {"kind": "train"}}),
            "needs start-depth",
        ),
        (
            document(
                arms={"f": {"kind": "finetune", "start": "t", "start-depth": 2, "init": "prune"}, "t": {"kind": "train"}}
            ),
            "makes no depth 3 of a model of depth 2: give start-depth = 3",
        ),
        (
            document(arms={"f": {"kind": "finetune", "start": "g", "init": "prune"}, "g": {"kind": "learn"}}),
            'or with init = "prune" from a model of another',
        ),
        (document(arms={"t": {"kind": "train", "learngene": "x"}}), "unknown key 'learngene'"),
        (arms(tune={"lr": 1e-3}), "give a list of values"),
        (arms(tune={"rate": [1]}), "unknown key 'rate'"),
        (document(arms={"g": {"kind": "learn"}, "t": {"kind": "train", "start": "g"}}), "starts from a 'learn' arm"),
        (document(arms={"f": {"kind": "finetune", "start": "gone"}}), "the arm 'gone', which is not there"),
        (document(arms={"f": {"kind": "finetune", "start": "t"}, "t": {"kind": "train"}}), "starts from a 'learn' arm"),
        (arms(start="arm:gone"), "the arm 'gone', which is not there"),
        (arms(start="arm:gene"), "is made from itself"),
        (document(arms={"g": {"kind": "learn", "start": "arm:t"}, "t": {"kind": "train"}}), "needs start-depth"),
        (arms(teacher="arm:gene"), "is made from itself"),
        (document(arms={"g": {"kind": "learn", "teacher": "arm:t"}, "t": {"kind": "train"}}), "needs teacher-depth"),
        (document(common={"epoch": 3}), "unknown key 'epoch'"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        make_study(wrong)


def test_a_recipe_that_makes_no_sense_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(InputError, match="gene/digits/seed-0: a linear basis takes no parameter"):
        check_grid(make_study(arms(basis="linear:3")))


def test_what_is_made_of_trained_models_is_not_made_of_a_learngene() -> None:
    wrong = {"f": {"kind": "finetune", "init": "prune", "learngene": "characters"}}
    with pytest.raises(InputError, match="prune:KEEP is made of a trained model: it belongs to --checkpoint, not to"):
        check_grid(make_study(document(arms=wrong)))


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the study"):
        read_study(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[arms")
    with pytest.raises(FileFormatError, match="is no TOML"):
        read_study(tmp_path / "bad.toml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["arms", "data", "common", "seeds", "depths", "kind", "tune", "lr", "budget", "macs", "epochs", "of"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_no_document_is_taken_wrongly(value: Any) -> None:
    if isinstance(value, dict):
        with pytest.raises(InputError):
            check_grid(make_study(value))


def test_the_example_of_the_documentation_is_a_study() -> None:
    text = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    study = make_study(tomllib.loads(text), text)
    # Two rates for two learngenes and, at four depths, for models alone; then three seeds.
    assert len(check_grid(study)) == 2 * 2 + 2 * 4 + 3 * (1 + 1 + 4 + 4)
