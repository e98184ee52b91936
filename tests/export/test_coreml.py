"""CoreML's package: what lies in it, what its program computes by its operators' definitions, and what is not opened."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tleg
from tests.conftest import CommandResult
from tests.export.conftest import relative_error
from tests.export.test_traced_compact import MODELS
from tests.models.test_families import learngene_of
from tleg.errors import FileFormatError, InputError, VerificationError
from tleg.export import formats
from tleg.export.backend import backend_of
from tleg.export.build import BuiltExport, build_exports
from tleg.export.comparison import noise
from tleg.export.coreml.operators import OPERATORS
from tleg.export.formats import FORMATS
from tleg.export.interface import Interface
from tleg.export.plan import BuildRequest
from tleg.family.file import read_family
from tleg.latency.benchmark import measure_latency
from tleg.recipes.benchmark import Benchmark

Cli = Callable[..., CommandResult]
KIND, MODEL, WEIGHTS = "coreml", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")  # coremltools' own, of libraries that are newer than it.


def build(source: Path, folder: Path, **options: Any) -> BuiltExport:
    depths = () if source.is_dir() else (2,)
    (made,) = build_exports(BuildRequest(source, (KIND,), depths, folder, **options))
    return made


def pictures(batch: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images of the default tiny learngene's size."""
    return noise((3, 32, 32), batch)


def specification(path: Path) -> Any:
    import coremltools

    return coremltools.utils.load_spec(str(path))


