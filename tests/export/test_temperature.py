"""Logits that are divided inside an export are those of the model divided, of every form; and what cannot be is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import tleg
from tests.export.test_traced_compact import MODELS
from tests.models.test_families import learngene_of
from tleg.errors import InputError
from tleg.export.temperature import divide_learngene, divide_model
from tleg.learngene.calibration import Calibration
from tleg.models.descendant import expand
from tleg.models.learngene import Learngene
from tleg.serialize import encode, to_json

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
def test_files_give_divided_logits_and_are_verified(
    tiny_learngene: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    # A file that is not divided by what it says does not pass.
    monkeypatch.setattr("tleg.export.verify.divide_learngene", lambda learngene, _: learngene)
    assert not tleg.verify(divided.path, gene).passed


def test_predictions_do_not_divide_twice(tiny_learngene: Any, tmp_path: Path) -> None:
    gene, picture = tmp_path / "gene.safetensors", tmp_path / "picture.png"
    calibrated(tiny_learngene()).save(gene)
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(picture)
    (divided,) = tleg.build(gene, [3], ["onnx"], tmp_path, temperature="inside")
    ((kept,), (raw,), (found,)) = (
        tleg.predict(path, picture, depth, top=7, temperature=temperature)
        for path, depth, temperature in ((gene, 3, None), (gene, 3, 1.0), (divided.path, None, None))
    )
    assert [each.index for each in found.classes] == [each.index for each in kept.classes]
    for one, two in zip(found.classes, kept.classes, strict=True):
        assert one.probability == pytest.approx(two.probability, abs=1e-5)
    assert found.classes[0].probability > raw.classes[0].probability + 0.01


@pytest.mark.parametrize("model", MODELS)
def test_so_do_descendants_of_other_families(model: str) -> None:
    learngene = learngene_of(*MODELS[model])
    images = torch.randn(2, *learngene.header.architecture.input_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = expand(learngene, 2)(images) / TEMPERATURE
        found = expand(divide_learngene(learngene, TEMPERATURE), 2)(images)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert divide_learngene(learngene, None) is learngene


def test_folders_do_as_well(tiny_learngene: Any, tmp_path: Path) -> None:
    gene = tmp_path / "gene.safetensors"
    tiny_learngene().save(gene)
    (folder,) = tleg.build(gene, [3], ["pytorch"], tmp_path)
    folder.manifest_path.unlink()
    with pytest.raises(InputError, match="the model keeps none"):
        tleg.build(folder.path, exports=["onnx"], output=tmp_path, temperature="inside")
    record = calibrated(tiny_learngene()).header.learned
    (folder.path / "training.json").write_text(to_json(record))
    (plain,) = tleg.build(folder.path, exports=["onnx"], output=tmp_path)
    (divided,) = tleg.build(folder.path, exports=["onnx"], output=tmp_path, temperature="inside")
    assert run(divided.path) == pytest.approx(run(plain.path) / TEMPERATURE, rel=1e-4, abs=1e-5)
    assert tleg.verify(divided.path, folder.path).passed


@pytest.mark.parametrize(
    ("options", "words", "field"),
    [
        ({"exports": ["pytorch"]}, "is for graphs; --export pytorch keeps", "temperature"),
        ({"output_of": "pooled"}, "divides logits, and these exports give pooled features", "temperature"),
        ({"num_classes": 5}, "keeps none for a model of 5 classes", "temperature"),
        ({"image_size": 64}, "keeps none for a model of 7 classes and inputs of this size", "temperature"),
        ({"layout": "official"}, "the model keeps none", "temperature"),
        ({"temperature": "outside"}, "unknown temperature 'outside': choose one of beside, inside", "temperature"),
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
