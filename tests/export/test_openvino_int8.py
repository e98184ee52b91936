"""OpenVINO's folders of whole numbers, made by NNCF: what they hold, how far off they are, and what is refused."""

import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tleg
from tests.conftest import make_learngene
from tests.export.conftest import relative_error
from tests.export.test_quantised import SIZE, Images, calm
from tleg.errors import InputError
from tleg.export import formats
from tleg.export.backend import backend_of
from tleg.export.build import BuildStep, BuiltExport, build_exports
from tleg.export.comparison import noise
from tleg.export.formats import FORMATS
from tleg.export.interface import Interface
from tleg.export.openvino.core import openvino_core
from tleg.export.openvino.quantised import import_nncf
from tleg.export.openvino.reading import GRAPH, open_folder
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.family.file import read_device
from tleg.latency.benchmark import measure_latency
from tleg.latency.precision import _time
from tleg.models.output import Output
from tleg.recipes.benchmark import Benchmark

openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")
DEPTH = 2


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learngene") / "gene.safetensors"
    calm(make_learngene(basis=None)).save(path)
    return path


def build(file: Path, folder: Path, precision: Any = "int8", judge: Any = None, **more: Any) -> BuiltExport:
    request = BuildRequest(file, ("openvino",), (DEPTH,), folder, precision=precision, **more)
    (built,) = build_exports(request, judge=judge)
    return built


@pytest.fixture(scope="module")
def built(file: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltExport:
    return build(file, tmp_path_factory.mktemp("built"), judge=Images())


@pytest.fixture(scope="module")
def exact(file: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltExport:
    return build(file, tmp_path_factory.mktemp("exact"), "float32")


def test_every_matrix_is_of_seven_bits_and_right(built: BuiltExport, file: Path) -> None:
    assert built.path.name == "gene-depth2-int8.openvino"
    model = openvino_core().read_model(built.path / GRAPH)
    kinds = Counter(node.get_type_name() for node in model.get_ops())
    whole = [
        node.get_data()
        for node in model.get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.i8
    ]
    expanded = tleg.load(file).expand_tensors(DEPTH)
    matrices = [values.shape for name, values in expanded.items() if name.endswith("weight") and values.ndim > 1]
    # The mean of the tokens is a product as well, with a matrix of equal parts.
    assert Counter(values.size for values in whole) == Counter([*(int(np.prod(shape)) for shape in matrices), 16])
    assert max(np.abs(values.astype(int)).max() for values in whole) <= 64
    # The images, and what enters each product, of which two in attention have two activations.
    assert kinds["FakeQuantize"] >= len(matrices)
    texts = model.get_rt_info(["tleg", "dtype"]).value
    assert texts == "int8"


def test_it_is_verified_opened_and_named(built: BuiltExport, exact: BuiltExport, file: Path) -> None:
    manifest = built.manifest
    assert manifest.verification is not None
    assert manifest.verification.tolerance == 0.25
    assert 1e-4 < manifest.verification.relative_error < 0.2
    assert {"openvino", "nncf"} <= set(manifest.versions)
    assert "nncf" not in exact.manifest.versions
    assert manifest.beside_float32 is not None
    report = check_path(built.path, file)
    assert report.passed, report.checks
    (images, *_) = Images().batches(SIZE)
    found, expected = (open_folder(each.path, 1).run(images) for each in (built, exact))
    assert 1e-4 < relative_error(found, expected) < 0.1


def test_ranges_are_those_of_the_images_and_are_left_out_of_the_comparison(
    exact: BuiltExport, file: Path, tmp_path: Path
) -> None:
    # Ranges of next to nothing: what noise gives is cut off, and the weights are right all the same.
    made = build(file, tmp_path, judge=Images(scale=1e-3))
    images = noise(SIZE, 4)
    expected = open_folder(exact.path, 1).run(images)
    assert relative_error(open_folder(made.path, 1).run(images), expected) > 0.2
    whole = backend_of(FORMATS["openvino"]).open_comparable(made.path, Output())
    assert relative_error(whole.run(images), expected) < 0.05


def test_progress_counts_the_images_of_each_pass(file: Path, tmp_path: Path) -> None:
    steps: list[BuildStep] = []
    request = BuildRequest(file, ("openvino",), (1,), tmp_path, precision="int8", verify=False)
    build_exports(request, steps.append, Images())
    counted = [step.images for step in steps if step.stage == "calibrating"]
    assert counted[:5] == [(0, 32), (8, 32), (16, 32), (24, 32), (32, 32)]
    assert len(counted) % 5 == 0


def test_latency_is_measured_beside_float32_and_by_itself(built: BuiltExport, exact: BuiltExport) -> None:
    times = _time(FORMATS["openvino"], exact.path, built.path, DEPTH)
    assert times is not None
    assert min(times) > 0
    profile = measure_latency(built.path, Benchmark(seconds=0.2, threads="1"))
    assert (profile.export, profile.dtype, profile.runtime.name) == ("openvino", "int8", "openvino")


def test_a_learngene_is_timed_in_openvino_at_several_depths(file: Path) -> None:
    profile = measure_latency(file, Benchmark(export="openvino", depths="1,2,3", seconds=0.3, threads="1"))
    assert (profile.export, profile.runtime.name, profile.dtype) == ("openvino", "openvino", "float32")
    assert [each.depth for each in profile.points] == [1, 2, 3]
    assert profile.latency(5) is not None
    for options, field in (({"runtime": "onnxruntime"}, "runtime"), ({"provider": "cuda"}, "provider")):
        with pytest.raises(InputError, match="--export openvino is run by OpenVINO") as caught:
            Benchmark(export="openvino", **options)  # type: ignore[arg-type]
        assert caught.value.field == field


def test_nothing_is_reported_to_the_makers_of_nncf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNCF_CI", raising=False)
    assert import_nncf().__name__ == "nncf"
    assert os.environ["NNCF_CI"]


def test_without_nncf_or_images_it_is_refused_before_anything_is_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="--dtype int8 needs images") as caught:
        build(file, tmp_path / "out")
    assert caught.value.field == "calibration"
    with pytest.raises(InputError, match="are entered and left as usual"):
        build(file, tmp_path / "out", judge=Images(), interface=Interface(batch=1))
    with pytest.raises(
        InputError, match=r"no --dtype int8-dynamic: .*; --export onnx takes it, and --export openvino takes"
    ):
        build(file, tmp_path / "out", "int8-dynamic")
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "nncf" else find_spec(name))
    says = r"nncf is not installed, which --export openvino --dtype int8 needs: pip install 'tleg\[openvino\]'$"
    with pytest.raises(InputError, match=says) as caught:
        build(file, tmp_path / "out", judge=Images())
    assert (caught.value.code, caught.value.fields) == ("not-installed", ("dtype", "export"))
    with pytest.raises(InputError, match=says):
        read_device("phone", {"export": "openvino", "dtype": "int8"})
    assert read_device("phone", {"export": "openvino"}).dtype == "float32"
    assert not (tmp_path / "out").exists()
