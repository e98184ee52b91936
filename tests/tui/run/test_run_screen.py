"""The Run screen: on trainings that really run, and on runs of which a test writes the events itself."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import LARGE, SMALL, Start, eventually, screen_text
from tleg.runs.events import EventWriter
from tleg.runs.launch import create_run
from tleg.runs.listing import list_runs
from tleg.runs.lock import RunLock
from tleg.runs.processes import boot_id, hostname, start_ticks
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, observe, write_state
from tleg_tui.common.dialogs import ConfirmScreen
from tleg_tui.run import screen as run_module
from tleg_tui.run.about import RunAboutScreen
from tleg_tui.run.charts import ACCURACY, LOSS, RunCharts
from tleg_tui.run.events_log import EventsPanel, LogPanel
from tleg_tui.run.screen import RunScreen
from tleg_tui.run.status import StatusLine
from tleg_tui.workbench.screen import WorkbenchScreen


def status(pilot: Pilot[None]) -> str:
    return pilot.app.screen.query_one(StatusLine).text


def says(pilot: Pilot[None], text: str) -> bool:
    return text in status(pilot)


def offered(pilot: Pilot[None]) -> set[str]:
    return {binding.action for _, binding, enabled, _ in pilot.app.screen.active_bindings.values() if enabled}


def told(pilot: Pilot[None]) -> list[str]:
    return [notification.message for notification in pilot.app._notifications]


class Trainer:
    """A run that a test writes itself, as a trainer would."""

    def __init__(self, place: Path, **spec: Any) -> None:
        self.folder = create_run(place, kind="learn", recipe={"epochs": 4}, command=("tleg", "learn"), **spec)
        self.lock = RunLock(self.folder)
        assert self.lock.acquire(timeout=1.0)
        self.events = EventWriter(self.folder)
        self.state("running", epochs=4)
        self.tell("started", step=0, steps=400, epochs=4, device="cpu", precision="float32", restart=0)

    def tell(self, kind: str, /, **payload: Any) -> None:
        self.events.write(kind, payload)

    def state(self, name: str, **values: Any) -> None:
        write_state(self.folder, RunState(name, heartbeat=1.0, **values))  # type: ignore[arg-type]

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            place = {"step": step, "steps": 400, "epoch": 1 + step // 101, "epochs": 4}
            figures = {"loss": 2 - step / 400, "learning_rate": 1e-3, "gradient_norm": 1.5, "images_per_second": 1240.0}
            self.tell("step", **place, **figures)

    def log(self, *lines: str) -> None:
        with self.folder.log_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def end(self) -> None:
        self.events.close()
        self.lock.release()


@pytest.fixture
def trainer(runs_dir: Path) -> Iterator[Trainer]:
    """A run at work, which does nothing that the test does not do."""
    made = Trainer(runs_dir)
    yield made
    made.end()


def test_watch_stop_resume_and_lose_a_run(start: Start, start_run: Callable[..., RunFolder]) -> None:
    folder = start_run(epochs=4000)

    async def check() -> None:
        async with start(run=folder, refresh=0.1) as pilot:
            screen = pilot.app.screen
            assert isinstance(screen, RunScreen)
            await eventually(pilot, lambda: "img/s" in status(pilot))
            assert status(pilot).startswith("▶ epoch ")
            assert "left" in status(pilot)
            charts = screen.query_one(RunCharts)
            await eventually(pilot, lambda: len(charts.curve(LOSS).plot.lines[0].points) > 2)
            assert charts.curve(LOSS).plot.last == 4000 * 5
            await eventually(pilot, lambda: "no GPU" in screen_text(pilot))
            await eventually(pilot, lambda: any("top-1" in line for line in screen.query_one(EventsPanel).tail.lines))
            assert {"stop", "kill"} <= offered(pilot)
            assert "resume" not in offered(pilot)

            await pilot.press("s")
            await eventually(pilot, lambda: any("saves a checkpoint" in text for text in told(pilot)))
            await eventually(pilot, lambda: status(pilot).startswith("■ stopped"))
            assert "R goes on" in status(pilot)
            assert "resume" in offered(pilot)
            assert not {"stop", "kill"} & offered(pilot)
            done = observe(folder).step
            assert done

            await pilot.press("R")
            events = screen.query_one(EventsPanel).tail
            went_on = f"went on at step {done:,}".replace(",", " ")
            await eventually(pilot, lambda: any(went_on in line for line in events.lines))
            await eventually(pilot, lambda: "img/s" in status(pilot))
            assert any("checkpoint of step" in line for line in events.lines)

            pid = observe(folder).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually(pilot, lambda: status(pilot).startswith("? lost"))
            assert "ended without a word; its last checkpoint is of step" in status(pilot)
            assert status(pilot).endswith("R goes on")
            assert "resume" in offered(pilot)

            shutil.rmtree(folder.path)
            await eventually(pilot, lambda: "its folder was removed" in status(pilot))
            assert not {"stop", "kill", "resume", "export", "copy_attach"} & offered(pilot)
            await pilot.press("escape")
            await pilot.pause()
            assert isinstance(pilot.app.screen, WorkbenchScreen)

    asyncio.run(check())


def test_killing_comes_after_a_question(start: Start, trainer: Trainer) -> None:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    ticks = start_ticks(process.pid)
    at_work: dict[str, Any] = {"pid": process.pid, "started": ticks, "launcher_pid": process.pid, "launcher_started": ticks}
    trainer.state("running", **at_work, host=hostname(), boot=boot_id(), step=1, steps=400)
    trainer.end()  # The process alone says that the run is at work.

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            screen = pilot.app.screen
            await eventually(pilot, lambda: "kill" in offered(pilot))
            await pilot.press("K")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
            assert "It has no checkpoint: all is lost." in " ".join(screen_text(pilot).replace("│", " ").split())
            await pilot.press("n")
            await pilot.pause()
            assert process.poll() is None
            await pilot.press("K")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
            await pilot.press("y")
            await eventually(pilot, lambda: pilot.app.screen is screen and "stopped: killed" in status(pilot))
            assert process.wait(5) == -signal.SIGKILL
            assert {"resume"} <= offered(pilot)

    try:
        asyncio.run(check())
    finally:
        process.kill()
        process.wait()


def test_two_viewers_of_one_run(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as one, start(run=trainer.folder, refresh=0.05) as two:
            trainer.steps(1, 20)
            for pilot in (one, two):
                await eventually(pilot, partial(says, pilot, "5 %"))
            await one.press("s")
            for pilot in (one, two):
                await eventually(pilot, partial(says, pilot, "stopping"))
                assert "stop" not in offered(pilot)

    asyncio.run(check())


def test_the_status_line_reads_from_afar(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            trainer.tell("stage", name="data", text="opening fashion-mnist", done=None, total=None)
            await eventually(pilot, lambda: "opening fashion-mnist" in status(pilot))
            trainer.steps(1, 120)
            scores = [{"depth": depth, "top1": top1} for depth, top1 in ((4, 90.0), (8, 92.0))]
            trainer.tell("evaluation", step=100, epoch=1, weights="model", scores=scores)
            trainer.state("running", eta=720.0, epochs=4)
            trainer.steps(121, 152)
            wanted = "▶ epoch 2/4 · 38 % · 1 240 img/s · 12 min left · best mean 91.0 at epoch 1"
            await eventually(pilot, lambda: status(pilot).rstrip() == wanted)
            assert "152 of 400" in screen_text(pilot)
            assert "52 of 100" in screen_text(pilot)
            trainer.tell("stage", name="evaluating", text="evaluating", done=3, total=8)
            await eventually(pilot, lambda: "evaluating 3/8 · epoch 2/4" in status(pilot))
            assert any(
                "top-1 91.0 % in the mean; depth 4 90.0" in line
                for line in pilot.app.screen.query_one(EventsPanel).tail.lines
            )
            marks = pilot.app.screen.query_one(RunCharts).curve(ACCURACY).plot.lines[0].marks
            assert [(mark.x, mark.y, mark.best) for mark in marks] == [(100, 91.0, True)]

    asyncio.run(check())


def test_devices_say_what_they_do(start: Start, trainer: Trainer) -> None:
    gpu = {
        "index": 0,
        "name": "A\x1b[31m100",
        "utilisation": 87,
        "memory_used": 38_100_000_000,
        "memory_total": 80_000_000_000,
    }
    host = {"memory_used": 5_000_000_000, "memory_total": 64_000_000_000, "load": 2.5}

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            devices = [{**gpu, "temperature": 64, "power": 312.4}, {**gpu, "index": 1, "utilisation": None}]
            trainer.tell("device", devices=devices, host=host)
            await eventually(pilot, lambda: "GPU 1" in screen_text(pilot))
            text = screen_text(pilot)
            assert " 87 %" in text
            assert "38.1 GB of 80.0 GB" in text
            assert " 64 °C" in text
            assert "load" in text
            assert "\x1b" not in text
            trainer.tell("device", devices=[{**gpu, "index": index} for index in range(8)], host=host)
            await eventually(pilot, lambda: "7 more  busy 87 % in the mean" in screen_text(pilot))
            trainer.tell("device", devices="nonsense", host=host)
            await eventually(pilot, lambda: "no GPU, on the host: memory   5.0 GB of 64.0 GB" in screen_text(pilot))
            assert "last: " not in screen_text(pilot)
            trainer.tell("finished", state="stopped", reason="asked to stop")
            trainer.state("stopped")
            trainer.end()
            await eventually(pilot, lambda: "last: no GPU, on the host: memory   5.0 GB" in screen_text(pilot))

    asyncio.run(check())


def test_a_run_that_ended_before_any_device_was_heard_of_waits_for_none(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            await eventually(pilot, lambda: "devices: nothing heard yet" in screen_text(pilot))
            trainer.tell("finished", state="failed", reason="no such data")
            trainer.state("failed", message="no such data")
            trainer.end()
            await eventually(pilot, lambda: "devices: the run ended before any were heard of" in screen_text(pilot))
            await eventually(pilot, lambda: "yet" not in screen_text(pilot))

    asyncio.run(check())


def test_the_log_follows_and_counts_what_waits(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            panel = pilot.app.screen.query_one(LogPanel)
            assert "has printed nothing" in screen_text(pilot)
            trainer.log(*(f"line {number}" for number in range(50)))
            await eventually(pilot, lambda: "line 49" in screen_text(pilot))
            await pilot.press("L", "pageup")
            await pilot.pause()
            top = panel.tail.first_in_sight
            assert top < 50 - panel.tail.size.height
            trainer.log("later 0", "later 1", "\x1b[31mlater 2")
            await eventually(pilot, lambda: "3 new lines below, end follows" in screen_text(pilot))
            assert panel.tail.first_in_sight == top
            assert "later" not in screen_text(pilot)
            await pilot.press("end")
            await eventually(pilot, lambda: "\ufffd[31mlater 2" in screen_text(pilot))
            assert panel.tail.following
            assert "new lines" not in screen_text(pilot)
            trainer.log("the last")
            await eventually(pilot, lambda: "the last" in screen_text(pilot))
            await pilot.press("up", "up")
            await eventually(pilot, lambda: "follow" in offered(pilot) and not panel.tail.following)

    asyncio.run(check())


def test_torn_and_broken_events(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            trainer.steps(1, 8)
            await eventually(pilot, lambda: " 2 %" in status(pilot))
            line = json.dumps({"v": 1, "seq": 999, "t": 5.0, "type": "step", "payload": {"step": 200, "steps": 400}}) + "\n"
            with trainer.folder.events_file.open("a") as file:
                file.write(line[:40])
                file.flush()
                await pilot.pause(0.3)
                assert " 2 %" in status(pilot)
                file.write(line[40:])
                file.flush()
                await eventually(pilot, lambda: "50 %" in status(pilot))
                file.write('{"v":1,"seq":1000,"t":\n')
            events = pilot.app.screen.query_one(EventsPanel).tail
            await eventually(pilot, lambda: any("1 line of the events could not be read" in line for line in events.lines))
            # It stays where it is while the run goes on.
            shown = [line for line in events.lines if "could not be read" in line]
            trainer.tell("warning", code="data", text="later")
            await eventually(pilot, lambda: "later" in events.lines[-1])
            assert [line for line in events.lines if "could not be read" in line] == shown

    asyncio.run(check())


def test_killing_is_offered_when_a_stop_takes_long(start: Start, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "PATIENCE_SECONDS", 4.0)

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            await eventually(pilot, lambda: "stop" in offered(pilot))
            await pilot.press("s")
            await eventually(pilot, lambda: "it finishes its step and saves" in status(pilot))
            assert "K kills it" not in status(pilot)
            await eventually(pilot, lambda: "K kills it" in status(pilot))
            assert trainer.folder.stop_file.exists()

    asyncio.run(check())


def test_what_is_refused_is_a_sentence(start: Start, trainer: Trainer, tmp_path: Path, runs_dir: Path) -> None:
    trainer.folder.stop_file.mkdir()  # A file that cannot be written, as on a disk that is full.
    work = tmp_path / "gone"
    work.mkdir()
    other = Trainer(runs_dir, folder=work)
    other.state("stopped", step=5, steps=400)
    other.end()
    work.rmdir()

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            await eventually(pilot, lambda: "kill" in offered(pilot))
            trainer.folder.stop_file.rmdir()
            await eventually(pilot, lambda: "stop" in offered(pilot))
            trainer.folder.stop_file.mkdir()
            pilot.app.screen.action_stop()  # type: ignore[attr-defined]
            await eventually(pilot, lambda: any("cannot ask run" in text for text in told(pilot)))
        async with start(run=other.folder, refresh=0.05) as pilot:
            await eventually(pilot, lambda: "resume" in offered(pilot))
            await pilot.press("R")
            await eventually(pilot, lambda: any("which is no folder any more" in text for text in told(pilot)))
            assert "resume" in offered(pilot)

    asyncio.run(check())


def test_a_finished_run_offers_its_export(start: Start, finished_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = list_runs(finished_runs).runs[0]
    asked: list[Any] = []

    async def check() -> None:
        async with start(run=folder, runs_dir=finished_runs) as pilot:
            monkeypatch.setattr(pilot.app, "open_export", lambda *given, **named: asked.append((given, named)))
            await eventually(pilot, lambda: status(pilot).startswith("✓ finished: 2 epochs"))
            assert "x exports" in status(pilot)
            assert not {"stop", "kill", "resume"} & offered(pilot)
            await pilot.press("x")
            await eventually(pilot, lambda: asked)
            assert asked == [((observe(folder).result, 4), {"classes": 10})]
            await pilot.press("i")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, RunAboutScreen))
            assert "tleg learn --architecture vit_tiny_patch16_224" in screen_text(pilot)
            await pilot.press("u")
            assert pilot.app.clipboard.startswith("tleg learn --architecture")
            await pilot.press("escape", "u")
            assert pilot.app.clipboard == f"tleg attach {folder.path}"

    asyncio.run(check())


def test_compare_with_another_run(start: Start, trainer: Trainer, finished_runs: Path, runs_dir: Path) -> None:
    source = list_runs(finished_runs).runs[0]
    shutil.copytree(source.path, runs_dir / source.id)

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            trainer.steps(1, 30)
            charts = pilot.app.screen.query_one(RunCharts)
            await eventually(pilot, lambda: charts.curve(LOSS).plot.lines and "compare" in offered(pilot))
            await pilot.press("c")
            await pilot.pause()
            await pilot.press("enter")
            await eventually(pilot, lambda: len(charts.curve(LOSS).plot.lines) == 2)
            assert charts.curve(LOSS).plot.lines[1].other
            await eventually(pilot, lambda: f"{source.id} (finished, best" in screen_text(pilot))
            assert charts.curve(ACCURACY).plot.lines[-1].marks
            await pilot.press("c")
            await eventually(pilot, lambda: len(charts.curve(LOSS).plot.lines) == 1)
            assert "this run" not in screen_text(pilot)

    asyncio.run(check())


def test_curves_are_looked_at_in_many_ways(start: Start, trainer: Trainer) -> None:
    trainer.steps(1, 300)

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            charts = pilot.app.screen.query_one(RunCharts)
            loss = charts.curve(LOSS)
            await eventually(pilot, lambda: "zoom" in offered(pilot))
            assert "0.0000" not in loss.plot.value
            assert (loss.plot.first, loss.plot.last) == (0, 400)
            await pilot.press("z")
            assert loss.plot.first > 0
            assert "last quarter" in loss.plot.note
            await pilot.press("z")
            assert 300 - loss.plot.first >= 200
            await pilot.press("z", "y")
            assert loss.plot.log
            assert loss.bounds is not None
            assert loss.bounds.log
            await pilot.press("m")
            assert "smoothed" in loss.plot.note
            await pilot.press("tab")
            await pilot.pause()
            assert "learning rate" in screen_text(pilot)
            assert "loss" not in screen_text(pilot)
            await pilot.press("tab")
            await pilot.pause()
            assert "gradient norm" in screen_text(pilot)
            for size in (LARGE, (120, 40), (200, 60), (60, 16), SMALL):
                await pilot.resize_terminal(*size)
                await pilot.pause()
            await pilot.resize_terminal(*LARGE)
            await pilot.pause()
            text = screen_text(pilot)
            assert all(name in text for name in ("loss", "accuracy", "learning rate", "images per second", "gradient norm"))
            assert "next_charts" not in offered(pilot)

    asyncio.run(check())


def test_ascii_paints_ascii_alone(start: Start, trainer: Trainer) -> None:
    trainer.steps(1, 300)

    async def check() -> None:
        async with start(run=trainer.folder, ascii=True) as pilot:
            await eventually(pilot, lambda: "75 %" in status(pilot))
            assert pilot.app.screen.query_one(RunCharts).curve(LOSS).drawing == "ascii"
            assert "*" in screen_text(pilot)
            assert "\u2800" < "⣿"  # Braille is above this.
            assert not any("\u2800" <= letter <= "\u28ff" for letter in screen_text(pilot))

    asyncio.run(check())


def test_a_look_is_paused_below_another_screen(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            await eventually(pilot, lambda: "command" in offered(pilot))
            await pilot.press("i")
            await pilot.pause(0.3)
            trainer.steps(1, 100)
            await pilot.pause(0.3)
            screen = pilot.app.screen_stack[-2]
            assert isinstance(screen, RunScreen)
            assert screen.look is not None
            assert screen.look.snapshot.step is None
            await pilot.press("escape")
            await eventually(pilot, lambda: "25 %" in status(pilot))

    asyncio.run(check())


def test_the_title_bar_knows_at_once_that_a_run_ended(
    start: Start, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tleg_tui.app._SECONDS_BETWEEN_LOOKS", 3600.0)
    trainer.state("running", step=390, steps=400)

    async def check() -> None:
        async with start(run=trainer.folder, refresh=0.05) as pilot:
            await eventually(pilot, lambda: "1 running 97 %" in screen_text(pilot))
            trainer.state("finished", step=400, steps=400)
            await eventually(
                pilot, lambda: "finished" in status(pilot) and "running" not in screen_text(pilot).split("\n")[0]
            )

    asyncio.run(check())
