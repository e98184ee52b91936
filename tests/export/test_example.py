"""The lines of Python in a manifest, run as they stand: they say of a picture what `tleg predict` says."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tleg.api import predict
from tleg.export.build import BuiltExport, build_exports
from tleg.export.example import PICTURE
from tleg.export.interface import Interface
from tleg.export.plan import BuildRequest
from tleg.learngene.header import Preprocessing
from tleg.models.learngene import Learngene
from tleg.models.output import parse_output

COLOURS: Mapping[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLASSES = ("shirt", "shoe", "bag", "coat", "dress", "boot", "hat")


def build(learngene: Learngene, folder: Path, kind: str = "onnx", **options: Any) -> BuiltExport:
    learngene.save(folder / "it.safetensors")
    depths = () if kind == "onnx-elastic" else (3,)
    (built,) = build_exports(BuildRequest(folder / "it.safetensors", (kind,), depths, folder, verify=False, **options))
    return built


def take_picture(path: Path, size: tuple[int, int] = (61, 43), orientation: int = 1) -> None:
    """A picture of (width, height) whose every corner differs, compressed without loss whatever its name says."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.stack([4 * rows, 4 * columns, 2 * (rows + columns)], axis=2) + 17 * np.sin(rows * columns)[..., None]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path, format="PNG", exif=exif)


