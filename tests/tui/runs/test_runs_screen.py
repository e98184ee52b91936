"""The screen of all runs, on copies of a finished run and on one that really trains."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import LARGE, SMALL, Start, eventually, screen_text
from tests.tui.runs.test_runs_watching import Copy
from tests.tui.runs.test_runs_watching import copy_run as copy_run
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import observe
from tleg_tui.app import Workbench
from tleg_tui.common.dialogs import ConfirmScreen, PickRunScreen
from tleg_tui.export.screen import ExportScreen
from tleg_tui.runs.screen import RunsScreen
from tleg_tui.runs.table import RunTable
from tleg_tui.workbench.screen import WorkbenchScreen


class Opened:
    """What the screen asked the application to open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[tuple[str, str | None]] = []
        self.trainings: list[tuple[str, dict[str, Any]]] = []
        monkeypatch.setattr(Workbench, "open_run", self._run)
        monkeypatch.setattr(Workbench, "open_training", self._training)

    def _run(self, folder: RunFolder, compare: RunFolder | None = None) -> None:
        self.runs.append((folder.id, None if compare is None else compare.id))

    def _training(self, kind: str, values: dict[str, Any]) -> None:
        self.trainings.append((kind, values))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


def runs_screen(pilot: Pilot[None]) -> RunsScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    return screen


def table(pilot: Pilot[None]) -> RunTable:
    return runs_screen(pilot).query_one(RunTable)


def names(pilot: Pilot[None]) -> list[str]:
    return [line.key.name for line in table(pilot).lines]


def chosen(pilot: Pilot[None]) -> str | None:
    row = runs_screen(pilot).chosen
    return None if row is None else row.id


def toasts(pilot: Pilot[None]) -> str:
    return "\n".join(note.message for note in pilot.app._notifications)


def offered(pilot: Pilot[None]) -> set[str]:
    actions = ("open", "mark", "compare", "stop", "resume", "export", "again", "delete", "filter")
    return {action for action in actions if runs_screen(pilot).check_action(action, ())}


async def open_runs(pilot: Pilot[None], count: int | None = None) -> None:
    await pilot.press("r")
    await eventually(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
    await eventually(pilot, lambda: pilot.app.runs.read)  # type: ignore[attr-defined]
    if count is not None:
        await look(pilot, lambda: len(names(pilot)) == count)


async def look(pilot: Pilot[None], condition: Callable[[], Any], seconds: float = 120.0) -> None:
    """Look at the runs again and again until a condition holds."""

    def again() -> Any:
        pilot.app.look_at_runs()  # type: ignore[attr-defined]
        return condition()

    await eventually(pilot, again, seconds)


def driven(start: Start, flow: Callable[[Pilot[None]], Any], size: tuple[int, int] = SMALL, **options: Any) -> None:
    async def run() -> None:
        async with start(size=size, **options) as pilot:
            await flow(pilot)

    asyncio.run(run())


def test_without_runs_it_says_how_to_start_one(start: Start) -> None:
    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot)
        text = screen_text(pilot)
        assert "No runs yet." in text
        assert "f  to fine-tune" in text
        assert "l  to train an auxiliary model" in text
        assert offered(pilot) == set()
        await pilot.press("enter", "D", "s", "x", "c", "space", "n", "R", "slash", "down", "end")
        assert isinstance(pilot.app.screen, RunsScreen)
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))

    driven(start, flow)


def test_each_run_is_a_line_with_its_figures(start: Start, copy_run: Copy) -> None:
    copy_run("261120-101010-learn-digits", age=3 * 3600, message="top-1 50.00 %")
    copy_run("261121-101010-learn-failed", age=65, state="failed", message="the disk is full", result=None)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 2)
        text = screen_text(pilot)
        first, second = (line for line in text.splitlines() if "2/2" in line)
        row = pilot.app.runs.rows[0]  # type: ignore[attr-defined]
        assert first.split()[:5] == ["▸", "✗", "failed", "learn-failed", "2/2"]
        assert second.split()[:4] == ["✓", "finished", "learn-digits", "2/2"]
        assert first.split()[-3:] == [f"{row.top1:.2f}", "1", "min"]
        assert f"reached     best {row.top1:.2f} %, after epoch " in text
        assert second.split()[-2:] == ["3", "h"]
        assert "█" in first
        assert "261121-101010-learn-failed   ✗ failed" in text
        assert "says        the disk is full" in text
        assert "checkpoint  step-" in text
        assert "command     tleg learn" in text
        await pilot.press("down")
        await eventually(pilot, lambda: "says        top-1 50.00 %" in screen_text(pilot))
        assert "result      /" in screen_text(pilot)

    driven(start, flow)


