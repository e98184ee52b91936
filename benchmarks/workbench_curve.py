"""A live curve and the live Run screen: bytes on a terminal line and CPU time for each refresh, against a plain repaint.

The curve has 10,000 points and gets ten more at each refresh. The run has 10,000 reports of steps and gets one more. The
reference is a text that fills the terminal and changes.
"""

import asyncio
import json
import math
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Awaitable, Callable, Coroutine
from fcntl import ioctl
from pathlib import Path
from typing import Any

ROUNDS = 30
POINTS = 10_000
PLANNED = 40_000
SIZES = ((80, 24), (160, 50))
CASES = ("text", "curve", "run")


def main() -> None:
    """Measure and print."""
    for width, height in SIZES:
        measured = {case: _measure(case, width, height) for case in CASES}
        reference = measured["text"]
        for case, label in (("curve", "curve of 10,000 points"), ("run", "Run screen, 10,000 steps")):
            found = measured[case]
            print(
                f"{width}x{height} {label}: {found['bytes'] / 1e3:.2f} kB and {found['cpu'] * 1e3:.1f} ms CPU a refresh, "
                f"{found['bytes'] / reference['bytes']:.2f} x the bytes of a text of that size "
                f"({reference['bytes'] / 1e3:.1f} kB, {reference['cpu'] * 1e3:.1f} ms)"
            )


def _measure(case: str, width: int, height: int) -> dict[str, float]:
    """Run a case in a process of its own on a pseudo-terminal, and count what arrives there while it refreshes."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    told, tells = os.pipe()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.workbench_curve", case, str(tells)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        pass_fds=(tells,),
        start_new_session=True,
    )
    os.close(slave)
    os.close(tells)
    words, received, marks, last = b"", 0, [], b""
    while True:
        ready, _, _ = select.select([master, told], [], [], 60)
        assert ready, "the child says nothing"
        if master in ready:
            try:
                last = os.read(master, 1 << 16)
            except OSError:
                break
            received += len(last)
        elif data := os.read(told, 1 << 12):
            words += data
            marks.append(received)
        else:
            break
    if process.wait() or len(marks) != 2:
        sys.exit(f"{case} failed: {last.decode(errors='replace')}")
    os.close(master)
    os.close(told)
    seconds = json.loads(words.split(b"\n")[1])
    return {"bytes": (marks[1] - marks[0]) / ROUNDS, "cpu": seconds / ROUNDS}


def _child(case: str, tells: int) -> None:
    """Refresh so many times, between two words to whoever counts."""
    from textual.app import App

    async def measure(app: App[Any], refresh: Callable[[int], Awaitable[None]]) -> None:
        await asyncio.sleep(1.5)
        for turn in range(5):
            await refresh(turn)
        await asyncio.sleep(0.5)
        os.write(tells, b"begin\n")
        start = time.process_time()
        for turn in range(5, 5 + ROUNDS):
            await refresh(turn)
        await asyncio.sleep(0.1)
        seconds = time.process_time() - start
        await asyncio.sleep(0.3)
        os.write(tells, f"{seconds}\n".encode())
        await asyncio.sleep(0.2)
        app.exit()

    with tempfile.TemporaryDirectory() as folder:
        {"text": _show_text, "curve": _show_curve, "run": _show_run}[case](Path(folder), measure)


Measure = Callable[[Any, Callable[[int], Awaitable[None]]], Coroutine[Any, Any, None]]


def _show_text(_folder: Path, measure: Measure) -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Text(App[None]):
        def compose(self) -> ComposeResult:
            yield Static(id="text")

        def on_mount(self) -> None:
            self.run_worker(measure(self, self.change))

        async def change(self, turn: int) -> None:
            line = "".join(chr(97 + (turn + place) % 26) for place in range(self.size.width))
            self.query_one("#text", Static).update("\n".join([line] * self.size.height))
            await asyncio.sleep(0.05)

    Text().run()


def _loss(step: float) -> float:
    return 0.4 + 2 * math.exp(-step / 6000) + 0.05 * math.sin(step / 7.3) * math.sin(step / 1.9)


def _show_curve(_folder: Path, measure: Measure) -> None:
    from textual.app import App, ComposeResult

    from tleg_tui.run.curve import Curve, Line, Plot
    from tleg_tui.run.plotting import Point

    class Live(App[None]):
        def compose(self) -> ComposeResult:
            yield Curve()

        def on_mount(self) -> None:
            self.points = [self.point(place) for place in range(POINTS)]
            self.run_worker(measure(self, self.change))

        def point(self, place: int) -> Point:
            value = _loss(place)
            return Point(place, value, value, value)

        async def change(self, turn: int) -> None:
            first = len(self.points)
            self.points += [self.point(place) for place in range(first, first + 10)]
            value = f"{self.points[-1].mean:.4f}"
            self.query_one(Curve).show(Plot("loss", value, lines=(Line(tuple(self.points)),), last=PLANNED))
            await asyncio.sleep(0.05)

    Live().run()


def _show_run(folder: Path, measure: Measure) -> None:
    from tleg.runs.events import EventWriter
    from tleg.runs.launch import create_run
    from tleg.runs.lock import RunLock
    from tleg.runs.state import RunState, write_state
    from tleg_tui.app import Workbench

    os.environ["TLEG_SETTINGS"] = str(folder / "settings")
    run = create_run(folder / "runs", kind="learn", recipe={}, name="benchmark")
    events = EventWriter(run)
    lock = RunLock(run)
    assert lock.acquire(timeout=1.0)
    length = PLANNED // 20

    def report(step: int) -> None:
        numbers = {"loss": _loss(step), "learning_rate": 1e-3 * (1 - step / PLANNED), "gradient_norm": 1 + _loss(step * 3)}
        place = {"step": step, "steps": PLANNED, "epoch": step // length + 1, "epochs": 20}
        events.write("step", {**place, **numbers, "images_per_second": 1200 + 60 * math.sin(step)})
        state = RunState("running", step=step, steps=PLANNED, eta=(PLANNED - step) / 10.0, heartbeat=time.time(), host=None)
        write_state(run, state)

    events.write("started", {"step": 0, "steps": PLANNED, "epochs": 20, "device": "cpu", "precision": "float32"})
    for step in range(1, POINTS, 1):
        events.write(
            "step", {"step": step, "steps": PLANNED, "epoch": step // length + 1, "epochs": 20, "loss": _loss(step)}
        )
        if step % length == 0:
            scores = [{"depth": depth, "top1": 50 + step / 300 + depth} for depth in (4, 8, 12)]
            events.write("evaluation", {"step": step, "epoch": step // length, "weights": "model", "scores": scores})
    report(POINTS)

    async def change(turn: int) -> None:
        report(POINTS + 10 * (turn + 1))
        await asyncio.sleep(0.25)

    app = Workbench(folder / "runs", run=run, refresh=0.25)
    app.run(auto_pilot=lambda _: measure(app, change))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _child(sys.argv[1], int(sys.argv[2]))
    else:
        main()
