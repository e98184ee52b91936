"""The curve: nothing is lost when it is made small, axes stand still, and only what changed is painted."""

import asyncio
import math
import re
from itertools import pairwise
from typing import Any

import pytest
from textual.app import App, ComposeResult

from tests.tui.run.test_plotting import curve_of
from tleg_tui.run import numbers
from tleg_tui.run.curve import Curve, Drawing, Line, Mark, Plot
from tleg_tui.run.plotting import Point


class CurveApp(App[None]):
    """One curve that fills the terminal."""

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        self.curve = Curve(drawing)

    def compose(self) -> ComposeResult:
        yield self.curve


def rows_of(app: App[None]) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


@pytest.mark.parametrize(("drawing", "letters"), [("braille", None), ("block", "▀▄█"), ("ascii", "*")])
def test_each_drawing_shows_the_curve_and_room_for_what_is_to_come(drawing: Drawing, letters: str | None) -> None:
    async def check() -> None:
        app = CurveApp(drawing)
        async with app.run_test(size=(60, 16)) as pilot:
            points = curve_of([2 - step / 100 for step in range(100)])
            app.curve.show(Plot("loss", "1.0", lines=(Line(points),), last=400, from_zero=True))
            await pilot.pause()
            rows = rows_of(app)
            assert rows[0].startswith("loss  1.0")
            assert rows[-1].split() == ["0", "200", "400", "steps"]
            labels = {place: row.split("┤")[0].strip() for place, row in enumerate(rows[1:15]) if "┤" in row}
            assert labels[13] == "0"
            assert "2.0" in labels.values()
            assert len({above - below for below, above in pairwise(labels)}) == 1
            drawn = "".join(row[7:] for row in rows[1:-1])
            used = set(drawn) - {" "}
            assert used
            assert all("\u2800" < letter <= "\u28ff" for letter in used) if letters is None else used <= set(letters)
            assert all(not row[7 + 15 :].strip() for row in rows[1:-1])  # A quarter is done; the rest is room.

    asyncio.run(check())


def test_marks_and_another_run_are_told_apart_without_colour() -> None:
    async def check() -> None:
        app = CurveApp("ascii")
        async with app.run_test(size=(60, 16)) as pilot:
            own = Line(curve_of([50.0, 60.0, 70.0]), marks=(Mark(1, 60), Mark(2, 70, best=True)))
            other = Line(curve_of([80.0, 80.0, 80.0]), other=True)
            app.curve.show(Plot("accuracy", lines=(own, other), last=4, ceiling=100))
            await pilot.pause()
            drawn = "\n".join(row[7:] for row in rows_of(app)[1:-1])
            assert drawn.count("@") == 1
            assert drawn.count("o") == 1
            assert drawn.count("+") > 20
            assert drawn.count("*") > 10

    asyncio.run(check())


@pytest.mark.parametrize("drawing", ["braille", "block", "ascii"])
@pytest.mark.parametrize("height", [9, 12, 16, 23])
def test_a_mark_lies_on_its_curve(drawing: Drawing, height: int) -> None:
    async def check() -> None:
        app = CurveApp(drawing)
        async with app.run_test(size=(67, height)) as pilot:
            for step in range(20):
                value = 40 + 1.13 * step
                points = (Point(0, value, value, value), Point(10, value, value, value))
                app.curve.show(Plot("accuracy", lines=(Line(points),), first=0, last=10, view=str(step)))
                await pilot.pause()
                row = next(place for place, text in enumerate(rows_of(app)[1:-1]) if text[7:].strip())
                marked = Line(points, marks=(Mark(5, value, best=True),))
                app.curve.show(Plot("accuracy", lines=(marked,), first=0, last=10, view=str(step)))
                await pilot.pause()
                rows = rows_of(app)[1:-1]
                assert [place for place, text in enumerate(rows) if any(sign in text for sign in "◆♦@")] == [row]
                assert sum(bool(text[7:].strip()) for text in rows) == 1

    asyncio.run(check())


