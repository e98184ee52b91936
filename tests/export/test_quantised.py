"""Exports of whole numbers: what they hold, how far they are from their origin, and what is refused."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import tleg
from tests.conftest import deterministic_values, make_learngene
from tests.export.test_traced_compact import MODELS
from tests.models.test_families import learngene_of
from tleg.errors import InputError, VerificationError
from tleg.export.backend import Source
from tleg.export.build import BuildStep, build_exports
from tleg.export.comparison import noise
from tleg.export.formats import FORMATS
from tleg.export.interface import Interface
from tleg.export.onnx.file import is_traced, opset_of
from tleg.export.onnx.quantised import without_ranges
from tleg.export.onnx.runtime import open_content, open_onnx
from tleg.export.pixels import representable
from tleg.export.plan import BuildRequest
from tleg.export.precision_cost import Calibration, Counted, PrecisionCost
from tleg.export.verify import check_path
from tleg.models.learngene import Learngene

SIZE = (3, 32, 32)


def calm(learngene: Learngene) -> Learngene:
    """The same with matrices as small and norms as near to 1 as those of trained models are."""
    return replace(
        learngene,
        tensors={
            name: (1 + 0.1 * values).astype(np.float32)
            if "norm" in name and name.endswith("weight")
            else (0.1 * values).astype(np.float32)
            for name, values in learngene.tensors.items()
        },
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learngene") / "gene.safetensors"
    calm(make_learngene(basis=None)).save(path)
    return path


@dataclass
class Images:
    """A judge with noise for calibration, which measures nothing but sizes."""

    scale: float = 1.0
    measured: int = 0

    def batches(self, size: tuple[int, int, int]) -> Iterator[np.ndarray[Any, Any]]:
        for seed in range(4):
            yield (2 * self.scale * deterministic_values(f"images{seed}", (8, *size))).astype(np.float32)

    def prepare(self, source: Source) -> Calibration:
        return Calibration("noise", 32, lambda: self.batches(source.input_size))

    def measure(self, entry: Any, before: Path, after: Path, depths: Any, counted: Counted) -> PrecisionCost:
        self.measured += 1
        return PrecisionCost((before.stat().st_size, after.stat().st_size))


def build(file: Path, folder: Path, precision: Any, depth: int = 4, judge: Any = None, **more: Any) -> Path:
    request = BuildRequest(file, ("onnx",), (depth,), folder, precision=precision, **more)
    (built,) = build_exports(request, judge=judge)
    return built.path


def weights(model: onnx.ModelProto) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Whole numbers and scales by the name of the matrix."""
    found = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    ending = "_quantized"
    return {
        name.removesuffix(ending): (values, found[f"{name.removesuffix(ending)}_scale"])
        for name, values in found.items()
        if name.endswith(ending) and values.dtype == np.int8
    }


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
def test_every_matrix_is_rounded_by_half_a_step_at_most_and_everything_else_is_not(
    precision: str, file: Path, tmp_path: Path
) -> None:
    path = build(file, tmp_path, precision, judge=Images())
    assert path.name == f"gene-depth4-{precision}.onnx"
    model = onnx.load(path)
    expanded = tleg.load(file).expand_tensors(4)
    rounded = weights(model)
    matrices = {name for name, values in expanded.items() if name.endswith("weight") and values.ndim == 2}
    convolutions = {"patch_embed.proj.weight"} if precision == "int8" else set()
    assert set(rounded) == matrices | convolutions
    for name in matrices:
        values, scale = rounded[name]
        exact = expanded[name].T
        assert scale.shape == (exact.shape[1],)
        assert np.abs(values).max() <= 64  # Seven bits.
        assert (np.abs(values * scale - exact) <= 0.501 * scale).all()
    kinds = Counter(node.op_type for node in model.graph.node)
    products = 4 * 4 + 1
    attention_and_mean = 2 * 4 + 1
    assert kinds["LayerNormalization"] == 2 * 4 + 1
    assert kinds["Softmax"] == 4
    if precision == "int8":
        assert kinds["MatMul"] == products + attention_and_mean  # Which stay exact.
        assert kinds["QuantizeLinear"] == products + 1
    else:
        assert kinds["MatMulInteger"] == products
        assert kinds["MatMul"] == attention_and_mean
        assert kinds["Conv"] == 1
    metadata = {each.key: each.value for each in model.metadata_props}
    assert metadata["dtype"] == precision
    assert metadata["format"] == "tleg.onnx"
    assert model.producer_version.startswith(tleg.__version__)
    assert "onnxruntime " in model.producer_version


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
def test_what_was_written_is_verified_again_and_wrong_weights_are_found(precision: str, file: Path, tmp_path: Path) -> None:
    path = build(file, tmp_path, precision, judge=Images())
    report = check_path(path, file)
    assert report.passed, report.checks
    assert report.verification is not None
    assert report.verification.tolerance == 0.25
    assert 1e-4 < report.verification.relative_error < 0.2
    model = onnx.load(path)
    for item in model.graph.initializer:
        if item.name == "head.weight_quantized":
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(item)[::-1]), item.name))
    path.write_bytes(model.SerializeToString())
    found = {check.name: check.outcome for check in check_path(path, file).checks}
    assert found == {"bytes": "failed", "graph": "passed", "runs": "passed", "lineage": "passed", "reference": "failed"}


