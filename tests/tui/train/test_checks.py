"""What is said of names and paths, with and without timm."""

from pathlib import Path

from tests.tui.train.test_train_model import LEARN, TUNE
from tleg.recipes import Kind
from tleg_tui.train.checks import ModelNames, Places, check_places
from tleg_tui.train.model import Reading, read_form

MODELS = ModelNames(
    True, ("vit_tiny_patch16_224", "deit_tiny_patch16_224", "resnet18", "levit_384"), {"vit_tiny_patch16_224"}
)


# Names and paths.


def look(kind: Kind, texts: dict[str, str], runs_dir: Path, models: ModelNames = MODELS) -> Places:
    reading: Reading = read_form(kind, texts)
    return check_places(kind, reading.values, reading.output, reading.overwrite, runs_dir, models)


def test_a_batch_larger_than_the_images_is_said_at_its_field(tmp_path: Path, digits_folder: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "Training").symlink_to(digits_folder / "train")
    (tmp_path / "set" / "Testing").symlink_to(digits_folder / "val")
    texts = {"start": "model", "model": "resnet18", "data": str(tmp_path / "set"), "batch-size": "", "accumulate": ""}
    images = sum(1 for _ in (digits_folder / "train").rglob("*.png"))
    assert dict(look("finetune", texts, tmp_path).problems) == {}
    texts |= {"batch-size": str(images + 24), "accumulate": "8"}
    largest = images // 8 * 8
    assert dict(look("finetune", texts, tmp_path).problems) == {
        "batch-size": f"{images} training images are too few for a batch of {images + 24}; "
        f"the largest batch-size that fits is {largest}"
    }
    assert dict(look("finetune", {**texts, "batch-size": str(largest)}, tmp_path).problems) == {}
    # Where the data is not known, or the batch makes no sense by itself, there is no such problem.
    assert "batch-size" not in look("finetune", {**texts, "data": "torch/cifar10"}, tmp_path).problems
    split = look("finetune", {**texts, "batch-size": str(largest), "validation-split": "0.5"}, tmp_path).problems
    assert "too few for a batch" in split["batch-size"]


def test_what_is_not_there_is_said_at_its_field(tmp_path: Path, digits_folder: Path) -> None:
    (tmp_path / "digits").symlink_to(digits_folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"x")
    for kind, name, text, sentence in (
        (
            "learn",
            "data",
            "fashion-mnis",
            "torch/NAME, hfds/NAME. Did you mean 'fashion-mnist'?",
        ),
        ("learn", "data", str(tmp_path / "digit"), "Did you mean"),
        ("learn", "data", str(tmp_path / "empty"), "must hold the folders train/ and val/"),
        ("learn", "data", str(tmp_path / "file.bin"), "is a file; name the folder"),
        ("learn", "data", f"tar:{tmp_path}/absent.tar", "there is no"),
        ("learn", "data", "fashion-mnist:absent", "there is no folder absent"),
        ("learn", "architecture", "vit_tini_patch16", "Did you mean 'vit_tiny_patch16_224'?"),
        ("learn", "architecture", "resnet18", "no ViT that can be expanded"),
        ("learn", "teacher", "levit_385", "Did you mean 'levit_384'?"),
        ("learn", "teacher", "./absent", "there is no folder ./absent"),
        ("learn", "teacher", str(tmp_path / "empty"), "has no config.json"),
        ("learn", "teacher", str(tmp_path / "file.bin"), "write TIMM_NAME:"),
        ("learn", "teacher", "levit_384:absent.pth", "there is no file absent.pth"),
        ("learn", "teacher", "levit_38:file.bin", "timm has no model 'levit_38'"),
        ("finetune", "learngene", "fashion-mnits", "Did you mean 'fashion-mnist'?"),
        ("learn", "start", "vit_tiny_patch16_22", "Did you mean 'vit_tiny_patch16_224'?"),
        ("learn", "start", str(tmp_path / "empty"), "has no config.json"),
        ("learn", "start", str(tmp_path / "file.bin"), "file of weights"),
        ("finetune", "learngene", str(tmp_path / "empty"), "is a folder, and no run"),
        ("finetune", "learngene", str(tmp_path / "file.bin"), "file.bin"),
    ):
        texts = {**(LEARN if kind == "learn" else TUNE), name: text}
        problems = look(kind, texts, tmp_path / "runs").problems  # type: ignore[arg-type]  # one of the two
        assert set(problems) == {name}, (name, text)
        assert sentence in problems[name]
    checkpoint = look("finetune", {**TUNE, "start": "checkpoint", "checkpoint": "absent"}, tmp_path).problems
    assert "there is no folder and no run 'absent'" in checkpoint["checkpoint"]
    model = look("finetune", {**TUNE, "start": "model", "model": "resnet19"}, tmp_path).problems
    assert "Did you mean 'resnet18'?" in model["model"]


def test_what_is_there_is_no_problem(tmp_path: Path, digits_folder: Path, finished_runs: Path) -> None:
    run = next(finished_runs.iterdir()).name
    for kind, name, text in (
        ("learn", "data", str(digits_folder)),
        ("learn", "data", "torch/cifar10"),
        ("learn", "architecture", "vit_tiny_patch16_224.augreg_in21k"),
        ("learn", "teacher", "levit_384.fb_dist_in1k"),
        ("learn", "start", run),
        ("learn", "start", "fashion-mnist"),
        ("learn", "start", "levit_384.fb_dist_in1k"),
        ("finetune", "learngene", run),
        ("finetune", "learngene", str(finished_runs / run)),
    ):
        texts = {**(LEARN if kind == "learn" else TUNE), name: text}
        assert look(kind, texts, finished_runs).problems == {}, text  # type: ignore[arg-type]  # one of the two
    flat = tmp_path / "flat"
    (flat / "a").mkdir(parents=True)
    assert look("learn", {**LEARN, "data": str(flat), "validation-split": "0.1"}, tmp_path).problems == {}


def test_a_run_that_learns_is_no_teacher(tmp_path: Path, finished_runs: Path) -> None:
    run = next(finished_runs.iterdir()).name
    problems = look("learn", {**LEARN, "teacher": run}, finished_runs).problems
    assert f"the run {run} learns a learngene" in problems["teacher"]


def test_without_timm_nothing_is_claimed(tmp_path: Path) -> None:
    texts = {**LEARN, "architecture": "anything", "teacher": "whatever"}
    assert look("learn", texts, tmp_path, ModelNames()).problems == {}


def test_an_output_that_exists_can_be_replaced(tmp_path: Path) -> None:
    gene = tmp_path / "gene.safetensors"
    texts = {**LEARN, "output": str(gene)}
    assert look("learn", texts, tmp_path) == Places({}, False)
    gene.write_bytes(b"old")
    found = look("learn", texts, tmp_path)
    assert found.output_exists
    assert found.problems["output"] == f"{gene} exists already; tick 'replace' below, or name another"
    assert look("learn", {**texts, "replace": "yes"}, tmp_path) == Places({}, True)
    assert (
        "is a file; name a folder"
        in look("finetune", {**TUNE, "output": str(gene), "replace": "yes"}, tmp_path).problems["output"]
    )
