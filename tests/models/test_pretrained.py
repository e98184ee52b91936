"""Models as people have them: what timm loads is loaded, to the same logits; what is not is refused in one sentence."""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.conftest import make_learngene
from tests.training.conftest import Recorder, finetune_job
from tleg.data.datasets import Data
from tleg.errors import ArchitectureError, FileFormatError, InputError
from tleg.export.build import build_exports
from tleg.export.plan import BuildRequest
from tleg.models.pretrained import PretrainedModel, open_folder, open_weights
from tleg.models.timm_folder import PREFERRED_WEIGHTS, WEIGHTS_SUFFIXES, read_timm_folder, weights_file
from tleg.recipes.training import Recipe
from tleg.training.device import Placement
from tleg.training.evaluate import evaluate_subject
from tleg.training.finetune import finetune, prepare
from tleg.training.init import init_from_checkpoint
from tleg.training.subjects import open_subject

CNN = "resnet10t"
VIT = "vit_tiny_patch16_224"
# A ViT of 8 pixels, small enough for many tests.
SMALL: Mapping[str, Any] = {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2, "depth": 2, "in_chans": 1}
DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def cnn() -> Any:
    torch.manual_seed(1)
    return timm.create_model(CNN, num_classes=4).eval()


@pytest.fixture(scope="module")
def vit() -> Any:
    torch.manual_seed(2)
    return timm.create_model(VIT, num_classes=4).eval()


@pytest.fixture(scope="module")
def small() -> Any:
    torch.manual_seed(3)
    return timm.create_model(VIT, num_classes=10, **SMALL).eval()


