"""Models of families whose depths timm's functions fix: made at other depths, and opened again where timm alone does not."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tleg.errors import FileFormatError
from tleg.export.build import build_exports
from tleg.export.manifest import read_manifest
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis
from tleg.learngene.families import families, family_covering
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.creation import create_model
from tleg.models.flops import measure
from tleg.models.learngene import Learngene, load
from tleg.models.pretrained import open_folder, open_weights
from tleg.models.timm_folder import NOTE, load_timm_folder, read_timm_folder, save_timm_folder

NAME = "focalnet_tiny_srf"
SMALL = {"embed_dim": 8, "depths": [1, 1, 2, 1]}
MIXER = {"img_size": 32, "patch_size": 8, "embed_dim": 16}


def depths(model: Any) -> list[int]:
    return [len(layer.blocks) for layer in model.layers]


def a_learngene(path: Path, name: str, arguments: dict[str, Any]) -> Path:
    architecture = describe(name, arguments, 4)
    torch.manual_seed(0)
    tensors = AuxiliaryModel(architecture, Basis()).tensors()
    size = Preprocessing((0.5,) * 3, (0.5,) * 3)
    Learngene(LearngeneHeader(architecture, Basis(), Auxiliary(3), size, measure(architecture)), tensors).save(path)
    return path


def test_timm_alone_takes_no_depths_and_tleg_does() -> None:
    with pytest.raises(TypeError, match="depths"):
        timm.create_model(NAME, depths=[1, 1, 2, 1])
    model = create_model(NAME, num_classes=3, drop_path_rate=None, **SMALL)
    assert depths(model) == [1, 1, 2, 1]
    assert (model.num_classes, model.num_features) == (3, 64)
    assert depths(timm.create_model(NAME)) == [2, 2, 6, 2], "timm's own is as before"
    assert {name: model._model_args[name] for name in SMALL} == SMALL
    assert depths(create_model(NAME)) == [2, 2, 6, 2]


def test_timm_is_as_before_after_a_failure() -> None:
    import timm.models.focalnet as module

    before = module.build_model_with_cfg
    with pytest.raises(TypeError, match="nothing_like_it"):
        create_model(NAME, nothing_like_it=3, **SMALL)
    assert module.build_model_with_cfg is before


def test_others_are_made_by_timm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(timm, "create_model", lambda name, **given: seen.append((name, given)))
    create_model("deit_tiny_patch16_224", depth=3)
    create_model("resnet18", num_classes=2)
    assert seen == [("deit_tiny_patch16_224", {"depth": 3}), ("resnet18", {"num_classes": 2})]


def test_only_what_is_fixed_needs_tleg() -> None:
    fixing = {each.name for each in families() if each.timm_fixes_depths}
    context = {"gcvit", "gcvit-xt", "gcvit-xxt"}
    assert fixing == {"metaformer", "poolformer", "focalnet", "nest", "volo", "mlp-mixer", "mvit-v2", "bit", *context}
    for name, given, fixed in (
        (NAME, {"depths": [1, 1, 2, 1], "embed_dim": 8}, ["depths"]),
        ("mixer_s16_224", {"num_blocks": 3}, ["num_blocks"]),
        ("volo_d1_224", {"layers": [1, 1, 1, 1]}, ["layers"]),
        (NAME, {"num_classes": 3}, []),
        ("swin_tiny_patch4_window7_224", {"depths": [1, 1, 1, 1]}, []),
        ("resnet18", {"depth": 3}, []),
    ):
        assert list(family_covering(name).fixed_by_timm(given)) == fixed, name


@pytest.mark.parametrize(("name", "arguments"), [(NAME, SMALL), ("mixer_s16_224", MIXER)])
def test_tleg_opens_a_folder_and_says_that_timm_alone_does_not(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    path = a_learngene(tmp_path / "it.safetensors", name, arguments)
    (built,) = build_exports(BuildRequest(str(path), ("pytorch",), (3,), tmp_path))
    note = f"tleg opens it and timm alone does not, because timm's function '{name}' fixes "
    assert (built.manifest.note or "").startswith(note)
    assert read_manifest(built.manifest_path).note == built.manifest.note
    assert json.loads((built.path / "config.json").read_text())[NOTE].startswith(note)
    with pytest.raises(TypeError, match="multiple values"):
        timm.create_model(f"local-dir:{built.path}", pretrained=True)
    report = check_path(built.path)
    assert report.passed
    assert any(check.detail.startswith(note) for check in report.checks)

    opened = open_folder(built.path)
    state = load_timm_folder(built.path).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in opened.model.state_dict().items())
    assert opened.depth == (3 if name.startswith("mixer") else None)
    assert opened.num_classes == 4
    # A new head, as timm gives one to what it loads.
    assert load_timm_folder(built.path, {"num_classes": 7}).num_classes == 7

    # What timm writes of such a model states its depths as well.
    model = load(path).expand(3)
    timm.models.save_for_hf(model, str(tmp_path / "again"), safe_serialization=True)
    assert read_timm_folder(tmp_path / "again").note == built.manifest.note
    images = torch.randn(2, *opened.input_size)
    with torch.inference_mode():
        assert torch.equal(load_timm_folder(tmp_path / "again")(images), model(images))


@pytest.mark.parametrize(
    ("name", "arguments", "depth"),
    [
        (NAME, {**SMALL, "img_size": 64}, None),
        ("mixer_s16_224", MIXER, 2),
        ("pit_ti_224", {"img_size": 64, "base_dims": [8, 8, 8], "heads": [1, 2, 2], "depth": [1, 2, 1]}, None),
    ],
)
def test_what_was_opened_is_written_and_opened_again(
    name: str, arguments: dict[str, Any], depth: int | None, tmp_path: Path
) -> None:
    path = a_learngene(tmp_path / "it.safetensors", name, arguments)
    (built,) = build_exports(BuildRequest(str(path), ("pytorch",), (2,), tmp_path))
    opened = open_folder(built.path)
    assert opened.depth == depth
    architecture = Architecture(opened.architecture, opened.arguments, 4, opened.input_size)
    tensors = {key: value.numpy() for key, value in opened.model.state_dict().items()}
    (tmp_path / "again").mkdir()
    save_timm_folder(tmp_path / "again", tensors, architecture, opened.depth, preprocessing=opened.preprocessing)
    again = open_folder(tmp_path / "again")
    assert again.depth == depth
    assert dict(again.arguments) == dict(opened.arguments)
    state = again.model.state_dict()
    assert all(torch.equal(torch.from_numpy(values), state[key]) for key, values in tensors.items())


def test_a_folder_that_timm_loads_has_no_note(tmp_path: Path) -> None:
    arguments = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "num_heads": 2}
    path = a_learngene(tmp_path / "it.safetensors", "deit_tiny_patch16_224", arguments)
    (built,) = build_exports(BuildRequest(str(path), ("pytorch",), (2,), tmp_path))
    assert built.manifest.note is None
    assert "note" not in json.loads(built.manifest_path.read_text())
    assert NOTE not in json.loads((built.path / "config.json").read_text())


def test_weights_of_other_depths_are_opened(tmp_path: Path) -> None:
    model = create_model(NAME, num_classes=3, **SMALL).eval()
    torch.save(model.state_dict(), tmp_path / "it.pth")
    opened = open_weights(NAME, tmp_path / "it.pth", SMALL)
    assert depths(opened.model) == [1, 1, 2, 1]
    assert opened.num_classes == 3
    with pytest.raises(FileFormatError, match="does not fit"):
        open_weights(NAME, tmp_path / "it.pth", {"embed_dim": 8, "depths": [1, 1, 3, 1]})


def test_the_depth_of_one_stage_is_told_from_those_of_several() -> None:
    assert family_covering("mixer_s16_224").take_depth({"num_blocks": 3, "img_size": 32}) == (3, {"img_size": 32})
    assert family_covering("resnet18").take_depth({"depth": 3}) == (3, {})
    assert family_covering("pit_ti_224").take_depth({"depth": [1, 2, 1]}) == (None, {"depth": [1, 2, 1]})
    assert family_covering(NAME).take_depth(SMALL) == (None, SMALL)


def test_statistics_of_a_batch_norm_in_the_stem_are_stored_once() -> None:
    arguments = {"img_size": 32, "stem_hidden_dim": 8, "embed_dims": [8, 16, 16, 16], "num_heads": [1, 2, 2, 2]}
    model = AuxiliaryModel(describe("volo_d1_224", {**arguments, "layers": [1, 1, 2, 1]}, 4), Basis())
    images = 3 + torch.randn(4, 3, 32, 32)
    model.train()(images, model.coefficients(2), model.profile(2))
    tensors = model.tensors()
    statistics = {name: values for name, values in tensors.items() if "running_" in name}
    assert len(statistics) == 6
    assert all(name.startswith("patch_embed.") for name in statistics)
    assert not any("num_batches_tracked" in name or "aux_head" in name for name in tensors)
    assert abs(statistics["patch_embed.conv.1.running_mean"]).max() > 0.01, "they are those of the training"


def test_a_backbone_of_timm_is_not_fetched(tmp_path: Path) -> None:
    """timm's function of this name downloads weights for the backbone where it shall load the whole model's."""
    path = a_learngene(
        tmp_path / "it.safetensors", "vit_small_resnet26d_224", {"embed_dim": 24, "num_heads": 2, "img_size": 64}
    )
    (built,) = build_exports(BuildRequest(str(path), ("pytorch",), (1,), tmp_path))
    assert built.manifest.verification is not None  # The folder was loaded, and this machine need not reach the hub.
    assert "fetches weights from the hub" in (built.manifest.note or "")


def test_a_folder_keeps_the_one_size_of_its_model(tmp_path: Path) -> None:
    """timm makes test_vit3 at 160 pixels by its name, and at 224 by a configuration that does not say that this is fixed."""
    path = a_learngene(tmp_path / "it.safetensors", "test_vit3", {})
    (built,) = build_exports(BuildRequest(str(path), ("pytorch",), (2,), tmp_path))
    model: Any = timm.create_model(f"local-dir:{built.path}", pretrained=True)
    assert model.patch_embed.img_size == (160, 160)
