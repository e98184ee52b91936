"""Recipes: one definition for options, files and the trainer, and what is wrong said before anything starts."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.cli.train import make_recipe
from tleg.errors import FileFormatError, InputError
from tleg.learngene.basis import Basis
from tleg.recipes import Kind
from tleg.recipes.distillation import Depths
from tleg.recipes.fields import Option, options_of
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.io import command_words, format_recipe, from_values, parse_arguments, read_recipe, to_values
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.presets import PRESETS, preset_values, presets_of
from tleg.recipes.recipes import RECIPES
from tleg.recipes.training import Recipe

LEARN = {"architecture": "vit_tiny_patch16_224", "data": "fashion-mnist"}
TUNE = {"data": "fashion-mnist", "model": "resnet18"}
REQUIRED = {"learn": LEARN, "train": TUNE, "finetune": TUNE}
# What only makes sense together with something else is left to tests of its own.
FREE = {
    "epochs": st.integers(2, 1000),
    "lr": st.floats(1e-6, 1, allow_nan=False),
    "weight-decay": st.floats(0, 1),
    "mixup": st.floats(0, 2),
    "ema": st.floats(0, 0.9999),
    "seed": st.integers(0, 2**31 - 1),
    "auto-augment": st.sampled_from(["none", "rand-m9-mstd0.5-inc1", "a 'quoted' \"text\" \\ \u00e4\n\t\x7f"]),
    "schedule": st.sampled_from(["cosine", "linear", "constant"]),
    "optimizer": st.sampled_from(["adamw", "lamb", "sgd"]),
    "gradient-checkpointing": st.booleans(),
    "exif": st.booleans(),
    "pixel-range": st.sampled_from(["0,4095", "-1024,3071.5"]),
    "max-pixels": st.integers(1, 2**40),
    "checkpoint-steps": st.integers(1, 999),
    "temperature": st.floats(0.1, 9),
    "model-arg": st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.one_of(
            st.integers(-9, 99),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            st.none(),
            st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8).filter(lambda text: text != "None"),
            st.lists(st.integers(0, 99), max_size=3),
        ),
        max_size=3,
    ),
    "teacher": st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12),
}


def some_values(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=FREE).map(lambda values: {**REQUIRED[kind], **values})


@given(st.sampled_from(list(RECIPES)).flatmap(lambda kind: st.tuples(st.just(kind), some_values(kind))))
def test_a_recipe_is_its_file_and_its_document(pair: tuple[str, dict[str, Any]]) -> None:
    kind, values = pair
    recipe = from_values(kind, values)
    assert from_values(kind, to_values(recipe)) == recipe
    assert from_values(kind, to_values(recipe, complete=False)) == recipe
    document = tomllib.loads(format_recipe(recipe))
    assert document.pop("kind") == kind
    assert from_values(kind, document) == recipe


@given(st.sampled_from(list(RECIPES)).flatmap(lambda kind: st.tuples(st.just(kind), some_values(kind))))
def test_a_recipe_is_its_command_line(pair: tuple[str, dict[str, Any]]) -> None:
    kind, values = pair
    recipe = from_values(kind, values)
    program, command, *words = command_words(recipe)
    assert (program, command) == ("tleg", kind)
    options = {each.name: each for each in options_of(type(recipe))}
    given_options: dict[str, Any] = {name: [] if each.kind is dict else None for name, each in options.items()}
    while words:
        word = words.pop(0).removeprefix("--")
        each = options[word if word in options else word.removeprefix("no-")]
        if each.kind is bool:
            given_options[each.name] = word == each.name
        elif each.kind is dict:
            given_options[each.name].append(words.pop(0))
        else:
            given_options[each.name] = each.kind(words.pop(0))
    assert make_recipe(recipe.kind, None, None, given_options) == recipe


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("learn", {"data": "x"}, "learn needs --architecture: The model, by timm's name"),
        ("learn", {**LEARN, "epocs": 3}, "learn has no option 'epocs'. Did you mean 'epochs'"),
        ("learn", {**LEARN, "depth": 3}, "depth is an option of finetune, not of learn"),
        ("finetune", {**TUNE, "sample-depths": "3"}, "sample-depths is an option of learn, not of finetune"),
        ("lern", LEARN, "unknown kind of training 'lern': choose learn, train, finetune. Did you mean 'learn'"),
        ("learn", {**LEARN, "epochs": 3.5}, "epochs must be a whole number, not 3.5"),
        ("learn", {**LEARN, "epochs": True}, "epochs must be a whole number, not True"),
        ("learn", {**LEARN, "compile": 1}, "compile must be true or false, not 1"),
        ("learn", {**LEARN, "lr": "fast"}, "lr must be a number, not 'fast'"),
        ("learn", {**LEARN, "lr": float("nan")}, "lr must be from 1e-12 to 100, not nan"),
        ("learn", {**LEARN, "model-arg": 4}, "model-arg must be a table, not 4"),
        (
            "learn",
            {**LEARN, "schedule": "cosin"},
            "unknown schedule 'cosin': choose cosine, linear or constant. Did you mean",
        ),
        ("learn", {**LEARN, "optimizer": "adamv"}, "Did you mean 'adam"),
        ("learn", {**LEARN, "warmup-epochs": 31.0}, "warmup-epochs must be from 0 to 30, the epochs, not 31"),
        ("learn", {**LEARN, "batch-size": 63, "mixup": 0.1}, "the batch size must be even, not 63"),
        ("learn", {**LEARN, "accumulate": 3}, "batch-size 128 does not divide into 3 equal parts (accumulate)"),
        ("learn", {**LEARN, "devices": 3}, "batch-size 128 does not divide into 3 equal parts (processes times accumulate)"),
        ("learn", {**LEARN, "devices": 2, "nodes": 2, "batch-size": 12, "mixup": 1.0}, "batch-size must be a multiple of 8"),
        ("learn", {**LEARN, "device": "cuda:1", "devices": 2}, "device cuda:1 is one device, and 2 were asked for"),
        ("learn", {**LEARN, "device": "gpu"}, "unknown device 'gpu': choose auto, cpu, cuda or cuda:N"),
        ("learn", {**LEARN, "distillation": "hard"}, "hard distillation needs a teacher"),
        ("learn", {**LEARN, "sampling": "sandwich", "sample-depths": "none"}, "sandwich sampling needs two or more depths"),
        ("learn", {**LEARN, "sample-depths": "4,6", "auxiliary-depth": 12}, "so it is never trained"),
        ("learn", {**LEARN, "evaluate-depths": "0-3"}, "depth 0 is out of range"),
        ("learn", {**LEARN, "result": "best", "evaluate-every": 0}, "the best weights are known when they are evaluated"),
        ("finetune", {"data": "x"}, "start from exactly one of --learngene, --model, --checkpoint"),
        ("finetune", {**TUNE, "checkpoint": "c"}, "start from exactly one of"),
        ("finetune", {**TUNE, "depth": 3}, "--learngene needs --depth, and nothing else takes it"),
        ("finetune", {**TUNE, "init": "share"}, "--init share belongs to --learngene"),
        ("finetune", {"data": "x", "learngene": "g", "depth": 3, "init": "mimetc"}, "Did you mean 'mimetic'"),
        ("finetune", {**TUNE, "freeze": "blocks:x"}, "freeze takes stem, blocks, blocks:N or head, not 'blocks:x'"),
        ("finetune", {**TUNE, "drop-path": 0.1}, "a timm model takes --model-arg drop_path_rate"),
        (
            "finetune",
            {"data": "x", "learngene": "g", "depth": 3, "teacher": "t", "distillation": "token"},
            "token distillation needs a distillation token",
        ),
    ],
)
def test_what_is_wrong_is_said(kind: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_values(kind, values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults_of_the_two_kinds() -> None:
    learn, tune = from_values("learn", LEARN), from_values("finetune", TUNE)
    assert isinstance(learn, LearnRecipe)
    assert isinstance(tune, FinetuneRecipe)
    assert (learn.recipe.epochs, tune.recipe.epochs) == (30, 10)
    assert learn.depths.auxiliary == 12
    assert from_values("learn", {**LEARN, "sample-depths": [4, 6, 8]}).depths.sampled == (4, 6, 8)  # type: ignore[union-attr]
    assert tune.frozen == ()
    frozen = from_values("finetune", {**TUNE, "freeze": "stem, blocks:3,head"}).frozen  # type: ignore[union-attr]
    assert frozen == (("stem", None), ("blocks", 3), ("head", None))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_recipe(name: str) -> None:
    preset = PRESETS[name]
    for kind in RECIPES if preset.kind is None else (preset.kind,):
        assert preset in presets_of(kind)
        own: dict[str, Any] = {"data": "imagenet"}
        if kind == "train":
            own["model"] = "resnet18"
        if kind == "finetune":
            own |= {"learngene": "g.safetensors", "depth": 12}
        if name == "quick" and kind == "learn":
            own["architecture"] = "deit_tiny_patch16_224"
        assert from_values(kind, {**preset_values(name, kind), **own}).kind == kind


def test_the_example_is_complete() -> None:
    recipe = from_values("learn", preset_values("example", "learn"))
    assert isinstance(recipe, LearnRecipe)
    assert (recipe.data, recipe.architecture, recipe.depths.auxiliary) == ("fashion-mnist", "vit_tiny_patch16_224", 8)
    assert presets_of("learn")[0].name == "example"
    assert "example" not in [preset.name for preset in presets_of("finetune")]


def test_a_rate_that_nobody_gives_follows_from_the_width_and_the_batch() -> None:
    recipe = Recipe()
    assert [Recipe(batch_size=size).at_width(64).peak_rate for size in (8, 32, 128, 1024)] == [1.5e-3, 3e-3, 6e-3, 6e-3]
    assert Recipe(batch_size=32).at_width(384).peak_rate == 5e-4
    assert [recipe.at_width(width).peak_rate for width in (32, 64, 192, 384)] == [6e-3, 6e-3, 2e-3, 1e-3]
    given = Recipe(learning_rate=3e-4)
    assert given.at_width(384) == given


def test_the_papers_recipes_are_its_commands() -> None:
    small = from_values("learn", {**preset_values("paper-aux-s", "learn"), "data": "imagenet"})
    assert isinstance(small, LearnRecipe)
    assert (small.architecture, small.teacher, small.depths.auxiliary) == ("deit_small_patch16_224", "levit_384", 12)
    recipe, distillation = small.recipe, small.distillation
    assert (recipe.epochs, recipe.batch_size, recipe.warmup, recipe.repeats) == (150, 512, 5, 3)
    assert recipe.peak_rate == 5e-4
    assert recipe.peak_rate * recipe.minimum_rate == pytest.approx(1e-5)
    assert (recipe.weight_decay, recipe.label_smoothing, recipe.mixup, recipe.cutmix) == (0.05, 0.1, 0.8, 1.0)
    assert (distillation.weight, distillation.temperature, distillation.normalisation) == (1.0, 1.0, "official")
    big = preset_values("paper-aux-b", "learn")
    assert (big["architecture"], big["epochs"]) == ("deit_base_patch16_224", 100)
    for name, epochs in (("paper-des-s", 35), ("paper-des-b", 40)):
        values = preset_values(name, "finetune")
        assert (values["epochs"], values["depth"], values["warmup-epochs"], values["drop-path"]) == (epochs, 12, 0.0, 0.1)
        assert "teacher" not in values


def test_a_preset_gives_way_to_a_file_and_that_to_an_option(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(
        'kind = "learn"\narchitecture = "deit_tiny_patch16_224"\nepochs = 7\nseed = 5\n[model-arg]\npatch_size = 8\n'
    )
    nothing: dict[str, Any] = {each.name: None for each in options_of(LearnRecipe)}
    options = {**nothing, "data": "d", "seed": 6, "model-arg": ["depth=3"]}
    recipe = make_recipe("learn", "quick", str(file), options)
    assert isinstance(recipe, LearnRecipe)
    assert (recipe.recipe.augmentation.crop_scale, recipe.recipe.epochs, recipe.recipe.seed) == (0.6, 7, 6)
    assert recipe.model_arguments == {"patch_size": 8, "depth": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'kind = "learn"\nepochs = ', "is no TOML"),
        (b"\xff\xfe\x00", "is no TOML"),
        (b"epochs = 3", 'lacks its kind: write kind = "learn"'),
        (b'kind = "learn"\narchitecture = "a"\ndata = "d"\nepochs = 0', "epochs must be from 1"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_recipe(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    with pytest.raises((InputError, FileFormatError), match="cannot read the recipe"):
        read_recipe(tmp_path / "missing.toml")


def test_a_recipe_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('kind = "finetune"\ndata = "d"\nmodel = "resnet18"\n')
    nothing: dict[str, Any] = {each.name: None for each in options_of(LearnRecipe)}
    with pytest.raises(InputError, match="is for `tleg finetune`, not for `tleg learn`"):
        make_recipe("learn", None, str(file), nothing)
    with pytest.raises(InputError, match="the preset paper-des-s is for `tleg finetune`, not for `tleg learn`"):
        preset_values("paper-des-s", "learn")


def test_options_have_names_of_their_own_and_say_what_they_do() -> None:
    for kind in RECIPES.values():
        options: tuple[Option, ...] = options_of(kind)
        names = [each.name for each in options]
        assert len(set(names)) == len(names)
        assert all(each.help.endswith(".") and each.group for each in options)


def test_arguments_without_an_equals_sign_are_refused() -> None:
    with pytest.raises(InputError, match="--model-arg takes KEY=VALUE, not 'patch'"):
        parse_arguments(["patch"], "model-arg")


def test_recipes_need_neither_numpy_nor_torch(run_python: Any) -> None:
    code = (
        "import sys, tleg.recipes.presets, tleg.recipes.io, tleg.recipes.io, tleg.cli.options\n"
        "print(sorted({'numpy', 'torch', 'timm'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "values", "field", "sentence"),
    [
        (
            "learn",
            {**LEARN, "sample-depths": "none", "depth-warmup": 0.5},
            ("depth-warmup", "sample-depths"),
            "needs depths that are drawn afterwards",
        ),
        (
            "learn",
            {**LEARN, "auxiliary-depth": 6, "warmup-depth": 3},
            ("warmup-depth", "sample-depths"),
            "needs depths that are drawn afterwards",
        ),
        ("learn", {**LEARN, "sample-depths": "3,6", "warmup-depth": 0}, ("warmup-depth",), "0"),
        ("learn", {**LEARN, "sample-depths": "3,6", "depth-warmup": 1.5}, ("depth-warmup",), "1.5"),
        (
            "finetune",
            {"data": "digits", "checkpoint": "folder", "initial-matrices": "fan-in"},
            ("initial-matrices", "model"),
            "belongs to --model",
        ),
        (
            "train",
            {"data": "digits", "model": "vit_tiny_patch16_224", "pretrained": True, "initial-matrices": "fan-in"},
            ("initial-matrices", "pretrained"),
            "where its weights are random",
        ),
    ],
)
def test_how_a_training_begins_is_checked(kind: Kind, values: dict[str, Any], field: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        from_values(kind, values)
    assert refused.value.about["field"] == field


def test_depths_are_drawn_unless_something_else_is_asked_for() -> None:
    def depths(**values: Any) -> Depths:
        recipe = from_values("learn", {**LEARN, **{name.replace("_", "-"): value for name, value in values.items()}})
        assert isinstance(recipe, LearnRecipe)
        return recipe.depths

    assert depths() == Depths(12, tuple(range(3, 13)), "balanced", 0.5)
    assert depths().warmup_steps(101) == 50
    assert depths().first == 3
    assert depths(auxiliary_depth=6) == Depths(6)
    assert depths(sample_depths="none") == Depths(12)
    assert depths(sample_depths="2,4") == Depths(4, (2, 4), "balanced", 0.5)
    assert depths(sample_depths="4") == Depths(4, (4,), warmup=0.5)
    assert depths(sample_depths="2,4", sampling="single") == Depths(4, (2, 4), warmup=0.5)
    assert depths().describe(101) == "3–12, one a step, shallow ones more often; the first 50 steps have 3 alone"
    assert depths(sample_depths="4,6,8", sampling="sandwich", depth_warmup=0.0).describe(9) == "4, 6, 8, three a step"
    assert depths(auxiliary_depth=6).describe(9) == "6"
    assert depths(sample_depths="2,4", depth_warmup=0.0, warmup_depth=3).first == 3
    paper = from_values("learn", {**preset_values("paper-aux-s", "learn"), "data": "folder"})
    assert isinstance(paper, LearnRecipe)
    assert paper.basis_for() == Basis("linear")
    assert (paper.depths, paper.initial_matrices, paper.basis, paper.term_scale) == (Depths(12), "timm", "linear", 1.0)


def test_the_basis_is_a_block_for_each_third_of_the_layers_unless_some_depth_would_leave_one_out() -> None:
    def recipe(**values: Any) -> LearnRecipe:
        made = from_values("learn", {**LEARN, **{name.replace("_", "-"): value for name, value in values.items()}})
        assert isinstance(made, LearnRecipe)
        return made

    thirds = Basis("piecewise", boundaries=(1 / 3, 2 / 3))
    assert recipe().basis == "auto"
    for three in ({}, {"sample_depths": "3,9"}, {"auxiliary_depth": 12}):
        assert recipe(**three).basis_for() == thirds
    assert recipe(sample_depths="2,4").basis_for() == recipe(auxiliary_depth=2).basis_for() == Basis("linear")
    assert recipe().basis_for(stages=4) == Basis("linear")
    assert recipe(basis="piecewise:3").basis_for(stages=4) == thirds
    assert recipe(expand="mlp").basis_for() == replace(thirds, expanded=("mlp",))
    # What the layers begin from has a basis.
    begun = Basis("chebyshev", 3)
    assert recipe(sample_depths="2,4").basis_for(start=begun) == begun
    assert recipe(expand="mlp").basis_for(start=begun) == replace(begun, expanded=("mlp",))
    assert recipe(basis="linear").basis_for(start=begun) == Basis("linear")
    with pytest.raises(InputError, match="unknown basis 'automatic'"):
        recipe(basis="automatic")
