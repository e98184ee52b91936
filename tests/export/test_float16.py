"""float16 exports: what they must not be kept with, measured in float16 arithmetic, and what that says."""

import json
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import CommandResult
from tests.export.conftest import BASES, VARIANTS, noise, relative_error
from tests.export.test_onnx import write
from tleg.errors import ExportError, VerificationError
from tleg.export.build import build_exports
from tleg.export.manifest import read_manifest
from tleg.export.onnx.float16 import _gelu_of, _of_all, can_run, onnx_runner
from tleg.export.plan import BuildRequest
from tleg.export.runners import Watch, one_by_one, torch_runner
from tleg.export.verify import check_path
from tleg.learngene.basis import Basis
from tleg.models.float16 import check_layers, to_float16
from tleg.models.learngene import Learngene

Cli = Callable[..., CommandResult]
KINDS = ("onnx", "onnx-compact", "onnx-elastic", "pytorch")


def changed(learngene: Learngene, name: str, value: float) -> Learngene:
    """The learngene with another first value of a tensor."""
    values = learngene.tensors[name].copy()
    values.flat[0] = value
    return replace(learngene, tensors={**learngene.tensors, name: values})


@pytest.fixture
def overflowing(tiny_learngene: Any, tmp_path: Path) -> Path:
    """A learngene that is right in float32, and whose residual stream passes 65,504 in its eighth layer."""
    path = tmp_path / "tiny.safetensors"
    changed(tiny_learngene(), "blocks.mlp.fc2.bias", 9000).save(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_activations_beyond_the_range_are_refused_with_the_place(
    kind: Any, overflowing: Path, tmp_path: Path, run_cli: Cli
) -> None:
    options = ("build", overflowing, "--depth", 12, "--export", kind, "--output", tmp_path / "out")
    done = run_cli(*options, "--dtype", "float16")
    assert done.code == 1
    assert done.stderr.count("\n") == 1
    assert "blocks.7" in done.stderr
    assert "at depth 12 exceeds 65,504" in done.stderr
    assert "use float32" in done.stderr
    assert not list((tmp_path / "out").iterdir())
    assert run_cli(*options).code == 0, "float32 holds it"


@pytest.mark.parametrize("kind", KINDS)
def test_verify_finds_them_with_and_without_the_learngene(
    kind: Any, overflowing: Path, tmp_path: Path, run_cli: Cli
) -> None:
    request = BuildRequest(overflowing, (kind,), (12,), tmp_path / "out", precision="float16", verify=False)
    (item,) = build_exports(request)
    done = run_cli("verify", item.path, "--learngene", overflowing)
    assert done.code == 1
    assert "exceeds 65,504" in done.stdout
    overflowing.unlink()
    report = check_path(item.path)
    assert {check.name: check.outcome for check in report.checks}["reference"] == "not checked"
    (found,) = [check for check in report.checks if check.name == "float16"]
    assert found.outcome == "failed"
    assert "exceeds 65,504" in found.detail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["blocks.mlp.fc2.bias", "blocks.attn.qkv.weight", "head.weight", "patch_embed.proj.bias"])
def test_weights_beyond_the_range_are_refused_without_a_warning_of_numpy(
    kind: Any, name: str, tiny_learngene: Any, tmp_path: Path, run_cli: Cli
) -> None:
    changed(tiny_learngene(), name, -70_000).save(tmp_path / "tiny.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = run_cli(
            *("build", tmp_path / "tiny.safetensors", "--depth", 2, "--export", kind, "--dtype", "float16"),
            *("--output", tmp_path / "out", "--no-verify"),
        )
    assert done.code == 1
    assert done.stderr.count("\n") == 1
    assert name.removeprefix("blocks.").split(".")[0] in done.stderr
    assert "holds 70,000 and float16 nothing above 65,504; use float32" in done.stderr


