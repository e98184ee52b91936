"""From a heap of images and a teacher to features that are measured, on the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def test_features_are_measured_as_json(run_cli: Any, tiny_learngene: Any, tmp_path: Path) -> None:
    """Of a learngene without a head, on images whose classes are plain to see."""
    for split, count in (("train", 6), ("val", 3)):
        for label, colour in enumerate(((255, 0, 0), (0, 0, 255))):
            folder = tmp_path / "pets" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                image = np.full((32, 32, 3), colour, np.uint8)
                image[number] = 128
                Image.fromarray(image).save(folder / f"{number}.png")
    tiny_learngene(num_classes=0).save(tmp_path / "it.safetensors")
    words = ("--data", tmp_path / "pets", "--depths", "2,3")
    done = run_cli("evaluate", tmp_path / "it.safetensors", *words, "--knn", "--retrieval", "--neighbours", "3", "--json")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert {key: found[key] for key in ("kind", "data", "bank", "images", "neighbours", "size")} == {
        "kind": "learngene",
        "data": "pets",
        "bank": 12,
        "images": 6,
        "neighbours": 3,
        "size": 48,
    }
    assert [row["depth"] for row in found["results"]] == [2, 3]
    assert all(row["knn"] == row["retrieval"] == 100 and row["linear"] is None for row in found["results"])
    refused = run_cli("evaluate", tmp_path / "it.safetensors", *words)
    assert refused.code == 2
    assert "--knn or --linear-probe" in refused.stderr
    assert run_cli("evaluate", tmp_path / "it.safetensors", *words, "--knn", "--per-class").code == 2
    assert run_cli("evaluate", tmp_path / "it.safetensors", *words, "--neighbours", "3").code == 2