def test_of_dense_marks_the_best_alone_is_drawn() -> None:
    async def check() -> None:
        app = CurveApp("ascii")
        async with app.run_test(size=(67, 16)) as pilot:
            for count, drawn in ((10, 9), (20, 19), (21, 0), (60, 0), (500, 0)):
                points = curve_of([50 + math.sin(step) for step in range(count)])
                marks = tuple(Mark(step, 50 + math.sin(step), step == 5) for step in range(count))
                app.curve.show(Plot("accuracy", lines=(Line(points, marks=marks),), last=count - 1, view=str(count)))
                await pilot.pause()
                text = "\n".join(row[7:] for row in rows_of(app)[1:-1])
                assert (text.count("o"), text.count("@")) == (drawn, 1), count

    asyncio.run(check())


@pytest.mark.parametrize(("first", "last"), [(0, 5), (12340, 12345), (0, 123456), (980, 1225), (0, 1)])
def test_steps_below_a_curve_are_whole_different_and_in_their_places(first: int, last: int) -> None:
    async def check() -> None:
        app = CurveApp("braille")
        async with app.run_test(size=(67, 16)) as pilot:
            app.curve.show(
                Plot("loss", lines=(Line((Point(first, 1, 1, 1), Point(last, 2, 2, 2))),), first=first, last=last)
            )
            await pilot.pause()
            below = rows_of(app)[-1].removesuffix(" steps")
            found = [int(text.replace(" ", "")) for text in re.split(r"\s{2,}", below.strip())]
            assert found[0] == first
            assert found[-1] == last
            assert found == sorted(set(found))
            if len(found) == 3:
                middle = below.index(numbers.grouped(found[1])) + len(numbers.grouped(found[1])) // 2 - 7
                assert middle / 59 == pytest.approx((found[1] - first) / (last - first), abs=0.02)

    asyncio.run(check())


def test_nothing_and_zeros_are_no_trouble() -> None:
    async def check() -> None:
        app = CurveApp("braille")
        async with app.run_test(size=(60, 16)) as pilot:
            app.curve.show(Plot("loss", empty="no step yet", log=True))
            await pilot.pause()
            assert "no step yet" in "\n".join(rows_of(app))
            app.curve.show(Plot("loss", lines=(Line(curve_of([0.0, 0.0, None, 0.0])),), last=3, log=True))
            await pilot.pause()
            assert app.curve.bounds is not None
            assert not app.curve.bounds.log  # Nothing is greater than zero.
            app.curve.show(Plot("loss", lines=(Line(curve_of([0.0, 1.0, 100.0])),), last=3, log=True))
            await pilot.pause()
            bounds: Any = app.curve.bounds
            assert bounds.log
            for size in ((10, 3), (20, 5), (200, 60), (1, 1)):
                await pilot.resize_terminal(*size)
                await pilot.pause()

    asyncio.run(check())


def test_a_refresh_paints_the_rows_that_changed_alone() -> None:
    async def check() -> None:
        app = CurveApp("braille")
        async with app.run_test(size=(80, 24)) as pilot:
            values = [2 * math.exp(-step / 3000) for step in range(5000)]
            app.curve.show(Plot("loss", lines=(Line(curve_of(values)),), last=20000))
            await pilot.pause()
            regions: list[Any] = []
            paint = app.curve.refresh

            def record(*given: Any, **options: Any) -> Curve:
                regions.extend(given)
                return paint(*given, **options)

            app.curve.refresh = record  # type: ignore[method-assign]
            app.curve.show(Plot("loss", lines=(Line(curve_of(values)),), last=20000))
            assert regions == []
            more = [*values, *(0.3 for _ in range(300))]
            app.curve.show(Plot("loss", lines=(Line(curve_of(more)),), last=20000))
            assert 0 < len(regions) <= 12
            assert all(region.height == 1 for region in regions)

    asyncio.run(check())
