"""ExecuTorch's program: what it computes, what it says of itself, and what is not opened. Writing one takes many seconds."""

import json
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
from tleg.errors import FileFormatError, InputError, VerificationError
from tleg.export import formats
from tleg.export.backend import backend_of
from tleg.export.build import BuiltExport, build_exports
from tleg.export.comparison import noise
from tleg.export.formats import FORMATS
from tleg.export.interface import Interface
from tleg.export.plan import BuildRequest
from tleg.latency.benchmark import measure_latency
from tleg.recipes.benchmark import Benchmark

Cli = Callable[..., CommandResult]
KIND = "executorch"
pytest.importorskip("executorch")
pytestmark = pytest.mark.filterwarnings("ignore:This API is experimental")


def build(source: Path, folder: Path, **options: Any) -> BuiltExport:
    (made,) = build_exports(BuildRequest(source, (KIND,), (1,), folder, **options))
    return made


def pictures(batch: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images of the default tiny learngene's size."""
    return noise((3, 32, 32), batch)


def run(path: Path, images: Any, dtype: torch.dtype = torch.float32) -> list[Any]:
    """What ExecuTorch computes from a program, without tleg."""
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    return [each.float().numpy() for each in method.execute([torch.from_numpy(images).to(dtype)])]


@pytest.fixture(scope="module")
def program(learngene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = build(learngene_file, tmp_path_factory.mktemp("executorch"))
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5
    assert {each.batch for each in made.manifest.verification.comparisons} == {1, 2, 5}
    assert {"executorch", "torch"} <= set(made.manifest.versions)
    return made.path


@pytest.mark.slow
def test_it_computes_what_the_descendant_does_at_any_batch(program: Path, learngene_file: Path) -> None:
    model = tleg.load(learngene_file).expand(1).eval()
    opened = backend_of(FORMATS[KIND]).open(program)
    for batch in (1, 2, 7, 16, 17, 40):
        images = pictures(batch)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        assert relative_error(opened.run(images), expected) < 1e-5
        if batch <= 16:
            assert relative_error(run(program, images)[0], expected) < 1e-5
    with pytest.raises(RuntimeError):
        run(program, pictures(17))
    with pytest.raises(VerificationError, match=r"ExecuTorch cannot run tiny-depth1\.pte"):
        opened.run(np.zeros((1, 3, 64, 64), np.float32))


@pytest.mark.slow
def test_what_it_says_of_itself(program: Path) -> None:
    from executorch.runtime import Runtime

    about = Runtime.get().load_program(program).load_method("tleg").execute([])[0]
    texts = json.loads(about)
    assert (texts["kind"], texts["depth"], json.loads(texts["classes"])[:2]) == (KIND, "1", ["shirt", "shoe"])
    assert str(Path(torch.__file__).parent).encode() not in program.read_bytes()


@pytest.mark.slow
def test_prediction_and_latency(program: Path, learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 40), (200, 90, 30)).save(picture)
    found = []
    for words in ((program,), (learngene_file, "--depth", 1)):
        done = run_cli("predict", words[0], picture, *words[1:], "--device", "cpu", "--json")
        assert done.code == 0, done.stderr
        (result,) = json.loads(done.stdout)["images"]
        found.append([(each["name"], pytest.approx(each["probability"], rel=1e-4)) for each in result["classes"]])
    assert found[0] == found[1]
    assert done.stderr == ""
    profile = measure_latency(program, Benchmark(seconds=0.2, threads="1"))
    assert (profile.export, profile.runtime.name, profile.threads) == (KIND, "executorch", 1)
    assert profile.runtime.version[0].isdigit()
    assert tleg.verify(program, learngene_file).passed


@pytest.mark.slow
def test_a_fixed_batch_in_float16(program: Path, learngene_file: Path, tmp_path: Path) -> None:
    made = build(learngene_file, tmp_path, precision="float16", interface=Interface(batch=2))
    assert made.path.name == "tiny-depth1-float16-batch2.pte"
    assert made.manifest.verification is not None
    assert 1e-6 < made.manifest.verification.relative_error < 2e-2
    images = pictures(2)
    assert 1e-6 < relative_error(run(made.path, images, torch.float16)[0], run(program, images)[0]) < 1e-2
    with pytest.raises(RuntimeError):
        run(made.path, pictures(1), torch.float16)
    opened = backend_of(FORMATS[KIND]).open(made.path)
    assert opened.run(pictures(5)).shape == (5, 7)
    assert (opened.interface.batch, opened.precision) == (2, "float16")


@pytest.mark.slow
def test_what_is_no_program_is_one_sentence(program: Path, tmp_path: Path, run_cli: Cli) -> None:
    cut, text, other = (tmp_path / f"{name}.pte" for name in ("cut", "text", "other"))
    cut.write_bytes(program.read_bytes()[:2000])
    text.write_text("none")
    other.write_bytes(program.read_bytes().replace(b'"tleg.export"', b'"else.export"'))
    assert other.read_bytes() != program.read_bytes()
    for path, says in ((cut, "cannot open"), (text, "cannot open"), (other, "was not exported by tleg")):
        with pytest.raises(FileFormatError, match=says):
            backend_of(FORMATS[KIND]).open(path)
    done = run_cli("predict", text, "picture.png")
    assert (done.code, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("interface", [Interface(softmax=True), Interface(opset=17), Interface(input="uint8")], ids=str)
def test_it_has_no_other_interface(interface: Interface, learngene_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of such options --export executorch has --batch alone"):
        build(learngene_file, tmp_path / "out", interface=interface)
    assert not (tmp_path / "out").exists()


def test_without_executorch(learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend_of.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "executorch" else find_spec(name))
    says = r"^ExecuTorch is not installed, which the format executorch needs: pip install 'tleg\[executorch\]'$"
    with pytest.raises(InputError, match=says):
        build(learngene_file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
