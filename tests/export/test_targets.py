"""ONNX files in other runtimes: run in OpenVINO, estimated for CoreML and NNAPI, known of the others."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from tleg.errors import InputError
from tleg.export.build import build_exports
from tleg.export.interface import Interface
from tleg.export.onnx import targets
from tleg.export.onnx.runtime import open_onnx
from tleg.export.onnx.targets import KNOWN, TARGETS, TargetResult, try_targets
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path

DOCS = Path(__file__).parents[2] / "docs"
KINDS = ("onnx", "onnx-compact", "onnx-elastic")


def build(learngene: Path, folder: Path, kind: str = "onnx", **options: Any) -> Path:
    request = BuildRequest(learngene, (kind,), (3,), folder, verify=False, overwrite=True, **options)
    return build_exports(request)[0].path


def tried(path: Path, target: str) -> TargetResult:
    (result,) = try_targets(open_onnx(path), [target])
    assert result.target == target
    assert "\n" not in result.detail
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interface", [Interface(), Interface(batch=2, opset=17, input="uint8", softmax=True, top=3)])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_openvino_runs_it(kind: str, interface: Interface, precision: Any, learngene_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = build(learngene_file, tmp_path, kind, interface=interface, precision=precision)
    result = tried(path, "openvino")
    assert result.outcome == "runs"
    error = float(result.detail.rpartition(" ")[2])
    assert 0 < error < {"float32": 1e-5, "float16": 1e-2}[precision]


def test_what_openvino_refuses_or_computes_otherwise(
    learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    path = build(learngene_file, tmp_path)
    export, usual = open_onnx(path), targets._relative
    monkeypatch.setattr(targets, "_relative", lambda found, expected: usual(1.01 * found, expected))
    (result,) = try_targets(export, ["openvino"])
    assert result.outcome == "refused"
    assert "differs from ONNX Runtime by 1.0e-02 of the largest value; 1e-04 is allowed" in result.detail
    model = onnx.load(path)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, path)
    (result,) = try_targets(export, ["openvino"])
    assert result.outcome == "refused"
    assert "Unheard" in result.detail


def test_a_fixed_batch_is_what_coreml_and_nnapi_want(learngene_file: Path, tmp_path: Path) -> None:
    usual, fixed = build(learngene_file, tmp_path), build(learngene_file, tmp_path, interface=Interface(batch=1))
    for target, what in (("coreml", "CoreML's MLProgram"), ("nnapi", "NNAPI")):
        assert tried(usual, target) == TargetResult(
            target, "refused", f"by ONNX Runtime's checker {what} takes none of 86 nodes; with --batch 1 it may"
        )
        assert tried(fixed, target).outcome == "not tried"
    assert "CoreML's MLProgram takes 95 of 95 nodes, in 1 piece" in tried(fixed, "coreml").detail
    assert "without Gelu, LayerNormalization, which is likely slower than the processor" in tried(fixed, "nnapi").detail
    compact = build(learngene_file, tmp_path, "onnx-compact", interface=Interface(batch=1))
    assert tried(compact, "coreml").detail == tried(fixed, "coreml").detail


def test_what_is_known_is_what_the_docs_say() -> None:
    lines = (DOCS / "runtimes.md").read_text(encoding="utf-8").splitlines()
    rows_of_docs = ([each.strip() for each in line.split("|")][1:-1] for line in lines)
    table = {row[0]: tuple(row[1:]) for row in rows_of_docs if len(row) == 7}
    for rows in KNOWN.values():
        for runtime, cells in rows.items():
            assert table[runtime] == cells
    assert set(TARGETS) == {"openvino", "coreml", "nnapi", *KNOWN}


def test_what_is_known_of_such_a_file(learngene_file: Path, tmp_path: Path) -> None:
    elastic = build(learngene_file, tmp_path, "onnx-elastic")
    assert tried(elastic, "tract").detail == "known of such files: refused (no Loop) in tract 0.23.9"
    half = build(learngene_file, tmp_path, precision="float16", interface=Interface(batch=1))
    assert tried(half, "tract").detail == (
        "known of such files: 2.2e-3 of the largest logit off in tract 0.23.9; its inputs and outputs are others than theirs"
    )
    assert tried(elastic, "tensorrt") == TargetResult("tensorrt", "not tried", "no such file was tried there")


def test_verify_reports_them(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    path = build(learngene_file, tmp_path, interface=Interface(batch=1))
    done = run_cli("verify", path, "--learngene", learngene_file, "--target", "coreml,web", "--target", "tensorrt", "--json")
    assert done.code == 0
    assert [each["target"] for each in json.loads(done.stdout)["targets"]] == ["coreml", "web", "tensorrt"]
    done = run_cli("verify", build(learngene_file, tmp_path), "--learngene", learngene_file, "--target", "nnapi")
    assert done.code != 0
    assert "refused      nnapi      by ONNX Runtime's checker NNAPI takes none of" in done.stdout
    assert done.stderr.strip().endswith("failed: nnapi")
    assert "targets" not in json.loads(run_cli("verify", path, "--json").stdout)


def test_targets_are_refused_before_anything_is_checked(
    learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(learngene_file, tmp_path)
    with pytest.raises(InputError, match="--target is for ONNX files") as caught:
        check_path(learngene_file, targets=["web"])
    assert caught.value.field == "target"
    with pytest.raises(InputError, match=r"unknown target 'openvin': choose one of .* Did you mean 'openvino'\?"):
        check_path(path, targets=["openvin"])
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(targets, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    with pytest.raises(InputError, match=r"OpenVINO is not installed: pip install 'tleg\[openvino\]'") as caught:
        check_path(path, targets=["openvino"])
    assert caught.value.code == "not-installed"


def test_without_the_checker_nothing_is_claimed(
    learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(learngene_file, tmp_path)
    monkeypatch.setattr(targets, "find_spec", lambda name: None)
    assert tried(path, "coreml").outcome == "not tried"
    assert "no checker for CoreML's MLProgram" in tried(path, "coreml").detail
