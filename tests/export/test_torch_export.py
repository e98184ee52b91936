"""The archive of torch.export: what it computes, what lies in it, and what is not opened."""

import json
import zipfile
from collections.abc import Callable, Mapping
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
from tleg.export.backend import backend_of
from tleg.export.build import build_exports
from tleg.export.comparison import noise
from tleg.export.formats import FORMATS
from tleg.export.interface import Interface
from tleg.export.plan import BuildRequest
from tleg.export.torch_export.archive import GRAPH, read_archive
from tleg.export.torch_export.backend import trace
from tleg.latency.benchmark import measure_latency
from tleg.recipes.benchmark import Benchmark

Cli = Callable[..., CommandResult]
KIND = "torch-export"
WEIGHTS = "data/weights/model_weights_config.json"
SAMPLES = "data/sample_inputs/model.pt"


def build(source: Path, folder: Path, **options: Any) -> Path:
    depths = () if source.is_dir() else (2,)
    (made,) = build_exports(BuildRequest(source, (KIND,), depths, folder, **options))
    return made.path


def run(path: Path, images: Any, dtype: torch.dtype = torch.float32) -> list[Any]:
    """What PyTorch computes from a file."""
    with torch.inference_mode():
        found = torch.export.load(path).module()(torch.from_numpy(images).to(dtype))
    return [each.float().numpy() for each in (found if isinstance(found, tuple | list) else (found,))]


def pictures(batch: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images of the default tiny learngene's size."""
    return noise((3, 32, 32), batch)


@pytest.fixture(scope="module")
def archive(learngene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(learngene_file, tmp_path_factory.mktemp("archive"), verify=False)


def changed(path: Path, target: Path, files: Mapping[str, bytes]) -> Path:
    """A copy of an archive with other or more files."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        own = {info.filename: old.read(info) for info in old.infolist()}
        for name, content in (own | {f"archive/{name}": content for name, content in files.items()}).items():
            new.writestr(name, content)
    return target


def content(path: Path, name: str) -> str:
    with zipfile.ZipFile(path) as file:
        return file.read(f"archive/{name}").decode()


def test_it_computes_what_the_descendant_does_at_any_batch(archive: Path, learngene_file: Path) -> None:
    model = tleg.load(learngene_file).expand(2).eval()
    for batch in (1, 2, 7):
        images = pictures(batch)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        assert relative_error(run(archive, images)[0], expected) < 1e-6


def test_torch_alone_opens_it_and_reads_what_it_says_of_itself(archive: Path, run_python: Any) -> None:
    code = (
        "import sys, json, torch\n"
        "texts = {'classes': '', 'preprocessing': '', 'kind': ''}\n"
        "model = torch.export.load(sys.argv[1], extra_files=texts).module()\n"
        "found = model(torch.zeros(3, *json.loads(texts['preprocessing'])['input_size']))\n"
        "print(json.dumps([texts['kind'], json.loads(texts['classes'])[:2], list(found.shape), 'timm' in sys.modules]))"
    )
    done = run_python(code, archive)
    assert json.loads(done.stdout.splitlines()[-1]) == [KIND, ["shirt", "shoe"], [3, 7], False]


def test_no_line_of_the_machine_that_wrote_it_lies_in_it(archive: Path) -> None:
    graph = content(archive, GRAPH)
    assert str(Path(torch.__file__).parent) not in graph
    assert "stack_trace" not in graph
    assert "timm" not in graph
    with zipfile.ZipFile(archive) as file:
        assert file.getinfo(f"archive/{SAMPLES}").file_size == 0
        assert {name.partition("/")[0] for name in file.namelist()} == {"archive"}


def test_float16_holds_and_takes_float16(learngene_file: Path, archive: Path, tmp_path: Path) -> None:
    path = build(learngene_file, tmp_path, precision="float16")
    program = torch.export.load(path)
    assert {value.dtype for value in program.state_dict.values()} == {torch.float16}
    images = pictures(3)
    error = relative_error(run(path, images, torch.float16)[0], run(archive, images)[0])
    assert 1e-6 < error < 1e-2
    weights = [sum(value.nbytes for value in torch.export.load(each).state_dict.values()) for each in (path, archive)]
    assert 2 * weights[0] == weights[1]


@pytest.mark.parametrize("output", ["pooled", "tokens", "blocks:1,2"])
def test_features(output: str, learngene_file: Path, tmp_path: Path) -> None:
    (made,) = tleg.build(learngene_file, [2], [KIND], tmp_path, output_of=output, verify=False)
    images = pictures(2)
    model: Any = tleg.load(learngene_file).expand(2).eval()
    with torch.inference_mode():
        x = torch.from_numpy(images)
        expected: list[torch.Tensor] = {
            "pooled": [model.forward_head(model.forward_features(x), pre_logits=True)],
            "tokens": [model.forward_features(x)],
            "blocks:1,2": model.forward_intermediates(x, indices=[0, 1], intermediates_only=True),
        }[output]
    found = run(made.path, images)
    assert len(found) == len(expected)
    assert all(relative_error(mine, theirs.numpy()) < 1e-6 for mine, theirs in zip(found, expected, strict=True))
    assert made.manifest.outputs is not None
    assert json.loads(content(made.path, "extra/outputs"))[0]["name"] == made.manifest.outputs[0].name
    assert tleg.verify(made.path, learngene_file).passed


def test_a_model_with_stages_at_any_batch(tmp_path: Path) -> None:
    learngene_of(*MODELS["swin"]).save(tmp_path / "swin.safetensors")
    (made,) = tleg.build(tmp_path / "swin.safetensors", [1], [KIND], tmp_path / "out")
    assert made.manifest.verification is not None
    assert {each.batch for each in made.manifest.verification.comparisons} == {1, 2, 5}
    assert made.manifest.verification.relative_error < 1e-6


def test_prediction_and_latency(archive: Path, learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 40), (200, 90, 30)).save(picture)
    found = []
    for words in ((archive,), (learngene_file, "--depth", 2)):
        done = run_cli("predict", words[0], picture, *words[1:], "--device", "cpu", "--json")
        assert done.code == 0, done.stderr
        (result,) = json.loads(done.stdout)["images"]
        found.append([(each["name"], pytest.approx(each["probability"], rel=1e-4)) for each in result["classes"]])
    assert found[0] == found[1]
    profile = measure_latency(archive, Benchmark(seconds=0.2, threads="1"))
    assert (profile.export, profile.runtime.name, profile.runtime.version) == (KIND, "torch", torch.__version__)
    assert [each.depth for each in profile.points] == [2]
    refused = ((Benchmark(runtime="onnxruntime"), "runtime"), (Benchmark(provider="cuda"), "provider"))
    for options, word in refused:
        with pytest.raises(InputError, match=f"--{word} is not for an export"):
            measure_latency(archive, options)


class OfTwo(torch.nn.Linear):
    """Takes two images, and no other number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.reshape(2, 12))


def test_what_fixes_the_batch_is_refused_in_one_sentence() -> None:
    with pytest.raises(ExportError, match=r"^torch\.export cannot export this architecture: .*batch.*"):
        trace(OfTwo(12, 3), (3, 2, 2))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("kind", "onnx", "of the format 'onnx'"),
        ("descendant", '"dtype": "int8"', "its weights are int8"),
        ("format_version", "2", "has version '2'"),
        ("format", "other", "was not exported by tleg"),
    ],
)
def test_what_it_says_of_itself_is_not_believed(name: str, text: str, says: str, archive: Path, tmp_path: Path) -> None:
    place = f"extra/{name}"
    new = content(archive, place).replace('"dtype": "float32"', text) if name == "descendant" else text
    with pytest.raises(FileFormatError, match=says):
        backend_of(FORMATS[KIND]).open(changed(archive, tmp_path / "it.pt2", {place: new.encode()}))


