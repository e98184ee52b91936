"""`tleg analyze`: what it opens, what it says in the terminal, as JSON and as a picture, and what it refuses."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import tleg
from tests.scenarios.test_command_line import failure

# A ViT that is made in a moment.
SMALL = [
    word
    for given in ("img_size=32", "patch_size=8", "embed_dim=48", "num_heads=3", "depth=5")
    for word in ("--model-arg", given)
]
VIT = ("vit_tiny_patch16_224", *SMALL)
MATRICES = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def document(done: Any) -> dict[str, Any]:
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def linear(found: dict[str, Any]) -> dict[str, float]:
    """R2 of the line by parameter; without those whose layers are equal."""
    return {each["name"]: each["fits"][0]["r2"] for each in found["parameters"] if each["fits"]}


def test_a_descendant_of_the_linear_basis_is_a_line(run_cli: Any, learngene_file: Path) -> None:
    found = document(run_cli("analyze", learngene_file, "--depth", "7", "--images", "2", "--json"))
    assert found["layers"] == 7
    assert found["positions"] == pytest.approx([layer / 7 for layer in range(7)])
    assert len(linear(found)) == 12
    assert all(value == pytest.approx(1, abs=1e-6) for value in linear(found).values())
    assert [fit["basis"] for fit in found["overall"]["fits"]] == ["linear", "chebyshev:2", "chebyshev:3"]
    assert found["balanced"]["components"]["order"] == pytest.approx(1)
    assert found["balanced"]["components"]["shares"][0] == pytest.approx(1, abs=1e-6)
    assert sum(each["share"] for each in found["parameters"]) == pytest.approx(1)
    assert found["similarity"]["of"] == "outputs"
    assert found["similarity"]["on"] == "2 images of noise"
    assert all(row[layer] == pytest.approx(1) for layer, row in enumerate(found["similarity"]["values"]))


def test_without_a_depth_it_is_that_of_the_auxiliary_model(run_cli: Any, learngene_file: Path) -> None:
    assert document(run_cli("analyze", learngene_file, "--images", "0", "--json"))["layers"] == 12


def test_another_basis_is_exact_with_its_own_functions_alone(run_cli: Any, tiny_learngene: Any, tmp_path: Path) -> None:
    from tleg.learngene.basis import parse_basis

    path = tmp_path / "it.safetensors"
    tiny_learngene(basis=parse_basis("cosine:2", ("mlp",))).save(path)
    given = ("--images", "0", "--basis", "linear", "--basis", "cosine:2", "--json")
    found = document(run_cli("analyze", path, "--depth", "8", *given))
    fits = {each["name"]: [fit["r2"] for fit in each["fits"]] for each in found["parameters"]}
    assert fits["norm1.weight"] == fits["attn.qkv.weight"] == []
    assert fits["mlp.fc1.weight"][1] == pytest.approx(1, abs=1e-6)
    assert fits["mlp.fc1.weight"][0] < 0.99
    assert found["similarity"]["of"] == "weights"


def test_random_weights_are_as_linear_as_shuffled_ones(run_cli: Any) -> None:
    done = run_cli("analyze", *VIT, "--images", "0", "--json")
    found = document(done)
    assert sorted(linear(found)) == sorted(MATRICES)
    assert all(value == pytest.approx(0.25, abs=0.03) for value in linear(found).values())
    for each in found["parameters"]:
        if each["fits"]:
            assert each["fits"][0]["shuffled"]["mean"] == pytest.approx(0.25, abs=0.01)
    assert "random weights" in done.stderr
    again = document(run_cli("analyze", *VIT, "--images", "0", "--json"))
    assert again == found
    other = document(run_cli("analyze", *VIT, "--images", "0", "--seed", "1", "--json"))
    assert linear(other) != linear(found)


def test_a_folder_is_what_was_written_into_it(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    (built,) = tleg.build(learngene_file, (6,), ("pytorch",), tmp_path, verify=False)
    one = document(run_cli("analyze", learngene_file, "--depth", "6", "--images", "3", "--json"))
    other = document(run_cli("analyze", built.path, "--images", "3", "--json"))
    for key in ("parameters", "overall", "balanced", "similarity"):
        assert other[key] == one[key]


def test_outputs_are_compared_on_images(run_cli: Any, learngene_file: Path, digits_folder: Path) -> None:
    given = ("analyze", learngene_file, "--depth", "4", "--json")
    found = document(run_cli(*given, "--data", digits_folder, "--images", "5"))
    assert found["similarity"]["on"].startswith("5 validation images of")
    assert not any("noise" in note for note in found["notes"])
    assert found["similarity"]["values"] != document(run_cli(*given, "--images", "5"))["similarity"]["values"]


def test_the_longest_stage_of_other_models(run_cli: Any) -> None:
    done = run_cli("analyze", "convnext_atto", "--images", "1", "--model-arg", "depths=[2,2,6,3]", "--json")
    found = document(done)
    assert (found["blocks"], found["layers"]) == ("stages.2.blocks", 6)
    assert "stages.3.blocks (3)" in done.stderr


def test_the_terminal_has_a_line_for_each_parameter_and_each_layer(run_cli: Any) -> None:
    done = run_cli("analyze", *VIT, "--images", "1")
    assert done.code == 0
    table, layers = (part.splitlines() for part in done.stdout.strip().split("\n\n"))
    assert table[0].split() == ["parameter", "linear", "chebyshev:2", "chebyshev:3", "order"]
    assert len(table) == 1 + 12 + 2
    assert len(layers) == 1 + 5
    assert "all equal" in table[1]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout + done.stderr
    assert "linear CKA of outputs on 1 image of noise" in done.stderr


def test_one_block_for_all_layers_leaves_nothing_to_explain(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = tleg.expand(learngene_file, 4)
    for block in model.blocks:
        block.load_state_dict(model.blocks[0].state_dict())
    path = tmp_path / "equal.safetensors"
    save_file(model.state_dict(), path)
    arguments = [*SMALL[:-2], "--model-arg", "depth=4", "--model-arg", "class_token=False", "--model-arg", "global_pool=avg"]
    arguments += ["--model-arg", "fc_norm=False"]
    plot = tmp_path / "equal.png"
    done = run_cli("analyze", f"deit_tiny_patch16_224:{path}", *arguments, "--images", "0", "--plot", plot)
    assert done.code == 0, done.stderr
    assert "all values" in done.stdout
    assert plot.is_file()


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_picture(run_cli: Any, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"layers{suffix}"
    done = run_cli("analyze", *VIT, "--images", "1", "--plot", target)
    assert done.code == 0, done.stderr
    if suffix == ".png":
        with Image.open(target) as image:
            assert image.width > 1000
            assert len(set(image.convert("RGB").resize((200, 150)).tobytes())) > 50
    else:
        root = ElementTree.parse(target).getroot()
        space = "{http://www.w3.org/2000/svg}"
        words = [each.text for each in root.iter(f"{space}text")]
        assert {*MATRICES, "all values", "each alike", "chebyshev:3", "shuffled"} <= set(words)
        assert "norm1.weight" not in words  # Its layers are equal.
        assert len(list(root.iter(f"{space}circle"))) == 5
        assert len(list(root.iter(f"{space}rect"))) > 25
    before = target.read_bytes()
    failure(run_cli("analyze", *VIT, "--images", "1", "--plot", target), 2, "exists already")
    assert run_cli("analyze", *VIT, "--images", "1", "--plot", target, "--force").code == 0
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnet18", "--images", "0"], "has no run of 3 or more blocks of one shape"),
        (["vit_tiny_patch16_225"], "vit_tiny_patch16_224"),
        ([*VIT, "--depth", "6"], "is no learngene: --depth means nothing for it"),
        (["fashion-mnist", "--pretrained"], "is a learngene: --pretrained means nothing for it"),
        (["fashion-mnist", "--depth", "2"], "depth must be from 3"),
        (["fashion-mnist", "--basis", "linaer"], "Did you mean 'linear'?"),
        (["fashion-mnist", "--shuffles", "1"], "shuffles must be"),
        (["fashion-mnist", "--plot", "it.pdf"], "a picture ends in .svg or .png"),
        (["fashion-mnist", "--data", "fashion-mnist", "--images", "0"], "--images 0 looks at none"),
        (["nowhere/at-all.safetensors"], "there is no file"),
    ],
)
def test_what_cannot_be_analysed_is_refused(run_cli: Any, arguments: list[str], says: str) -> None:
    failure(run_cli("analyze", *arguments), 2, says)


def test_weights_that_are_no_numbers_are_named(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    (built,) = tleg.build(learngene_file, (4,), ("pytorch",), tmp_path, verify=False)
    weights = built.path / "model.safetensors"
    state = load_file(weights)
    state["blocks.2.mlp.fc1.bias"][3] = float("nan")
    save_file(state, weights, metadata={"format": "pt"})
    failure(
        run_cli("analyze", built.path, "--images", "0"), 2, "the layers' mlp.fc1.bias: it holds values that are not finite"
    )


def test_the_library_gives_what_the_command_prints(run_cli: Any, learngene_file: Path) -> None:
    found = tleg.analyze(learngene_file, depth=5, images=2, bases=("linear",), shuffles=10, seed=3)
    given = ("--depth", "5", "--images", "2", "--basis", "linear", "--shuffles", "10", "--seed", "3", "--json")
    printed = document(run_cli("analyze", learngene_file, *given))
    assert printed["overall"]["fits"][0]["r2"] == found.overall.fits[0].r2
    assert printed["overall"]["fits"][0]["shuffled"]["std"] == found.overall.fits[0].shuffled.std
    assert tuple(map(tuple, printed["similarity"]["values"])) == found.similarity.values