def test_models_in_float16_are_refused_as_files_are(tiny_learngene: Any) -> None:
    with pytest.raises(ExportError, match=r"blocks\.0\.mlp\.fc2\.bias holds 70,000"):
        changed(tiny_learngene(), "blocks.mlp.fc2.bias", 70_000).expand(2, dtype="float16")


@pytest.mark.parametrize("kind", ["compact", "elastic"])
def test_terms_within_the_range_whose_layers_are_not(kind: str, tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene()
    bias = learngene.tensors["blocks.mlp.fc2.bias"].copy()
    bias[:, 0] = 40_000  # Layer l holds 40,000 (1 + l / L): 65,504 is passed where l / L is above 0.64.
    learngene = replace(learngene, tensors={**learngene.tensors, "blocks.mlp.fc2.bias": bias})
    with pytest.raises(ExportError, match=r"terms of blocks\.mlp\.fc2\.bias for layer (8 of 12|654 of 1024) holds"):
        write(kind, tmp_path / "model.onnx", learngene, 12, precision="float16")
    if kind == "compact":  # The second of two layers holds 60,000.
        write(kind, tmp_path / "model.onnx", learngene, 2, precision="float16")
    write(kind, tmp_path / "model.onnx", learngene, 12)


@given(
    st.lists(st.lists(st.floats(-60_000, 60_000, width=32), min_size=3, max_size=3), min_size=2, max_size=3),
    st.integers(1, 9),
    st.sampled_from(["polynomial", "cosine"]),
)
def test_layers_are_refused_exactly_when_one_overflows(terms: list[list[float]], depth: int, name: Any) -> None:
    values = np.array(terms, np.float32)
    coefficients = Basis(name, degree=len(terms) - 1).coefficients(depth)
    made = np.abs(np.array(coefficients, np.float32) @ values)
    if (np.abs(made - 65_520) < 1).any():
        return  # Rounding decides.
    if made.max() > 65_520:
        with pytest.raises(ExportError):
            check_layers("x", values, coefficients)
    else:
        check_layers("x", values, coefficients)


@given(st.floats(-70_000, 70_000, width=32))
def test_values_become_what_numpy_makes_of_them_or_a_sentence(value: float) -> None:
    values = np.array([value], np.float32)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    if np.isfinite(expected).all():
        assert np.array_equal(to_float16("x", values), expected)
    else:
        with pytest.raises(ExportError, match="x holds"):
            to_float16("x", values)


@pytest.mark.parametrize("kind", ["plain", "compact", "elastic"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_arithmetic_is_that_of_onnx_reference(kind: str, variant: str, tiny_learngene: Any, tmp_path: Path) -> None:
    """Against onnx's own operators, which round inside as well."""
    from onnx.reference import ReferenceEvaluator

    learngene = tiny_learngene(arguments=VARIANTS[variant])
    path = write(kind, tmp_path / "half.onnx", learngene, 3, precision="float16")
    images = noise(learngene)
    watch = Watch()
    (found,) = onnx_runner(onnx.load(path), watch)(3, images)
    feed = {"images": images.astype(np.float16)} | ({"depth": np.array(3, np.int64)} if kind == "elastic" else {})
    outputs: Any = ReferenceEvaluator(str(path)).run(None, feed)
    expected = outputs[0]
    assert relative_error(found, expected.astype(np.float32)) < 5e-3
    assert np.array_equal(found, found.astype(np.float16).astype(np.float32)), "logits are numbers of float16"
    assert watch.overflow is None
    assert np.abs(found).max() <= watch.largest < 100


def test_graphs_with_a_mean_and_a_gemm(tiny_learngene: Any, tmp_path: Path) -> None:
    """As files have them that were exported before the graph was made for more runtimes."""
    learngene = tiny_learngene()
    model = onnx.load(write("plain", tmp_path / "half.onnx", learngene, 3, precision="float16"))
    (expected,) = onnx_runner(model, Watch())(3, noise(learngene))
    nodes = [node for node in model.graph.node if node.name not in ("pooled.row", "pooled", "head.product", "logits")]
    nodes.append(onnx.helper.make_node("ReduceMean", ["norm", "integers.1"], ["pooled"], keepdims=0))
    nodes.append(onnx.helper.make_node("Gemm", ["pooled", "head.timm", "head.bias"], ["logits"], transB=1))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for name, values in (("integers.1", np.array([1])), ("head.timm", learngene.tensors["head.weight"].astype(np.float16))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    assert can_run(model)
    (found,) = onnx_runner(model, Watch())(3, noise(learngene))
    assert relative_error(found, expected) < 2e-3


@pytest.mark.parametrize("basis", BASES)
def test_bases_in_float16_arithmetic(basis: str, tiny_learngene: Any, tmp_path: Path, torch_logits: Any) -> None:
    learngene = tiny_learngene(basis=BASES[basis])
    images = noise(learngene)
    for kind in ("compact", "elastic"):
        path = write(kind, tmp_path / "half.onnx", learngene, 5, precision="float16")
        (found,) = one_by_one(onnx_runner(onnx.load(path), Watch()), Watch())(5, images)
        assert relative_error(found, torch_logits(learngene, 5, images)) < 1e-2


def test_gelu_of_every_number_of_float16() -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    expected = torch.nn.functional.gelu(torch.from_numpy(numbers).double()).float().numpy()
    finite = np.isfinite(numbers)
    assert np.allclose(_of_all(_gelu_of)[finite], expected[finite], rtol=1e-6, atol=1e-7)
    assert not np.isfinite(_of_all(_gelu_of)[~finite & (numbers != -math.inf)]).any()


def test_figures_say_how_near_the_range_a_model_comes(tiny_learngene: Any, tmp_path: Path, run_cli: Cli) -> None:
    changed(tiny_learngene(), "blocks.mlp.fc2.bias", 2000).save(tmp_path / "tiny.safetensors")
    for kind in KINDS:
        done = run_cli(
            *("build", tmp_path / "tiny.safetensors", "--depth", 12, "--export", kind, "--dtype", "float16"),
            *("--output", tmp_path, "--json"),
        )
        assert done.code == 0, done.stderr
        verification = json.loads(done.stdout)["exports"][0]["verification"]
        # Twelve layers add 2,000 each, to a stream that is small beside it.
        assert verification["range"]["largest"] == pytest.approx(12 * 2000, rel=0.01)
        assert "blocks.11" in verification["range"]["where"]
        arithmetic = {(entry["arithmetic"], entry["batch"]) for entry in verification["comparisons"]}
        assert arithmetic == {("float32", 1), ("float32", 2), ("float32", 5), ("float16", 3)}
    manifest = read_manifest(tmp_path / "tiny-depth12-float16.onnx.manifest.json")
    assert "largest value 23,9" in str(manifest.verification)
    done = run_cli("verify", tmp_path / "tiny-depth12-float16.onnx")
    assert done.code == 0
    assert "of 65,504 (in blocks.11)" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_values_below_the_range_are_refused_where_they_matter(
    kind: Any, tiny_learngene: Any, tmp_path: Path, run_cli: Cli
) -> None:
    learngene = tiny_learngene()
    tensors = dict(learngene.tensors)
    for name in ("head.weight", "head.bias"):  # Logits of about 1e-7, and float16's numbers are 6e-8 apart there.
        tensors[name] = tensors[name] * np.float32(1e-7)
    replace(learngene, tensors=tensors).save(tmp_path / "tiny.safetensors")
    options = ("build", tmp_path / "tiny.safetensors", "--depth", 3, "--export", kind, "--output", tmp_path)
    done = run_cli(*options, "--dtype", "float16")
    assert done.code == 1
    assert "differs from its reference" in done.stderr
    assert "use float32" in done.stderr
    assert run_cli(*options).code == 0
    tensors = dict(learngene.tensors)
    tensors["blocks.mlp.fc2.bias"] = tensors["blocks.mlp.fc2.bias"] * np.float32(1e-9)  # Nobody misses these.
    replace(learngene, tensors=tensors).save(tmp_path / "other.safetensors")
    assert run_cli("build", tmp_path / "other.safetensors", *options[2:], "--dtype", "float16").code == 0


def test_float32_exports_are_not_measured_so(tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene().save(tmp_path / "tiny.safetensors")
    (item,) = build_exports(BuildRequest(tmp_path / "tiny.safetensors", ("onnx",), (2,), tmp_path))
    assert item.manifest.verification is not None
    assert item.manifest.verification.range is None
    assert "value" not in str(item.manifest.verification)


def test_large_files_run_on_noise_alone(tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg.export.comparison.LARGE", 10_000)
    tiny_learngene().save(tmp_path / "tiny.safetensors")
    for item in build_exports(
        BuildRequest(tmp_path / "tiny.safetensors", ("onnx", "pytorch"), (2,), tmp_path, precision="float16")
    ):
        assert item.manifest.verification is not None
        batches = [entry.batch for entry in item.manifest.verification.comparisons if entry.arithmetic == "float16"]
        assert batches == [1]


@pytest.mark.slow
def test_a_folder_of_any_model(tmp_path: Path, run_cli: Cli) -> None:
    """A network that torch traces: its float16 file and folder are measured as PyTorch's module in float16."""
    import timm

    model = timm.create_model("resnet18", num_classes=3).eval()
    timm.models.save_for_hf(model, str(tmp_path / "net"), safe_serialization=True)
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    config["pretrained_cfg"]["input_size"] = [3, 64, 64]
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    options = ("build", tmp_path / "net", "--dtype", "float16", "--output", tmp_path / "out", "--force")
    for kind in ("onnx", "pytorch"):
        assert run_cli(*options, "--export", kind).code == 0
    exports = (tmp_path / "out" / "net-float16.onnx", tmp_path / "out" / "net-float16")
    for path in exports:
        assert "of 65,504" in run_cli("verify", path, "--learngene", tmp_path / "net").stdout
    shutil.rmtree(tmp_path / "net")
    assert "only with the model" in run_cli("verify", exports[0]).stdout
    assert "of 65,504" in run_cli("verify", exports[1]).stdout

    with torch.no_grad():
        model.get_parameter("layer2.0.bn1.weight").fill_(60_000)
    timm.models.save_for_hf(model, str(tmp_path / "net"), safe_serialization=True)
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    for kind in ("onnx", "pytorch"):
        done = run_cli(*options, "--export", kind)
        assert done.code == 1
        assert "layer2.0.bn1 exceeds 65,504" in done.stderr


def test_what_torch_lacks_in_float16_is_watched_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = torch.nn.Linear(4, 4)
            torch.nn.init.constant_(self.large.weight, 20_000)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.dtype == torch.float16:
                raise RuntimeError("\"upsample\" not implemented for 'Half'")
            logits: torch.Tensor = self.large(images)
            return logits

    watch = Watch()
    runner = one_by_one(torch_runner(lambda depth: Picky(), watch), watch)
    assert np.isfinite(runner(None, np.full((2, 4), 0.5, np.float32))).all()
    assert watch.largest == pytest.approx(40_000, rel=1e-3)
    with pytest.raises(VerificationError, match="large exceeds"):
        runner(None, np.ones((1, 4), np.float32))


def test_watch_notes_the_first_place() -> None:
    watch = Watch()
    for place, peak in (("a", 3.0), ("b", 65_504.0), ("c", math.nan), ("d", math.inf)):
        watch.see(place, peak)
    assert (watch.largest, watch.where, watch.overflow) == (65_504.0, "b", "c")
    with pytest.raises(VerificationError, match="c at depth 3 exceeds"):
        watch.check(3)
