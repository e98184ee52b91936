"""Latency, measured: what is timed and how, from a learngene, exports and folders, and by the program of a bundle."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tleg
from tests.conftest import clean_environment
from tleg.errors import InputError
from tleg.latency.benchmark import measure_latency
from tleg.latency.measuring import WARM_UP_RUNS, interleave, percentile, summarise
from tleg.learngene.device import read_profile
from tleg.recipes.benchmark import Benchmark

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
