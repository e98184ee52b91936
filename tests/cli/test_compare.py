"""`tleg compare`: runs side by side, on runs written by hand."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tleg
from tleg.errors import FileFormatError, InputError
from tleg.recipes.io import from_values, to_values
from tleg.runs.events import EventWriter
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, StateName, write_state

RunCli = Callable[..., Any]
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "learn": {"architecture": "vit_tiny_patch16_224", "data": "nowhere", "epochs": 3, "batch-size": 10},
    "train": {"model": "vit_tiny_patch16_224", "data": "nowhere", "epochs": 3, "batch-size": 10},
    "finetune": {"learngene": "gene.safetensors", "data": "nowhere", "epochs": 3, "batch-size": 10, "depth": 3},
}


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runs, where every command looks."""
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def make(
    runs_dir: Path,
    name: str,
    top1: Mapping[int | None, float],
    *,
    kind: str = "learn",
    step: int = 30,
    cosines: bool = False,
    **options: Any,
) -> RunFolder:
    """A run of 30 steps whose evaluations after 10 steps, and at `step`, gave these accuracies, or cosines."""
    given = {key.replace("_", "-"): value for key, value in options.items()}
    recipe = to_values(from_values(kind, {**RECIPES[kind], **given}))
    made = create_run(runs_dir, kind=kind, recipe=recipe, name=name)
    folder = RunFolder(runs_dir / f"run-{name}")
    made.path.rename(folder.path)
    with EventWriter(folder) as writer:
        writer.write("started", {"step": 0, "steps": 30, "epochs": 3, "restart": 0})
        for place, part in ((10, 0.5), (step, 1.0)):
            kept: dict[str, float | None] = {"top1": None, "cosine": 1.0} if cosines else {"top1": 1.0}
            scores = [
                {"depth": depth, **{key: each and value * part for key, each in kept.items()}}
                for depth, value in top1.items()
            ]
            writer.write("step", {"step": place, "steps": 30, "epoch": place // 10, "epochs": 3, "loss": 1.0})
            writer.write("evaluation", {"step": place, "epoch": place // 10, "weights": "model", "scores": scores})
        if step == 30:
            writer.write("finished", {"state": "finished", "reason": "done", "exit_code": 0, "step": 30})
    state: StateName = "finished" if step == 30 else "stopped"
    write_state(folder, RunState(state=state, step=step, steps=30, epochs=3))
    return folder


@pytest.fixture
def four(runs_dir: Path) -> Path:
    """Two arms with two seeds: Chebyshev is 40 and 42 points above linear."""
    for basis, name, base in (("linear", "l", 10.0), ("chebyshev:3", "c", 50.0)):
        for seed, more in ((0, 0.0), (1, 1.0 if name == "l" else 3.0)):
            make(runs_dir, f"{name}{seed}", {3: base + more, 6: base + more + 1}, basis=basis, seed=seed)
    return runs_dir


def document(done: Any) -> dict[str, Any]:
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stable(text: str) -> str:
    """Without the time that a run of this test took: it is short, and none on a fast machine."""
    return "\n".join(line for line in text.split("\n") if not line.startswith("time "))


def test_runs_are_shown_side_by_side(four: Path, run_cli: RunCli, compare: Any) -> None:
    done = run_cli("compare", "run-l0", "run-l1", "run-c0", "run-c1")
    assert (done.code, done.stderr) == (0, "")
    assert max(map(len, done.stdout.split("\n"))) <= 80
    assert "\x1b" not in done.stdout
    compare("compare.txt", stable(done.stdout))


def test_arms_are_paired_by_their_seeds(four: Path, run_cli: RunCli) -> None:
    found = document(run_cli("compare", "run-l0", "run-l1", "run-c0", "run-c1", "--json"))
    assert found["options"] == ["basis", "seed"]
    assert found["depths"] == [3, 6]
    (arms,) = found["arms"]
    assert (arms["first"], arms["second"]) == (["run-c0", "run-c1"], ["run-l0", "run-l1"])
    assert (arms["depths"], arms["result"]["n"], arms["result"]["difference"]) == ([3, 6], 2, 41.0)
    # Differences 40 and 42: a spread of sqrt(2), an error of 1, t = 41 with one degree of freedom.
    assert arms["result"]["t"] == pytest.approx(41.0)
    assert arms["result"]["p"] == pytest.approx(0.015525, abs=1e-6)
    assert arms["corrected"] == arms["result"]["p"]


def test_cosines_are_paired_where_there_are_no_accuracies(runs_dir: Path, run_cli: RunCli) -> None:
    for basis, name, base in (("linear", "l", 0.5), ("chebyshev:3", "c", 0.6)):
        for seed, more in ((0, 0.0), (1, 0.0 if name == "l" else 0.02)):
            make(runs_dir, f"{name}{seed}", {3: base + more, 6: base + more}, basis=basis, seed=seed, cosines=True)
    names = ("run-l0", "run-l1", "run-c0", "run-c1")
    (arms,) = document(run_cli("compare", *names, "--json"))["arms"]
    assert (arms["of"], arms["depths"], arms["result"]["n"]) == ("cosine", [3, 6], 2)
    # Differences 0.1 and 0.12: an error of 0.01, t = 11 with one degree of freedom.
    assert arms["result"]["difference"] == pytest.approx(0.11)
    assert arms["result"]["t"] == pytest.approx(11.0)
    text = run_cli("compare", *names).stdout
    assert "C,D - A,B: +0.110 in cosine, mean over depths 3 and 6" in text
    assert "2 seeds, 95 % from -0.017 to +0.237" in text


def test_what_a_run_says_of_itself(four: Path, run_cli: RunCli) -> None:
    found = document(run_cli("compare", "run-l1", "run-c0", "--json"))["runs"][0]
    assert (found["id"], found["kind"], found["state"], found["seed"]) == ("run-l1", "learn", "finished", 1)
    assert found["top1"] == [{"depth": 3, "top1": 11.0}, {"depth": 6, "top1": 12.0}]
    assert (found["epochs"], found["epochs_in_all"], found["images"]) == (3.0, 3, 300)
    assert found["options"] == {"basis": "linear", "seed": 1}
    # There is no result from which compute and size could be known.
    assert (found["macs"], found["parameters"], found["bytes"]) == (None, None, None)


def test_a_result_says_what_is_stored_and_what_training_took(runs_dir: Path, learngene_file: Path) -> None:
    header = tleg.read_header(learngene_file)
    for name in ("a", "b"):
        folder = make(runs_dir, name, {3: 50.0}, sample_depths="3,6", seed=ord(name))
        folder.exports.mkdir(exist_ok=True)
        shutil.copy(learngene_file, folder.exports / "learngene.safetensors")
    run = tleg.compare_runs(["run-a", "run-b"], runs_dir).runs[0]
    assert run.parameters == tleg.load(learngene_file).parameters
    assert run.bytes == 4 * run.parameters
    # Half of the steps are the warm-up, at the shallowest depth; then depth 3 is drawn twice as often as depth 6.
    drawn = (2 * header.cost.macs.at(3) + header.cost.macs.at(6)) / 3
    assert run.macs == pytest.approx(3 * 300 * (header.cost.macs.at(3) + drawn) / 2, abs=1)
    folder = make(runs_dir, "half", {3: 40.0}, step=15, sample_depths="3,6", seed=3)
    shutil.copy(learngene_file, folder.exports / "learngene.safetensors")
    half = tleg.compare_runs(["run-half", "run-b"], runs_dir).runs[0]
    assert (half.images, half.macs) == (150, 3 * 150 * header.cost.macs.at(3))


def test_what_was_measured_at_the_end_alone_is_shown(runs_dir: Path, learngene_file: Path) -> None:
    reached = tleg.read_header(learngene_file).reached
    assert reached is not None
    learned, tuned = make(runs_dir, "learned", {}), make(runs_dir, "tuned", {}, kind="finetune", depth=4)
    learned.exports.mkdir(exist_ok=True)
    shutil.copy(learngene_file, learned.exports / "learngene.safetensors")
    (tuned.exports / "model").mkdir(parents=True)
    (tuned.exports / "model" / "training.json").write_text(json.dumps({"reached": {"top1": 61.5}}))
    runs = tleg.compare_runs(["run-learned", "run-tuned"], runs_dir).runs
    assert dict(runs[0].top1) == dict(reached.top1)
    assert dict(runs[1].top1) == {4: 61.5}
    # What was measured on the way goes before, and a result that is damaged says nothing.
    make(runs_dir, "both", {3: 40.0})
    (tuned.exports / "model" / "training.json").write_text("{")
    assert [dict(run.top1) for run in tleg.compare_runs(["run-both", "run-tuned"], runs_dir).runs] == [{3: 40.0}, {}]


def test_a_sandwich_computes_three_depths_a_step(runs_dir: Path, learngene_file: Path) -> None:
    macs = tleg.read_header(learngene_file).cost.macs
    for name in ("a", "b"):
        folder = make(runs_dir, name, {3: 50.0}, sample_depths="3,4,6,8", sampling="sandwich", seed=ord(name))
        folder.exports.mkdir(exist_ok=True)
        shutil.copy(learngene_file, folder.exports / "learngene.safetensors")
    run = tleg.compare_runs(["run-a", "run-b"], runs_dir).runs[0]
    assert run.macs == 3 * 150 * (macs.at(3) + macs.at(8) + macs.at(3) + (macs.at(4) + macs.at(6)) // 2)


def test_a_descendant_counts_by_its_learngene(runs_dir: Path, learngene_file: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    for name, depth in (("a", 3), ("b", 6)):
        folder = make(runs_dir, name, {None: 50.0 + depth}, kind="finetune", learngene=str(learngene_file), depth=depth)
        (folder.exports / "model").mkdir(parents=True)
        tensors = {"x": np.zeros((2, 5), "float32"), "y": np.zeros((), "float32")}
        save_file(tensors, folder.exports / "model" / "model.safetensors", {"format": "pt"})
    runs = tleg.compare_runs(["run-a", "run-b"], runs_dir).runs
    macs = tleg.read_header(learngene_file).cost.macs
    assert [run.macs for run in runs] == [3 * 300 * macs.at(3), 3 * 300 * macs.at(6)]
    assert [dict(run.top1) for run in runs] == [{3: 53.0}, {6: 56.0}]
    assert [run.parameters for run in runs] == [11, 11]


def test_a_run_at_work_or_stopped_is_shown_as_far_as_it_is(runs_dir: Path, run_cli: RunCli, compare: Any) -> None:
    make(runs_dir, "whole", {3: 50.0, 6: 52.0})
    make(runs_dir, "half", {3: 40.0, 6: 41.0}, step=20, lr=0.003)
    empty = create_run(
        runs_dir, kind="learn", recipe=to_values(from_values("learn", {**RECIPES["learn"], "data": "nowhere"})), name="x"
    )
    empty.path.rename(runs_dir / "run-empty")
    done = run_cli("compare", "run-whole", "run-half", "run-empty")
    assert done.code == 0
    assert done.stderr == "note: not finished: run-half and run-empty\n"
    compare("compare-unfinished.txt", stable(done.stdout))


def test_kinds_differ_by_what_is_no_default(runs_dir: Path, run_cli: RunCli) -> None:
    make(runs_dir, "learn", {3: 50.0})
    make(runs_dir, "train", {None: 60.0}, kind="train", model_arg={"depth": 3}, layer_decay=0.75)
    found = document(run_cli("compare", "run-learn", "run-train", "--json"))
    assert {"architecture", "model", "model-arg", "layer-decay"} <= set(found["options"])
    assert not {"sampling", "basis", "evaluate-depths", "pretrained"} & set(found["options"])
    assert found["runs"][1]["top1"] == [{"depth": 3, "top1": 60.0}]
    assert found["arms"][0]["result"]["difference"] == 10.0


def test_a_model_of_a_depth_that_is_not_known(runs_dir: Path, run_cli: RunCli) -> None:
    make(runs_dir, "a", {None: 60.0}, kind="train", model="resnet10t")
    make(runs_dir, "b", {None: 61.5}, kind="train", model="resnet10t", lr=0.01)
    assert "B - A: +1.50 points\n  1 seed, so no test\n" in run_cli("compare", "run-a", "run-b").stdout
    assert document(run_cli("compare", "run-a", "run-b", "--json"))["depths"] == [None]


def test_other_data_is_said_and_not_paired(runs_dir: Path, run_cli: RunCli) -> None:
    make(runs_dir, "a", {3: 50.0})
    make(runs_dir, "b", {3: 60.0}, data="elsewhere")
    done = run_cli("compare", "run-a", "run-b")
    assert done.code == 0
    assert done.stderr == (
        "note: the runs are trained on different data (nowhere and elsewhere): their accuracies do not compare\n"
    )
    assert "50.00" in done.stdout
    assert "points" not in done.stdout


def test_the_average_of_weights_counts_and_the_best_where_a_run_keeps_it(runs_dir: Path) -> None:
    for name in ("last", "best"):
        folder = make(runs_dir, name, {3: 50.0}, result=name)
        with EventWriter(folder) as writer:
            for weights, value in (("ema", 55.0), ("model", 20.0), ("ema", 54.0), ("model", 21.0)):
                step = 29 if value in (55.0, 20.0) else 30
                writer.write("evaluation", {"step": step, "weights": weights, "scores": [{"depth": 3, "top1": value}]})
    runs = tleg.compare_runs([runs_dir / "run-last", runs_dir / "run-best"]).runs
    assert [run.top1[3] for run in runs] == [54.0, 55.0]


def test_technical_options_are_shown_and_make_no_arm(runs_dir: Path) -> None:
    for name, seed, workers in (("a", 0, 1), ("b", 1, 4)):
        make(runs_dir, name, {3: 50.0}, seed=seed, workers=workers)
    comparison = tleg.compare_runs(["run-a", "run-b"], runs_dir)
    assert comparison.options == ("seed", "workers")
    assert comparison.arms == ()


def test_many_runs_and_long_values_fit_eighty_columns(runs_dir: Path, run_cli: RunCli) -> None:
    for index in range(5):
        make(runs_dir, f"r{index}", {3: 50.0 + index}, data=f"/a/rather/long/path/to/some/data-{index}", seed=index)
    done = run_cli("compare", *(f"run-r{index}" for index in range(5)))
    assert done.code == 0
    assert max(map(len, done.stdout.split("\n"))) <= 80
    assert "…/data-4"[-6:] in done.stdout


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["run-l0"], "name two runs or more to compare"),
        (["run-l0", "run-l0"], "name two runs or more to compare"),
        (["run-l0", "run-x"], "no run 'run-x' in "),
        (["run-l0", "run-c"], "'run-c' could be run-c1, run-c0; type more of the id"),
        ([], "Missing argument 'RUN...'"),
    ],
)
def test_what_is_no_comparison_is_refused(four: Path, run_cli: RunCli, names: list[str], says: str) -> None:
    done = run_cli("compare", *names)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("tleg: ")
    assert says in done.stderr


def test_errors_of_the_function(four: Path) -> None:
    with pytest.raises(InputError) as caught:
        tleg.compare_runs(["run-l0"], four)
    assert (caught.value.code, caught.value.fields) == ("missing", ("run",))
    (four / "run-c0" / "spec.json").write_text("{")
    with pytest.raises(FileFormatError):
        tleg.compare_runs(["run-l0", "run-c0"], four)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b'\x10\0\0\0\0\0\0\0{"x":{"shape":1}}'])
def test_a_damaged_result_is_no_figure(runs_dir: Path, content: bytes) -> None:
    for name in ("a", "b"):
        folder = make(runs_dir, name, {None: 1.0}, kind="train", model_arg={"depth": 3}, seed=ord(name))
        (folder.exports / "model").mkdir(parents=True)
        (folder.exports / "model" / "model.safetensors").write_bytes(content)
    assert [run.parameters for run in tleg.compare_runs(["run-a", "run-b"], runs_dir).runs] == [None, None]


def test_comparing_loads_neither_numpy_nor_torch(four: Path, run_python: Any) -> None:
    code = (
        "import sys; from tleg.cli.app import run; code = run(['compare', 'run-l0', 'run-c0'])\n"
        "print(code, sorted({'numpy', 'torch', 'timm', 'onnx', 'safetensors', 'PIL'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.splitlines()[-1] == "0 []"
