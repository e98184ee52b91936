"""The workbench on a real pseudo-terminal: the first paint, from a key to its repaint, bytes, and an idle screen."""

import statistics
import tempfile
from pathlib import Path

from benchmarks.terminal import Terminal
from benchmarks.timing import report

EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("painted")
Empty().run()
"""
ROUNDS = 9
PRESSES = 30
IDLE_SECONDS = 10.0


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"TLEG_SETTINGS": f"{folder}/settings", "TLEG_RUNS": f"{folder}/runs"}
        _first_paint(places)
        for name in ("deit_small_patch16_224", "deit_base_patch16_224"):
            path = Path(folder) / f"{name}.safetensors"
            # In a process of its own: making one needs torch, and this one shall stay small.
            code = (
                "import sys; from benchmarks.expansion import make_learngene; make_learngene(sys.argv[1]).save(sys.argv[2])"
            )
            with Terminal(["-W", "ignore", "-c", code, name, str(path)]) as terminal:
                terminal.process.wait(300)
            for size in ((80, 24), (160, 50)):
                _keys(name, path, size, places)
        _idle(places)


def _first_paint(places: dict[str, str]) -> None:
    seconds: dict[str, list[float]] = {"empty": [], "table": [], "whole": []}
    for turn in range(ROUNDS + 1):
        for name, arguments, text in (
            ("empty", ["-c", EMPTY], "painted"),
            ("table", ["-m", "tleg_tui"], "404.87 k"),  # With the cursor on depth 8.
            ("whole", ["-m", "tleg_tui"], "every layer is"),
        ):
            with Terminal(arguments, environment=places) as terminal:
                painted, _ = terminal.read_until(text)
                if turn:
                    seconds[name].append(painted - terminal.began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    report("first paint of tleg-tui", medians["table"], "an empty Textual app", medians["empty"], "at most 1.5")
    print(f"what stands around the table: {1e3 * medians['whole']:.1f} ms after the start")


def _keys(name: str, path: Path, size: tuple[int, int], places: dict[str, str]) -> None:
    """Down, one after the other: the whole repaint, not its first byte alone."""
    with Terminal(["-m", "tleg_tui", str(path)], size, places) as terminal:
        terminal.read_until("every layer is")
        terminal.read_quiet()
        terminal.press(b"g")
        terminal.read_quiet()
        seconds, counts = [], []
        for press in range(PRESSES):
            began = terminal.press(b"\x1b[B" if press < PRESSES // 2 else b"\x1b[A")
            last, painted = terminal.read_quiet(0.15)
            seconds.append(last - began)
            counts.append(len(painted))
    print(
        f"{name}, {size[0]}x{size[1]}: from a key to the end of its repaint {1e3 * statistics.median(seconds):.1f} ms "
        f"(slowest {1e3 * max(seconds):.1f} ms; goal under 50 ms), {statistics.median(counts) / 1e3:.2f} kB"
    )


def _idle(places: dict[str, str]) -> None:
    with Terminal(["-m", "tleg_tui"], environment=places) as terminal:
        terminal.read_until("every layer is")
        terminal.read_quiet()
        before = terminal.processor_seconds()
        painted = terminal.read_for(IDLE_SECONDS)
        share = (terminal.processor_seconds() - before) / IDLE_SECONDS
    print(f"idle workbench: {100 * share:.1f} % of a processor, {len(painted)} bytes in {IDLE_SECONDS:.0f} s")


if __name__ == "__main__":
    main()
