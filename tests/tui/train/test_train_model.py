"""The form of a training without its widgets: texts, values, recipes and command lines; what is wrong, and where."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.cli.train import make_recipe
from tleg.recipes import Kind
from tleg.recipes.fields import options_of
from tleg.recipes.io import from_values, to_values
from tleg.recipes.presets import PRESETS, preset_values
from tleg.recipes.recipes import RECIPES
from tleg_tui.train.field_specs import preset_help
from tleg_tui.train.model import Overlay, is_shown, read_form, required_of, texts_of

LEARN = {"architecture": "vit_tiny_patch16_224", "data": "fashion-mnist"}
TUNE = {"data": "fashion-mnist", "learngene": "fashion-mnist", "depth": "8"}
MODEL = {"data": "fashion-mnist", "model": "resnet18"}
REQUIRED: dict[Kind, dict[str, Any]] = {"learn": LEARN, "train": MODEL, "finetune": MODEL}

# Texts as a line can hold them, without blanks around.
_texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12).filter(
    lambda text: not text.startswith(("~", "file://", "'", '"'))
)
_values = {
    "epochs": st.integers(2, 1000),
    "lr": st.floats(1e-6, 1, allow_nan=False),
    "weight-decay": st.floats(0, 1),
    "mixup": st.floats(0, 2),
    "seed": st.integers(0, 2**31 - 1),
    "auto-augment": st.sampled_from(["none", "rand-m9-mstd0.5-inc1"]),
    "schedule": st.sampled_from(["cosine", "linear", "constant"]),
    "gradient-checkpointing": st.booleans(),
    "checkpoint-steps": st.integers(1, 999),
    "teacher": _texts,
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
}


def _some_values(kind: Kind) -> st.SearchStrategy[tuple[Kind, dict[str, Any]]]:
    return st.fixed_dictionaries({}, optional=_values).map(lambda values: (kind, {**REQUIRED[kind], **values}))


@given(st.sampled_from(list(RECIPES)).flatmap(_some_values))
def test_texts_are_values_are_a_recipe_are_a_command(pair: tuple[Kind, dict[str, Any]]) -> None:
    kind, values = pair
    recipe = from_values(kind, values)
    reading = read_form(kind, texts_of(kind, values))
    assert (reading.problems, reading.missing, reading.recipe) == ({}, (), recipe)
    assert reading.command is not None
    assert _recipe_of_command(kind, reading.command) == recipe
    again = read_form(kind, texts_of(kind, to_values(recipe, complete=False)))
    assert again.recipe == recipe
    assert again.command == reading.command


def _recipe_of_command(kind: Kind, command: tuple[str, ...]) -> Any:
    """What `tleg` makes of the words."""
    options = {each.name: each for each in options_of(RECIPES[kind])}
    found: dict[str, Any] = {name: [] if each.kind is dict else None for name, each in options.items()}
    words = list(command[2:])
    while words:
        each = options[words.pop(0).removeprefix("--")]
        if each.kind is bool:
            found[each.name] = True
        elif each.kind is dict:
            found[each.name].append(words.pop(0))
        else:
            found[each.name] = each.kind(words.pop(0))
    return make_recipe(kind, None, None, found)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_the_form_as_it_fills_the_command(name: str) -> None:
    only = PRESETS[name].kind
    own: dict[str, dict[str, Any]] = {
        "learn": {"architecture": "a"},
        "train": {"model": "m"},
        "finetune": {"learngene": "g", "depth": 12},
    }
    for kind in RECIPES if only is None else (only,):
        needed = {"data": "d", **own[kind]}
        values = {**needed, **preset_values(name, kind)}
        assert read_form(kind, texts_of(kind, values)).recipe == from_values(kind, values)
        assert PRESETS[name].about in preset_help(kind, name)


def test_the_example_is_a_complete_form() -> None:
    reading = read_form("learn", texts_of("learn", preset_values("example", "learn")))
    assert reading.recipe is not None
    assert reading.missing == ()
    assert texts_of("learn", preset_values("example", "learn"))["model-arg"] == "patch_size=7 embed_dim=64 num_heads=2"


@pytest.mark.parametrize(
    ("kind", "texts", "field", "sentence"),
    [
        ("learn", {"epochs": "x"}, "epochs", "epochs must be a whole number, not 'x'"),
        ("learn", {"epochs": "3.5"}, "epochs", "a whole number"),
        ("learn", {"epochs": "0"}, "epochs", "epochs must be from 1 to 100000, not 0"),
        ("learn", {"lr": "fast"}, "lr", "lr must be a number"),
        ("learn", {"lr": "nan"}, "lr", "lr must be from"),
        ("learn", {"lr": "1e9"}, "lr", "lr must be from"),
        ("learn", {"validation-split": "2"}, "validation-split", "must be from 0.0001 to 0.9"),
        ("learn", {"sample-depths": "4,x"}, "sample-depths", "cannot read 'x' as depths: write 8, 4,6,8 or 1-24"),
        ("learn", {"sample-depths": "8-4"}, "sample-depths", "the range 8-4 runs backwards"),
        ("learn", {"auxiliary-depth": "0"}, "auxiliary-depth", "depth 0 is out of range"),
        ("learn", {"evaluate-depths": "0-3"}, "evaluate-depths", "depth 0 is out of range"),
        ("learn", {"basis": "polynomal:2"}, "basis", "polyn"),
        ("learn", {"expand": "mlp,norms"}, "expand", "expanded parts are some of"),
        ("learn", {"device": "gpu"}, "device", "unknown device 'gpu'"),
        ("learn", {"schedule": "cosin"}, "schedule", "Did you mean 'cosine'?"),
        ("learn", {"model-arg": "patch"}, "model-arg", "takes KEY=VALUE, not 'patch'"),
        ("learn", {"model-arg": "a='b"}, "model-arg", "a quotation mark that is not closed"),
        ("learn", {"teacher": "~nobody-of-this-name/x"}, "teacher", "there is no user nobody-of-this-name"),
        ("learn", {"output": "~nobody-of-this-name/x"}, "output", "there is no user nobody-of-this-name"),
        # Contradictions.
        ("learn", {"warmup-epochs": "31"}, "warmup-epochs", "from 0 to 30, the epochs, not 31"),
        ("learn", {"batch-size": "63", "mixup": "0.1"}, "batch-size", "must be even"),
        ("learn", {"accumulate": "3"}, "accumulate", "does not divide into 3 equal parts"),
        ("learn", {"batch-size": "12", "devices": "2", "nodes": "2", "mixup": "1"}, "batch-size", "a multiple of 8"),
        ("learn", {"device": "cuda:1", "devices": "2"}, "device", "is one device, and 2 were asked for"),
        ("learn", {"distillation": "hard"}, "distillation", "hard distillation needs a teacher"),
        ("learn", {"sampling": "sandwich", "sample-depths": "none"}, "sampling", "needs two or more depths"),
        ("learn", {"sampling": "balanced", "sample-depths": "8"}, "sampling", "needs two or more depths"),
        ("learn", {"sample-depths": "4,6", "auxiliary-depth": "12"}, "auxiliary-depth", "so it is never trained"),
        ("learn", {"depth-warmup": "0.5", "auxiliary-depth": "6"}, "depth-warmup", "needs depths that are drawn"),
        ("learn", {"depth-warmup": "2"}, "depth-warmup", "must be from 0 to 1"),
        ("learn", {"warmup-depth": "0"}, "warmup-depth", "depth 0 is out of range"),
        ("learn", {"result": "best", "evaluate-every": "0"}, "evaluate-every", "the best weights are known when"),
        ("finetune", {"depth": "0"}, "depth", "depth 0 is out of range"),
        ("finetune", {"freeze": "blocks:x"}, "freeze", "freeze takes stem, blocks, blocks:N or head"),
        ("finetune", {"teacher": "t", "distillation": "token"}, "distillation", "needs a distillation token"),
        # The batch job.
        ("learn", {"slurm": "yes", "partition": "a b"}, "partition", "a partition of SLURM is a name without spaces"),
        ("learn", {"slurm": "yes", "time": "tomorrow"}, "time", "a time of SLURM is minutes"),
    ],
)
def test_a_problem_is_said_at_its_field(kind: Kind, texts: dict[str, str], field: str, sentence: str) -> None:
    reading = read_form(kind, {**(LEARN if kind == "learn" else TUNE), **texts})
    assert set(reading.problems) == {field}
    assert sentence in reading.problems[field]
    assert (reading.recipe, reading.command) == (None, None)


def test_every_contradiction_is_found() -> None:
    reading = read_form(
        "learn", {**LEARN, "warmup-epochs": "99", "distillation": "hard", "sampling": "sandwich", "sample-depths": "none"}
    )
    assert set(reading.problems) == {"warmup-epochs", "distillation", "sampling"}


def test_what_is_missing_is_named_and_stands_in_the_command_in_capitals() -> None:
    reading = read_form("learn", {"epochs": "3"})
    assert reading.missing == ("architecture", "data")
    assert (reading.recipe, reading.problems) == (None, {})
    assert reading.command == ("tleg", "learn", "--architecture", "TIMM_NAME", "--data", "DATA", "--epochs", "3")
    assert read_form("learn", {"warmup-epochs": "99"}).problems.keys() == {"warmup-epochs"}
    tune = read_form("finetune", {})
    assert tune.missing == ("learngene", "depth", "data")
    assert tune.command == ("tleg", "finetune", "--data", "DATA", "--learngene", "FILE|RUN", "--depth", "DEPTH")


def test_only_the_chosen_start_counts() -> None:
    texts = {**TUNE, "model": "resnet18", "pretrained": "yes", "checkpoint": "c", "init": "share"}
    assert read_form("finetune", texts).values.keys() == {"data", "learngene", "depth", "init"}
    model = read_form("finetune", {**texts, "start": "model"})
    assert model.recipe == from_values("finetune", {"data": "fashion-mnist", "model": "resnet18", "pretrained": True})
    kept = {**texts, "start": "checkpoint", "init": "prune:6"}
    assert read_form("finetune", kept).values.keys() == {"data", "checkpoint", "init"}
    assert read_form("finetune", {**TUNE, "init": "none"}).values.keys() == {"data", "learngene", "depth"}
    assert required_of("finetune", {"start": "checkpoint"}) == ("checkpoint", "data")
    assert is_shown("finetune", "depth", {})
    assert not is_shown("finetune", "depth", {"start": "model"})
    for name, starts in (("weights", ["checkpoint"]), ("model-arg", ["checkpoint", "model"]), ("pretrained", ["model"])):
        shown = [start for start in ("learngene", "checkpoint", "model") if is_shown("finetune", name, {"start": start})]
        assert shown == starts
    assert not is_shown("learn", "partition", {})


def test_output_and_batch_job_are_in_the_command() -> None:
    texts = {**LEARN, "output": "gene.safetensors", "replace": "yes", "slurm": "yes", "partition": "gpu", "time": "60"}
    reading = read_form("learn", texts, ["--runs-dir", "runs"])
    assert reading.command is not None
    tail = "--output gene.safetensors --force --slurm --partition gpu --time 60 --runs-dir runs"
    assert " ".join(reading.command).endswith(tail)
    assert (reading.output, reading.overwrite) == ("gene.safetensors", True)
    assert reading.slurm is not None
    assert (reading.slurm.partition, reading.slurm.time) == ("gpu", "60")


def test_paths_are_as_a_shell_gives_them() -> None:
    reading = read_form("learn", {**LEARN, "data": "~/images", "output": "'my gene.safetensors'"})
    assert reading.values["data"] == str(Path.home() / "images")
    assert reading.output == "my gene.safetensors"


def test_presets_cover_and_uncover() -> None:
    texts, overlay = {"data": "mine", "epochs": "5"}, Overlay()
    overlay.replace(texts, {"epochs": "3", "mixup": "1"})
    assert texts == {"data": "mine", "epochs": "3", "mixup": "1"}
    texts["mixup"] = "0.5"  # Typed: it stays.
    overlay.replace(texts, {"epochs": "7", "data": "other"})
    assert (texts["epochs"], texts["data"], texts["mixup"]) == ("7", "other", "0.5")
    overlay.replace(texts, {})
    assert (texts["epochs"], texts["data"], texts["mixup"]) == ("5", "mine", "0.5")
