"""Fine-tuning from every start, and what it leaves behind."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tests.conftest import make_learngene
from tests.training.conftest import ARGUMENTS, VIT, finetune_job
from tleg.data.datasets import Data
from tleg.errors import ArchitectureError, InputError
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.learngene import Learngene
from tleg.models.timm_folder import load_timm_folder, save_timm_folder
from tleg.recipes.training import Recipe
from tleg.training.device import Placement
from tleg.training.evaluate import evaluate_subject
from tleg.training.finetune import finetune
from tleg.training.init import init_from_checkpoint, init_from_learngene, init_from_timm
from tleg.training.subjects import open_subject

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def learngene_path(tmp_path: Path, digits: Data) -> Path:
    path = tmp_path / "digits.safetensors"
    arguments = {**ARGUMENTS, "in_chans": 1}
    learngene = make_learngene(VIT, arguments, num_classes=10, classes=digits.classes)
    learngene.with_header(preprocessing=Preprocessing((0.305,), (0.376,), crop_pct=1.0)).save(path)
    return path


def test_a_descendant_learns_and_is_saved_as_a_timm_folder(
    learngene_path: Path, digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    before = evaluate_subject(open_subject(str(learngene_path), placement, (3,)), digits, placement)[3]
    job = finetune_job(digits, init_from_learngene(str(learngene_path), 3, 0.1), recipe=recipe(epochs=6, batch_size=32))
    score = finetune(job, placement, tmp_path / "out")
    assert score.top1 is not None
    assert before.top1 is not None
    assert score.top1 > before.top1 + 20

    model: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert len(model.blocks) == 3
    assert model.pretrained_cfg["mean"] == [0.305]
    again = evaluate_subject(open_subject(str(tmp_path / "out"), placement, None), digits, placement)
    assert again[3].top1 == score.top1

    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["lineage"]["learngene"] == "digits"
    assert len(record["lineage"]["sha256"]) == 64
    assert record["lineage"]["head"] == "kept"
    assert record["reached"]["top1"] == score.top1
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["label_names"] == list(digits.classes)


def test_other_classes_get_a_new_head(learngene_path: Path, digits: Data) -> None:
    renamed = replace(digits, classes=tuple("abcdefghij"))
    fewer = replace(digits, classes=tuple("012"))
    start = init_from_learngene(str(learngene_path), 2)
    kept, new, smaller = start(digits), start(renamed), start(fewer)
    assert [item.lineage["head"] for item in (kept, new, smaller)] == ["kept", "new", "new"]
    assert not torch.equal(kept.model.head.weight, new.model.head.weight)  # type: ignore[union-attr, arg-type]
    assert smaller.model.head.weight.shape == (3, 32)  # type: ignore[union-attr]
    assert smaller.architecture.num_classes == 3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("convnext_atto", {"dims": [8, 8, 12, 12], "depths": [1, 1, 2, 1]}),
        ("resnetv2_50x1_bit", {"channels": [128, 128, 128, 128], "stem_chs": 32, "layers": [2, 2, 3, 2]}),
    ],
)
def test_heads_of_any_name_follow_the_classes(name: str, arguments: dict[str, Any], digits: Data, tmp_path: Path) -> None:
    architecture = describe(name, {**arguments, "img_size": 64, "in_chans": 1}, 10)
    cost = measure(architecture)
    header = LearngeneHeader(architecture, Basis(), Auxiliary(3), Preprocessing((0.5,), (0.5,)), cost, digits.classes)
    learngene = Learngene(header, AuxiliaryModel(architecture, Basis()).tensors())
    learngene.save(tmp_path / "it.safetensors")
    start = init_from_learngene(str(tmp_path / "it.safetensors"), 2)
    known = torch.from_numpy(learngene.tensors["head.fc.weight"])
    for classes, expected in ((digits.classes, known), (digits.classes[::-1], known.flip(0))):
        assert torch.equal(start(replace(digits, classes=classes)).model.get_parameter("head.fc.weight"), expected)
    new = start(replace(digits, classes=tuple("abcdefghij")))
    assert new.lineage["head"] == "new"
    weight = new.model.get_parameter("head.fc.weight")
    assert weight.shape == known.shape
    assert weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_a_timm_model_takes_channels_and_size_from_the_data(digits: Data) -> None:
    vit = init_from_timm(VIT, {"patch_size": 2, "embed_dim": 32, "num_heads": 2, "depth": 2})(digits)
    assert vit.architecture.input_size == (1, 8, 8)
    assert vit.architecture.arguments["img_size"] == 8
    resnet = init_from_timm("resnet10t", {})(digits)
    assert resnet.architecture.input_size == (1, 8, 8)
    assert "img_size" not in resnet.architecture.arguments
    larger = init_from_timm("resnet10t", {}, image_size=(32, 32))(digits)
    assert larger.architecture.input_size == (1, 32, 32)
    assert init_from_timm(VIT, {"depth": 1}, image_size=(32, 32))(digits).architecture.arguments["img_size"] == 32


def test_matrices_of_a_new_model_begin_as_asked(digits: Data) -> None:
    arguments = {"patch_size": 2, "embed_dim": 64, "num_heads": 2, "depth": 2}
    for how, std in (("timm", 0.02), ("fan-in", 1 / 8)):
        torch.manual_seed(0)
        start = init_from_timm(VIT, arguments, initial_matrices=how)(digits)
        state = start.model.state_dict()
        assert state["blocks.1.attn.qkv.weight"].std().item() == pytest.approx(std, rel=0.03)
        assert state["head.weight"].std().item() == pytest.approx(0.02, rel=0.1)
        assert start.lineage.get("initial_matrices") == (None if how == "timm" else how)
    with pytest.raises(ArchitectureError, match="can be expanded, and 'resnet10t' is none") as refused:
        init_from_timm("resnet10t", {}, initial_matrices="fan-in")(digits)
    assert (refused.value.field, refused.value.code) == ("initial-matrices", "unsupported")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (VIT, {**ARGUMENTS, "depth": 2}),
        ("poolformer_s12", {"dims": [8, 8, 8, 8], "depths": [1, 1, 2, 1]}),
        ("pit_ti_224", {"patch_size": 2, "stride": 1, "base_dims": [8, 8, 8], "heads": [1, 2, 2], "depth": [1, 2, 1]}),
        ("resnet10t", {"channels": [8, 8, 8, 16], "stem_width": 8}),
    ],
)
def test_a_saved_model_is_a_start_and_gives_the_same_outputs(
    name: str, arguments: dict[str, Any], digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    first = finetune(
        finetune_job(digits, init_from_timm(name, arguments), recipe=recipe(epochs=1)), placement, tmp_path / "a"
    )
    model = load_timm_folder(tmp_path / "a")
    start = init_from_checkpoint(str(tmp_path / "a"))(digits)
    images = torch.rand(3, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(model(images), start.model.eval()(images))
    assert start.lineage["from"] == {"model": name, "pretrained": False}

    tensors = {key: value.numpy() for key, value in start.model.state_dict().items()}
    (tmp_path / "b").mkdir()
    save_timm_folder(tmp_path / "b", tensors, start.architecture, start.depth, preprocessing=start.preprocessing)
    with torch.inference_mode():
        assert torch.equal(load_timm_folder(tmp_path / "b")(images), model(images))
    assert (
        evaluate_subject(open_subject(str(tmp_path / "b"), placement, None), digits, placement).popitem()[1].top1
        == first.top1
    )


def test_the_same_seed_gives_the_same_weights(
    digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    for name, workers in (("a", 0), ("b", 1)):
        start = init_from_timm(VIT, {**ARGUMENTS, "depth": 1})
        finetune(finetune_job(digits, start, recipe=recipe(epochs=1, workers=workers)), placement, tmp_path / name)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_an_existing_output_stays_without_force(
    digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    job = finetune_job(digits, init_from_timm(VIT, {**ARGUMENTS, "depth": 1}), recipe=recipe(epochs=1))
    with pytest.raises(InputError, match="exists already"):
        finetune(job, placement, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    with pytest.raises(InputError, match=r"holds mine.txt, which tleg did not make"):
        finetune(job, placement, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    (tmp_path / "out" / "mine.txt").unlink()
    (tmp_path / "out" / "config.json").write_text("{}")
    finetune(job, placement, tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "training.json",
    ]


def test_what_timm_cannot_build_is_explained(digits: Data) -> None:
    with pytest.raises(ArchitectureError, match="no_such"):
        init_from_timm(VIT, {"no_such": 1})(digits)
    with pytest.raises(ArchitectureError, match="Did you mean 'resnet18'"):
        init_from_timm("resnet18x", {})


def test_a_model_of_other_classes_is_not_evaluated(learngene_path: Path, digits: Data, placement: Placement) -> None:
    subject = open_subject(str(learngene_path), placement, (2,))
    with pytest.raises(InputError, match="knows 10 classes and digits has 3"):
        evaluate_subject(subject, replace(digits, classes=tuple("012")), placement)
    with pytest.raises(InputError, match="not those of digits: only the model knows '3'; only the data has 'x'"):
        evaluate_subject(subject, replace(digits, classes=(*"012", "x", *"456789")), placement)


def test_depths_belong_to_learngenes(learngene_path: Path, digits: Data, placement: Placement, tmp_path: Path) -> None:
    job = finetune_job(digits, init_from_learngene(str(learngene_path), 1), recipe=Recipe(epochs=1, workers=0))
    finetune(job, placement, tmp_path / "out")
    with pytest.raises(InputError, match="--depths is for learngenes"):
        open_subject(str(tmp_path / "out"), placement, (3,))