def run(built: BuiltExport, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the lines beside the file, and return what they leave."""
    assert built.manifest.example is not None
    monkeypatch.chdir(built.path.parent)
    left: dict[str, Any] = {}
    exec(built.manifest.example, left)
    return left


def expected(built: BuiltExport, depth: int | None = None, top: int = 5) -> list[tuple[str, float]]:
    (said,) = predict(built.path, built.path.parent / PICTURE, depth, top=top)
    return [(each.name, each.probability) for each in said.classes]


def printed(text: str) -> list[tuple[str, float]]:
    pairs = (line.split("  ") for line in text.splitlines())
    return [(name, float(value.removesuffix(" %")) / 100) for value, name in pairs]


def check(found: list[tuple[str, float]], wanted: list[tuple[str, float]]) -> None:
    assert [name for name, _ in found] == [name for name, _ in wanted]
    # They print two digits of percent.
    assert np.allclose([value for _, value in found], [value for _, value in wanted], atol=6e-5)


@pytest.mark.parametrize(
    ("preprocessing", "arguments"),
    [
        (Preprocessing(**COLOURS), {}),
        (Preprocessing(**COLOURS, interpolation="bilinear", crop_pct=0.9, exif=False), {}),
        (Preprocessing(**COLOURS, crop_mode="squash", interpolation="lanczos"), {}),
        (Preprocessing(**COLOURS, crop_mode="border", crop_pct=1.0), {}),
        (Preprocessing(**COLOURS, crop_mode="border", crop_pct=0.8), {}),
        (Preprocessing(**COLOURS), {"img_size": (16, 32)}),
        (Preprocessing((0.3,), (0.2,), interpolation="nearest"), {"in_chans": 1}),
        (Preprocessing((0.3,), (0.2,), crop_mode="border"), {"in_chans": 1, "img_size": (32, 24)}),
    ],
)
@pytest.mark.parametrize("size", [(61, 43), (20, 90)])
def test_it_prepares_a_picture_as_evaluation_does(
    tiny_learngene: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    preprocessing: Preprocessing,
    arguments: Mapping[str, Any],
    size: tuple[int, int],
) -> None:
    learngene = tiny_learngene(arguments=arguments, classes=CLASSES)
    header = replace(learngene.header, preprocessing=preprocessing)
    built = build(Learngene(header, learngene.tensors), tmp_path)
    take_picture(tmp_path / PICTURE, size, orientation=6)
    run(built, monkeypatch)
    check(printed(capsys.readouterr().out), expected(built))


@pytest.mark.parametrize(
    ("kind", "options", "depth"),
    [
        ("onnx", {"interface": Interface(input="uint8", layout="nhwc", softmax=True)}, None),
        ("onnx-compact", {"interface": Interface(batch=3, input_name="pixels", output_names=("scores",))}, None),
        ("onnx-elastic", {"interface": Interface(softmax=True, top=4, batch=1, opset=17)}, 12),
        ("onnx", {"interface": Interface(layout="nhwc"), "precision": "float16"}, None),
    ],
)
def test_it_feeds_what_the_file_wants(
    tiny_learngene: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    options: Mapping[str, Any],
    depth: int | None,
) -> None:
    built = build(tiny_learngene(classes=CLASSES), tmp_path, kind, **options)
    take_picture(tmp_path / PICTURE)
    run(built, monkeypatch)
    check(printed(capsys.readouterr().out), expected(built, depth, options["interface"].top or 5))


def test_the_best_classes_of_logits_are_printed_as_they_are(
    tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(tiny_learngene(), tmp_path, interface=Interface(top=2))
    take_picture(tmp_path / PICTURE)
    left = run(built, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    # Without names of classes their numbers.
    assert [line.split("  ")[1] for line in lines] == [name for name, _ in expected(built, top=2)]
    assert float(lines[0].split()[0]) == pytest.approx(float(left["values"][0]), abs=1e-4)


def test_images_of_more_than_eight_bits(
    tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learngene = tiny_learngene(arguments={"in_chans": 1}, classes=CLASSES)
    for low, high in ((0.0, 4095.0), (10.5, 4000.25)):
        folder = tmp_path / f"{high}"
        folder.mkdir()
        preprocessing = Preprocessing((0.3,), (0.2,), pixel_range=(low, high))
        built = build(Learngene(replace(learngene.header, preprocessing=preprocessing), learngene.tensors), folder)
        values = np.random.default_rng(0).integers(0, 4096, (40, 50)).astype(np.uint16)
        Image.fromarray(values).save(folder / PICTURE, format="PNG")
        run(built, monkeypatch)
        check(printed(capsys.readouterr().out), expected(built))


def test_features_are_left_under_their_names(tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(tiny_learngene(), tmp_path, output_of=parse_output("blocks:1,3"))
    take_picture(tmp_path / PICTURE)
    left = run(built, monkeypatch)
    assert left["block1"].shape == left["block3"].shape == (1, 48, 4, 4)


def test_build_prints_the_lines_once_and_writes_them_into_every_manifest(
    run_cli: Any, learngene_file: Path, tmp_path: Path
) -> None:
    kinds = ("--export", "onnx", "--export", "onnx-compact")
    done = run_cli("build", learngene_file, "--depth", "2", *kinds, "--output", tmp_path, "--no-verify")
    assert done.code == 0
    assert done.stdout.count("import onnxruntime") == 1
    assert 'InferenceSession("tiny-depth2.onnx")' in done.stdout
    assert 'InferenceSession(\\"tiny-depth2.compact.onnx\\")' in (
        tmp_path / "tiny-depth2.compact.onnx.manifest.json"
    ).read_text(encoding="utf-8")
    assert "import onnxruntime" not in run_cli("build", learngene_file, "--depth", "2", "--output", tmp_path).stdout


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_it_runs_an_archive_of_torch_export(
    tiny_learngene: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: Any,
) -> None:
    built = build(tiny_learngene(classes=CLASSES), tmp_path, "torch-export", precision=precision)
    take_picture(tmp_path / PICTURE)
    run(built, monkeypatch)
    check(printed(capsys.readouterr().out), expected(built))


@pytest.mark.parametrize(("kind", "library"), [("torch-export", "torch"), ("openvino", "openvino")])
@pytest.mark.parametrize("output", ["pooled", "blocks:1,3"])
def test_features_of_other_formats_have_their_names(
    tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, library: str, output: str
) -> None:
    pytest.importorskip(library)
    built = build(tiny_learngene(), tmp_path, kind, output_of=parse_output(output))
    take_picture(tmp_path / PICTURE)
    left = run(built, monkeypatch)
    assert built.manifest.outputs is not None
    for each in built.manifest.outputs:
        found = left[each.name]
        assert found.shape == (1, *each.shape)
        assert np.isfinite(found).all()


@pytest.mark.filterwarnings("ignore:This API is experimental")
def test_it_runs_a_program_of_executorch(
    tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("executorch")
    built = build(tiny_learngene(classes=CLASSES), tmp_path, "executorch", precision="float16")
    take_picture(tmp_path / PICTURE)
    run(built, monkeypatch)
    check(printed(capsys.readouterr().out), expected(built))


def test_it_gives_coreml_float32_images_as_its_package_takes_them(tiny_learngene: Any, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    built = build(tiny_learngene(classes=CLASSES), tmp_path, "coreml", precision="float16")
    assert built.manifest.example is not None
    compile(built.manifest.example, "example", "exec")  # CoreML runs nowhere but on Apple's systems.
    assert "numpy.float16" not in built.manifest.example
    from coremltools.models import MLModel

    package = MLModel(str(built.path), skip_model_load=True)
    (entry,), (output,) = package.get_spec().description.input, package.get_spec().description.output
    assert (entry.name, output.name) == ("images", "logits")
    assert json.loads(package.user_defined_metadata["classes"]) == list(CLASSES)