@pytest.mark.parametrize("interface", [Interface(batch=1), Interface(softmax=True), Interface(opset=17)], ids=str)
def test_it_has_no_graph_of_onnx(interface: Interface, learngene_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"is for a graph of ONNX or OpenVINO, which --export {KIND} does not write"):
        build(learngene_file, tmp_path / "out", interface=interface)
    assert not (tmp_path / "out").exists()


# What a pickle runs that is loaded without care.
BOMB = b"cos\nsystem\n(S'touch exploded'\ntR."


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (SAMPLES, "", BOMB, "holds pickled inputs"),
        (WEIGHTS, '"use_pickle": false', '"use_pickle": true', "holds pickled tensors"),
        (GRAPH, "torch.ops.aten.conv2d.default", "torch.hub.load", "its graph calls 'torch.hub.load'"),
        (GRAPH, "torch.ops.aten.conv2d.default", "_operator.methodcaller", "its graph calls '_operator.methodcaller'"),
        (GRAPH, "Symbol('s", "exec('s", "a size that is no expression"),
        (GRAPH, "Symbol('s", "Symbol(Tuple.__class__, 's", "a size that is no expression"),
        (GRAPH, "Symbol('s", f"{'A' * 99}{'1' * 99}!", "a size that is no expression"),
        ("data/aotinductor/model/model.so", "", b"code", "holds 'data/aotinductor/model/model.so'"),
        ("data/constants/custom_obj_0", "", b"object", "holds 'data/constants/custom_obj_0'"),
    ],
)
def test_code_in_an_archive_is_refused(
    name: str, old: str, new: str | bytes, says: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = new if isinstance(new, bytes) else content(archive, name).replace(old, new, 1).encode()
    path = changed(archive, tmp_path / "it.pt2", {name: other})
    with pytest.raises(FileFormatError, match=says):
        backend_of(FORMATS[KIND]).open(path)
    assert not (tmp_path / "exploded").exists()


def test_what_is_no_archive_is_one_sentence(archive: Path, tmp_path: Path, run_cli: Cli) -> None:
    cut, text, foreign = (tmp_path / f"{name}.pt2" for name in ("cut", "text", "foreign"))
    cut.write_bytes(archive.read_bytes()[:-200])
    text.write_text("none")
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), foreign)
    for path in (cut, text):
        with pytest.raises(FileFormatError, match="is damaged, or not an archive"):
            read_archive(path)
    done = run_cli("predict", text, "picture.png")
    assert (done.code, done.stderr.count("\n")) == (2, 1)
    with pytest.raises(FileFormatError, match="it holds pickled inputs"):
        backend_of(FORMATS[KIND]).open(foreign)


def test_images_of_another_size_are_refused_by_the_graph(archive: Path) -> None:
    opened = backend_of(FORMATS[KIND]).open(archive)
    with pytest.raises(VerificationError, match=r"PyTorch cannot run tiny-depth2\.pt2"):
        opened.run(np.zeros((1, 3, 64, 64), np.float32))
