"""Descendants whose every stage has a depth of its own: computed, counted, exported and fine-tuned like all others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tleg
from tests.conftest import CommandResult
from tests.models.levels import registered
from tests.models.test_families import EXAMPLES, a_learngene
from tleg.errors import DepthError
from tleg.export.manifest import read_manifest
from tleg.learngene.families import family_covering
from tleg.models.architecture import describe, timm_family_of
from tleg.models.flops import count_macs
from tleg.models.learngene import Learngene
from tleg.models.pretrained import open_folder

RunCli = Callable[..., CommandResult]
# A family whose blocks alternate and one of convolutions stand for the others.
HERE = ("swin", "convnext")
STAGED = [
    name if name in HERE else pytest.param(name, marks=pytest.mark.slow)
    for name, (timm_name, _) in EXAMPLES.items()
    if len(family_covering(timm_name).stages) > 1
]


def learngene_of(name: str) -> Learngene:
    return a_learngene(timm_family_of(describe(*EXAMPLES[name])))


@pytest.mark.parametrize("name", STAGED)
def test_a_profile_is_computed_and_counted_exactly(name: str) -> None:
    with registered():
        learngene = learngene_of(name)
        header = learngene.header
        own = header.architecture.profile(4)
        elastic = learngene.elastic()
        images = torch.randn(2, *header.architecture.input_size)
        for more in (0, 1, 2, 3):
            # Another stage grows each time, and the elastic one shrinks.
            profile = tuple(
                blocks + (index + more) % 3 - (index == header.architecture.elastic) for index, blocks in enumerate(own)
            )
            model = learngene.expand(profile)
            with torch.inference_mode():
                assert torch.allclose(elastic(images, profile), model(images), atol=1e-5)
            cost = header.cost_at(profile)
            assert cost.parameters == sum(value.numel() for value in model.parameters())
            assert cost.macs == count_macs(model, images[:1])[""]
        # At the auxiliary's own profile it is the descendant of the number.
        same, number = learngene.expand_tensors(own), learngene.expand_tensors(4)
        assert same.keys() == number.keys()
        assert all((same[key] == number[key]).all() for key in same)
        with pytest.raises(DepthError, match=f"has {len(own)} stages"):
            learngene.expand((*own, 1))


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learngene of a small Swin, 2-2-N-2. Do not change it."""
    path = tmp_path_factory.mktemp("swin") / "swin.safetensors"
    learngene_of("swin").save(path)
    return path


def test_exports_of_a_profile(swin: Path, run_cli: RunCli, tmp_path: Path) -> None:
    # 2-2-4-2 says no more than 4.
    runs = (("1-2-3-1", "2-2-4-2", "pytorch"), ("1-2-3-1", "onnx-compact"))
    names = []
    for *depths, kind in runs:
        words = [word for depth in depths for word in ("--depth", depth)]
        done = run_cli("build", swin, *words, "--export", kind, "--output", tmp_path, "--json")
        assert done.code == 0, done.stderr
        for item in json.loads(done.stdout)["exports"]:
            names.append((Path(item["path"]).name, item["depth"]))
            assert item["verification"]["relative_error"] < 1e-5
            again = run_cli("verify", item["path"], "--learngene", swin)
            assert again.code == 0, again.stdout
            assert "passed       reference" in again.stdout
    assert names == [
        *(("swin-depth1-2-3-1", "1-2-3-1"), ("swin-depth4", 4)),
        ("swin-depth1-2-3-1.compact.onnx", "1-2-3-1"),
    ]
    manifest = read_manifest(tmp_path / "swin-depth1-2-3-1" / "manifest.json")
    assert manifest.descendant is not None
    assert (manifest.descendant.depth, manifest.descendant.profile) == (3, (1, 2, 3, 1))
    model = open_folder(tmp_path / "swin-depth1-2-3-1").model
    assert [len(stage.blocks) for stage in model.layers] == [1, 2, 3, 1]


def test_previews_of_profiles(swin: Path, run_cli: RunCli) -> None:
    done = run_cli("preview", swin, "--depths", "2,4,8,1-1-1-1", "--profiles", "all", "--max-macs", "1G", "--json")
    document = json.loads(done.stdout)
    assert [row["depth"] for row in document["depths"]] == ["1-1-1-1", "1-1-2-1", 4, "4-4-8-4"]
    assert document["deepest"] == "4-4-8-4"
    assert document["choice"]["depth"] == "4-4-8-4"
    picked = run_cli("preview", swin, "--depths", "2,4,8", "--profiles", "all", "--max-macs", "1G", "--pick")
    assert picked.stdout == "4-4-8-4\n"
    wrong = run_cli("preview", swin, "--depths", "2-2-2")
    assert wrong.code == 2
    assert wrong.stderr == "tleg: 'swin_tiny_patch4_window7_224' has 4 stages, as in 2-2-6-2, and 2-2-2 names 3\n"


@pytest.mark.parametrize("command", [("build", "--output", "OUT"), ("preview",)])
def test_a_profile_without_blocks_is_one_sentence(
    swin: Path, run_cli: RunCli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    name, *options = (str(tmp_path / "out") if word == "OUT" else word for word in command)
    done = run_cli(name, swin, *options, "--depths" if name == "preview" else "--depth", "2-0-6-2")
    assert done.code == 2
    assert done.stderr == "tleg: stage 1 of a profile: depth 0 is out of range: choose 1 to 1024\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("forks")
def test_a_profile_is_evaluated_recorded_and_fine_tuned(digits_folder: Path, run_cli: RunCli, tmp_path: Path) -> None:
    gene = tmp_path / "gene.safetensors"
    arguments = (
        "img_size=8",
        "patch_size=1",
        "embed_dim=8",
        "num_heads=[1,1,2,2]",
        "window_size=2",
        "in_chans=1",
        "depths=[1,1,2,1]",
    )
    options = [f"--model-arg={each}" for each in (*arguments, "depths=[1,1,2,1]")]
    common = [
        "--data",
        digits_folder,
        "--epochs",
        "1",
        "--workers",
        "0",
        "--batch-size",
        "50",
        "--runs-dir",
        tmp_path / "runs",
    ]
    done = run_cli(
        *("learn", "--architecture", "swin_tiny_patch4_window7_224", *options, *common, "--output", gene),
        *("--sample-depths", "1,2", "--evaluate-depths", "1,2"),
    )
    assert done.code == 0, done.stderr
    done = run_cli("evaluate", gene, "--data", digits_folder, "--depths", "2,2-1-2-1,1-1-2-1", "--record", "--json")
    assert done.code == 0, done.stderr
    assert [row["depth"] for row in json.loads(done.stdout)["results"]] == [2, "2-1-2-1"]
    reached = tleg.read_header(gene).reached
    assert reached is not None
    assert set(reached.top1) == {1, 2}
    assert reached.profiles is not None
    assert set(reached.profiles) == {"2-1-2-1"}
    done = run_cli("finetune", "--learngene", gene, "--depth", "2-1-3-1", *common, "--output", tmp_path / "tuned")
    assert done.code == 0, done.stderr
    record = json.loads((tmp_path / "tuned" / "training.json").read_text())
    assert record["lineage"]["depth"] == "2-1-3-1"
    assert [len(stage.blocks) for stage in open_folder(tmp_path / "tuned").model.layers] == [2, 1, 3, 1]
    refused = run_cli("finetune", "--learngene", gene, "--depth", "2-1", *common, "--output", tmp_path / "other")
    assert refused.code == 2
    assert "cannot read '2-1' as a depth" in refused.stderr