def test_ranges_are_those_of_the_images_and_are_left_out_of_the_comparison(file: Path, tmp_path: Path) -> None:
    # Ranges of next to nothing: what noise gives is cut off, and the weights are right all the same.
    path = build(file, tmp_path, "int8", judge=Images(scale=1e-3))
    images = noise(SIZE, 4)
    exact = build(file, tmp_path / "exact", "float32")
    expected = open_onnx(exact).run(images)
    cut = open_onnx(path).run(images)
    whole = open_content(path, without_ranges(path)).run(images)
    scale = np.abs(expected).max()
    assert np.abs(cut - expected).max() > 0.2 * scale
    assert np.abs(whole - expected).max() < 0.05 * scale


def test_progress_counts_the_images(file: Path, tmp_path: Path) -> None:
    steps: list[BuildStep] = []
    build_exports(BuildRequest(file, ("onnx",), (2,), tmp_path, precision="int8"), steps.append, Images())
    assert [step.images for step in steps if step.stage == "calibrating"] == [(0, 32), (8, 32), (16, 32), (24, 32), (32, 32)]
    assert [step.stage for step in steps if step.images is None] == ["loading", "writing", "verifying", "measuring", "done"]
    assert steps[-1].built is not None
    beside = steps[-1].built.manifest.beside_float32
    assert beside is not None
    assert beside.bytes[1] < 0.55 * beside.bytes[0]


def test_what_pytorch_traces_is_quantised_as_well(tmp_path: Path) -> None:
    file = tmp_path / "swin.safetensors"
    learngene_of(*MODELS["swin"]).save(file)
    path = build(file, tmp_path, "int8-dynamic", depth=1)
    model = onnx.load(path)
    assert is_traced(model)
    assert Counter(node.op_type for node in model.graph.node)["MatMulInteger"] >= 8
    assert check_path(path, file).passed


PIXELS = Interface(input="uint8", layout="nhwc", softmax=True, top=3)


