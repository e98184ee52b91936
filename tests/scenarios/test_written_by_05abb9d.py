"""Learngenes, runs, checkpoints and exports that an earlier version wrote are read, and give the figures that it gave.

The files lie in data/05abb9d; its README.md says how they were made.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from tests.conftest import CommandResult, clean_environment

pytestmark = pytest.mark.usefixtures("forks")

DATA = Path(__file__).parent / "data" / "05abb9d"
MADE_IN = "/of-05abb9d"
FINISHED = "261127-062821-learn-vit-tiny-patch16"
STOPPED_LEARNING = "261127-062826-learn-vit-tiny-patch16"
STOPPED_TUNING = "261127-062847-finetune-linear-depth3"
LINEAR_HASH = "a423a80d2b3c2cb6864fb6d0b9bf9194ef083f6fbb6a7b0d528d96a7b4f27c50"
POLYNOMIAL_HASH = "0d5fcdfd22b1748977ca90b74f64820a64bcf4917f9fad7325b2e5741dc1694e"
LINEAR_TOP1 = {1: 50.0, 2: 50.0, 3: 50.0, 4: 100.0, 5: 100.0}
# What the trainer measured at the end of the fine-tuning.
DESCENDANT_LOSS = 0.0629
# Another version of torch, or another processor, adds in another order: over the nine or eleven steps that are left as well.
TOLERANCE = 2e-5
# Of a bias of keys, see `same_tensors`: 2.7e-5 was seen.
KEY_BIAS_TOLERANCE = 5e-5

Run = Callable[..., CommandResult]


def copy_data(target: Path) -> Path:
    """Copy all of it, as if it had been made in that folder."""
    shutil.copytree(DATA, target)
    for file in (*target.glob("runs/*/*.json"), *target.glob("runs/*/*.jsonl")):
        file.write_text(file.read_text("utf-8").replace(MADE_IN, str(target)), "utf-8")
    return target


@pytest.fixture(scope="module")
def resuming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, subprocess.Popen[str]]]]:
    """Both stopped runs, in a copy of their own, on the way to their end while other tests run."""
    place = copy_data(tmp_path_factory.mktemp("resumed") / "work")
    environment = clean_environment(TLEG_RUNS=str(place / "runs"))
    processes = {
        run: subprocess.Popen(
            [sys.executable, "-m", "tleg.cli", "resume", run, "--json"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for run in (STOPPED_LEARNING, STOPPED_TUNING)
    }
    yield place, processes
    for process in processes.values():
        process.communicate(timeout=120)


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, resuming: object) -> Iterator[Path]:
    """The copy that the other tests read, as working folder and with its runs."""
    folder = copy_data(tmp_path_factory.mktemp("written") / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TLEG_RUNS", str(folder / "runs"))
        yield folder


@pytest.fixture
def report(run_cli: Run) -> Callable[..., Any]:
    """Run a command with --json, which must succeed, and return what it reported."""

    def run(*arguments: object) -> Any:
        done = run_cli(*arguments, "--json")
        assert done.code == 0, done.stderr
        return json.loads(done.stdout)

    return run


def answers(file: Path, images: np.ndarray[Any, Any], **inputs: Any) -> np.ndarray[Any, Any]:
    """The logits of an ONNX export for images, whatever its inputs are called: the first are the images."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    first, *more = (each.name for each in session.get_inputs())
    assert more == list(inputs)
    logits = session.run(None, {first: images, **inputs})[0]
    assert isinstance(logits, np.ndarray)
    return logits


def same_tensors(first: Path, second: Path, tolerance: float) -> None:
    """Assert that two files hold the same tensors.

    tolerance  of what a training ends with; 0 where it is the same bytes

    A bias of keys moves no softmax: its gradient is rounding alone, which the optimizer scales to steps of a usual size, so
    that it depends on the processor.
    """
    before, now = load_file(first), load_file(second)
    assert before.keys() == now.keys()
    for name, values in before.items():
        allowed = np.full(values.shape, tolerance)
        if tolerance and name.endswith("attn.qkv.bias"):
            _, keys, _ = np.split(allowed, 3, axis=-1)
            keys[...] = KEY_BIAS_TOLERANCE
        assert now[name].shape == values.shape, name
        assert (np.abs(now[name] - values) <= allowed).all(), name


