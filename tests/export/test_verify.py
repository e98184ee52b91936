"""`tleg verify`: what it checks again, what it notices, and what it says it could not check."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import CommandResult
from tleg.errors import FileFormatError, VerificationError
from tleg.export.build import build_exports
from tleg.export.comparison import require_agreement
from tleg.export.manifest import Comparison, Verification, read_manifest
from tleg.export.onnx.file import check_graph
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path

Cli = Callable[..., CommandResult]


@pytest.fixture(scope="module")
def built(learngene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a learngene and its exports. Do not change it."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copy(learngene_file, folder)
    build_exports(
        BuildRequest(learngene_file, ("onnx", "onnx-compact", "onnx-elastic", "pytorch"), (2,), folder, verify=False)
    )
    return folder


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to change."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def outcomes(path: Path) -> dict[str, str]:
    return {check.name: check.outcome for check in check_path(path).checks}


@pytest.mark.parametrize("name", ["tiny-depth2.onnx", "tiny-depth2.compact.onnx", "tiny.elastic.onnx", "tiny-depth2"])
def test_exports_pass(name: str, built: Path, run_cli: Cli) -> None:
    done = run_cli("verify", built / name, "--json")
    assert done.code == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["passed"]
    assert {check["outcome"] for check in report["checks"]} == {"passed"}
    assert report["verification"]["relative_error"] < 1e-5


def test_learngene_passes_and_a_changed_one_fails(copied: Path, run_cli: Cli) -> None:
    path = copied / "tiny.safetensors"
    assert run_cli("verify", path).code == 0
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = run_cli("verify", path)
    assert done.code == 1
    assert "hash differs" in done.stdout
    path.write_bytes(content[:1000])
    assert run_cli("verify", path).code == 1


def test_one_changed_byte_fails(copied: Path, run_cli: Cli) -> None:
    for name, file in (("tiny-depth2.onnx", "tiny-depth2.onnx"), ("tiny-depth2", "tiny-depth2/model.safetensors")):
        content = bytearray((copied / file).read_bytes())
        content[len(content) // 2] ^= 1
        (copied / file).write_bytes(content)
        done = run_cli("verify", copied / name)
        assert done.code == 1
        assert "is not what the manifest describes" in done.stdout
        assert done.stderr.count("\n") == 1


def test_changed_weights_fail_without_a_manifest(copied: Path) -> None:
    path = copied / "tiny-depth2.onnx"
    model = onnx.load(path)
    weight = next(item for item in model.graph.initializer if item.name == "blocks.1.mlp.fc1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.02), weight.name))
    onnx.save(model, path)
    path.with_name(path.name + ".manifest.json").unlink()
    assert outcomes(path) == {"bytes": "not checked", "graph": "passed", "runs": "passed", "reference": "failed"}


def test_garbage_fails_in_one_line(copied: Path, run_cli: Cli) -> None:
    path = copied / "tiny-depth2.onnx"
    whole = path.read_bytes()
    for content in (b"", b"garbage" * 50, whole[:-100], whole[:1000]):
        path.write_bytes(content)
        done = run_cli("verify", path)
        assert done.code == 1
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stdout + done.stderr


def test_an_onnx_file_of_someone_else(tmp_path: Path, run_cli: Cli) -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "other",
        [onnx.helper.make_tensor_value_info("x", 1, [1])],
        [onnx.helper.make_tensor_value_info("y", 1, [1])],
    )
    onnx.save(
        onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 20)]), tmp_path / "x.onnx"
    )
    done = run_cli("verify", tmp_path / "x.onnx")
    assert done.code == 1
    assert "was not exported by tleg" in done.stdout


def test_without_its_learngene_it_says_so(built: Path, tmp_path: Path, learngene_file: Path, run_cli: Cli) -> None:
    for name in ("tiny-depth2.onnx", "tiny-depth2.onnx.manifest.json"):
        shutil.copy(built / name, tmp_path)
    done = run_cli("verify", tmp_path / "tiny-depth2.onnx")
    assert done.code == 0
    assert "not checked  reference" in done.stdout
    assert "--learngene" in done.stdout
    done = run_cli("verify", tmp_path / "tiny-depth2.onnx", "--learngene", learngene_file)
    assert done.code == 0
    assert "passed       reference" in done.stdout


def test_another_learngene_is_refused(built: Path, tmp_path: Path, tiny_learngene: Any, run_cli: Cli) -> None:
    tiny_learngene(seed=9).save(tmp_path / "other.safetensors")
    done = run_cli("verify", built / "tiny-depth2.onnx", "--learngene", tmp_path / "other.safetensors")
    assert done.code == 2
    assert "is not the learngene" in done.stderr


def test_a_fine_tuned_folder_has_nothing_to_compare_with(copied: Path, run_cli: Cli) -> None:
    (copied / "tiny-depth2" / "manifest.json").unlink()
    done = run_cli("verify", copied / "tiny-depth2", "--json")
    assert done.code == 0
    checks = {check["name"]: check["outcome"] for check in json.loads(done.stdout)["checks"]}
    assert checks == {"bytes": "not checked", "runs": "passed", "reference": "not checked"}


def test_nothing_there(tmp_path: Path, run_cli: Cli) -> None:
    assert run_cli("verify", tmp_path / "none.onnx").code == 2
    assert run_cli("verify", tmp_path).code == 2


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": "tleg.export", "version": 99}', '{"format": "tleg.export", "version": 1}', "[" * 100_000],
)
def test_broken_manifests(content: str, copied: Path) -> None:
    place = copied / "tiny-depth2.onnx.manifest.json"
    place.write_text(content)
    with pytest.raises(FileFormatError):
        read_manifest(place)
    assert outcomes(copied / "tiny-depth2.onnx")["manifest"] == "failed"


@pytest.mark.parametrize("error", [float("nan"), float("inf"), 2e-4])
def test_no_error_beyond_the_tolerance_passes(error: float) -> None:
    figures = (Comparison(1, 1, 0.0, 0.0, 1.0), Comparison(1, 2, error, error, 1.0))
    with pytest.raises(VerificationError):
        require_agreement(Verification("timm", "onnxruntime", 1e-4, 0, figures), "float32")


def test_checker_errors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\x08\x09")
    with pytest.raises(VerificationError) as caught:
        check_graph(tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)
