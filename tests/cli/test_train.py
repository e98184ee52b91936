"""`tleg train`, `learn`, `finetune` and `evaluate` as a user calls them, on an image folder."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import tleg

pytestmark = pytest.mark.usefixtures("forks")

RunCli = Callable[..., Any]
MODEL_ARGUMENTS = [
    f"--model-arg={text}" for text in ("img_size=8", "patch_size=2", "embed_dim=32", "num_heads=2", "in_chans=1")
]
FAST = ["--batch-size=32", "--workers=0", "--lr=3e-3", "--auto-augment=none", "--random-erasing=0", "--device=cpu"]


@pytest.fixture(scope="module")
def chain(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Ancestry model, learngene, fine-tuned descendant: the whole chain by the command line, as runs."""
    from tleg.cli.app import run

    root = tmp_path_factory.mktemp("chain")
    before = os.environ.get("TLEG_RUNS")
    os.environ["TLEG_RUNS"] = str(root / "runs")
    data = f"--data={digits_folder}"
    resnet = ["--model-arg=in_chans=1", "--model-arg=channels=[16,16,32,32]", "--model-arg=stem_width=16"]
    ancestor = [
        "train",
        "--model=resnet10t",
        "--image-size=8",
        *resnet,
        data,
        "--epochs=40",
        f"--output={root / 'ancestor'}",
        *FAST,
    ]
    assert run(ancestor) == 0
    learning = ["learn", "--architecture=vit_tiny_patch16_224", *MODEL_ARGUMENTS, data, f"--teacher={root / 'ancestor'}"]
    options = [
        "--epochs=3",
        "--sample-depths=2,4",
        "--auxiliary-depth=4",
        "--evaluate-depths=2-4",
        "--crop-scale=0.9",
        *FAST,
    ]
    assert run([*learning, *options, f"--output={root / 'gene.safetensors'}"]) == 0
    tuning = ["finetune", f"--learngene={root / 'gene.safetensors'}", "--depth=3", data, "--epochs=1"]
    assert run([*tuning, f"--output={root / 'tuned'}", *FAST]) == 0
    yield root
    os.environ.pop("TLEG_RUNS")
    if before is not None:
        os.environ["TLEG_RUNS"] = before


def test_train_is_fine_tuning_without_a_learngene(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: RunCli
) -> None:
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    words = ["--model=vit_tiny_patch16_224", *MODEL_ARGUMENTS, "--model-arg=depth=1", "--data", digits_folder, "--epochs=1"]
    found = {}
    for command in ("train", "finetune"):
        done = run_cli(command, *words, *FAST, "--output", tmp_path / command)
        assert done.code == 0, done.stderr
        found[command] = load_file(tmp_path / command / "model.safetensors")
    assert found["train"].keys() == found["finetune"].keys()
    assert all(value.equal(found["finetune"][name]) for name, value in found["train"].items())
    rows = json.loads(run_cli("runs", "--json").stdout)
    assert sorted(row["kind"] for row in rows) == ["finetune", "train"]
    # What it left is taken wherever a folder is, and the run as well.
    again = run_cli("train", "--checkpoint", tmp_path / "train", "--data", digits_folder, "--epochs=1", *FAST, "--dry-run")
    assert again.code == 0, again.stderr
    run = next(row["id"] for row in rows if row["kind"] == "train")
    assert run_cli("evaluate", run, "--data", digits_folder).code == 0
    assert run_cli("build", run, "--export", "onnx", "--output", tmp_path / "exports").code == 0


def test_train_takes_nothing_of_learngenes(run_cli: RunCli, tmp_path: Path) -> None:
    shown = run_cli("train", "--help").stdout
    assert not any(f"--{name} " in shown for name in ("learngene", "depth", "init", "drop-path"))
    assert "No such option: --learngene" in run_cli("train", "--data", "x", "--learngene", "y").stderr
    assert "exactly one of --model, --checkpoint" in run_cli("train", "--data", "x").stderr
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('kind = "train"\ndata = "x"\nmodel = "resnet10t"\ndepth = 3\n')
    assert "depth is an option of finetune, not of train" in run_cli("train", "--recipe", recipe).stderr
    printed = run_cli("train", "--data", "x", "--model", "resnet10t", "--print-recipe").stdout
    assert printed.startswith('kind = "train"\n')
    recipe.write_text(printed)
    assert run_cli("train", "--recipe", recipe, "--print-recipe").stdout == printed
    assert "is for `tleg train`, not for `tleg finetune`" in run_cli("finetune", "--recipe", recipe).stderr