def scrambled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Another state of the same names and shapes."""
    generator = torch.Generator().manual_seed(4)
    return {
        name: value + torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in state.items()
    }


def same(opened: PretrainedModel, model: Any, size: int = 32) -> bool:
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return torch.equal(opened.model(pixels), model(pixels))


def wrapped(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


class Options:
    def __init__(self) -> None:
        self.rate = 1e-3


class Nested(dict[str, Any]):
    pass


class Listed(list[Any]):
    pass


class Choice(Enum):
    FIRST = 1


FORMS: dict[str, Any] = {
    "plain": lambda state: dict(state),
    "deit": lambda state: {"model": state, "optimizer": {"state": {}}, "epoch": 3, "args": argparse.Namespace(lr=1e-3)},
    "ddp": lambda state: {"state_dict": wrapped(state, "module."), "epoch": 1, "arch": CNN},
    "lightning": lambda state: {
        "state_dict": {**wrapped(state, "model."), "criterion.weight": torch.ones(4), "accuracy.total": torch.zeros(1)},
        "pytorch-lightning_version": "2.4",
    },
    "compiled": lambda state: wrapped(state, "_orig_mod."),
    "compiled ddp": lambda state: {"model": wrapped(state, "_orig_mod.module.")},
    "ddp compiled": lambda state: {"model": wrapped(state, "module._orig_mod.")},
    "a module of somebody's": lambda state: {"state_dict": wrapped(state, "net.backbone.")},
    "an unknown key": lambda state: {"weights_of_the_net": state, "step": 3},
    "model_state": lambda state: {"model_state": state},
    "averaged model": lambda state: {"model_ema": {"n_averaged": torch.tensor(3), **wrapped(state, "module.")}},
    "numbers and options of every kind": lambda state: {
        "state_dict": state,
        "best": np.float64(81.5),
        "history": np.arange(3),
        "counts": defaultdict(int, {"a": 1}),
        "place": Path("/data"),
        "options": Options(),
        "choices": {Choice.FIRST: Listed([Nested(rate=1)])},
        "function": partial(max, 1),
    },
    "numpy": lambda state: {name: value.numpy() for name, value in state.items()},
    "average beside": lambda state: {"state_dict": scrambled(state), "state_dict_ema": state},
    "deit's average": lambda state: {"model": scrambled(state), "model_ema": state},
    "teacher and student": lambda state: {
        "student": wrapped(scrambled(state), "module.backbone."),
        "teacher": {**wrapped(state, "backbone."), "head.mlp.0.weight": torch.ones(2, 2)},
    },
}


@pytest.mark.parametrize("legacy", [False, True])
def test_whatever_training_code_puts_beside_the_weights(cnn: Any, tmp_path: Path, legacy: bool) -> None:
    document = FORMS["numbers and options of every kind"](cnn.state_dict())
    torch.save(document, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert same(open_weights(CNN, tmp_path / "w.pth"), cnn)


def test_a_whole_model_gives_its_weights_without_running_its_code(cnn: Any, tmp_path: Path) -> None:
    torch.save(cnn, tmp_path / "whole.pth")
    assert same(open_weights(CNN, tmp_path / "whole.pth"), cnn)
    torch.save({"model": torch.nn.DataParallel(cnn), "epoch": 3}, tmp_path / "whole.pth")
    assert same(open_weights(CNN, tmp_path / "whole.pth"), cnn)


@pytest.mark.parametrize("form", FORMS)
def test_files_of_weights_as_training_code_writes_them(cnn: Any, tmp_path: Path, form: str) -> None:
    torch.save(FORMS[form](cnn.state_dict()), tmp_path / "weights é.pth.tar")
    opened = open_weights(CNN, tmp_path / "weights é.pth.tar")
    assert opened.num_classes == 4
    assert opened.input_size == (3, 176, 176)
    assert same(opened, cnn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_of_every_precision(cnn: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in cnn.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = open_weights(CNN, tmp_path / "w.safetensors").model.state_dict()
    assert all(torch.equal(loaded[name], value.to(loaded[name].dtype)) for name, value in state.items())


def test_which_weights_are_taken_is_said_and_can_be_chosen(cnn: Any, tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    other = scrambled(cnn.state_dict())
    torch.save({"state_dict": other, "state_dict_ema": cnn.state_dict()}, path)
    opened = open_weights(CNN, path)
    assert opened.notes == (
        f"{path} holds 'state_dict_ema' and 'state_dict': 'state_dict_ema' was taken; --weights model takes the other",
    )
    assert same(opened, timm.create_model(CNN, num_classes=4, checkpoint_path=str(path)).eval())
    assert torch.equal(open_weights(CNN, path, which="model").model.conv1[0].weight, other["conv1.0.weight"])
    assert open_weights(CNN, path, which="ema").notes == ()
    torch.save(cnn.state_dict(), path)
    with pytest.raises(InputError, match="holds no average of the weights; leave --weights out"):
        open_weights(CNN, path, which="ema")


def test_what_is_outside_of_the_model_is_named(cnn: Any, tmp_path: Path) -> None:
    torch.save(FORMS["lightning"](cnn.state_dict()), tmp_path / "w.ckpt")
    (note,) = open_weights(CNN, tmp_path / "w.ckpt").notes
    assert note.endswith(f"holds tensors that are no part of '{CNN}': criterion.weight, accuracy.total")
    torch.save({**cnn.state_dict(), "extra": torch.zeros(1)}, tmp_path / "extra.pth")
    with pytest.raises(FileFormatError, match=r"does not fit 'resnet10t': .*Unexpected key.*extra"):
        open_weights(CNN, tmp_path / "extra.pth")


def test_a_name_is_used_whole(vit: Any, tmp_path: Path) -> None:
    torch.save(vit.state_dict(), tmp_path / "w.pth")
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    other = "tf_efficientnet_b0.ns_jft_in1k"
    model = timm.create_model(other, num_classes=3)
    torch.save(model.state_dict(), tmp_path / "b0.pth")
    for each, file in ((name, "w.pth"), (other, "b0.pth"), ("tf_efficientnet_b0.ap_in1k", "b0.pth")):
        expected = timm.data.resolve_data_config({}, model=timm.create_model(each))
        opened = open_weights(each, tmp_path / file)
        found = opened.preprocessing
        assert opened.architecture == each.partition(".")[0]
        assert (found.mean, found.std, found.interpolation, found.crop_pct, opened.input_size) == tuple(
            expected[key] for key in ("mean", "std", "interpolation", "crop_pct", "input_size")
        )
    with pytest.raises(ArchitectureError, match=r"no weights 'ap_in1' of 'tf_efficientnet_b0'.*Did you mean 'ap_in1k'"):
        open_weights("tf_efficientnet_b0.ap_in1", tmp_path / "b0.pth")
    with pytest.raises(ArchitectureError, match="Did you mean 'vit_tiny_patch16_224'"):
        open_weights("vit_tini_patch16_224", tmp_path / "w.pth")


BACKBONES: dict[str, Any] = {
    "encoder": lambda state: {"model": state},
    "mae": lambda state: {
        "model": {
            **state,
            "mask_token": torch.zeros(1, 1, 192),
            "decoder_pos_embed": torch.zeros(1, 197, 512),
            "decoder_blocks.0.norm1.weight": torch.zeros(512),
        }
    },
    "dino": lambda state: {
        "teacher": {**wrapped(state, "backbone."), "head.last_layer.weight_v": torch.zeros(4, 4)},
        "epoch": 99,
    },
    "moco": lambda state: {
        "state_dict": {
            **wrapped({**state, "head.0.weight": torch.zeros(4, 192)}, "module.base_encoder."),
            **wrapped(scrambled(state), "module.momentum_encoder."),
            "module.predictor.0.weight": torch.zeros(4, 4),
        }
    },
}


@pytest.mark.parametrize("form", BACKBONES)
def test_backbones_have_no_classes(vit: Any, tmp_path: Path, form: str) -> None:
    encoder = {name: value for name, value in vit.state_dict().items() if not name.startswith("head.")}
    torch.save(BACKBONES[form](encoder), tmp_path / "w.pth")
    opened = open_weights(VIT, tmp_path / "w.pth")
    assert opened.num_classes == 0
    assert opened.notes[-1] == f"{tmp_path / 'w.pth'} holds no classifier: '{VIT}' is a backbone"
    loaded = opened.model.state_dict()
    assert set(loaded) == set(encoder)
    assert all(torch.equal(loaded[name], value) for name, value in encoder.items())


def test_dinov2_as_it_is_published(tmp_path: Path) -> None:
    """With a mask token, registers and the fused names of its MLP, which timm's filter converts."""
    torch.manual_seed(6)
    model = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, depth=1)
    published = dict(model.state_dict())
    registers, own, position = (published.pop(name) for name in ("reg_token", "cls_token", "pos_embed"))
    published |= {
        "register_tokens": registers,
        "cls_token": torch.zeros_like(own),
        "pos_embed": torch.cat([own, position], 1),
        "mask_token": torch.zeros(1, 384),
    }
    torch.save(published, tmp_path / "dinov2.pth")
    opened = open_weights("vit_small_patch14_reg4_dinov2", tmp_path / "dinov2.pth", {"depth": 1})
    assert opened.input_size == (3, 518, 518)
    loaded = opened.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())


