"""Logits that are divided inside an export are those of the model divided, of every form; and what cannot be is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import tleg
from tleg.errors import InputError
from tleg.export.temperature import divide_learngene, divide_model
from tleg.learngene.calibration import Calibration
from tleg.models.descendant import expand
from tleg.models.learngene import Learngene
from tleg.serialize import encode

TEMPERATURE = 0.625


def calibrated(learngene: Learngene, **changes: Any) -> Learngene:
    architecture = learngene.header.architecture
    known = Calibration(
        TEMPERATURE, "pets validation", 50, 0, architecture.num_classes, architecture.input_size[1:], **changes
    )
    return Learngene(replace(learngene.header, learned={"calibration": encode(known)}), learngene.tensors)


def run(path: Path, depth: int | None = None) -> np.ndarray[Any, Any]:
    images = np.random.default_rng(5).standard_normal((3, 3, 32, 32)).astype(np.float32)
    feed: dict[str, Any] = {"images": images}
    if depth is not None:
        feed["depth"] = np.array(depth, dtype=np.int64)
    (logits,) = onnxruntime.InferenceSession(path).run(None, feed)
    found: np.ndarray[Any, Any] = logits
    return found


@pytest.mark.parametrize("kind", ["onnx", "onnx-compact", "onnx-elastic"])
def test_files_give_divided_logits_and_are_verified(tiny_learngene: Any, tmp_path: Path, kind: str) -> None:
    gene = tmp_path / "gene.safetensors"
    calibrated(tiny_learngene()).save(gene)
    (plain,) = tleg.build(gene, [3], [kind], tmp_path)
    (divided,) = tleg.build(gene, [3], [kind], tmp_path, temperature="inside")
    assert divided.path.name.startswith("gene-calibrated")
    depth = 3 if kind == "onnx-elastic" else None
    assert run(divided.path, depth) == pytest.approx(run(plain.path, depth) / TEMPERATURE, rel=1e-4, abs=1e-5)
    assert divided.manifest.model.temperature == TEMPERATURE
    assert divided.manifest.verification is not None
    assert divided.manifest.file.bytes == pytest.approx(plain.manifest.file.bytes, abs=300)
    report = tleg.verify(divided.path, gene)
    assert report.passed, report.checks
    metadata = onnxruntime.InferenceSession(divided.path).get_modelmeta().custom_metadata_map
    assert metadata["temperature_inside"] == "0.625"
    assert "temperature" not in metadata
    # What says that it is divided, and is not, does not pass.
    undivided = tmp_path / "undivided.safetensors"
    other = tiny_learngene(seed=1)
    other.save(undivided)
    with pytest.raises(InputError, match="its hash is another"):
        tleg.verify(divided.path, undivided)


def test_the_same_for_models_with_stages_and_without_torch_scripts(tiny_learngene: Any) -> None:
    for name, arguments in (
        ("swin_tiny_patch4_window7_224", {"img_size": 32, "patch_size": 2, "window_size": 4, "depths": (2, 2, 2, 2)}),
        ("vit_tiny_patch16_224", {"class_token": True, "global_pool": "token"}),
    ):
        try:
            learngene = tiny_learngene(name, arguments)
        except Exception as error:  # noqa: BLE001
            pytest.fail(f"{name}: {error}")
        images = torch.randn(2, *learngene.header.architecture.input_size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = expand(learngene, 2)(images) / TEMPERATURE
            assert torch.allclose(
                expand(divide_learngene(learngene, TEMPERATURE), 2)(images), expected, rtol=1e-4, atol=1e-5
            )
    assert divide_learngene(learngene, None) is learngene


def test_folders_do_as_well(tiny_learngene: Any, tmp_path: Path) -> None:
    gene = tmp_path / "gene.safetensors"
    tiny_learngene().save(gene)
    (folder,) = tleg.build(gene, [3], ["pytorch"], tmp_path)
    folder.manifest_path.unlink()
    with pytest.raises(InputError, match="the model keeps none"):
        tleg.build(folder.path, exports=["onnx"], output=tmp_path, temperature="inside")
    record = calibrated(tiny_learngene()).header.learned
    (folder.path / "training.json").write_text(tleg.serialize.to_json(record))
    (plain,) = tleg.build(folder.path, exports=["onnx"], output=tmp_path)
    (divided,) = tleg.build(folder.path, exports=["onnx"], output=tmp_path, temperature="inside")
    assert run(divided.path) == pytest.approx(run(plain.path) / TEMPERATURE, rel=1e-4, abs=1e-5)
    assert tleg.verify(divided.path, folder.path).passed


@pytest.mark.parametrize(
    ("options", "words", "field"),
    [
        ({"exports": ["pytorch"]}, "is for ONNX files; --export pytorch keeps", "temperature"),
        ({"output_of": "pooled"}, "divides logits, and these exports give pooled features", "temperature"),
        ({"num_classes": 5}, "keeps none for a model of 5 classes", "temperature"),
        ({"image_size": 64}, "keeps none for a model of 7 classes and inputs of this size", "temperature"),
        ({"layout": "official"}, "the model keeps none", "temperature"),
        ({"temperature": "outside"}, "unknown place 'outside': choose beside or inside", "temperature"),
        ({"depths": [3, 4]}, "these depths have their own; build each by itself", "temperature"),
        ({"depths": [], "exports": ["onnx-elastic"]}, "these depths have their own", "temperature"),
    ],
)
def test_what_cannot_be_is_refused(
    tiny_learngene: Any, tmp_path: Path, options: dict[str, Any], words: str, field: str
) -> None:
    gene = tmp_path / "gene.safetensors"
    calibrated(tiny_learngene(), by_depth={"3": 0.5}).save(gene)
    with pytest.raises(InputError, match=words) as caught:
        tleg.build(gene, output=tmp_path / "out", **{"depths": [3], "exports": ["onnx"], "temperature": "inside", **options})
    assert caught.value.field == field
    assert not (tmp_path / "out").exists()


def test_only_linear_classifiers_are_divided() -> None:
    class Model(torch.nn.Module):
        def get_classifier(self) -> torch.nn.Module:
            return torch.nn.Identity()

    with pytest.raises(InputError, match="this model's is a Identity"):
        divide_model(Model(), 0.5, (3, 32, 32))