def test_the_chain_leaves_a_learngene_that_knows_its_origin(chain: Path) -> None:
    header = tleg.read_header(chain / "gene.safetensors")
    assert header.learned["ancestry"]["name"] == "ancestor"
    assert header.auxiliary.sampled_depths == (2, 4)
    assert header.reached is not None
    assert set(header.reached.top1) == {2, 3, 4}
    assert header.reached.images == 50
    assert json.loads((chain / "tuned" / "training.json").read_text())["lineage"]["sha256"] == header.sha256


def test_evaluate_repeats_what_the_header_states(chain: Path, digits_folder: Path, run_cli: RunCli) -> None:
    result = run_cli("evaluate", chain / "gene.safetensors", "--data", digits_folder, "--depths", "2-4", "--json")
    assert result.code == 0
    document = json.loads(result.stdout)
    reached = tleg.read_header(chain / "gene.safetensors").reached
    assert reached is not None
    assert {row["depth"]: round(row["top1"], 2) for row in document["results"]} == dict(reached.top1)
    assert document["kind"] == "learngene"


def test_evaluate_a_folder_and_its_table(chain: Path, digits_folder: Path, run_cli: RunCli) -> None:
    result = run_cli("evaluate", chain / "tuned", "--data", digits_folder)
    assert result.code == 0
    head, row = result.stdout.splitlines()
    assert head.split() == ["depth", "top-1", "%", "top-5", "%", "loss", "images"]
    assert row.split()[0] == "3"
    assert row.split()[-1] == "50"