@pytest.fixture(scope="module")
def made(learngene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltExport:
    return build(learngene_file, tmp_path_factory.mktemp("coreml"))


def test_its_program_computes_what_the_descendant_does(made: BuiltExport, learngene_file: Path) -> None:
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5
    assert {each.batch for each in made.manifest.verification.comparisons} == {1, 2, 5}
    model = tleg.load(learngene_file).expand(2).eval()
    opened = backend_of(FORMATS[KIND]).open(made.path)
    for batch in (1, 3):
        with torch.inference_mode():
            expected = model(torch.from_numpy(pictures(batch))).numpy()
        assert relative_error(opened.run(pictures(batch)), expected) < 1e-5
    with pytest.raises(VerificationError, match=r"tiny-depth2\.mlpackage takes images of 3 x 32 x 32, not 3 x 64 x 64"):
        opened.run(np.zeros((1, 3, 64, 64), np.float32))


def test_that_coreml_did_not_run_it_is_said(made: BuiltExport, learngene_file: Path, run_cli: Cli) -> None:
    says = "CoreML runs on Apple's systems alone, so it was not run there"
    assert made.manifest.note is not None
    assert made.manifest.note.startswith(says)
    assert made.manifest.verification is not None
    assert made.manifest.verification.runtime.startswith("torch ")
    done = run_cli("verify", made.path, "--learngene", learngene_file)
    assert (done.code, says in done.stdout) == (0, True)
    assert "not run there" in run_cli("build", "--help").stdout.replace("\n", " ")


def test_what_lies_in_it_and_beside_it(made: BuiltExport) -> None:
    assert made.path.name == "tiny-depth2.mlpackage"
    files = sorted(each.relative_to(made.path).as_posix() for each in made.path.rglob("*") if each.is_file())
    assert files == sorted((MODEL, WEIGHTS, "Manifest.json"))
    # On systems where 'manifest.json' and 'Manifest.json' are one name, it must not lie in the package.
    assert made.manifest_path == made.path.with_name("tiny-depth2.mlpackage.manifest.json")
    assert set(made.manifest.file.files) == set(files)
    found = specification(made.path).description
    assert [(each.name, list(each.type.multiArrayType.shape)) for each in found.input] == [("images", [1, 3, 32, 32])]
    assert [each.name for each in found.output] == ["logits"]
    assert json.loads(found.metadata.userDefined["classes"])[:2] == ["shirt", "shoe"]
    assert {"coremltools", "torch"} <= set(made.manifest.versions)


def test_float16_and_a_fixed_batch(made: BuiltExport, learngene_file: Path, tmp_path: Path) -> None:
    half = build(learngene_file, tmp_path, precision="float16", interface=Interface(batch=2))
    assert half.path.name == "tiny-depth2-float16-batch2.mlpackage"
    assert half.manifest.verification is not None
    assert 1e-6 < half.manifest.verification.relative_error < 2e-2
    # Each array begins at a multiple of 64 bytes.
    assert (half.path / WEIGHTS).stat().st_size / (made.path / WEIGHTS).stat().st_size == pytest.approx(0.5, abs=0.05)
    found = specification(half.path).description
    assert list(found.input[0].type.multiArrayType.shape) == [2, 3, 32, 32]
    assert backend_of(FORMATS[KIND]).open(half.path).run(pictures(5)).shape == (5, 7)


def test_features(learngene_file: Path, tmp_path: Path) -> None:
    (made,) = tleg.build(learngene_file, [2], [KIND], tmp_path, output_of="blocks:1,2")
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5
    assert [each.name for each in specification(made.path).description.output] == ["block1", "block2"]


def test_what_cannot_be_computed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learngene_file: Path) -> None:
    fewer = {name: each for name, each in OPERATORS.items() if name != "gelu"}
    monkeypatch.setattr("tleg.export.coreml.program.OPERATORS", fewer)
    with pytest.raises(VerificationError, match="has operators that tleg does not compute: gelu"):
        build(learngene_file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert build(learngene_file, tmp_path, verify=False).path.is_dir()


@pytest.mark.parametrize(
    "arguments",
    [
        {"class_token": True, "global_pool": "token"},
        {"init_values": 0.1, "class_token": True, "reg_tokens": 2},
        {"qk_norm": True},
    ],
    ids=str,
)
def test_other_vits(arguments: dict[str, Any], tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene(arguments=arguments).save(tmp_path / "it.safetensors")
    made = build(tmp_path / "it.safetensors", tmp_path / "out")
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_other_families(name: str, tmp_path: Path) -> None:
    learngene_of(*MODELS[name]).save(tmp_path / "it.safetensors")
    (made,) = tleg.build(tmp_path / "it.safetensors", [1], [KIND], tmp_path / "out")
    assert made.manifest.verification is not None
    assert made.manifest.verification.relative_error < 1e-5


def test_force_replaces_it_and_its_manifest(learngene_file: Path, tmp_path: Path) -> None:
    first = build(learngene_file, tmp_path, verify=False)
    with pytest.raises(InputError, match="exists already"):
        build(learngene_file, tmp_path, verify=False)
    again = build(learngene_file, tmp_path, verify=False, overwrite=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == [first.path.name, first.manifest_path.name]
    assert tleg.verify(again.path, learngene_file).passed
    (again.path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds notes\.txt, which tleg did not make"):
        build(learngene_file, tmp_path, verify=False, overwrite=True)


def test_its_latency_is_not_measured(made: BuiltExport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be timed here: CoreML runs on Apple's systems alone"):
        measure_latency(made.path, Benchmark(seconds=0.2, threads="1"))
    wanted = tmp_path / "devices.toml"
    wanted.write_text(
        'learngene = "fashion-mnist"\ndata = "fashion-mnist"\nlicense = "mit"\n'
        '[devices.phone]\nexport = "coreml"\ndepth = 4\n'
    )
    with pytest.raises(InputError, match="a family measures every file, and CoreML runs on Apple's systems alone"):
        read_family(wanted)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("kind", "onnx", "of the format 'onnx'"),
        ("format_version", "2", "has version '2'"),
        ("format", "other", "was not exported by tleg"),
    ],
)
def test_what_it_says_of_itself_is_not_believed(name: str, text: str, says: str, made: BuiltExport, tmp_path: Path) -> None:
    path = tmp_path / "it.mlpackage"
    shutil.copytree(made.path, path)
    changed = specification(path)
    changed.description.metadata.userDefined[name] = text
    (path / MODEL).write_bytes(changed.SerializeToString())
    with pytest.raises(FileFormatError, match=says):
        backend_of(FORMATS[KIND]).open(path)


def test_what_is_no_package_is_one_sentence(made: BuiltExport, tmp_path: Path, run_cli: Cli) -> None:
    empty, text, bare = (tmp_path / f"{name}.mlpackage" for name in ("empty", "text", "bare"))
    empty.mkdir()
    done = run_cli("predict", empty, "picture.png")
    assert (done.code, done.stderr.count("\n"), f"holds no {MODEL}" in done.stderr) == (2, 1, True)
    for path in (text, bare):
        shutil.copytree(made.path, path)
    (text / MODEL).write_text("none")
    with pytest.raises(FileFormatError, match="coremltools cannot open"):
        backend_of(FORMATS[KIND]).open(text)
    (bare / WEIGHTS).unlink()
    with pytest.raises(FileFormatError, match="coremltools cannot read"):
        backend_of(FORMATS[KIND]).open(bare)


def test_it_has_no_other_interface(learngene_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of such options --export coreml has --batch alone"):
        build(learngene_file, tmp_path / "out", interface=Interface(softmax=True))
    assert not (tmp_path / "out").exists()


def test_without_coremltools(learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend_of.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "coremltools" else find_spec(name))
    says = r"^coremltools is not installed, which the format coreml needs: pip install 'tleg\[coreml\]'$"
    with pytest.raises(InputError, match=says):
        build(learngene_file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
