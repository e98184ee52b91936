"""OpenVINO's folder: what it computes, what it says of itself, how it appears, and what is not opened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tleg
from tests.conftest import CommandResult
from tests.export.conftest import relative_error
from tests.export.test_traced_compact import MODELS
from tests.models.test_families import learngene_of
from tleg.errors import ExportError, FileFormatError, InputError, VerificationError
from tleg.export import formats
from tleg.export.backend import backend_of
from tleg.export.build import build_exports
from tleg.export.comparison import noise
from tleg.export.formats import FORMATS
from tleg.export.interface import Interface
from tleg.export.openvino.core import IN_FLOAT32, openvino_core
from tleg.export.pictures import SIZES, draw_pictures
from tleg.export.plan import BuildRequest
from tleg.latency.benchmark import measure_latency
from tleg.recipes.benchmark import Benchmark

Cli = Callable[..., CommandResult]
KIND, GRAPH, WEIGHTS = "openvino", "openvino_model.xml", "openvino_model.bin"
openvino = pytest.importorskip("openvino")


def build(source: Path, folder: Path, **options: Any) -> Path:
    depths = () if source.is_dir() else (2,)
    (made,) = build_exports(BuildRequest(source, (KIND,), depths, folder, **options))
    return made.path


def pictures(batch: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images of the default tiny learngene's size."""
    return noise((3, 32, 32), batch)


def run(path: Path, images: Any) -> list[Any]:
    """What OpenVINO computes from a folder, without tleg."""
    compiled = openvino_core().compile_model(path / GRAPH, "CPU", dict(IN_FLOAT32))
    return [np.asarray(each, np.float32) for each in compiled([images]).values()]


def logits_of(learngene_file: Path, images: Any) -> Any:
    with torch.inference_mode():
        return tleg.load(learngene_file).expand(2).eval()(torch.from_numpy(images)).numpy()