def test_record_writes_the_accuracies_into_the_header(
    chain: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((chain / "gene.safetensors").read_bytes())
    result = run_cli("evaluate", copy, "--data", digits_folder, "--depths", "5,7", "--record")
    assert result.code == 0
    header = tleg.read_header(copy)
    assert header.reached is not None
    # Beside those that were known: the images are the same.
    assert set(header.reached.top1) == {2, 3, 4, 5, 7}
    assert header.sha256 == tleg.read_header(chain / "gene.safetensors").sha256


def test_figures_of_other_images_and_precisions_do_not_replace_each_other(
    chain: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((chain / "gene.safetensors").read_bytes())
    before = tleg.read_header(copy).reached
    assert before is not None
    ask = ("evaluate", copy, "--data", digits_folder, "--depths", "3", "--record")
    for options in (
        ["--validation-split", "0.2"],
        ["--validation-split", "0.2", "--seed", "1"],
        ["--precision", "bfloat16"],
    ):
        assert run_cli(*ask, *options).code == 0
    header = tleg.read_header(copy)
    assert header.reached == before
    name = before.data.removesuffix(" validation")
    assert [(each.data, each.images, each.precision) for each in header.further] == [
        (f"{name} (split 0.2) validation", 40, "float32"),
        (f"{name} (split 0.2, seed 1) validation", 40, "float32"),
        (before.data, 50, "bfloat16"),
    ]
    assert run_cli(*ask).code == 0  # The same figure again.
    assert tleg.read_header(copy) == header


def test_another_figure_of_the_same_images_needs_force_and_is_said(
    chain: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    learngene = tleg.load(chain / "gene.safetensors")
    reached = learngene.header.reached
    assert reached is not None
    wrong = replace(reached, top1={**reached.top1, 3: 99.99})
    learngene.with_header(reached=wrong).save(copy)
    ask = ("evaluate", copy, "--data", digits_folder, "--depths", "3,5", "--record")
    content = copy.read_bytes()
    refused = run_cli(*ask)
    assert refused.code == 2
    assert "it says 99.99 % for depth 3 already" in refused.stderr
    assert refused.stderr.rstrip().endswith("--force replaces 1 figure")
    assert refused.stdout.splitlines()[1].split()[0] == "3"  # What was measured is not lost.
    assert copy.read_bytes() == content
    done = run_cli(*ask, "--force")
    assert done.code == 0
    assert f"replaced depth 3 on 50 images of {reached.data}: 99.99 % is {reached.top1[3]:.2f} % now" in done.stderr
    after = tleg.read_header(copy).reached
    assert after is not None
    assert after.top1[3] == reached.top1[3]
    assert set(after.top1) == {2, 3, 4, 5}


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_model_of_outputs_that_are_not_finite_has_no_accuracy(
    chain: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path, value: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(chain / "tuned", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["head.bias"][4] = float(value)
    save_file(tensors, folder / "model.safetensors")
    ask = ("evaluate", folder, "--data", digits_folder)
    done = run_cli(*ask, "--per-class")
    assert done.code == 1
    assert "not finite (NaN or infinite) for 50 of 50 images at depth 3" in done.stderr
    assert done.stdout.splitlines()[1].split() == ["3", "-", "-", "-", "50"]
    done = run_cli(*ask, "--json")
    assert done.code == 1
    (row,) = json.loads(done.stdout, parse_constant=pytest.fail)["results"]
    assert (row["top1"], row["top5"], row["loss"], row["images"], row["nonfinite"]) == (None, None, None, 50, 50)
    taught = run_cli(
        *("finetune", "--model=resnet10t", f"--teacher={folder}", "--data", digits_folder, "--dry-run", "--image-size=8"),
        *("--model-arg=in_chans=1", *FAST),
    )
    assert taught.code == 2
    assert "the teacher broken are not finite" in taught.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["finetune", "--data", "X", "--output", "o"], "start from exactly one of"),
        (
            ["finetune", "--model", "resnet18", "--checkpoint", "c", "--data", "X", "--output", "o"],
            "start from exactly one of",
        ),
        (["finetune", "--learngene", "g", "--data", "X", "--output", "o"], "--learngene needs --depth"),
        (["finetune", "--model", "resnet18", "--depth", "3", "--data", "X", "--output", "o"], "--learngene needs --depth"),
        (["finetune", "--learngene", "g", "--depth", "0", "--data", "X", "--output", "o"], "depth 0 is out of range"),
        (
            ["finetune", "--learngene", "g", "--depth", "2", "--model-arg", "a=1", "--data", "X", "--output", "o"],
            "--model-arg belongs to --model and --checkpoint; a learngene has its own",
        ),
        (["finetune", "--checkpoint", "c", "--pretrained", "--data", "X", "--output", "o"], "belongs to --model"),
        (["finetune", "--model", "m", "--weights", "ema", "--data", "X", "--output", "o"], "belongs to --checkpoint"),
        (
            ["finetune", "--checkpoint", "c", "--weights", "best", "--data", "X", "--output", "o"],
            "unknown weights 'best': choose model or ema",
        ),
        (
            ["finetune", "--model", "resnet18", "--image-size", "0", "--data", "X", "--output", "o"],
            "an image has 1 to 4096 rows and columns, not 0",
        ),
        (["finetune", "--model", "resnet18", "--epochs", "0", "--data", "X", "--output", "o"], "epochs must be from 1"),
        (
            ["learn", "--architecture", "vit_tiny_patch16_224", "--data", "X", "--output", "o", "--basis", "lnear"],
            "Did you mean",
        ),
        (
            ["learn", "--architecture", "vit_tiny_patch16_224", "--data", "X", "--output", "o", "--expand", "mlps"],
            "expanded parts",
        ),
        (
            ["learn", "--architecture", "vit_tiny_patch16_224", "--data", "X", "--output", "o", "--sample-depths", "4,x"],
            "as depths",
        ),
        (
            ["learn", "--architecture", "vit_tiny_patch16_224", "--data", "X", "--output", "o", "--auxiliary-depth", "0"],
            "depth 0",
        ),
        (["learn", "--architecture", "v", "--data", "X", "--output", "o", "--model-arg", "patch"], "KEY=VALUE"),
        (["learn", "--architecture", "v", "--data", "X", "--output", "o", "--device", "tpu"], "device"),
        (["evaluate", "fashion-mnits", "--data", "X"], "no shipped learngene"),
        (["evaluate", "x", "--data", "X", "--depths", "9-3"], "runs backwards"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_cli(*arguments)
    assert result.code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_learngene_is_not_replaced(chain: Path, digits_folder: Path, run_cli: RunCli) -> None:
    before = (chain / "gene.safetensors").read_bytes()
    arguments = ("learn", "--architecture", "vit_tiny_patch16_224", "--data", digits_folder)
    result = run_cli(*arguments, "--output", chain / "gene.safetensors")
    assert (result.code, (chain / "gene.safetensors").read_bytes()) == (2, before)
    assert "--force" in result.stderr
    folder = run_cli(*arguments, "--output", chain / "tuned", "--force")
    assert folder.code == 2
    assert "is a folder" in folder.stderr


def test_model_arguments_are_json_words_or_texts() -> None:
    from tleg.recipes.io import parse_arguments

    texts = ["a=4", "b=0.5", "c=true", "d=[28,28]", "e=avg", "f=None", "g=False", "h=x=y", "i="]
    expected = {"a": 4, "b": 0.5, "c": True, "d": [28, 28], "e": "avg", "f": None, "g": False, "h": "x=y", "i": ""}
    assert parse_arguments(texts, "model-arg") == expected


def test_exports_reach_what_their_learngene_reaches(
    chain: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    gene = chain / "gene.safetensors"
    kinds = ["--export=onnx", "--export=onnx-compact", "--export=onnx-elastic", "--export=pytorch"]
    built = run_cli("build", gene, "--depth", 3, *kinds, "--output", tmp_path, "--no-verify")
    assert built.code == 0, built.stderr
    reached = tleg.read_header(gene).reached
    assert reached is not None
    for name in ("gene-depth3.onnx", "gene-depth3.compact.onnx", "gene-depth3"):
        result = run_cli("evaluate", tmp_path / name, "--data", digits_folder, "--json")
        assert result.code == 0, result.stderr
        (row,) = json.loads(result.stdout)["results"]
        assert row["depth"] == 3
        assert round(row["top1"], 2) == reached.top1[3]
    result = run_cli("evaluate", tmp_path / "gene.elastic.onnx", "--data", digits_folder, "--depths", "2-4", "--json")
    rows = json.loads(result.stdout)["results"]
    assert {row["depth"]: round(row["top1"], 2) for row in rows} == dict(reached.top1)


def test_an_elastic_export_needs_depths(chain: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path) -> None:
    gene = chain / "gene.safetensors"
    assert run_cli("build", gene, "--export=onnx-elastic", "--output", tmp_path, "--no-verify").code == 0
    result = run_cli("evaluate", tmp_path / "gene.elastic.onnx", "--data", digits_folder)
    assert result.code == 2
    assert "say which with --depths" in result.stderr


def test_an_output_that_cannot_be_written_is_refused_before_training(
    digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    common = ("--data", digits_folder, "--output", tmp_path / "file" / "out")
    for arguments in (("learn", "--architecture", "vit_tiny_patch16_224"), ("finetune", "--model", "resnet10t")):
        result = run_cli(*arguments, *common)
        assert result.code == 2
        assert "is a file" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_an_unreadable_image_is_named_and_passed_over(digits_folder: Path, run_tleg: RunCli, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "broken"
    shutil.copytree(digits_folder, copy)
    broken = sorted((copy / "train" / "3").iterdir())[0]
    broken.write_bytes(b"not a picture")
    result = run_tleg(
        *("finetune", "--model=resnet10t", "--image-size=8", "--model-arg=in_chans=1", "--model-arg=channels=[8,8,8,8]"),
        *("--data", copy, "--epochs=2", "--batch-size=32", "--workers=2", "--output", tmp_path / "out"),
        environment={"PYTHONWARNINGS": "ignore", "TLEG_RUNS": str(tmp_path / "runs")},
    )
    assert result.code == 0, result.stderr
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning")]
    reason = "it is no image that Pillow knows"
    assert warnings == [f"warning: cannot read the image {broken}: {reason}; another image takes its place"]
    assert (tmp_path / "out" / "model.safetensors").exists()
