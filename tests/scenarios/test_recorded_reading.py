"""How images are read is part of the preprocessing: every file states it, and what does not means what it meant."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.conftest import make_learngene
from tleg.data.open import open_data
from tleg.export.build import build_exports
from tleg.export.manifest import read_manifest
from tleg.export.onnx.runtime import open_onnx
from tleg.export.plan import BuildRequest
from tleg.learngene.container import read_header
from tleg.learngene.header import Preprocessing
from tleg.models.learngene import load
from tleg.models.pretrained import open_folder
from tleg.recipes.io import from_values, to_values
from tleg.runs.launch import create_run
from tleg.runs.spec import read_spec
from tleg.serialize import decode
from tleg.training.device import choose_placement
from tleg.training.evaluate import evaluate_subject
from tleg.training.init import as_read
from tleg.training.subjects import open_subject, reading_as

CLASSES = tuple("abcdefg")


@pytest.fixture(scope="module")
def lying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures stored on their side, as phones store them, of seven classes."""
    root = tmp_path_factory.mktemp("lying")
    generator = np.random.default_rng(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    for split in ("train", "val"):
        for name in CLASSES:
            for index in range(3):
                place = root / split / name / f"{index}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.kron(generator.integers(0, 256, (4, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
                Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save(place, exif=exif)
    return root


def build(folder: Path, **preprocessing: Any) -> tuple[Path, ...]:
    learngene = make_learngene(classes=CLASSES)
    changed = replace(learngene.header.preprocessing, **preprocessing)
    learngene.with_header(preprocessing=changed).save(folder / "it.safetensors")
    request = BuildRequest(
        folder / "it.safetensors", ("onnx", "onnx-compact", "onnx-elastic", "pytorch"), (3,), folder / "out"
    )
    return (folder / "it.safetensors", *(export.path for export in build_exports(request)))


def loss(path: Path, data: Path, exif: bool | None = None) -> float:
    placement = choose_placement("cpu", "float32")
    depths = (3,) if path.suffix == ".safetensors" or "elastic" in path.name else None
    subject = reading_as(open_subject(str(path), placement, depths), exif)
    (score,) = evaluate_subject(subject, open_data(str(data)), placement).values()
    assert score.loss is not None
    return score.loss


def test_every_file_that_is_written_states_it_and_is_evaluated_so(tmp_path: Path, lying: Path) -> None:
    found: dict[bool, set[float]] = {}
    for exif in (True, False):
        (tmp_path / str(exif)).mkdir()
        paths = build(tmp_path / str(exif), exif=exif, pixel_range=(0.0, 4095.0))
        found[exif] = {round(loss(path, lying), 3) for path in paths}
        assert found[exif] == {round(loss(path, lying, exif), 3) for path in paths}
        assert {round(loss(path, lying, not exif), 3) for path in paths}.isdisjoint(found[exif])
        assert read_header(paths[0]).preprocessing.exif is exif
        for path in paths[1:]:
            manifest = path / "manifest.json" if path.is_dir() else path.with_name(f"{path.name}.manifest.json")
            preprocessing = read_manifest(manifest).preprocessing
            assert preprocessing is not None
            assert (preprocessing.exif, preprocessing.pixel_range) == (exif, (0.0, 4095.0))
        assert open_onnx(paths[1]).preprocessing == preprocessing
        assert open_folder(paths[-1]).preprocessing == preprocessing
    # What is stored upright looks the same either way.
    assert all(len(losses) == 1 for losses in found.values())
    assert found[True] != found[False]


def test_files_of_before_mean_what_they_meant(tmp_path: Path, lying: Path) -> None:
    older = {"mean": [0.5], "std": [0.5], "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}
    preprocessing = decode(Preprocessing, older, "it")
    assert (preprocessing.exif, preprocessing.pixel_range) == (False, None)
    assert Preprocessing((0.5,), (0.5,)).exif
    paths = build(tmp_path, exif=False)
    config = json.loads((paths[-1] / "config.json").read_text())
    del config["tleg_images"]
    (paths[-1] / "config.json").write_text(json.dumps(config))
    assert loss(paths[-1], lying) == pytest.approx(loss(paths[0], lying), abs=1e-5)
    manifest = paths[1].with_name(f"{paths[1].name}.manifest.json")
    document = json.loads(manifest.read_text())
    del document["preprocessing"]
    manifest.write_text(json.dumps(document))
    assert read_manifest(manifest).preprocessing is None
    gene = tmp_path / "of before.safetensors"
    make_learngene().save(gene)
    with safe_open(gene, "numpy") as file:
        metadata = dict(file.metadata())
    metadata["preprocessing"] = json.dumps({**older, "mean": [0.5] * 3, "std": [0.5] * 3})
    save_file(load_file(gene), gene, metadata)
    assert not load(gene).header.preprocessing.exif


def test_a_run_of_before_goes_on_with_the_images_that_it_began_with(tmp_path: Path) -> None:
    recipe = from_values("finetune", {"model": "resnet10t", "data": "digits"})
    values = to_values(recipe)
    assert (values["exif"], values.get("pixel-range")) == (True, None)
    older = {name: value for name, value in values.items() if name not in ("exif", "pixel-range", "max-pixels")}
    for stored, exif, pixel_range in ((values, True, None), (older, False, "0,65535")):
        folder = create_run(tmp_path, kind="finetune", recipe=stored)
        images = from_values("finetune", read_spec(folder).recipe).images
        assert (images.exif, images.pixel_range) == (exif, pixel_range)


def test_training_states_how_its_own_images_are_read(lying: Path) -> None:
    data = open_data(str(lying))
    earlier = Preprocessing((0.5,) * 3, (0.5,) * 3, exif=False, pixel_range=(0, 255))
    assert as_read(earlier, data) == replace(earlier, exif=True, pixel_range=None)
    assert as_read(earlier, replace(data, exif=False, pixel_range=(0, 4095))) == replace(earlier, pixel_range=(0, 4095))