def official_convnext(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of facebookresearch/ConvNeXt."""
    plain = {"conv_dw": "dwconv", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2", "head.fc": "head", "head.norm": "norm"}
    renamed = {}
    for name, value in state.items():
        name = re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name.replace("stem.", "downsample_layers.0."))
        name = re.sub(r"stages\.(\d)\.blocks\.", r"stages.\1.", name)
        for mine, theirs in plain.items():
            name = name.replace(mine, theirs)
        renamed[name] = value
    return renamed


def test_names_of_another_code_base_are_converted_by_timm(tmp_path: Path) -> None:
    model = timm.create_model("convnext_atto", num_classes=4)
    published = official_convnext(model.state_dict())
    assert not set(published) & {"stages.0.blocks.0.conv_dw.weight", "head.fc.weight"}
    torch.save({"model": wrapped(published, "module.")}, tmp_path / "w.pth")
    opened = open_weights("convnext_atto", tmp_path / "w.pth")
    assert opened.num_classes == 4
    assert all(torch.equal(opened.model.state_dict()[name], value) for name, value in model.state_dict().items())
    for name in ("head.weight", "head.bias"):
        del published[name]
    torch.save(published, tmp_path / "w.pth")
    backbone = open_weights("convnext_atto", tmp_path / "w.pth")
    assert backbone.num_classes == 0
    assert torch.equal(backbone.model.head.norm.weight, model.head.norm.weight)  # type: ignore[union-attr, arg-type]


def test_other_sizes_are_resampled_by_timm_when_somebody_asks(vit: Any, tmp_path: Path) -> None:
    torch.save(vit.state_dict(), tmp_path / "w.pth")
    opened = open_weights(VIT, tmp_path / "w.pth", image_size=(96, 96))
    overlay = {"state_dict": dict(vit.state_dict()), "num_classes": 4}
    expected = timm.create_model(VIT, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=4, img_size=96).eval()
    assert (opened.input_size, opened.arguments["img_size"]) == ((3, 96, 96), 96)
    assert same(opened, expected, 96)
    assert opened.notes == (f"pos_embed of {tmp_path / 'w.pth'} resampled for images of 96 x 96 pixels",)
    with pytest.raises(FileFormatError, match=r"images of another size than 'vit_tiny_patch16_384'.*--image-size 224 takes"):
        open_weights("vit_tiny_patch16_384", tmp_path / "w.pth")
    assert same(open_weights("vit_tiny_patch16_384", tmp_path / "w.pth", image_size=(224, 224)), vit, 224)
    with pytest.raises(FileFormatError, match=r"patch_embed.proj.weight.*--model-arg patch_size"):
        open_weights("vit_tiny_patch16_224", small_patches(tmp_path))
    with pytest.raises(FileFormatError, match="does not fit 'vit_small_patch16_224'"):
        open_weights("vit_small_patch16_224", tmp_path / "w.pth")


def small_patches(folder: Path) -> Path:
    torch.save(timm.create_model(VIT, num_classes=4, patch_size=28).state_dict(), folder / "patches.pth")
    return folder / "patches.pth"


def test_arguments_follow_from_the_weights_or_are_given(small: Any, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "small.pth")
    given = {name: value for name, value in SMALL.items() if name != "in_chans"}
    opened = open_weights(VIT, tmp_path / "small.pth", given)
    assert opened.input_size == (1, 8, 8)
    assert len(opened.preprocessing.mean) == 1
    pooled = timm.create_model(VIT, num_classes=4, global_pool="avg").eval()
    torch.save({"model": pooled.state_dict()}, tmp_path / "mae_finetuned.pth")
    average = open_weights(VIT, tmp_path / "mae_finetuned.pth")
    assert average.arguments["global_pool"] == "avg"
    assert same(average, pooled, 224)
    with pytest.raises(InputError, match="--model-arg cannot say 'num_classes'"):
        open_weights(VIT, tmp_path / "small.pth", {"num_classes": 3})


def test_two_heads_of_deit_are_a_classifier(tmp_path: Path) -> None:
    name = "deit_tiny_distilled_patch16_224"
    model = timm.create_model(name, num_classes=4).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "w.pth")
    opened = open_weights(name, tmp_path / "w.pth")
    assert opened.num_classes == 4
    assert same(opened, model, 224)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "pointer of Git LFS.*git lfs pull"),
        (b"", "is not a PyTorch checkpoint"),
        (b"<!DOCTYPE html>", "is not a PyTorch checkpoint"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        open_weights(CNN, tmp_path / "w.pth")


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.path)!r}, 'w').close()",))


def test_nothing_in_a_file_is_run(cnn: Any, tmp_path: Path) -> None:
    for number, legacy in enumerate((False, True)):
        document = {"state_dict": cnn.state_dict(), "hook": Harmful(tmp_path / "ran")}
        torch.save(document, tmp_path / f"{number}.pth", _use_new_zipfile_serialization=not legacy)
        assert same(open_weights(CNN, tmp_path / f"{number}.pth"), cnn)
    assert not (tmp_path / "ran").exists()
    torch.save(cnn, tmp_path / "whole.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(FileFormatError, match=r"holds code \(timm.*; tleg runs nothing from a file: save the model's state"):
        open_weights(CNN, tmp_path / "whole.pth")


def test_what_has_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "losses": [1.0]}, tmp_path / "empty.pth")
    with pytest.raises(FileFormatError, match="holds no state of a model"):
        open_weights(CNN, tmp_path / "empty.pth")


@pytest.mark.parametrize("safe", [True, False, "both"])
@pytest.mark.parametrize("name", [CNN, VIT, "levit_128s", "convnext_atto"])
def test_folders_of_save_for_hf(tmp_path: Path, name: str, safe: Any) -> None:
    torch.manual_seed(7)
    model: Any = timm.create_model(name, num_classes=4).eval()
    timm.models.save_for_hf(model, str(tmp_path / "f"), safe_serialization=safe, model_config={"label_names": list("abcd")})
    opened = open_folder(tmp_path / "f")
    expected = timm.create_model(f"local-dir:{tmp_path / 'f'}", pretrained=True).eval()
    config = timm.data.resolve_data_config({}, model=expected)
    assert (opened.num_classes, opened.classes, opened.architecture) == (4, tuple("abcd"), name)
    assert (opened.input_size, opened.preprocessing.mean) == (config["input_size"], tuple(config["mean"]))
    assert opened.preprocessing.crop_pct == config["crop_pct"]
    assert not {"num_classes", "depth"} & set(opened.arguments)
    assert same(opened, expected, opened.input_size[1])


def test_what_tleg_opened_is_stored_by_timm_in_a_folder_that_timm_loads(tmp_path: Path) -> None:
    learngene = make_learngene()
    learngene.save(tmp_path / "gene.safetensors")
    (built,) = build_exports(BuildRequest(str(tmp_path / "gene.safetensors"), ("pytorch",), (2,), tmp_path))
    opened = open_folder(built.path)
    assert opened.preprocessing.exif  # Which timm's own configuration has no place for.
    timm.models.save_for_hf(opened.model, str(tmp_path / "again"), safe_serialization=True)
    again: Any = timm.create_model(f"local-dir:{tmp_path / 'again'}", pretrained=True).eval()
    assert same(open_folder(tmp_path / "again"), again)


def test_which_file_is_taken_is_timm_s_choice(tmp_path: Path) -> None:
    assert timm.models._hub._PREFERRED_FILES == PREFERRED_WEIGHTS
    assert timm.models._hub._EXT_PRIORITY == WEIGHTS_SUFFIXES
    for name in ("z.bin", "b.pth", "a.pth", "pytorch_model.bin", "model.safetensors"):
        (tmp_path / name).touch()
    for name in ("model.safetensors", "pytorch_model.bin", "a.pth", "b.pth", "z.bin"):
        assert weights_file(tmp_path).name == name
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="holds no weights"):
        weights_file(tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ({"0": "a", "1": "b"}, ("a", "b")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ({"0": "a", "2": "c"}, ()),
        ([], ()),
    ],
)
def test_class_names_in_every_form(tmp_path: Path, names: Any, expected: tuple[str, ...]) -> None:
    (tmp_path / "model.safetensors").touch()
    for config in (
        {"architecture": CNN, "num_classes": 2, "label_names": names},
        {"architecture": CNN, "num_classes": 2, "labels": names},
        {"architecture": CNN, "pretrained_cfg": {"num_classes": 2, "label_names": names}},
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert read_timm_folder(tmp_path).classes == expected


def test_class_names_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    for names, message in (([1, 2], "no names"), (["a"], "other classes"), ({"x": "a"}, "not numbered")):
        (tmp_path / "config.json").write_text(json.dumps({"architecture": CNN, "num_classes": 2, "label_names": names}))
        with pytest.raises(FileFormatError, match=message):
            read_timm_folder(tmp_path)


def test_folders_of_transformers_say_what_they_are(tmp_path: Path) -> None:
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "_name_or_path": "google/vit-base"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"Hugging Face transformers \(ViTForImageClassification of google/vit-base\)"):
        open_folder(tmp_path)


def test_a_folder_must_not_fetch_other_weights(small: Any, tmp_path: Path) -> None:
    timm.models.save_for_hf(small, str(tmp_path / "f"), safe_serialization=True, model_args=dict(SMALL))
    place = tmp_path / "f" / "config.json"
    config = json.loads(place.read_text())
    config["model_args"]["checkpoint_path"] = "/etc/passwd"
    place.write_text(json.dumps(config))
    with pytest.raises(FileFormatError, match="'checkpoint_path' among its model_args"):
        open_folder(tmp_path / "f")


@pytest.fixture(scope="module")
def folder(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small ViT as save_for_hf leaves it by default, with its classes in another order than the digits'."""
    place = tmp_path_factory.mktemp("hub") / "f"
    timm.models.save_for_hf(small, str(place), model_args=dict(SMALL), model_config={"label_names": list(DIGITS[::-1])})
    return place


def test_classes_in_another_order_are_evaluated_by_name(folder: Path, digits: Data, placement: Placement) -> None:
    subject = open_subject(str(folder), placement, None)
    scores = evaluate_subject(subject, digits, placement)
    same_order = evaluate_subject(replace(subject, classes=DIGITS), digits, placement)
    ((_, score),), ((_, unmatched),) = scores.items(), same_order.items()
    assert score.images == 397
    right, model = 0, open_folder(folder).model
    for index in range(len(digits.validation)):
        pixels = torch.from_numpy(np.array(digits.validation.image(index))).float().view(1, 1, 8, 8) / 255
        mean, std = subject.preprocessing.mean[0], subject.preprocessing.std[0]
        with torch.inference_mode():
            logits = model((pixels - mean) / std)
        right += int(9 - logits.argmax().item() == digits.validation.label(index))
    assert score.top1 == pytest.approx(100 * right / 397)
    assert score.loss != unmatched.loss


def test_fine_tuning_keeps_a_head_in_the_order_of_the_data(folder: Path, digits: Data, small: Any) -> None:
    start = init_from_checkpoint(str(folder))(digits)
    assert (start.lineage["head"], start.depth, start.notes) == ("kept", 2, ())
    assert torch.equal(start.model.head.weight, small.head.weight.flip(0))  # type: ignore[union-attr, arg-type]
    assert torch.equal(start.model.head.bias, small.head.bias.flip(0))  # type: ignore[union-attr, arg-type]
    other = init_from_checkpoint(str(folder))(replace(digits, classes=(*DIGITS[:9], "x")))
    assert other.lineage["head"] == "new"
    assert other.notes[0].endswith("knows other classes than the data; it gets a new head")


def test_a_backbone_is_fine_tuned_with_a_new_head_and_says_so(
    small: Any, digits: Data, placement: Placement, tmp_path: Path
) -> None:
    encoder = {name: value for name, value in small.state_dict().items() if not name.startswith("head.")}
    torch.save(encoder, tmp_path / "w.pth")
    text = f"{VIT}:{tmp_path / 'w.pth'}"
    start = init_from_checkpoint(text, SMALL)
    job = finetune_job(digits, start, recipe=Recipe(epochs=1, workers=0))
    told = Recorder()
    prepare(job, placement, told)
    assert ("weights", f"{VIT} is a backbone without a classifier; it gets a new one for 10 classes") in told.warnings
    finetune(job, placement, tmp_path / "out")
    again = open_folder(tmp_path / "out")
    assert (again.num_classes, again.classes, again.input_size) == (10, DIGITS, (1, 8, 8))
    subject = open_subject(text, placement, None, model_arguments=SMALL)
    with pytest.raises(InputError, match="a backbone without a classifier; measure its features with --knn"):
        evaluate_subject(subject, digits, placement)


def test_a_folder_takes_other_arguments_and_another_size(folder: Path, digits: Data, placement: Placement) -> None:
    start = init_from_checkpoint(str(folder), {"drop_path_rate": 0.2}, image_size=(12, 12))(digits)
    assert start.architecture.input_size == (1, 12, 12)
    assert start.architecture.arguments["drop_path_rate"] == 0.2
    assert start.model.patch_embed.img_size == (12, 12)  # type: ignore[union-attr]
    subject = open_subject(str(folder), placement, None, image_size=(12, 12))
    assert subject.input_size == (1, 12, 12)
    with pytest.raises(InputError, match="--weights chooses among the weights of a file"):
        open_subject(str(folder), placement, None, weights="ema")
    with pytest.raises(InputError, match="--model-arg is for folders that timm loads"):
        open_subject("fashion-mnist", placement, None, model_arguments={"depth": 3})
