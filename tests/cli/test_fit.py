"""`tleg fit`: the file that it writes, what it says of it, and what it refuses before anything is written."""

import json
from pathlib import Path
from typing import Any

import pytest

import tleg
from tests.cli.test_analyze import VIT
from tests.scenarios.test_command_line import failure

MATRICES = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def test_the_learngene_of_a_model_with_an_honest_report(run_cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "fit.safetensors"
    done = run_cli("fit", *VIT, "--output", output, "--basis", "chebyshev:2")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(output)
    assert lines[2] == "vit_tiny_patch16_224: 5 layers in blocks, chebyshev:2 basis"
    assert max(map(len, lines[1:])) <= 80  # The first is the path, as long as it is.
    assert "not a good model" in done.stderr
    assert "random weights" in done.stderr
    learngene = tleg.load(output)
    assert learngene.header.basis == tleg.Basis("chebyshev", 2)
    assert learngene.header.auxiliary.depth == 5
    assert learngene.header.learned["how"] == "fitted to a model by least squares"
    assert learngene.header.learned["fitted_to"] == {"model": "vit_tiny_patch16_224", "file": None, "sha256": None}
    for command in (("inspect", output), ("preview", output), ("verify", output)):
        assert run_cli(*command).code == 0
    assert "fitted to a model by least squares" in run_cli("inspect", output).stdout


def test_a_backbone_stays_one_and_that_is_said(run_cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "fit.safetensors"
    done = run_cli("fit", *VIT, "--model-arg", "num_classes=0", "--output", output)
    assert done.code == 0, done.stderr
    assert "has no classifier, and so its learngene has none" in done.stderr
    learngene = tleg.load(output)
    assert learngene.header.architecture.num_classes == 0
    assert not [name for name in learngene.tensors if name.startswith("head.")]
    built = run_cli("build", output, "--depth", 2, "--export", "onnx", "--output", tmp_path / "exports")
    assert built.code == 0, built.stderr
    assert "pooled" in built.stdout


def test_random_layers_are_explained_as_shuffled_ones_are(run_cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "fit.safetensors"
    done = run_cli("fit", *VIT, "--output", output, "--json", "--expand", "attention,mlp")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    (stage,) = found["stages"]
    parameters = {each["name"]: each for each in stage["parameters"]}
    for name in MATRICES:
        # (K - 1) / (L - 1) of the variance, so that sqrt(3/5) of the layers' size stays.
        assert parameters[name]["r2"]["r2"] == pytest.approx(0.25, abs=0.03)
        assert parameters[name]["r2"]["shuffled"]["mean"] == pytest.approx(0.25, abs=0.01)
        assert parameters[name]["error"] == pytest.approx(0.6**0.5, abs=0.02)
    assert parameters["norm1.weight"]["r2"] is None
    assert len(stage["by_layer"]) == 5
    assert found["parameters"] == tleg.load(output).parameters
    assert tleg.load(output).tensors["blocks.norm1.weight"].shape == (1, 48)


def test_a_folder_and_a_file_say_which_they_are(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    assert run_cli("build", learngene_file, "--depth", "4", "--output", tmp_path / "made").code == 0
    folder = next((tmp_path / "made").iterdir())
    done = run_cli("fit", folder, "--output", tmp_path / "fit.safetensors", "--json")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["stages"][0]["error"] < 1e-6
    learned = tleg.load(tmp_path / "fit.safetensors").header.learned
    assert learned["fitted_to"]["model"] == folder.name
    assert learned["fitted_to"]["sha256"] == found["sha256"] != ""


def test_the_function_does_what_the_command_does(run_cli: Any, tmp_path: Path) -> None:
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3, "depth": 5}
    fitted = tleg.fit("vit_tiny_patch16_224", "cosine:2", model_arguments=arguments, seed=3)
    output = tmp_path / "fit.safetensors"
    done = run_cli("fit", *VIT, "--output", output, "--basis", "cosine:2", "--seed", "3", "--json")
    assert tleg.load(output).hash() == fitted.learngene.hash()
    assert json.loads(done.stdout)["stages"][0]["error"] == fitted.report.stages[0].error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("resnet10t",), "cannot be expanded"),
        ((*VIT, "--basis", "linaer"), "unknown basis 'linaer'"),
        ((*VIT, "--expand", "mlp,head"), "not 'head'"),
        ((*VIT, "--image-size", "64"), "is a name of timm"),
        ((*VIT, "--weights", "ema"), "is a name of timm"),
        (("fashion-mnist",), "'fashion-mnist' is a learngene"),
        (("nothing-such",), "nothing-such"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(
    run_cli: Any, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    output = tmp_path / "fit.safetensors"
    done = run_cli("fit", *arguments, "--output", output)
    failure(done, 2, sentence)
    assert not output.exists()


def test_an_output_that_exists_needs_force(run_cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "fit.safetensors"
    output.write_text("mine")
    done = run_cli("fit", *VIT, "--output", output)
    assert done.code == 2
    assert "--force" in done.stderr
    assert output.read_text() == "mine"
    assert run_cli("fit", *VIT, "--output", output, "--force").code == 0
    assert tleg.load(output).parameters > 0


def test_stages_are_fitted_each(run_cli: Any, tmp_path: Path) -> None:
    small = ("--model-arg", "dims=[8,12,16,24]")
    done = run_cli("fit", "convnext_atto", *small, "--output", tmp_path / "fit.safetensors")
    assert done.code == 0, done.stderr
    assert "convnext_atto: 6 layers in stages.2.blocks, linear basis" in done.stdout
    assert done.stdout.count("the fit is exact") == 3