def test_headers_say_what_they_said(report: Callable[..., Any]) -> None:
    linear, polynomial = (report("inspect", f"{name}.safetensors") for name in ("linear", "polynomial"))
    assert [each["sha256"] for each in (linear, polynomial)] == [LINEAR_HASH, POLYNOMIAL_HASH]
    assert [each["parameters"] for each in (linear, polynomial)] == [2298, 3106]
    assert linear["basis"] == {"name": "linear", "degree": 1, "boundaries": [], "expanded": ["attention", "mlp", "norm"]}
    assert polynomial["basis"] == {"name": "polynomial", "degree": 2, "boundaries": [], "expanded": ["attention", "mlp"]}
    assert linear["auxiliary"] == {"depth": 4, "sampled_depths": [2, 3, 4]}
    assert polynomial["auxiliary"]["depth"] == 3
    assert linear["reached"]["top1"] == {str(depth): top1 for depth, top1 in LINEAR_TOP1.items()}
    assert polynomial["reached"] == {"data": "images validation", "images": 8, "top1": {"2": 100.0, "3": 100.0, "4": 100.0}}
    assert linear["learned"]["steps"] == 24
    assert linear["learned"]["recipe"]["ema"] == 0.5
    # Versions that knew no EXIF orientation did not turn images.
    assert linear["preprocessing"]["exif"] is False


def test_a_preview_of_the_old_learngenes(report: Callable[..., Any]) -> None:
    for name, top1 in (("linear", [50.0, 100.0]), ("polynomial", [100.0, 100.0])):
        preview = report("preview", f"{name}.safetensors", "--depths", "3,4")
        # Layers of 872 parameters, and 554 around them.
        assert [(each["depth"], each["parameters"]) for each in preview["depths"]] == [(3, 3170), (4, 4042)]
        assert [each["macs"] for each in preview["depths"]] == [6800 + 3 * 17664, 6800 + 4 * 17664]
        assert [each["top1"] for each in preview["depths"]] == top1


def test_descendants_built_now_answer_what_the_old_exports_answer(
    report: Callable[..., Any], place: Path, tmp_path: Path
) -> None:
    kinds = ("pytorch", "onnx", "onnx-compact", "onnx-elastic")
    options = [word for kind in kinds for word in ("--export", kind)]
    report("build", "linear.safetensors", "--depth", "3", *options, "--output", tmp_path)
    report("build", "polynomial.safetensors", "--depth", "2", "--export", "onnx", "--output", tmp_path)
    report("build", "descendant", "--export", "onnx", "--output", tmp_path)

    exports = place / "exports"
    same_tensors(exports / "linear-depth3/model.safetensors", tmp_path / "linear-depth3/model.safetensors", 0)
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype(np.float32)
    for name in ("linear-depth3.onnx", "linear-depth3.compact.onnx", "polynomial-depth2.onnx", "descendant.onnx"):
        old = answers(exports / name, images)
        assert old.shape == (3, 2)
        np.testing.assert_allclose(answers(tmp_path / name, images), old, rtol=0, atol=1e-5, err_msg=name)
    for depth in (1, 4, 9):
        chosen = {"depth": np.array(depth, np.int64)}
        old = answers(exports / "linear.elastic.onnx", images, **chosen)
        np.testing.assert_allclose(answers(tmp_path / "linear.elastic.onnx", images, **chosen), old, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("linear.safetensors", ["header", "tensors"]),
        ("polynomial.safetensors", ["header", "tensors"]),
        ("exports/linear-depth3", ["bytes", "runs", "reference"]),
        ("exports/linear-depth3.onnx", ["bytes", "graph", "runs", "lineage", "reference"]),
        ("exports/linear-depth3.compact.onnx", ["bytes", "graph", "runs", "lineage", "reference"]),
        ("exports/linear.elastic.onnx", ["bytes", "graph", "runs", "lineage", "reference"]),
        ("exports/polynomial-depth2.onnx", ["bytes", "graph", "runs", "lineage", "reference"]),
        ("exports/descendant.onnx", ["bytes", "graph", "runs", "lineage", "reference"]),
        (FINISHED, ["header", "tensors"]),
    ],
)
def test_what_was_written_verifies(report: Callable[..., Any], path: str, names: list[str]) -> None:
    found = report("verify", path)
    assert {each["name"]: each["outcome"] for each in found["checks"]} == dict.fromkeys(names, "passed")
    assert found["passed"] is True