@pytest.mark.parametrize(
    ("precision", "interface"),
    [
        ("int8", replace(PIXELS, batch=2, opset=17)),
        ("int8", replace(PIXELS, opset=21, resize="inside", top=None)),
        ("int8-dynamic", PIXELS),
        ("int8-dynamic", Interface(layout="nhwc", top=1, output_names=("best", "logits"))),
    ],
)
def test_what_is_quantised_is_entered_and_left_as_asked(
    precision: str, interface: Interface, file: Path, tmp_path: Path
) -> None:
    usual = build(file, tmp_path, precision, judge=Images())
    path = build(file, tmp_path, precision, judge=Images(), interface=interface)
    # The same network: as many whole numbers, and of the same pixels the same logits.
    model = onnx.load(path)
    assert opset_of(model) == interface.opset
    assert {name: values.tolist() for name, (values, _) in weights(model).items()} == {
        name: values.tolist() for name, (values, _) in weights(onnx.load(usual)).items()
    }
    own = open_onnx(usual)
    images = representable(noise(SIZE, 4), interface, own.preprocessing)
    expected, found = own.run(images), open_onnx(path).run(images)
    # Rounding differs by a step here and there where a norm was computed in another order or a batch was another.
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    # What leaves the file is compared with those logits when it is run, and pictures with Pillow's.
    report = check_path(path, file)
    assert report.passed, report.checks
    assert report.verification is not None
    assert (report.verification.pictures is not None) == (interface.resize == "inside")


def test_what_is_traced_and_quantised_takes_pixels(tmp_path: Path) -> None:
    file = tmp_path / "swin.safetensors"
    learngene_of(*MODELS["swin"]).save(file)
    path = build(file, tmp_path, "int8-dynamic", depth=1, interface=replace(PIXELS, batch=2, opset=18))
    report = check_path(path, file)
    assert report.passed, report.checks
    assert opset_of(onnx.load(path)) == 18


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        ("onnx-compact", "int8", "onnx-compact has no --dtype int8: .* --export onnx or openvino takes it"),
        ("onnx-elastic", "int8-dynamic", "onnx-elastic has no --dtype int8-dynamic: .* --export onnx takes it"),
        (
            "pytorch",
            "int8",
            "pytorch has no --dtype int8: timm computes with fractions alone; --export onnx or openvino takes it",
        ),
    ],
)
def test_kinds_that_cannot_be_quantised_say_which_can(
    kind: str, dtype: str, message: str, file: Path, tmp_path: Path
) -> None:
    more = {"calibration": "fashion-mnist"} if dtype == "int8" else {}
    with pytest.raises(InputError, match=message) as error:
        tleg.build(file, [4], [kind], tmp_path / "out", dtype=dtype, **more)  # type: ignore[arg-type]
    assert error.value.fields[0] == "dtype"
    assert not (tmp_path / "out").exists()


def test_a_folder_of_weights_takes_the_same_types() -> None:
    assert FORMATS["onnx"].takes("folder", "int8")
    assert FORMATS["onnx"].takes("folder", "int8-dynamic")
    assert not FORMATS["onnx"].takes("folder", "int8-terms")


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"dtype": "int8"}, "missing", "calibration"),
        ({"dtype": "int8-dynamic", "calibration": "fashion-mnist"}, "conflict", "calibration"),
        ({"dtype": "float32", "data": "fashion-mnist"}, "conflict", "data"),
        ({"dtype": "int8-dynamic", "max_drop": 0.1}, "missing", "max-drop"),
        ({"dtype": "int8-dynamic", "limit": 10}, "missing", "limit"),
        ({"dtype": "int8-dynamic", "calibration_images": 10}, "missing", "calibration-images"),
        ({"dtype": "int8", "calibration": "fashion-mnist", "calibration_images": 0}, "out-of-range", "calibration-images"),
        ({"dtype": "int8-dynamic", "data": "unlabelled:x"}, "unsupported", "data"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    options: dict[str, Any], code: str, field: str, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        tleg.build(file, [4], ["onnx"], tmp_path / "out", **options)
    assert (error.value.code, error.value.field) == (code, field)
    assert not (tmp_path / "out").exists()


def test_a_judge_that_refuses_leaves_nothing(file: Path, tmp_path: Path) -> None:
    class Strict(Images):
        def measure(self, *_: Any) -> PrecisionCost:
            raise VerificationError("too much is lost")

    with pytest.raises(VerificationError, match="too much is lost"):
        build(file, tmp_path / "out", "int8", judge=Strict())
    assert not [*(tmp_path / "out").glob("*")]
