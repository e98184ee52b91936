"""Families that are really made: on digits, in seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import tleg
from tests.conftest import CommandResult
from tests.study.documents import MODEL
from tleg.api import build_family
from tleg.errors import InputError
from tleg.family.make import Watching
from tleg.family.progress import read_progress
from tleg.family.results import FamilyResults, read_slices
from tleg.runs.listing import list_runs
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.work import WorkFolder

pytestmark = pytest.mark.usefixtures("forks")

LIGHT = 'batch-size = 50\nworkers = 0\nauto-augment = "none"\nrandom-erasing = 0.0\nflip = 0.0\nlr = 3e-3\n'
FILE = f"""
title = "Digits"
data = "DATA"
license = "mit"

[ancestor]
model = "vit_tiny_patch16_224"
model-arg = {{ {", ".join(f"{name} = {value}" for name, value in MODEL.items())}, depth = 3 }}
epochs = 4
{LIGHT}
[learn]
architecture = "vit_tiny_patch16_224"
model-arg = {{ {", ".join(f"{name} = {value}" for name, value in MODEL.items())} }}
sample-depths = "2,3"
evaluate-depths = "1-3"
initial-matrices = "timm"
depth-warmup = 0.0
epochs = 4
{LIGHT}
[finetune]
{LIGHT}
[devices.watch]
about = "on a wrist"
export = "onnx-compact"

[devices.phone]
part = 0.67
epochs = 1
top1 = 99.9
export = "pytorch"

[devices.server]
depth = 3
"""


class Told:
    """What was said of each step."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def watching(self) -> Watching:
        return Watching(tell=lambda what, text: self.lines.append(f"{what}: {text}"))

    def about(self, word: str) -> list[str]:
        return [line.partition(":")[0] for line in self.lines if word in line]


def runs_of(folder: Path, kind: str) -> list[RunFolder]:
    return [run for run in list_runs(folder / "runs") if read_spec(run).kind == kind]


def make(file: Path, folder: Path, **options: Any) -> tuple[FamilyResults, Told]:
    told = Told()
    return build_family(file, folder, watching=told.watching(), **options), told


