"""What is said is in sight, or can be scrolled to, also where the terminal is small."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tests.tui.export.test_export_screen import NAME, open_dialog, told
from tests.tui.run.test_run_screen import Trainer
from tests.tui.run.test_run_screen import trainer as trainer
from tleg.runs.spec import read_spec, write_spec
from tleg_tui.common.dialogs import TooSmallScreen
from tleg_tui.common.help import HelpScreen
from tleg_tui.export.choices import Choices
from tleg_tui.export.questions import ExportQuestions
from tleg_tui.run.about import RunAboutScreen
from tleg_tui.run.status import StatusLine

LEAST = (60, 16)
SIZES = (LEAST, SMALL, (120, 40), LARGE)


def in_dialog(pilot: Pilot[None]) -> list[str]:
    """The lines of the dialog on top."""
    box = pilot.app.screen.query_one(".dialog").region
    lines = screen_text(pilot).splitlines()[box.y : box.bottom]
    return [line[box.x : box.right].strip("│╭╮╰╯─ ") for line in lines]


async def scroll_through(pilot: Pilot[None]) -> list[str]:
    """The lines of the dialog on top, from its first to its last."""
    seen: list[str] = []
    for _ in range(60):
        lines = in_dialog(pilot)
        seen += [line.rstrip(" ▁▂▃▄▅▆▇█") for line in lines if line.rstrip(" ▁▂▃▄▅▆▇█") not in seen]
        before = lines
        await pilot.press("pagedown")
        await pilot.pause(0.05)
        if in_dialog(pilot) == before:
            return seen
    raise AssertionError("it scrolls without end")


@pytest.mark.parametrize("size", SIZES)
def test_all_that_is_known_of_a_run_is_reached(size: tuple[int, int], start: Start, trainer: Trainer) -> None:
    spec = read_spec(trainer.folder)
    recipe: dict[str, Any] = {"epochs": 4, "distillation-normalisation": "batchmean"}
    versions = {"python": "3.13.5", "timm": "1.0.99"}
    write_spec(trainer.folder, replace(spec, recipe=recipe, folder="/" + "long-name/" * 12, versions=versions))

    async def look() -> None:
        async with start(size, run=trainer.folder) as pilot:
            await eventually(pilot, lambda: "running" in screen_text(pilot))
            await pilot.press("i")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, RunAboutScreen))
            await eventually(pilot, lambda: "Command" in screen_text(pilot))
            assert "u copies the command, esc closes" in in_dialog(pilot)
            seen = await scroll_through(pilot)
            assert any(line.startswith("timm ") and line.endswith(" 1.0.99") for line in seen)
            column = next(line for line in seen if line.startswith("epochs")).index("4")
            normalisation = next(place for place, line in enumerate(seen) if line.startswith("distillation-normalisation"))
            if "batchmean" in seen[normalisation]:
                assert seen[normalisation].index("batchmean") == column
            else:  # Its name takes more than its part of a narrow line: the value stands below, in its column.
                assert seen[normalisation + 1] == "batchmean"
            assert not any(line.startswith("long-name") and len(line) > size[0] - column for line in seen)

    asyncio.run(look())


def test_what_is_long_hangs_below_its_beginning(trainer: Trainer) -> None:
    from tleg_tui.run.about import about_lines

    spec = replace(
        read_spec(trainer.folder), folder="/" + "long-name/" * 12, recipe={"distillation-normalisation": "batchmean"}
    )
    for width in (30, 52, 71, 120):
        lines = [line.plain for line in about_lines(trainer.folder, spec, width)]
        assert max(map(len, lines)) <= width
        begin = next(place for place, line in enumerate(lines) if line.startswith("works in"))
        column = lines[begin].index("/long")
        while "".join(line[column:] for line in lines[begin:]).startswith(spec.folder) is False:
            begin += 1
            assert begin < len(lines)
        name = next(place for place, line in enumerate(lines) if line.startswith("distillation-normalisation"))
        assert (lines[name] + lines[name + 1]).count("batchmean") == 1
        assert "batchmean" in (lines[name][column:], lines[name + 1][column:])


@pytest.mark.parametrize("size", [LEAST, SMALL, (120, 40), LARGE])
def test_the_help_of_a_field_is_whole(size: tuple[int, int], start: Start) -> None:
    @drive
    async def look() -> None:
        async with start(size) as pilot:
            await pilot.press("l")
            await eventually(pilot, lambda: "preset" in screen_text(pilot))
            await pilot.press("down")
            await pilot.pause()
            shown = " ".join(line[-(50 if size[0] >= 110 else size[0]) :] for line in screen_text(pilot).splitlines())
            words = " ".join(shown.replace("│", " ").split())
            for part in ("a folder with train/CLASS/*", "such as torch/cifar10.", "F3 shows what there is."):
                assert part in words
            assert "$ tleg learn" in screen_text(pilot) or "equal command" in screen_text(pilot)
            await pilot.press("down")
            await pilot.pause()
            assert "The model, by timm's name." in screen_text(pilot)
            # The command has the lines that the help does not need.
            assert pilot.app.screen.query_one("RecipeSide #about").size.height == (5 if size[0] >= 110 else 1)

    look()


@drive
async def test_a_terminal_that_is_too_small_shows_that_alone(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.resize_terminal(50, 12)
        await eventually(pilot, lambda: isinstance(pilot.app.screen, TooSmallScreen))
        await pilot.pause(0.1)
        text = screen_text(pilot)
        assert "needs 60 x 16" in " ".join(text.split())
        assert "fashion-mnist" not in text
        assert "Depth" not in text
        assert pilot.app.screen.styles.background.a == 1


@drive
async def test_two_depths_are_compared_on_a_line_each(start: Start) -> None:
    async with start(LEAST) as pilot:
        await pilot.press("p", "down", "p", "c")
        await eventually(pilot, lambda: "two depths" in screen_text(pilot))
        ends = {"parameters": "x 1.12", "training, batch 1": "x 1.12", "zero-shot top-1": "-0.03"}
        # The table comes into the dialog line by line.
        await eventually(pilot, lambda: all(any(line.startswith(label) for line in in_dialog(pilot)) for label in ends))
        lines = in_dialog(pilot)
        for label, end in ends.items():
            assert next(line for line in lines if line.startswith(label)).endswith(end)
        assert "esc closes" in lines


@drive
async def test_an_export_at_the_least_size(start: Start) -> None:
    async with start(LEAST) as pilot:
        await open_dialog(pilot)
        await eventually(pilot, lambda: f"{NAME}-depth8.onnx" in screen_text(pilot))
        lines = in_dialog(pilot)
        text = "\n".join(lines)
        for name in (
            "[x] onnx",
            "[ ] onnx-compact",
            "[ ] onnx-elastic",
            "[ ] torch-export",
            "[ ] executorch",
            "[ ] pytorch",
            "[ ] openvino",
            "[ ] coreml",
            "(●) float32",
        ):
            assert name in text
        questions = pilot.app.screen.query_one(ExportQuestions)
        questions.scroll_end(animate=False)  # The last of them has no room here.
        await eventually(pilot, lambda: "[ ] replace existing" in screen_text(pilot))
        lines += in_dialog(pilot)
        questions.scroll_home(animate=False)
        await eventually(pilot, lambda: "[x] onnx" in screen_text(pilot))
        assert next(line for line in lines if line.startswith("classes")).split()[1] == "10"
        formats = pilot.app.screen.query_one("#kinds", Choices)
        await pilot.click(formats, offset=(20, 1))  # On the second line of names.
        assert formats.chosen == ("onnx", "torch-export")
        await pilot.click(formats, offset=(20, 1))
        await pilot.press("enter")
        await eventually(pilot, lambda: "verified: " in told(pilot))
        await pilot.pause()
        shown = in_dialog(pilot)
        begin = next(place for place, line in enumerate(shown) if line.startswith("verified:"))
        path = str(Path.cwd() / "exports" / f"{NAME}-depth8.onnx")
        assert "".join(shown[begin:]).replace(" ", "").startswith(f"verified:{path}"[:90])


def test_how_a_run_ended_takes_two_lines_where_it_must(start: Start, trainer: Trainer) -> None:
    async def look() -> None:
        trainer.steps(1, 100)
        trainer.tell("checkpoint", step=100, name="step-000000100", seconds=0.1, bytes=9, best=False)
        async with start(SMALL, run=trainer.folder, refresh=0.1) as pilot:
            line = pilot.app.screen.query_one(StatusLine)
            await eventually(pilot, lambda: "epoch" in line.text)
            assert line.size.height == 1
            trainer.state("failed", epochs=4, message="the data is gone: there is no folder /data/" + "x" * 40 + "/train")
            trainer.end()
            await eventually(pilot, lambda: "R tries again" in screen_text(pilot))
            await eventually(pilot, lambda: line.size.height == 2)
            await pilot.resize_terminal(*LARGE)
            await eventually(pilot, lambda: line.size.height == 1)
            await pilot.resize_terminal(*SMALL)
            shutil.rmtree(trainer.folder.path)
            await eventually(pilot, lambda: "folder was removed:" in line.text)
            await pilot.pause(0.1)
            shown = [each.strip() for each in screen_text(pilot).splitlines()[1 : 1 + line.size.height]]
            assert str(trainer.folder.path) in "".join(shown)

    asyncio.run(look())


@pytest.mark.parametrize("size", [LEAST, SMALL])
def test_lineage_and_the_way_out_are_in_sight(size: tuple[int, int], start: Start) -> None:
    @drive
    async def look() -> None:
        async with start(size) as pilot:
            if size == SMALL:
                assert "resnet10t → auxiliary, 24 epochs of fashion-mnist" in screen_text(pilot)
            await pilot.press("question_mark")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
            await eventually(pilot, lambda: "esc closes" in screen_text(pilot))

    look()
