"""examples/segmentation: it runs on pictures that are made up, and refuses masks that do not fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import tleg
from tests.conftest import clean_environment
from tests.models.test_families import learngene_of

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "segmentation"
CATEGORIES = ("animals", "food", "plants", "town", "vehicles")


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, FOLDER / program, *map(str, arguments)],
        env=clean_environment(PYTHONWARNINGS="ignore"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def make_data(root: Path, name: str) -> Path:
    done = run(
        "make_data.py",
        *("--stamps", root / "stamps", "--train-photos", root / "photos", "--test-photos", root / "photos"),
        *("--output", root / name, "--classified", 10, "--scenes", 8, "--tests", 5),
    )
    assert done.returncode == 0, done.stderr
    return root / name


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and photographs of noise."""
    root = tmp_path_factory.mktemp("segmentation")
    random = np.random.default_rng(0)
    for category in CATEGORIES:
        folder = root / "stamps" / category
        folder.mkdir(parents=True)
        for number in range(4):
            stamp = Image.new("RGBA", (40, 40))
            ImageDraw.Draw(stamp).ellipse((4, 4, 36, 36), fill=(*(int(each) for each in random.integers(256, size=3)), 255))
            stamp.save(folder / f"{number}.png")
    (root / "photos").mkdir()
    for number in range(2):
        Image.fromarray(random.integers(256, size=(80, 90, 3), dtype=np.uint8)).save(root / "photos" / f"{number}.jpg")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_data_is_the_same_every_time(root: Path) -> None:
    first, second = make_data(root, "first"), make_data(root, "second")
    assert contents(first) == contents(second)
    assert sorted(each.name for each in (first / "classes" / "train").iterdir()) == list(CATEGORIES)
    masks = [np.asarray(Image.open(path)) for path in (first / "scenes" / "train" / "masks").iterdir()]
    assert len(masks) == 8
    assert {0} < set(np.unique(np.stack(masks)).tolist()) <= set(range(6))


def test_training_and_masks_that_do_not_fit(root: Path, tmp_path: Path) -> None:
    data = make_data(root, "data") / "scenes"
    small = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "num_heads": 2}
    learngene = learngene_of("vit_tiny_patch16_224", small)
    learngene.save(tmp_path / "it.safetensors")
    (deep,) = tleg.build(tmp_path / "it.safetensors", [3], ["pytorch"], tmp_path, verify=False)
    arguments = ("--data", data, "--learngene", tmp_path / "it.safetensors", "--deep", deep.path)
    options = ("--depths", 1, 2, "--seeds", 0, "--steps", 2, "--batch", 4, "--output", tmp_path / "results.json")
    done = run("train.py", *arguments, *options)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert {(each["arm"], each["depth"]) for each in results} == {
        (arm, depth) for arm in ("learngene", "scratch", "share", "prune") for depth in (1, 2)
    }
    assert all(0 <= each["miou"] <= 100 for each in results)

    mask = data / "train" / "masks" / "00000.png"
    Image.new("L", (32, 64)).save(mask)
    os.unlink(tmp_path / "results.json")
    done = run("train.py", *arguments, *options)
    assert done.returncode == 2
    assert done.stderr == f"train: the mask {mask} (L, 32x64) does not fit its picture of 64x64\n"
    assert not (tmp_path / "results.json").exists()
