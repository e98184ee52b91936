"""What commands show of smaller number types: progress while they calibrate and measure, and what they cost and save."""

import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tleg.terminal import say
from tleg.text import format_bytes, printable

if TYPE_CHECKING:
    from tleg.export.build import BuildStep
    from tleg.export.precision_cost import PrecisionCost


class Teller:
    """Tells of a build on a terminal: a line for each stage, and a bar while images are looked at."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def __call__(self, step: "BuildStep") -> None:
        """Tell of a step."""
        if step.export is None or step.stage == "done":
            self._end()
        elif step.images is None:
            self._end()
            say(f"{step.stage} {step.export.target} ({step.index + 1} of {step.count})")
        else:
            done, whole = step.images
            if self._bar is None:
                self._begin(step.stage)
            self._bar.update(self._task, total=whole, completed=done)
            if done >= whole:
                self._end()

    def _begin(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(file=sys.stderr), refresh_per_second=4, transient=True)
        self._task = self._bar.add_task(title, total=None)
        self._bar.start()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def cost_table(costs: "Sequence[tuple[str, PrecisionCost]]") -> Iterator[str]:
    """Lines: what each export has in float32 and in its own number type, a line for each depth."""
    if not costs:
        return
    names = [printable(name) for name, _ in costs]
    width = max(len("beside float32"), *map(len, names))
    yield ""
    yield f"{'beside float32':<{width}}  depth      top-1 %                size           ms, one image"
    for name, (_, cost) in zip(names, costs, strict=True):
        sizes = " -> ".join(map(format_bytes, cost.bytes))
        times = "-" if cost.seconds is None else " -> ".join(f"{1000 * each:.2f}" for each in cost.seconds)
        rows = [(each.depth or "-", f"{each.before:.2f} -> {each.after:.2f}") for each in cost.accuracies] or [("-", "-")]
        for index, (depth, accuracy) in enumerate(rows):
            first = index == 0
            line = f"{name if first else '':<{width}}  {depth:>5}  {accuracy:>14}"
            yield f"{line}  {sizes:>20}  {times:>15}" if first else line
    yield from dict.fromkeys(_measured_on(cost) for _, cost in costs)


def _measured_on(cost: "PrecisionCost") -> str:
    parts = [f"accuracy on {cost.images:,} images of {cost.data}" if cost.data else "accuracy not measured"]
    if cost.calibration is not None:
        parts.append(f"ranges from {cost.calibration.images:,} images of {cost.calibration.data}")
    return printable("; ".join([*parts, *(["ms on one thread"] if cost.seconds is not None else [])]))
