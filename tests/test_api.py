"""The public API: which names there are, and that they do what the commands do, with numbers."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tleg
from tests.conftest import deterministic_values

PUBLIC = {
    "classes": {"AuxiliaryModel", "Basis", "Budget", "ElasticViT", "Learngene", "LearngeneHeader", "TlegError"},
    "functions": {
        *(
            "analyze",
            "benchmark",
            "build",
            "build_family",
            "calibrate",
            "choose_cascade",
            "compare_runs",
            "compress",
            "describe",
            "evaluate",
            "expand",
            "fit",
            "import_efficientnet",
            "import_official",
            "import_onnx",
            "load",
            "predict",
            "preview",
            "probe",
            "read_header",
            "resolve",
            "run_study",
        ),
        "verify",
    },
}


def test_the_public_names_are_these() -> None:
    assert set(tleg.__all__) == PUBLIC["classes"] | PUBLIC["functions"]
    assert list(tleg.__all__) == sorted(tleg.__all__)
    assert set(tleg.__all__) <= set(dir(tleg))
    with pytest.raises(AttributeError, match="module 'tleg' has no attribute 'bulid'"):
        _ = tleg.bulid


@pytest.mark.parametrize("name", sorted(PUBLIC["classes"] | PUBLIC["functions"]))
def test_every_name_is_typed_and_described(name: str) -> None:
    item = getattr(tleg, name)
    assert inspect.isclass(item) == (name in PUBLIC["classes"])
    assert item.__doc__, name
    if not inspect.isclass(item):
        signature = inspect.signature(item)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())
        assert "Raises" in item.__doc__


def test_previews_and_headers_load_neither_numpy_nor_torch(run_python: Any) -> None:
    code = (
        "import sys, tleg\n"
        "tleg.read_header('fashion-mnist'); tleg.preview('fashion-mnist'); tleg.resolve('fashion-mnist'); tleg.Basis()\n"
        "tleg.build, tleg.verify, tleg.evaluate, tleg.expand\n"
        "print(sorted({'numpy', 'torch', 'timm', 'onnx', 'safetensors', 'typer'} & set(sys.modules)))"
    )
    done = run_python(code)
    assert (done.code, done.stdout.strip()) == (0, "[]"), done.stderr


def test_previews_say_what_descendants_cost(run_cli: Any) -> None:
    rows = tleg.preview("fashion-mnist", [8, 2, 8]).rows
    assert [row.depth for row in rows] == [2, 8]
    model = tleg.expand("fashion-mnist", 8)
    assert rows[1].cost.parameters == sum(value.numel() for value in model.parameters())
    assert rows[1].cost.size == 4 * rows[1].cost.parameters
    assert (rows[1].cost.parameters, rows[1].cost.macs) == (404_874, 6_691_456)
    header = tleg.read_header("fashion-mnist")
    assert header.reached is not None
    assert rows[1].top1 == header.reached.top1[8]
    assert tleg.preview(header, [8]).rows == rows[1:]
    assert tleg.preview(tleg.load("fashion-mnist"), [8]).rows == rows[1:]
    budget = tleg.Budget(macs=rows[1].cost.macs)
    deepest = tleg.preview("fashion-mnist", budget=budget).deepest
    assert deepest is not None
    assert deepest.depth == 8
    shown = json.loads(run_cli("preview", "fashion-mnist", "--depths", "8", "--json").stdout)["depths"][0]
    assert (shown["parameters"], shown["macs"]) == (rows[1].cost.parameters, rows[1].cost.macs)


def test_learngenes_are_loaded_and_expanded_by_name_by_path_or_as_they_are(learngene_file: Path) -> None:
    learngene = tleg.load(learngene_file)
    assert learngene.header == tleg.read_header(str(learngene_file))
    expected = learngene.expand(3, num_classes=11).state_dict()
    for source in (learngene, learngene_file, str(learngene_file)):
        found = tleg.expand(source, 3, num_classes=11).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert tleg.expand(learngene, 2, layout="official").fc_norm.weight.shape == (48,)
    assert tleg.expand(learngene, 2, dtype="float16").head.weight.dtype == torch.float16


def test_what_is_built_is_verified(learngene_file: Path, tmp_path: Path) -> None:
    stages: list[tuple[str, int]] = []
    built = tleg.build(
        learngene_file,
        [3, 1],
        ["onnx", "pytorch"],
        tmp_path,
        progress=lambda step: stages.append((step.stage, step.index)),
    )
    assert [(item.manifest.file.kind, item.manifest.model.depth) for item in built] == [
        ("onnx", 3),
        ("onnx", 1),
        ("pytorch", 3),
        ("pytorch", 1),
    ]
    assert stages[0] == ("loading", 0)
    assert stages[-1] == ("done", 3)
    for item in built:
        assert item.path.exists()
        assert item.manifest_path.is_file()
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5
    report = tleg.verify(built[0].path, learngene_file)
    assert report.passed
    assert report.verification is not None
    assert report.verification.argmax_agreement == 1
    content = bytearray(built[0].path.read_bytes())
    content[len(content) // 2] ^= 1
    built[0].path.write_bytes(bytes(content))
    failed = tleg.verify(built[0].path, learngene_file)
    assert not failed.passed
    assert "bytes" in {check.name for check in failed.checks if check.outcome == "failed"}
    with pytest.raises(tleg.TlegError, match="exists already"):
        tleg.build(learngene_file, [3], output=tmp_path)
    (again,) = tleg.build(learngene_file, [3], output=tmp_path, overwrite=True, verify=False, dtype="float32")
    assert again.path == built[2].path
    assert again.manifest.verification is None


def noise_images(folder: Path, count: int, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """PNGs of 32 x 32 pixels of noise, `count` for each class, with their labels."""
    found = []
    for label, name in enumerate(sorted(classes)):
        (folder / "val" / name).mkdir(parents=True)
        (folder / "train" / name).mkdir(parents=True)
        for index in range(count):
            values = deterministic_values(f"{name}{index}", (32, 32, 3))
            image = Image.fromarray(((values + 1) * 127).astype(np.uint8))
            image.save(folder / "train" / name / f"{index}.png")
            image.save(folder / "val" / name / f"{index}.png")
            found.append((folder / "val" / name / f"{index}.png", label))
    return found


def test_accuracies_are_those_that_one_counts_oneself(tiny_learngene: Any, tmp_path: Path) -> None:
    classes = ("a", "b", "c", "d", "e", "f", "g")
    learngene = tiny_learngene(classes=classes)
    learngene.save(tmp_path / "it.safetensors")
    files = noise_images(tmp_path / "data", 4, classes)
    preprocessing = learngene.header.preprocessing
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255 for path, _ in files])
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    labels = torch.tensor([label for _, label in files])
    # The middle 0.875 of the image is enlarged in evaluation; a crop of all of it is what is counted here.
    whole = learngene.with_header(preprocessing=type(preprocessing)(preprocessing.mean, preprocessing.std, crop_pct=1.0))
    whole.save(tmp_path / "whole.safetensors")
    done: list[tuple[int, int]] = []
    scores = tleg.evaluate(
        tmp_path / "whole.safetensors",
        tmp_path / "data",
        [2, 5],
        split="val",
        batch_size=8,
        device="cpu",
        progress=lambda count, most: done.append((count, most)),
    )
    assert list(scores) == [2, 5]
    assert done[-1] == (28, 28)
    for depth, score in scores.items():
        assert depth is not None
        with torch.inference_mode():
            right = learngene.expand(depth)((pixels - mean) / std).argmax(1) == labels
        assert score.images == 28
        assert score.top1 == pytest.approx(100 * right.double().mean().item())
    assert list(tleg.evaluate(tmp_path / "it.safetensors", str(tmp_path / "data"), limit=2)) == list(range(1, 17))


def test_names_are_resolved_as_on_the_command_line(learngene_file: Path, tmp_path: Path) -> None:
    assert tleg.resolve("fashion-mnist").kind == "learngene"
    assert tleg.resolve(learngene_file).path == learngene_file
    assert tleg.resolve(f"resnet18:{tmp_path}/it.pth").name == "resnet18"
    assert tleg.resolve(tmp_path).kind == "folder"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tleg.load("fashion-mnis"), "Did you mean 'fashion-mnist'?"),
        (lambda: tleg.read_header("resnet18:x.pth"), "what is needed is a learngene"),
        (lambda: tleg.preview("fashion-mnist", [0]), "depth 0 is out of range"),
        (lambda: tleg.preview("fashion-mnist", []), "name at least one depth"),
        (lambda: tleg.expand("fashion-mnist", 2000), "depth 2000 is out of range"),
        (lambda: tleg.build("fashion-mnist", [8], ["onnxx"]), "onnxx"),
        (lambda: tleg.build("fashion-mnist"), "no depth was given"),
        (lambda: tleg.build("fashion-mnist", [8], dtype="int8"), "int8"),
        (lambda: tleg.verify("nothing.onnx"), "there is no file nothing.onnx"),
        (lambda: tleg.evaluate("fashion-mnist", "nowhere", [8]), "nowhere"),
        (lambda: tleg.evaluate("fashion-mnist", "nowhere", [8], split="tset"), "tset"),  # type: ignore[arg-type]
        (lambda: tleg.evaluate("fashion-mnist", "nowhere", [8], device="tpu"), "tpu"),
        (lambda: tleg.describe("resnet18"), "cannot be expanded"),
        (lambda: tleg.import_official("nothing.pth"), "cannot read nothing.pth"),
        (lambda: tleg.resolve(""), "name a learngene, a model or a run"),
    ],
)
def test_mistakes_are_errors_in_one_sentence(call: Any, says: str) -> None:
    with pytest.raises(tleg.TlegError) as caught:
        call()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_latency_is_measured_written_and_previewed(learngene_file: Path, tmp_path: Path) -> None:
    path, parts = tmp_path / "board.json", list[float]()
    profile = tleg.benchmark(
        learngene_file, depths=[1, 3], seconds=0.1, threads=1, batch=2, save_profile=path, progress=parts.append
    )
    assert [(each.depth, each.runs > 0, each.median > 0) for each in profile.points] == [(1, True, True), (3, True, True)]
    assert (profile.threads, profile.batch, profile.runtime.name) == (1, 2, "onnxruntime")
    assert profile.learngene == tleg.read_header(learngene_file).sha256
    assert parts[-1] == 1
    rows = tleg.preview(learngene_file, [1, 2], batch=2, profile=profile).rows
    assert [row.latency for row in rows] == [profile.latency(1), profile.latency(2)]
    assert tleg.preview(learngene_file, [1, 2], batch=2, profile=path).rows == rows
    with pytest.raises(tleg.TlegError, match="exists") as caught:
        tleg.benchmark(learngene_file, save_profile=path)
    assert "save-profile" in caught.value.document["field"]
    with pytest.raises(tleg.TlegError, match="out of range"):
        tleg.benchmark(learngene_file, depths=[0])