def test_accuracies_are_those_that_were_recorded(report: Callable[..., Any]) -> None:
    for path in ("linear.safetensors", FINISHED):
        found = report("evaluate", path, "--data", "images", "--depths", "1-5")
        assert {each["depth"]: each["top1"] for each in found["results"]} == LINEAR_TOP1
    for path in ("descendant", "exports/descendant.onnx"):
        (score,) = report("evaluate", path, "--data", "images")["results"]
        assert (score["top1"], score["images"]) == (100.0, 8)
        assert score["loss"] == pytest.approx(DESCENDANT_LOSS, abs=1e-4)


def test_the_list_shows_the_old_runs(report: Callable[..., Any], place: Path) -> None:
    runs = {each["id"]: each for each in report("runs")}
    stand = {name: (run["kind"], run["state"], run["step"], run["steps"], run["best_top1"]) for name, run in runs.items()}
    assert stand == {
        FINISHED: ("learn", "finished", 24, 24, 100.0),
        STOPPED_LEARNING: ("learn", "stopped", 15, 24, 100.0),
        STOPPED_TUNING: ("finetune", "stopped", 13, 24, 100.0),
    }
    assert runs[FINISHED]["result"] == str(place / "linear.safetensors")
    assert runs[STOPPED_LEARNING]["message"] == "stopped after step 15 of 24"


def test_the_events_of_the_old_run_are_shown(run_cli: Run) -> None:
    shown = run_cli("attach", FINISHED, "--plain")
    assert shown.code == 0, shown.stderr
    text = shown.stdout + shown.stderr
    assert "epoch 6/6, step 24/24, loss 0.2485, learning rate 5.21e-04" in text
    assert "epoch 5: top-1 50.00 % at depth 2, 87.50 % at depth 4 (average of the weights)" in text
    assert "depth   5  top-1 100.00 %" in text
    log = run_cli("logs", FINISHED)
    assert (log.code, log.stdout) == (0, "")  # Nothing went wrong, so nothing was printed.


def test_the_stopped_learning_ends_where_the_whole_one_ended(
    resuming: tuple[Path, dict[str, subprocess.Popen[str]]], report: Callable[..., Any]
) -> None:
    folder = finish(resuming, STOPPED_LEARNING)
    result = folder / "exports" / "learngene.safetensors"
    same_tensors(DATA / "linear.safetensors", result, TOLERANCE)
    header = report("inspect", result)
    assert header["reached"]["top1"] == {str(depth): top1 for depth, top1 in LINEAR_TOP1.items()}
    assert header["auxiliary"] == {"depth": 4, "sampled_depths": [2, 3, 4]}


def test_the_stopped_fine_tuning_ends_where_the_whole_one_ended(
    resuming: tuple[Path, dict[str, subprocess.Popen[str]]], report: Callable[..., Any]
) -> None:
    folder = finish(resuming, STOPPED_TUNING)
    same_tensors(DATA / "descendant/model.safetensors", folder / "exports/model/model.safetensors", TOLERANCE)
    (score,) = report("evaluate", folder / "exports" / "model", "--data", "images")["results"]
    assert score["loss"] == pytest.approx(DESCENDANT_LOSS, abs=1e-3)


def finish(resuming: tuple[Path, dict[str, subprocess.Popen[str]]], run: str) -> Path:
    """Wait for a resumed run, check that it went on from where it was stopped, and return its folder."""
    place, processes = resuming
    process = processes[run]
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    folder = place / "runs" / run
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    assert [each["seq"] for each in events] == list(range(len(events)))
    stopped_at = json.loads((DATA / "runs" / run / "state.json").read_text("utf-8"))["step"]
    started = [each["payload"] for each in events if each["type"] == "started"]
    assert [each["step"] for each in started] == [0, stopped_at]
    assert started[1]["resumed_from"] == f"step-{stopped_at:09}"
    state = json.loads((folder / "state.json").read_text("utf-8"))
    assert (state["state"], state["step"], state["steps"]) == ("finished", 24, 24)
    return folder
