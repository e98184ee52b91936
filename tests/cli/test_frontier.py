"""`tleg preview --plot` and `--svg`: accuracy over a cost."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.latency.test_device import ABOUT, RUNTIME, point
from tests.test_tuned import add_run
from tleg.cli.frontier import PlotOptions
from tleg.latency.measuring import profile_of
from tleg.learngene.container import read_file
from tleg.learngene.frontier import AXES
from tleg.recipes.fields import options_of
from tleg.serialize import to_json


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")


@pytest.fixture
def profile(learngene_file: Path, tmp_path: Path) -> Path:
    """What a device takes for the learngene: 1 ms, and another for each layer."""
    about = {**ABOUT, "image_size": [32, 32], "learngene": read_file(learngene_file).header.sha256}
    points = [point(depth, 0.001 * (1 + depth)) for depth in (2, 7, 12)]
    path = tmp_path / "board.json"
    path.write_text(to_json(profile_of(points, about, RUNTIME, 1, 1)), encoding="utf-8")
    return path


def test_the_plot_is_as_wide_as_the_terminal_and_stands_in_place_of_the_table(run_cli: Any, learngene_file: Path) -> None:
    done = run_cli("preview", learngene_file, "--plot", "--max-params", "250k")
    assert done.code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "top-1 in percent over parameters"
    assert len(lines) == 1 + 14 + 1
    assert max(map(len, lines)) == 60
    assert sum(line.count("●") + line.count("○") + line.count("◆") for line in lines[1:13]) == 4
    assert lines[-1] == "● trained depth   ◆ chosen   ┆ --max-params 250k"
    assert "GMACs" not in done.stdout
    assert "\x1b" not in done.stdout
    assert "without an accuracy, so not shown: depth 1–3, 5, 7, 9–11, 13–24" in done.stderr.splitlines()
    assert "over the budget: depth 9–24" in done.stderr.splitlines()
    assert "deepest that fits: 8" in done.stderr.splitlines()


@pytest.mark.parametrize(
    ("axis", "label", "tick"),
    [
        ("macs", "MACs of an image", "2 M"),
        ("size", "size of the float32 weights", "500 kB"),
        ("memory", "memory of inference, batch 1", "500 kB"),
        ("latency", "latency, batch 1", "5 ms"),
    ],
)
def test_other_costs(run_cli: Any, learngene_file: Path, profile: Path, axis: str, label: str, tick: str) -> None:
    done = run_cli("preview", learngene_file, "--plot", "--axis", axis, "--profile", profile)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"top-1 in percent over {label}"
    assert tick in done.stdout


def test_the_option_offers_every_cost() -> None:
    (axis,) = (each for each in options_of(PlotOptions) if each.name == "axis")
    assert axis.choices == tuple(AXES)


def test_the_picture_is_written_beside_what_is_printed(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    plain = run_cli("preview", learngene_file, "--json")
    path = tmp_path / "it.svg"
    arguments = ("preview", learngene_file, "--svg", path, "--axis", "size", "--max-size", "1MB")
    done = run_cli(*arguments, "--json")
    assert (done.code, done.stderr) == (0, f"drawn: {path}\n")
    assert done.stdout.splitlines()[:4] == plain.stdout.splitlines()[:4]
    words = [each.text for each in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert {f"{learngene_file.name}: accuracy over size of the float32 weights", "--max-size 1MB"} <= set(words)
    again = run_cli(*arguments)
    assert (again.code, "exists" in again.stderr, again.stdout) == (2, True, "")
    assert run_cli(*arguments, "--force").code == 0


def test_what_runs_reached_by_fine_tuning_is_drawn_where_it_is_asked_for(
    run_cli: Any, learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_dir = tmp_path / "runs"
    for depth, top1 in ((2, 83.0), (3, 84.0), (8, 86.0)):
        add_run(runs_dir, learngene_file, depth, top1)
    path = tmp_path / "it.svg"
    done = run_cli("preview", learngene_file, "--plot", "--svg", path, "--tuned", "--runs-dir", runs_dir)
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.count("▲") for line in lines[1:13]) == 3
    assert "▲ fine-tuned on digits" in lines[-1]
    words = [each.text for each in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert "fine-tuned on digits" in words
    monkeypatch.setenv("TLEG_RUNS", str(runs_dir))
    assert run_cli("preview", learngene_file, "--plot", "--tuned").stdout == done.stdout
    assert "▲" not in run_cli("preview", learngene_file, "--plot").stdout
    few = run_cli("preview", learngene_file, "--plot", "--tuned", "--depths", "3-7")
    assert "fine-tuned at depths or sizes that are not shown: depth 8 at 32, 2 at 32" in few.stderr.splitlines()
    # Where no accuracy is known but theirs, they are drawn alone.
    alone = run_cli("preview", learngene_file, "--plot", "--tuned", "--depths", "2-3")
    assert (alone.code, sum(line.count("▲") for line in alone.stdout.splitlines()[1:13])) == (0, 2)


def test_no_run_that_tuned_it_is_said(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    done = run_cli("preview", learngene_file, "--plot", "--tuned", "--runs-dir", tmp_path / "runs")
    said = f"no run in {tmp_path / 'runs'} has fine-tuned a descendant of {learngene_file.name} and measured it"
    assert (done.code, said in done.stderr.splitlines()) == (0, True)
    assert done.stdout == run_cli("preview", learngene_file, "--plot").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--plot", "--json"), "--plot draws a picture in place of what --json prints; --svg FILE draws one beside it"),
        (("--plot", "--pick", "--max-params", "1M"), "--plot draws a picture in place of what --pick prints"),
        (("--axis", "size"), "--axis belongs to --plot or --svg"),
        (("--force",), "--force belongs to --svg"),
        (("--tuned",), "--tuned belongs to --plot or --svg"),
        (("--plot", "--runs-dir", "."), "--runs-dir belongs to --tuned"),
        (("--plot", "--axis", "latency"), "--axis latency needs a device: --profile FILE"),
        (("--plot", "--axis", "speed"), "speed"),
        (("--svg", "it.png"), "it.png does not end in .svg, which is what is written"),
        (("--plot", "--depths", "1-3"), "there is nothing to draw: no accuracy of depth 1–3 is known: tleg evaluate"),
        (("--svg", "it.svg", "--depths", "1-3"), "there is nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    run_cli: Any,
    learngene_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = run_cli("preview", learngene_file, *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_terminal_sees_colours_unless_it_wants_none(learngene_file: Path, child_environment: Any) -> None:
    def shown(**variables: str) -> str:
        leader, follower = pty.openpty()
        environment = child_environment(TERM="xterm", **variables)
        command = [sys.executable, "-m", "tleg.cli", "preview", str(learngene_file), "--plot", "--max-params", "250k"]
        subprocess.run(command, stdout=follower, stderr=subprocess.DEVNULL, env=environment, check=True)
        os.close(follower)
        text = os.read(leader, 65536).decode()
        os.close(leader)
        return text

    assert "\x1b[1m◆\x1b[0m" in shown(NO_COLOR="")
    assert "\x1b" not in shown(NO_COLOR="1")