@pytest.fixture(scope="module")
def file(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("file") / "devices.toml"
    file.write_text(FILE.replace("DATA", str(digits)))
    return file


@pytest.fixture(scope="module")
def made(file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FamilyResults, Path]:
    """The whole chain: an ancestor, a learngene, and a file for each device."""
    folder = tmp_path_factory.mktemp("made") / "family"
    results, told = make(file, folder)
    assert told.about("training") == ["ancestor", "learngene", "phone"]
    progress = read_progress(folder)
    assert progress is not None
    assert {name: step.stage for name, step in progress.steps.items()} == dict.fromkeys(
        ("ancestor", "learngene", "watch", "phone", "server"), "done"
    )
    assert (progress.problem, progress.at_work, progress.file) == (None, False, str(file))
    return results, folder


def test_each_device_has_one_verified_file(made: tuple[FamilyResults, Path], digits: Path) -> None:
    results, folder = made
    assert not results.failed
    watch, phone, server = results.devices
    assert (phone.depth, phone.epochs, server.depth) == ("2", 1, "3")
    assert [each.missed for each in results.devices] == [False, phone.top1 is None or phone.top1 < 99.9, False]
    for each in results.devices:
        path = folder / each.path
        assert [item.name for item in (folder / each.name).iterdir() if not item.name.endswith(".manifest.json")] == [
            path.name
        ]
        assert tleg.verify(path).passed
        (score,) = tleg.evaluate(path, digits).values()
        assert each.top1 == pytest.approx(score.top1, abs=0.01)
        assert each.images == 200
        assert each.latency > 0
    (run,) = runs_of(folder, "learn")
    assert len(runs_of(folder, "finetune")) == 1
    assert watch.run is None
    assert (
        results.learngene_sha256 == tleg.read_header(folder / "runs" / run.id / "exports" / "learngene.safetensors").sha256
    )
    # Learned anew here, and as good as the header says; then each depth's cost is the header's.
    assert [each.depth for each in results.depths] == ["1", "2", "3"]
    assert all(each.top1 is not None for each in results.depths)
    assert max(results.depths, key=lambda each: (each.top1 or 0, -each.macs)).depth == watch.depth


def test_what_is_done_is_not_done_again(made: tuple[FamilyResults, Path], file: Path) -> None:
    results, folder = made
    before = {path: path.stat().st_mtime_ns for each in results.devices for path in (folder / each.name).rglob("*")}
    again, told = make(file, folder)
    assert again.devices == results.devices
    assert before == {path: path.stat().st_mtime_ns for each in results.devices for path in (folder / each.name).rglob("*")}
    assert not told.about("training")
    assert not told.about("exporting")
    assert read_slices(folder) == again


def test_what_was_damaged_or_changed_is_made_again(made: tuple[FamilyResults, Path], file: Path, tmp_path: Path) -> None:
    results, folder = made
    (folder / results.devices[0].path).write_bytes(b"")
    other = tmp_path / "devices.toml"
    other.write_text(file.read_text().replace('export = "pytorch"', 'export = "onnx"'))
    again, told = make(other, folder)
    assert told.about("exporting") == ["watch", "phone"]
    assert told.about("training") == []  # What is trained is the same.
    assert again.devices[0].sha256 == results.devices[0].sha256
    assert (again.devices[1].export, again.devices[1].run) == ("onnx", results.devices[1].run)
    assert again.devices[1].top1 == results.devices[1].top1
    assert tleg.verify(folder / again.devices[1].path).passed
    assert not (folder / results.devices[1].path).exists()  # A device has one file.
    restored, told = make(file, folder)
    assert restored.devices[1].sha256 == results.devices[1].sha256


def test_another_training_is_refused_before_anything(made: tuple[FamilyResults, Path], file: Path, tmp_path: Path) -> None:
    _, folder = made
    other = tmp_path / "devices.toml"
    other.write_text(file.read_text().replace("depth-warmup = 0.0\nepochs = 4", "depth-warmup = 0.0\nepochs = 5"))
    with pytest.raises(InputError, match=r"learngene was trained with another epochs \(4, now 5\)"):
        make(other, folder)


def test_report_and_card(made: tuple[FamilyResults, Path]) -> None:
    results, folder = made
    report = (folder / "report.md").read_text()
    for each in results.devices:
        assert f"| {each.name} | {each.depth} |" in report
    assert "99.9 % were wanted" in report or not results.devices[1].missed
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # No network.
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    yaml: Any = import_module("yaml")  # It has no types, and comes with timm.
    card = yaml.safe_load(front)
    assert (card["license"], card["library_name"], card["pipeline_tag"]) == ("mit", "timm", "image-classification")
    values = {each["name"]: each["results"][0]["metrics"][0]["value"] for each in card["model-index"]}
    assert values == {each.name: each.top1 for each in results.devices}
    assert results.learngene_sha256 in body
    slices = json.loads((folder / "slices.json").read_text())
    assert [each["name"] for each in slices["devices"]] == ["watch", "phone", "server"]


def test_one_device_that_fails_leaves_the_others(made: tuple[FamilyResults, Path], tmp_path: Path, digits: Path) -> None:
    (run,) = runs_of(made[1], "learn")
    gene = run.exports / "learngene.safetensors"
    file = tmp_path / "devices.toml"
    most = 4 * tleg.read_header(gene).cost.at(1).parameters + 1000  # No room for the graph.
    devices = f'[devices.tiny]\nmax-size = "{most}"\n[devices.plain]\n'
    file.write_text(f'data = "{digits}"\nlicense = "mit"\nlearngene = "{gene}"\n{devices}')
    found, _ = make(file, tmp_path / "family")
    assert list(found.failed) == ["tiny"]
    assert "against max-size" in found.failed["tiny"]
    assert [each.name for each in found.devices] == ["plain"]
    assert not found.complete
    progress = read_progress(tmp_path / "family")
    assert progress is not None
    assert {name: step.stage for name, step in progress.steps.items()} == {
        "learngene": "done",
        "tiny": "failed",
        "plain": "done",
    }
    assert "tiny failed" in (tmp_path / "family" / "report.md").read_text()


def test_the_command(
    made: tuple[FamilyResults, Path], file: Path, run_cli: Callable[..., CommandResult], tmp_path: Path
) -> None:
    results, folder = made
    done = run_cli("family", file, "--output", folder)
    missed = any(each.missed for each in results.devices)
    assert done.code == int(missed)
    assert str(folder / results.devices[0].path) in done.stdout
    assert "report.html" in done.stderr
    planned = run_cli("family", file, "--dry-run")
    assert planned.stdout.splitlines() == [
        "train     an ancestor, 4 epochs",
        "learn     a learngene of vit_tiny_patch16_224",
        *(f"{name}  once the learngene is there" for name in ("watch", "phone", "server")),
    ]
    missing = run_cli("family", "--output", tmp_path / "none")
    assert (missing.code, missing.stderr) == (2, "tleg: name a file of devices, or images with --data\n")
    assert not (tmp_path / "none").exists()


def test_other_classes_need_fine_tuning(made: tuple[FamilyResults, Path], tmp_path: Path, digits: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(f'data = "{digits}"\nlicense = "mit"\nlearngene = "fashion-mnist"\n[devices.plain]\n')
    with pytest.raises(InputError, match="classes"):
        make(file, tmp_path / "family")
    assert not (tmp_path / "family" / "plain").exists()
    progress = read_progress(tmp_path / "family")
    assert progress is not None
    assert "classes" in str(progress.problem)
    assert progress.steps["plain"].stage == "waiting"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_family_that_was_ended_goes_on(file: Path, tmp_path: Path, child_environment: Any, number: int) -> None:
    folder = tmp_path / "family"
    command = [sys.executable, "-m", "tleg.cli", "family", str(file), "--output", str(folder)]
    with subprocess.Popen(command, env=child_environment(), start_new_session=True, stderr=subprocess.DEVNULL) as child:
        end = time.monotonic() + 120
        while time.monotonic() < end and not runs_of(folder, "learn"):
            time.sleep(0.1)
        os.kill(child.pid, number)
        child.wait(60)
    begun = {run.id for run in list_runs(folder / "runs")}
    assert len(begun) == 2
    results, told = make(file, folder)
    assert [each.name for each in results.devices] == ["watch", "phone", "server"]
    assert not results.failed
    assert begun < {run.id for run in list_runs(folder / "runs")}
    assert len(runs_of(folder, "learn")) == 1  # It went on, or was followed to its end.
    assert told.about("training") == ["learngene", "phone"]


def test_one_command_at_a_time(made: tuple[FamilyResults, Path], file: Path) -> None:
    _, folder = made
    with WorkFolder(folder, "family").at_work(), pytest.raises(InputError, match="another `tleg family` is at work in"):
        make(file, folder)