def test_a_mean_over_depths_is_told_from_the_accuracy_of_one_model(start: Start, copy_run: Copy) -> None:
    folder = copy_run("one")
    scores = [{"depth": depth, "top1": 90.0 + depth} for depth in (3, 6)]
    payload = {"step": 10, "epoch": 2, "weights": "model", "scores": scores}
    with folder.events_file.open("a") as file:
        file.write(json.dumps({"v": 1, "seq": 999, "t": 1.0, "type": "evaluation", "payload": payload}) + "\n")

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        text = screen_text(pilot)
        assert "⌀94.50" in next(line for line in text.splitlines() if "▸" in line)
        assert "reached     best ⌀94.50 %, mean of 2 depths, after epoch 2" in text

    driven(start, flow)


def test_a_wide_terminal_shows_more(start: Start, copy_run: Copy) -> None:
    copy_run("one")

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        titles = next(line for line in screen_text(pilot).splitlines() if "epochs" in line).split()
        assert titles == ["state", "run", "kind", "data", "from", "epochs", "loss", "top-1", "left", "age"]
        line = next(line for line in screen_text(pilot).splitlines() if "▸" in line)
        assert line.split()[:5] == ["▸", "✓", "finished", "one", "learn"]
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        titles = next(line for line in screen_text(pilot).splitlines() if "epochs" in line).split()
        assert titles == ["state", "run", "epochs", "loss", "top-1", "left", "age"]

    driven(start, flow, LARGE)


def test_typing_narrows_down_and_escape_widens(start: Start, copy_run: Copy, opened: Opened) -> None:
    for number, state in enumerate(("finished", "failed", "stopped", "finished")):
        copy_run(f"run{number}", age=number, state=state)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 4)
        await pilot.press("slash", *"finished")
        await eventually(pilot, lambda: names(pilot) == ["run0", "run3"])
        await pilot.pause()
        assert "2 of 4" in screen_text(pilot)
        await pilot.press("space", *"run3")  # A digit alone may stand in a date, too.
        await eventually(pilot, lambda: names(pilot) == ["run3"])
        assert chosen(pilot) == "run3"
        await pilot.press("x")
        await eventually(pilot, lambda: "No run has these words.  esc shows all of them again." in screen_text(pilot))
        await pilot.press(*["backspace"] * 6)
        await eventually(pilot, lambda: names(pilot) == ["run0", "run3"])
        await pilot.press("down", "enter")
        assert (chosen(pilot), opened.runs) == ("run3", [])
        await pilot.press("enter")
        assert opened.runs == [("run3", None)]
        await pilot.press("escape")
        await eventually(pilot, lambda: names(pilot) == ["run0", "run1", "run2", "run3"])
        assert chosen(pilot) == "run3"
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))

    driven(start, flow)


def test_two_runs_are_compared(start: Start, copy_run: Copy, opened: Opened) -> None:
    for number in range(3):
        copy_run(f"run{number}", age=number)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 3)
        await pilot.press("space", "down", "down")
        assert "● ✓ finished run0" in screen_text(pilot).replace("●  ", "● ")
        await pilot.press("c")
        assert opened.runs == [("run2", "run0")]
        await pilot.press("home", "space", "end", "c")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, PickRunScreen))
        await pilot.press(*"run1", "enter")
        await eventually(pilot, lambda: len(opened.runs) == 2)
        assert opened.runs[1] == ("run2", "run1")

    driven(start, flow)


def test_a_click_chooses_and_a_second_one_opens(start: Start, copy_run: Copy, opened: Opened) -> None:
    for number in range(3):
        copy_run(f"run{number}", age=number)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 3)
        await pilot.click(RunTable, offset=(20, 2))
        assert (chosen(pilot), opened.runs) == ("run2", [])
        await pilot.click(RunTable, offset=(20, 1), times=2)
        await eventually(pilot, lambda: opened.runs == [("run1", None)])
        await pilot.click(RunTable, offset=(20, 4))  # Below the last line.
        assert chosen(pilot) == "run1"

    driven(start, flow)


def test_a_recipe_is_used_again(start: Start, copy_run: Copy, opened: Opened) -> None:
    folder = copy_run("one")

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        await pilot.press("n")
        assert opened.trainings == [("learn", dict(read_spec(folder).recipe))]

    driven(start, flow)