@pytest.fixture(scope="module")
def folder(learngene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(learngene_file, tmp_path_factory.mktemp("openvino"), verify=False)


def changed(path: Path, target: Path, old: str, new: str) -> Path:
    """A copy of a folder whose graph says something else."""
    target.mkdir()
    text = (path / GRAPH).read_text(encoding="utf-8")
    assert old in text
    (target / GRAPH).write_text(text.replace(old, new), encoding="utf-8")
    (target / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes())
    return target


def test_it_computes_what_the_descendant_does_at_any_batch(folder: Path, learngene_file: Path) -> None:
    for batch in (1, 2, 7):
        assert relative_error(run(folder, pictures(batch))[0], logits_of(learngene_file, pictures(batch))) < 1e-5


def test_what_lies_in_it(folder: Path) -> None:
    assert sorted(each.name for each in folder.iterdir()) == ["manifest.json", WEIGHTS, GRAPH]
    model = openvino_core().read_model(folder / GRAPH)
    texts = model.get_rt_info(["tleg"]).value
    assert (texts["kind"], texts["depth"], json.loads(texts["classes"])[:2]) == (KIND, "2", ["shirt", "shoe"])
    assert json.loads(texts["preprocessing"])["input_size"] == [3, 32, 32]
    graph = (folder / GRAPH).read_text(encoding="utf-8")
    assert str(folder.parent) not in graph
    assert "tleg.onnx" not in graph
    files = json.loads((folder / "manifest.json").read_text())["file"]["files"]
    assert set(files) == {GRAPH, WEIGHTS}


def test_float16_has_half_the_weights(learngene_file: Path, folder: Path, tmp_path: Path) -> None:
    path = build(learngene_file, tmp_path, precision="float16")
    images = pictures(3)
    error = relative_error(run(path, images.astype(np.float16))[0], run(folder, images)[0])
    assert 1e-6 < error < 1e-2
    assert (path / WEIGHTS).stat().st_size / (folder / WEIGHTS).stat().st_size == pytest.approx(0.5, abs=0.01)


def test_a_graph_that_is_entered_and_left_otherwise(learngene_file: Path, tmp_path: Path) -> None:
    interface = Interface(batch=2, input="uint8", layout="nhwc", softmax=True, top=3, output_names=("best", "which"))
    (made,) = build_exports(BuildRequest(learngene_file, (KIND,), (2,), tmp_path, interface=interface))
    assert made.path.name == "tiny-depth2-batch2-uint8-nhwc-softmax-top3.openvino"
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    best, which = run(made.path, pixels)
    opened = backend_of(FORMATS[KIND]).open(made.path)
    shown = opened.preprocessing
    images = (pixels / np.float32(255) - np.asarray(shown.mean, np.float32)) / np.asarray(shown.std, np.float32)
    expected = torch.from_numpy(logits_of(learngene_file, images.transpose(0, 3, 1, 2).astype(np.float32))).softmax(-1)
    values, numbers = expected.topk(3)
    assert relative_error(best, values.numpy()) < 1e-4
    assert which.tolist() == numbers.tolist()


def test_pictures_are_resized_inside_as_in_an_onnx_file(learngene_file: Path, tmp_path: Path) -> None:
    for asked in (
        Interface(input="uint8", resize="inside"),
        Interface(batch=2, input="uint8", resize="inside", layout="nhwc", softmax=True, top=3),
    ):
        request = BuildRequest(learngene_file, (KIND, "onnx"), (2,), tmp_path, interface=asked)
        made, onnx = build_exports(request)
        assert made.manifest.verification is not None
        found = made.manifest.verification.pictures
        assert found is not None
        assert (found.max_pixel_error, found.sizes) in ((0, SIZES), (1, SIZES))
        assert found.differing < 1e-3
        mine, theirs = (backend_of(FORMATS[each.manifest.file.kind]).open(each.path) for each in (made, onnx))
        drawn = draw_pictures((61, 43), 3, 2, seed=1)
        assert mine.pictures is not None
        assert theirs.pictures is not None
        (pixels, (logits,)), (wanted, (expected,)) = mine.pictures(2, drawn), theirs.pictures(2, drawn)
        # A half that OpenVINO, which computes in float32, rounds to the other side.
        assert np.abs(pixels - wanted).max() <= 1
        assert (pixels != wanted).mean() < 1e-3
        assert relative_error(logits, expected) < 1e-2
        # What evaluates and predicts takes images that are resized already.
        images = pictures(3)
        assert relative_error(mine.run(images), theirs.run(images)) < 1e-5
        # Without tleg.
        given = drawn if asked.layout == "nhwc" else drawn.transpose(0, 3, 1, 2)
        best = run(made.path, np.ascontiguousarray(given))[-1]
        usual = logits if asked.top is None else np.argsort(-logits, axis=1)[:, :3]
        assert relative_error(best, usual) < 1e-5


def test_a_graph_without_its_entrance_is_no_usable_export(learngene_file: Path, tmp_path: Path) -> None:
    path = build(learngene_file, tmp_path, interface=Interface(input="uint8", resize="inside"))
    text = (path / GRAPH).read_text()
    (path / GRAPH).write_text(text.replace("interface.images", "another.images"))
    with pytest.raises(FileFormatError, match="OpenVINO cannot open"):
        backend_of(FORMATS[KIND]).open(path)


@pytest.mark.parametrize("output", ["pooled", "tokens", "blocks:1,2"])
def test_features(output: str, learngene_file: Path, tmp_path: Path) -> None:
    (made,) = tleg.build(learngene_file, [2], [KIND], tmp_path, output_of=output)
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5
    assert made.manifest.outputs is not None
    compiled = openvino_core().compile_model(made.path / GRAPH, "CPU")
    assert [each.any_name for each in compiled.outputs] == [each.name for each in made.manifest.outputs]


def test_a_model_with_stages_at_any_batch(tmp_path: Path) -> None:
    learngene_of(*MODELS["swin"]).save(tmp_path / "swin.safetensors")
    (made,) = tleg.build(tmp_path / "swin.safetensors", [1], [KIND], tmp_path / "out")
    assert made.manifest.verification is not None
    assert {each.batch for each in made.manifest.verification.comparisons} == {1, 2, 5}
    assert made.manifest.verification.relative_error < 1e-5
    assert {"torch", "openvino"} <= set(made.manifest.versions)


def test_the_lines_in_the_manifest_run(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    (made,) = build_exports(BuildRequest(learngene_file, (KIND,), (2,), tmp_path, verify=False))
    picture = tmp_path / "photo.jpg"
    Image.new("RGB", (40, 50), (200, 90, 30)).save(picture)
    assert made.manifest.example is not None
    done = subprocess.run(
        [sys.executable, "-c", made.manifest.example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    told = run_cli("predict", made.path, picture, "--device", "cpu", "--json")
    (result,) = json.loads(told.stdout)["images"]
    assert [line.split("  ")[1] for line in done.stdout.splitlines()] == [each["name"] for each in result["classes"]]
    first = float(done.stdout.split(" ")[0])
    assert first == pytest.approx(100 * result["classes"][0]["probability"], abs=0.02)


def test_prediction_and_latency(folder: Path, learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 40), (200, 90, 30)).save(picture)
    found = []
    for words in ((folder,), (learngene_file, "--depth", 2)):
        done = run_cli("predict", words[0], picture, *words[1:], "--device", "cpu", "--json")
        assert done.code == 0, done.stderr
        (result,) = json.loads(done.stdout)["images"]
        found.append([(each["name"], pytest.approx(each["probability"], rel=1e-4)) for each in result["classes"]])
    assert found[0] == found[1]
    profile = measure_latency(folder, Benchmark(seconds=0.2, threads="1"))
    assert (profile.export, profile.runtime.name, profile.threads) == (KIND, "openvino", 1)
    assert [each.depth for each in profile.points] == [2]
    with pytest.raises(InputError, match="--runtime is not for an export"):
        measure_latency(folder, Benchmark(runtime="onnxruntime"))


def test_a_temperature_inside_is_for_graphs_and_this_is_one(learngene_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model keeps none"):
        build(learngene_file, tmp_path, temperature="inside")


def test_it_has_no_opset(learngene_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--opset is for ONNX files, and --export openvino") as caught:
        build(learngene_file, tmp_path / "out", interface=Interface(opset=17))
    assert caught.value.fields == ("opset", "export")
    assert not (tmp_path / "out").exists()


def test_without_openvino(folder: Path, learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend_of.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    says = r"^OpenVINO is not installed, which the format openvino needs: pip install 'tleg\[openvino\]'$"
    with pytest.raises(InputError, match=says) as caught:
        build(learngene_file, tmp_path / "out")
    assert caught.value.code == "not-installed"
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=says):
        tleg.verify(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('<kind value="openvino"', '<kind value="onnx"', "of the format 'onnx'"),
        ("&quot;dtype&quot;: &quot;float32&quot;", "&quot;dtype&quot;: &quot;int8-terms&quot;", "in int8-terms"),
        ('<format_version value="1"', '<format_version value="2"', "has version '2'"),
        ('<format value="tleg.export"', '<format value="other"', "was not exported by tleg"),
        ('type="Parameter"', 'type="Nothing"', "OpenVINO cannot open"),
        ("<tleg>", "<other>", "OpenVINO cannot open|was not exported by tleg"),
    ],
)
def test_what_it_says_of_itself_is_not_believed(old: str, new: str, says: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=says):
        backend_of(FORMATS[KIND]).open(changed(folder, tmp_path / "it.openvino", old, new))


def test_what_is_no_such_folder_is_one_sentence(folder: Path, tmp_path: Path, run_cli: Cli) -> None:
    half = tmp_path / "half.openvino"
    half.mkdir()
    (half / GRAPH).write_bytes((folder / GRAPH).read_bytes())
    done = run_cli("predict", half, "picture.png")
    assert (done.code, done.stderr.count("\n"), f"holds no {WEIGHTS}" in done.stderr) == (2, 1, True)
    done = run_cli("verify", half)
    assert (done.code, f"holds no {WEIGHTS}, as OpenVINO's folders do" in done.stderr) == (2, True)
    (half / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-4])
    with pytest.raises(FileFormatError, match="OpenVINO cannot open"):
        backend_of(FORMATS[KIND]).open(half)
    done = run_cli("verify", folder, "--target", "openvino")
    assert "of the format openvino, which is run by OpenVINO without it" in done.stderr


def test_images_of_another_size_are_refused_by_the_graph(folder: Path) -> None:
    opened = backend_of(FORMATS[KIND]).open(folder)
    with pytest.raises(VerificationError, match=r"OpenVINO cannot run tiny-depth2\.openvino"):
        opened.run(np.zeros((1, 3, 64, 64), np.float32))


def test_a_failure_leaves_nothing_and_force_replaces_both_parts(
    learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(learngene_file, tmp_path, verify=False)
    before = {each.name: each.read_bytes() for each in path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "serialize", lambda *arguments: (_ for _ in ()).throw(RuntimeError("no space")))
        with pytest.raises(ExportError, match="OpenVINO cannot export this architecture: no space"):
            build(learngene_file, tmp_path, verify=False, overwrite=True)
    assert {each.name: each.read_bytes() for each in path.iterdir()} == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert build(learngene_file, tmp_path, verify=False, overwrite=True) == path
    assert (path / WEIGHTS).read_bytes() == before[WEIGHTS]
    (path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds notes\.txt, which tleg did not make"):
        build(learngene_file, tmp_path, verify=False, overwrite=True)


def test_a_kill_between_the_two_parts_leaves_no_folder_of_the_name(learngene_file: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, time, openvino\n"
        "from pathlib import Path\n"
        "from tleg.export.build import build_exports\n"
        "from tleg.export.plan import BuildRequest\n"
        "whole = openvino.serialize\n"
        "def halting(model, graph, weights):\n"
        "    whole(model, graph, weights)\n"
        "    Path(weights).unlink()\n"
        "    os.write(1, b'half\\n')\n"
        "    time.sleep(60)\n"
        "openvino.serialize = halting\n"
        "build_exports(BuildRequest(sys.argv[1], ('openvino',), (2,), Path(sys.argv[2]), verify=False))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(learngene_file), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [each.name for each in tmp_path.iterdir() if not each.name.startswith(".")] == []
    # A day later the next build takes away what was left.
    for each in tmp_path.iterdir():
        os.utime(each, (time.time() - 2 * 86400,) * 2)
    build(learngene_file, tmp_path, verify=False)
    assert [each.name for each in tmp_path.iterdir()] == ["tiny-depth2.openvino"]
