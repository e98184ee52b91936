"""Latency, measured: what is timed and how, from a learngene, exports and folders, and by the program of a bundle."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tleg
from tests.conftest import clean_environment
from tleg.errors import InputError
from tleg.export.formats import PRECISIONS
from tleg.latency import measuring
from tleg.latency.benchmark import measure_latency
from tleg.latency.measuring import WARM_UP_RUNS, interleave, percentile, summarise
from tleg.learngene.device import read_profile
from tleg.recipes.benchmark import DTYPES, Benchmark

Cli = Callable[..., Any]
QUICK: dict[str, Any] = {"seconds": 0.1, "threads": "1"}


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], part: float) -> None:
    assert percentile(sorted(values), part) == pytest.approx(np.quantile(values, part), rel=1e-9)


def test_tails_and_jitter() -> None:
    told = summarise([float(value) for value in range(1, 101)])
    assert (told["runs"], told["median"]) == (100, 50.5)
    assert told["p90"] == pytest.approx(90.1)
    assert told["jitter"] == pytest.approx(told["p99"] - 50.5)


def test_runs_take_turns_and_the_first_do_not_count() -> None:
    now, called = [0.0], list[str]()

    def take(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            called.append(name)
            now[0] += seconds

        return run

    samples = interleave({"a": take("a", 0.01), "b": take("b", 0.03)}, 1.0, clock=lambda: now[0])
    assert samples["a"] == pytest.approx([0.01] * len(samples["a"]))
    assert samples["b"] == pytest.approx([0.03] * len(samples["b"]))
    assert len(samples["a"]) == len(samples["b"]) >= 10
    counted = len(samples["a"]) + len(samples["b"])
    warm = called[: len(called) - counted]
    assert warm == ["a", "b"] * (len(warm) // 2)
    assert len(warm) // 2 >= WARM_UP_RUNS
    assert called[len(warm) :][:4] == ["a", "b", "b", "a"]  # Each round begins with another one.
    assert sum(samples["a"]) + sum(samples["b"]) == pytest.approx(0.85, abs=0.05)


def test_a_learngene_gives_a_profile(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    saved = tmp_path / "profile.json"
    done = run_cli(
        "benchmark", learngene_file, "--seconds", 0.3, "--threads", 1, "--depths", "2,4,8", "--save-profile", saved
    )
    assert done.code == 0, done.stderr
    header = tleg.read_header(learngene_file)
    known = read_profile(saved)
    known.require(header.sha256 or "", header.image_size)
    assert [each.depth for each in known.points] == [2, 4, 8]
    assert (known.threads, known.batch, known.export, known.runtime.name) == (1, 1, "onnx", "onnxruntime")
    for each in known.points:
        assert 0 < each.median <= each.p90 <= each.p95 <= each.p99
        assert each.runs >= 10
        assert each.open_seconds is not None
        assert each.open_seconds > each.median
        assert each.peak_bytes is not None
        assert 1e4 < each.peak_bytes < 1e9
    assert known.check is not None
    assert known.check.depth == 4
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["depth", "2", "4", "8"]
    refused = run_cli("benchmark", learngene_file, "--save-profile", saved)
    assert refused.code == 2
    assert "exists" in refused.stderr


def test_torch_and_exports_and_folders(learngene_file: Path, tmp_path: Path) -> None:
    built = tleg.build(learngene_file, [3], ["onnx", "onnx-elastic", "pytorch"], tmp_path / "exports", verify=False)
    plain, elastic, folder = (item.path for item in built)
    one = measure_latency(plain, Benchmark(**QUICK))
    assert [each.depth for each in one.points] == [3]
    assert one.learngene == tleg.read_header(learngene_file).sha256
    every = measure_latency(elastic, Benchmark(depths="1,6", **QUICK))
    assert (every.export, [each.depth for each in every.points]) == ("onnx-elastic", [1, 6])
    assert every.points[0].median < every.points[1].median
    own = measure_latency(learngene_file, Benchmark(depths="2", runtime="torch", **QUICK))
    assert (own.runtime.name, own.export, own.points[0].peak_bytes) == ("torch", "pytorch", None)
    for runtime in (None, "onnxruntime"):
        model = measure_latency(folder, Benchmark(runtime=runtime, **QUICK))
        assert model.runtime.name == (runtime or "torch")
        assert [each.depth for each in model.points] == [3]


def test_a_bundle_measures_without_tleg(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    folder = tmp_path / "bundle"
    done = run_cli("benchmark", learngene_file, "--bundle", folder, "--depths", "1,3", "--json")
    assert done.code == 0, done.stderr
    names = ["README.txt", "files.json", "measure.py", "tiny-depth1.onnx", "tiny-depth3.onnx"]
    assert json.loads(done.stdout)["files"] == names
    blocked = "import sys; sys.modules['tleg'] = None; sys.argv[0] = 'measure.py'; import runpy; "
    code = f"{blocked}runpy.run_path({str(folder / 'measure.py')!r}, run_name='__main__')"
    words = [sys.executable, "-c", code, "--seconds", "0.2", "--threads", "1"]
    measured = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=clean_environment(), check=False)
    assert measured.returncode == 0, measured.stderr
    (tmp_path / "profile.json").write_text(measured.stdout)
    known = read_profile(tmp_path / "profile.json")
    assert [each.depth for each in known.points] == [1, 3]
    assert known.learngene == tleg.read_header(learngene_file).sha256
    assert run_cli("benchmark", learngene_file, "--bundle", folder).code == 2
    assert run_cli("benchmark", learngene_file, "--bundle", folder, "--depths", "2", "--force").code == 0
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["tiny-depth2.onnx"]


@pytest.mark.parametrize(
    ("options", "says", "field"),
    [
        ({"provider": "abacus"}, "this onnxruntime has no provider 'abacus', but .*cpu", "provider"),
        ({"depths": "0"}, "depth", "depths"),
        ({"runtime": "torch", "export": "onnx-elastic"}, "--export onnx-elastic is for onnxruntime", "export"),
        ({"batch": 0}, "batch", "batch"),
    ],
)
def test_bad_input_is_one_sentence(options: dict[str, Any], says: str, field: str, learngene_file: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        measure_latency(learngene_file, Benchmark(**{**QUICK, **options}))
    assert caught.value.field == field


def test_what_is_built_in_is_not_asked_for(learngene_file: Path, tmp_path: Path) -> None:
    (built,) = tleg.build(learngene_file, [2], ["onnx"], tmp_path, verify=False)
    for options in ({"image_size": "64"}, {"dtype": "float16"}, {"runtime": "torch"}):
        with pytest.raises(InputError, match="is not for an export: it is as it was built"):
            measure_latency(built.path, Benchmark(**{**QUICK, **options}))
    with pytest.raises(InputError, match="--depths is for learngenes and elastic ONNX files"):
        measure_latency(built.path, Benchmark(depths="3", **QUICK))


def _images(folder: Path) -> Path:
    """Twelve pictures without labels."""
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
    for index, value in enumerate(values):
        Image.fromarray(value).save(folder / f"{index}.png")
    return folder


def _types_of_weights(path: Path) -> set[str]:
    """The number types of the tensors in an ONNX file that have at least 500 numbers."""
    large = (each for each in onnx.load(path).graph.initializer if int(np.prod(each.dims)) >= 500)
    return {onnx.TensorProto.DataType.Name(each.data_type) for each in large}


def test_number_types_are_those_of_exports() -> None:
    assert DTYPES == PRECISIONS


@pytest.mark.parametrize(
    ("dtype", "export", "stored"),
    [
        ("float16", "onnx", "FLOAT16"),
        ("int8", "onnx", "INT8"),
        ("int8-dynamic", "onnx", "INT8"),
        ("int8-terms", "onnx-elastic", "INT8"),
        ("int4-terms", "onnx-compact", "UINT8"),
    ],
)
def test_exports_of_a_number_type_are_measured(
    dtype: str,
    export: str,
    stored: str,
    learngene_file: Path,
    tmp_path: Path,
    run_cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed = list[tuple[set[str], int]]()
    measure = measuring.measure_files

    def watched(entries: list[dict[str, Any]], *arguments: Any) -> list[dict[str, Any]]:
        timed.extend((_types_of_weights(Path(each["path"])), Path(each["path"]).stat().st_size) for each in entries)
        return measure(entries, *arguments)

    monkeypatch.setattr(measuring, "measure_files", watched)
    images = f"unlabelled:{_images(tmp_path / 'images')}"
    more: dict[str, Any] = {"calibration": images, "calibration_images": 5} if dtype == "int8" else {}
    saved = tmp_path / "profile.json"
    known = tleg.benchmark(
        learngene_file, depths=[8], export=export, dtype=dtype, seconds=0.1, threads=1, save_profile=saved, **more
    )
    assert (known.dtype, known.export, [each.depth for each in known.points]) == (dtype, export, [8])
    assert read_profile(saved) == known
    ((weights, size),) = timed
    assert stored in weights
    plain = tleg.build(learngene_file, [8], [export], tmp_path / "plain", verify=False)[0]
    # The weights of so narrow a model are a part of its file alone; the graph takes the rest.
    assert size < 0.9 * plain.path.stat().st_size
    assert str(known).endswith(f", 1 thread, {dtype}")
    shown = run_cli("preview", learngene_file, "--profile", saved, "--depths", "8", "--max-latency", "1s")
    assert f"latency is that of {export} in {dtype}; all else is of float32" in shown.stderr.splitlines()


def test_a_bundle_of_whole_numbers(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    images = _images(tmp_path / "images")
    words = ("--dtype", "int8", "--calibration", f"unlabelled:{images}", "--calibration-images", 4, "--depths", "2,3")
    done = run_cli("benchmark", learngene_file, "--bundle", tmp_path / "bundle", *words)
    assert done.code == 0, done.stderr
    assert json.loads((tmp_path / "bundle" / "files.json").read_text())["about"]["dtype"] == "int8"
    found = sorted((tmp_path / "bundle").glob("*.onnx"))
    assert [path.name for path in found] == ["tiny-depth2-int8.onnx", "tiny-depth3-int8.onnx"]
    assert all("INT8" in _types_of_weights(path) for path in found)


def test_folders_are_measured_in_whole_numbers_by_onnx_runtime_alone(learngene_file: Path, tmp_path: Path) -> None:
    (folder,) = tleg.build(learngene_file, [2], ["pytorch"], tmp_path / "exports", verify=False)
    known = measure_latency(folder.path, Benchmark(runtime="onnxruntime", dtype="int8-dynamic", **QUICK))
    assert (known.dtype, known.runtime.name) == ("int8-dynamic", "onnxruntime")
    with pytest.raises(InputError, match="add --runtime onnxruntime for --dtype int8-dynamic"):
        measure_latency(folder.path, Benchmark(dtype="int8-dynamic", **QUICK))


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"dtype": "int8"}, "missing", "calibration"),
        ({"dtype": "int8-dynamic", "calibration": "fashion-mnist"}, "conflict", "calibration"),
        ({"calibration_images": 9}, "missing", "calibration-images"),
        ({"dtype": "int8-terms"}, "unsupported", "dtype"),
        ({"dtype": "int8-dynamic", "runtime": "torch"}, "conflict", "dtype"),
    ],
)
def test_number_types_that_cannot_be_measured(options: dict[str, Any], code: str, field: str, learngene_file: Path) -> None:
    with pytest.raises(InputError) as caught:
        measure_latency(learngene_file, Benchmark(**{**QUICK, **options}))
    assert (caught.value.code, caught.value.field) == (code, field)