def test_a_learngene_is_exported_at_its_auxiliary_depth(start: Start, copy_run: Copy) -> None:
    folder = copy_run("one")
    result = next(folder.exports.glob("*.safetensors"))
    for state in (folder.state_file,):
        state.write_text(json.dumps({**json.loads(state.read_text()), "result": str(result)}))
    copy_run("two", age=60, result="/nowhere/gene.safetensors")

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 2)
        await pilot.press("x")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
        await pilot.pause()
        text = screen_text(pilot)
        assert f"{folder.id}-depth4.onnx" in text
        assert "classes   10" in text
        await pilot.press("escape", "down", "x")
        await eventually(pilot, lambda: "the result of two is no longer at /nowhere" in toasts(pilot))

    driven(start, flow)


def test_a_run_is_deleted_after_a_question(start: Start, copy_run: Copy) -> None:
    folders = [copy_run(f"run{number}", age=number) for number in range(3)]

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 3)
        await pilot.press("down", "D")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        assert "Delete run1 with its log and its checkpoints?" in screen_text(pilot)
        await pilot.press("enter")  # The first answer is no.
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        assert folders[1].path.exists()
        await pilot.press("D", "y")
        await look(pilot, lambda: isinstance(pilot.app.screen, RunsScreen) and names(pilot) == ["run0", "run2"])
        assert not folders[1].path.exists()
        assert chosen(pilot) == "run2"
        assert "run1 is deleted" in toasts(pilot)

    driven(start, flow)


def test_what_cannot_be_deleted_is_a_sentence(start: Start, copy_run: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_run("one")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tleg.runs.control.shutil.rmtree", refuse)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        await pilot.press("D", "y")
        await eventually(pilot, lambda: f"cannot remove {folder.path}: Permission denied" in toasts(pilot))

    driven(start, flow)


def test_what_is_offered_fits_where_a_run_stands(start: Start, copy_run: Copy) -> None:
    always = {"open", "mark", "compare", "again", "delete", "filter"}
    # Each has a checkpoint, which can be exported as well.
    unfinished = {"resume", "export"}
    states = {"finished": {"export"}, "failed": unfinished, "stopped": unfinished, "queued": unfinished | {"stop"}}
    for age, state in enumerate(states):
        copy_run(state, age=age, state=state)
    copy_run("lost", age=9, state="running", launcher_pid=None, pid=None)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 5)
        for state, more in {**states, "lost": unfinished}.items():
            assert chosen(pilot) == state
            assert offered(pilot) == always | more
            assert ("resume" in screen_text(pilot).splitlines()[-1]) == ("resume" in more)
            await pilot.press("down")

    driven(start, flow)


def test_the_cursor_stays_on_its_run(start: Start, copy_run: Copy, runs_dir: Path) -> None:
    for number in range(40):
        copy_run(f"run{number:02}", age=100 + number)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 40)
        await pilot.press("end", "up", "up")
        assert chosen(pilot) == "run37"
        place = screen_text(pilot).splitlines().index(next(x for x in screen_text(pilot).splitlines() if "▸" in x))
        copy_run("newer")
        copy_run("newest")
        await look(pilot, lambda: len(names(pilot)) == 42)
        await pilot.pause()
        assert chosen(pilot) == "run37"
        line = screen_text(pilot).splitlines()[place]
        assert "▸" in line
        assert "run37" in line
        shutil.rmtree(runs_dir / "run37")
        await look(pilot, lambda: len(names(pilot)) == 41)
        assert chosen(pilot) == "run38"
        for path in runs_dir.iterdir():
            shutil.rmtree(path)
        await look(pilot, lambda: not names(pilot))
        await pilot.pause()
        assert "No runs yet." in screen_text(pilot)
        assert offered(pilot) == set()

    driven(start, flow)


def test_what_is_no_run_is_said_at_the_bottom(start: Start, copy_run: Copy, runs_dir: Path) -> None:
    copy_run("sound")
    copy_run("torn").spec_file.write_text('{"id": "\x1b[31m[b]')
    (runs_dir / "notes").mkdir()

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        text = " ".join(screen_text(pilot).split())
        assert "2 folders are no runs or damaged ones: notes: not a run: it has no spec.json" in text
        assert "torn:" in text

    driven(start, flow)


def test_a_folder_that_cannot_be_read_is_a_sentence(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot)
        text = " ".join(screen_text(pilot).split())
        assert "cannot read the runs in" in text
        assert "Not a directory" in text
        assert "No runs yet." not in text

    driven(start, flow, runs_dir=place)


def test_text_of_a_run_is_never_markup(start: Start, runs_dir: Path) -> None:
    create_run(
        runs_dir,
        kind="learn",
        recipe={"data": "[red]x[nothing]", "architecture": "\x1b[2J[@click]"},
        command=["tleg", "[/]"],
    )

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        text = screen_text(pilot)
        assert "[red]x[nothing]" in text
        assert "command     tleg '[/]'" in text
        assert "\x1b" not in text

    driven(start, flow)


@pytest.mark.parametrize("size", [(60, 16), SMALL, (120, 40), (200, 60)])
def test_it_fits_every_size_in_ascii(start: Start, copy_run: Copy, size: tuple[int, int]) -> None:
    copy_run("261120-101010-learn-a-name-that-is-quite-long-for-a-run", state="failed", message="x" * 300)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        text = screen_text(pilot)
        assert all(len(line) <= size[0] for line in text.splitlines())
        assert "? help" in text.splitlines()[-1]
        assert "failed" in text
        assert "2/2" in text
        assert "1 min" in next(line for line in text.splitlines() if "2/2" in line)

    driven(start, flow, size, ascii=True)


def test_a_running_run_is_stopped_and_goes_on(start: Start, start_run: Callable[..., RunFolder]) -> None:
    folder = start_run(epochs=3000, evaluate_every=0)  # Nothing is saved on the way that could be exported.

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 1)
        await look(pilot, lambda: "▶ running" in screen_text(pilot), 60)
        await look(pilot, lambda: runs_screen(pilot).chosen.look.snapshot.step is not None)  # type: ignore[union-attr]
        assert "stop" in offered(pilot)
        assert not offered(pilot) & {"resume", "export"}
        await pilot.press("D")
        assert f"{folder.id} is running: stop it first (s), then delete it" in toasts(pilot)
        assert isinstance(pilot.app.screen, RunsScreen)
        line = next(line for line in screen_text(pilot).splitlines() if "▶" in line and "/3000" in line)
        assert "min" in line
        await pilot.press("s")
        await eventually(pilot, lambda: f"asked {folder.id} to stop" in toasts(pilot))
        await look(pilot, lambda: chosen(pilot) and runs_screen(pilot).chosen.state == "stopped", 60)  # type: ignore[union-attr]
        await eventually(pilot, lambda: "resume" in offered(pilot))
        stopped_at = observe(folder).step
        await pilot.press("R")
        await eventually(pilot, lambda: f"{folder.id} goes on" in toasts(pilot))
        await look(pilot, lambda: observe(folder).state == "running" and "▶ running" in screen_text(pilot), 60)
        assert (observe(folder).step or 0) >= (stopped_at or 1)

    driven(start, flow)


def test_five_hundred_runs_are_fluent(start: Start, copy_run: Copy, runs_dir: Path) -> None:
    first = copy_run("run000")
    spec = json.loads(first.spec_file.read_text())
    for number in range(1, 500):
        target = runs_dir / f"run{number:03}"
        target.mkdir()
        for name in ("state.json", "events.jsonl"):
            os.link(first.path / name, target / name)
        created = {**spec, "id": target.name, "created": time.time() - 60 * number}
        (target / "spec.json").write_text(json.dumps(created))

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 500)
        await eventually(pilot, lambda: pilot.app.runs.complete)  # type: ignore[attr-defined]
        screen = runs_screen(pilot)
        begin = time.process_time()
        for _ in range(20):
            screen._show()
        assert (time.process_time() - begin) / 20 < 0.1
        begin = time.process_time()
        for _ in range(20):
            table(pilot).action_move(1)
            await asyncio.sleep(0)
        assert (time.process_time() - begin) / 20 < 0.05
        await pilot.press("end")
        assert chosen(pilot) == "run499"
        await pilot.press("slash", *"run25")
        await eventually(pilot, lambda: names(pilot) == [f"run{number}" for number in range(250, 260)])

    driven(start, flow)


def test_depths_are_told_apart_in_the_smallest_table(start: Start, copy_run: Copy) -> None:
    for second, depth in enumerate((4, 8, 12)):
        copy_run(f"261120-10101{second}-finetune-fashion-mnist-depth{depth}", age=60)

    async def flow(pilot: Pilot[None]) -> None:
        await open_runs(pilot, 3)
        text = screen_text(pilot)
        assert all(f"ist-depth{depth} " in text for depth in (4, 8, 12)), text

    driven(start, flow)
