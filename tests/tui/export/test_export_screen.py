"""The export dialog on the shipped learngene: what it asks, what it builds, and what it says when it cannot."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget

from tests.tui.conftest import SMALL, Start, eventually, screen_text
from tleg.cli.app import run
from tleg.errors import InputError, VerificationError
from tleg.files import hash_file
from tleg.text import format_bytes
from tleg_tui import child
from tleg_tui.common.inputs import Field
from tleg_tui.export.choices import Choices
from tleg_tui.export.results import ExportList
from tleg_tui.export.rows import Row
from tleg_tui.export.screen import ExportScreen

NAME = "fashion-mnist"


def dialog(pilot: Pilot[None]) -> ExportScreen:
    screen = pilot.app.screen
    assert isinstance(screen, ExportScreen)
    return screen


def says(pilot: Pilot[None], text: str) -> bool:
    return text in told(pilot)


def at(screen: ExportScreen, place: str) -> bool:
    return screen.focused is screen.query_one(f"#{place}")


def told(pilot: Pilot[None]) -> str:
    return str(dialog(pilot).query_one("#told").render())


def stages(pilot: Pilot[None]) -> list[str]:
    return [line.stage for line in dialog(pilot).query_one(ExportList)._lines]


async def open_dialog(pilot: Pilot[None], source: str = NAME, depth: int | None = 8) -> ExportScreen:
    pilot.app.open_export(source, depth)  # type: ignore[attr-defined]
    await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
    await pilot.pause()
    return dialog(pilot)


def write(pilot: Pilot[None], field: str, text: str) -> None:
    dialog(pilot).query_one(f"#{field}", Field).value = text


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


class Replies:
    """A `tleg` that says what a test wants; every call is remembered."""

    def __init__(self, code: int = 0, words: str = "", lines: tuple[str, ...] = ()) -> None:
        self.code, self.words, self.lines = code, words, lines
        self.calls: list[list[str]] = []

    async def __call__(self, words: list[str], on_line: Callable[[str], None]) -> child.ChildResult:
        self.calls.append(list(words))
        for line in self.lines:
            on_line(line)
        return child.ChildResult(self.code, "\n".join(self.lines), self.words)


# The dialog.


def test_enter_builds_a_verified_file(start: Start) -> None:
    async def flow() -> None:
        async with start(size=SMALL) as pilot:
            await pilot.press("b")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
            await eventually(pilot, lambda: stages(pilot) == ["new"])
            text = screen_text(pilot)
            assert "$ tleg build fashion-mnist --depth 8 --export onnx" in text
            assert "fashion-mnist-depth8.onnx" in text
            await pilot.press("enter")
            await eventually(pilot, lambda: "esc gives up" in told(pilot))
            await eventually(pilot, lambda: stages(pilot) == ["done"])
            path = Path("exports/fashion-mnist-depth8.onnx").absolute()
            await eventually(pilot, lambda: str(path) in told(pilot))
            manifest = json.loads(Path(f"{path}.manifest.json").read_text())
            assert hash_file(path) == manifest["file"]["sha256"]
            line = next(line for line in screen_text(pilot).splitlines() if "✓" in line)
            error = max(each["max_abs_error"] for each in manifest["verification"]["comparisons"])
            assert "1.6 MB" in line
            assert "100 %" in line
            assert f"{error:.1e}" in line
            await pilot.press("y")
            assert pilot.app.clipboard == str(path)
            await pilot.press("enter")
            await eventually(pilot, lambda: not isinstance(pilot.app.screen, ExportScreen))
            assert files(Path("exports")) == ["fashion-mnist-depth8.onnx", "fashion-mnist-depth8.onnx.manifest.json"]

    asyncio.run(flow())


@pytest.mark.parametrize("key", ["escape", "ctrl+q"])
def test_a_build_that_is_given_up_leaves_nothing(start: Start, key: str) -> None:
    async def flow() -> None:
        async with start() as pilot:
            await open_dialog(pilot)
            await pilot.press("enter")
            # Half written: the file is there under a temporary name.
            await eventually(pilot, lambda: stages(pilot) == ["verifying"] and files(Path("exports")))
            await pilot.press(key)
            if key == "ctrl+q":
                await eventually(pilot, lambda: pilot.app._exit)
            else:
                await eventually(pilot, lambda: told(pilot) == "given up; nothing was written")
                assert stages(pilot) == ["given up"]
                assert dialog(pilot).check_action("build", ())
                assert files(Path("exports")) == []

    asyncio.run(flow())  # Leaving waits for the command.
    assert files(Path("exports")) == []


def test_what_is_there_already_is_replaced_when_that_is_ticked(start: Start) -> None:
    target = Path("exports/fashion-mnist.elastic.onnx")
    target.parent.mkdir()
    target.write_text("mine")

    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot)
            kinds = screen.query_one("#kinds", Choices)
            await pilot.press("space", "right", "right", "space")
            assert kinds.chosen == ("onnx-elastic",)
            assert screen.query_one("#depths", Field).disabled
            await eventually(pilot, lambda: stages(pilot) == ["exists"])
            assert "exists already" in screen_text(pilot)
            await pilot.press("f5")
            await eventually(pilot, lambda: "exists already; tick 'replace existing' above" in told(pilot))
            assert target.read_text() == "mine"
            await eventually(pilot, lambda: screen.focused is screen.query_one("#replace"))
            await pilot.press("space")
            await eventually(pilot, lambda: stages(pilot) == ["replaces"])
            assert "--force" in screen_text(pilot)

    asyncio.run(flow())


def test_a_folder_that_cannot_be_written_is_a_sentence(start: Start) -> None:
    Path("taken").write_text("a file")

    async def flow() -> None:
        async with start() as pilot:
            await open_dialog(pilot)
            for output, sentence in (("taken", "taken is a file"), ("/proc/nowhere/exports", "cannot write /proc/nowhere")):
                write(pilot, "output", output)
                await pilot.pause()
                await pilot.press("enter")
                await eventually(pilot, partial(says, pilot, sentence))
                assert dialog(pilot).check_action("build", ())

    asyncio.run(flow())


def test_nothing_is_built_while_something_is_wrong(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies()
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", replies)

    async def flow() -> None:
        async with start() as pilot:
            await open_dialog(pilot)
            for field, text, sentence in (
                ("depths", "2000", "out of range"),
                ("classes", "0", "a head has 1 to"),
                ("output", "", "name a folder"),
            ):
                before = dialog(pilot).query_one(f"#{field}", Field).value
                write(pilot, field, text)
                await pilot.pause()
                assert sentence in told(pilot)
                await pilot.press("enter")
                assert replies.calls == []
                write(pilot, field, before)
                await pilot.pause()
                assert told(pilot) == ""
            await pilot.press("enter")
            await eventually(pilot, lambda: replies.calls)
            assert replies.calls[0] == ["build", NAME, "--depth", "8", "--export", "onnx", "--jsonl"]

    asyncio.run(flow())


def test_several_exports_go_on_one_by_one(start: Start, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    words = ["build", NAME, "--export", "onnx", "--export", "onnx-compact", "--no-verify", "--jsonl"]
    assert run([*words, "--depth", "2", "--depth", "1"]) == 0
    lines = tuple(capsys.readouterr().out.splitlines())
    replies = Replies(1, "the disk is full", lines[:6])
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", replies)

    async def flow() -> None:
        async with start() as pilot:
            await open_dialog(pilot)
            write(pilot, "depths", "1,2")
            await pilot.press("right", "space", "enter")
            await eventually(pilot, lambda: "the disk is full" in told(pilot))
            assert stages(pilot) == ["done", "done", "failed", "unknown"]
            assert told(pilot) == "the disk is full; 2 of 4 are there and complete"
            text = screen_text(pilot)
            assert "fashion-mnist-depth1.compact.onnx" in text
            assert "not verified" in text
            await pilot.press("y")
            assert pilot.app.clipboard.endswith("fashion-mnist-depth2.onnx")

    asyncio.run(flow())


def test_the_folder_is_remembered_and_the_command_is_copied(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", Replies(1, "no"))

    async def flow() -> None:
        async with start() as pilot:
            await open_dialog(pilot)
            write(pilot, "output", "my models")
            await pilot.pause()
            await pilot.press("f6")
            assert pilot.app.clipboard == "tleg build fashion-mnist --depth 8 --export onnx --output 'my models'"
            await pilot.press("enter")
            await eventually(pilot, lambda: told(pilot) == "no")
            await pilot.press("escape")
            screen = await open_dialog(pilot)
            assert screen.query_one("#output", Field).value == "my models"

    asyncio.run(flow())


def test_enter_counts_before_the_dialog_is_there(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(1, "no")
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", replies)

    async def flow() -> None:
        async with start() as pilot:
            screen = ExportScreen(NAME, 8)
            for key in ("action_build", "action_copy_command"):
                assert screen.check_action(key.removeprefix("action_"), ()) == (key == "action_build")
            screen.action_build()
            pilot.app.push_screen(screen)
            await eventually(pilot, lambda: replies.calls)

    asyncio.run(flow())


def test_the_mouse_ticks_and_builds(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(1, "no")
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", replies)

    async def flow() -> None:
        async with start() as pilot:
            await open_dialog(pilot)
            await pilot.click("#kinds", offset=(1, 0))
            await pilot.click("#kinds", offset=(len("[ ] torch-export  [ ] executorch  [ ] py"), 1))
            await pilot.click("#dtype", offset=(len("(x) float32  ( ) f"), 0))
            await pilot.click("#layout", offset=(len("(x) auxiliary  ("), 0))
            await pilot.click("ExportScreen KeyBar", offset=(2, 0))
            await eventually(pilot, lambda: replies.calls)
            words = ["build", NAME, "--depth", "8", "--export", "pytorch", "--dtype", "float16", "--layout", "official"]
            assert replies.calls == [[*words, "--jsonl"]]

    asyncio.run(flow())


def test_what_a_build_refuses_leads_to_the_question_that_it_is_about(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(2)
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", replies)

    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot)
            for field, code, place in (
                ("output", "system", "output"),
                ("depth", "out-of-range", "depths"),
                ("output", "exists", "replace"),
                (None, "bad-file", "kinds"),
            ):
                error = InputError(f"no {field}", field=field, code=code, advice="--force replaces it")
                replies.words = json.dumps(error.document)
                screen.query_one("#dtype").focus()
                await pilot.press("f5")
                await eventually(pilot, partial(says, pilot, f"no {field}"))
                await eventually(pilot, partial(at, screen, place))
                assert ("tick 'replace existing' above" in told(pilot)) == (code == "exists")
                assert "--force" not in told(pilot)

    asyncio.run(flow())


def test_a_source_that_is_gone_is_a_sentence(start: Start) -> None:
    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot, "gone.safetensors")
            assert "there is no file gone.safetensors" in told(pilot)
            assert not screen.check_action("build", ())
            await pilot.press("escape")
            assert pilot.app.screen is not screen

    asyncio.run(flow())


@pytest.mark.parametrize("size", [(60, 16), SMALL, (200, 60)])
def test_the_keys_are_in_sight_at_every_size(start: Start, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with start(size=size) as pilot:
            await open_dialog(pilot)
            write(pilot, "depths", "1-12")
            await pilot.pause()
            await pilot.pause()
            text = screen_text(pilot)
            assert "enter build" in text
            assert "esc close" in text

    asyncio.run(flow())


# Smaller numbers, and the interface of ONNX files.


def shown(screen: ExportScreen, place: str) -> bool:
    widget = screen.query_one(f"#{place}")
    return all(each.display for each in (widget, *widget.ancestors) if isinstance(each, Widget))


def test_smaller_numbers_are_built_and_stand_beside_float32(start: Start) -> None:
    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot, depth=1)
            assert not shown(screen, "calibration-row")
            screen.query_one("#dtype").focus()
            await pilot.press("right", "right")
            await pilot.pause()
            assert shown(screen, "calibration-row")
            assert shown(screen, "data-row")
            assert "--dtype int8 --calibration fashion-mnist" in " ".join(screen_text(pilot).replace("│", " ").split())
            await pilot.press("right")
            await pilot.pause()
            assert not shown(screen, "calibration-row")
            await eventually(pilot, lambda: stages(pilot) == ["new"])
            await pilot.press("enter")
            await eventually(pilot, lambda: says(pilot, "verified: "))
            await eventually(pilot, lambda: "accuracy not measured" in screen_text(pilot))
            path = Path("exports/fashion-mnist-depth1-int8-dynamic.onnx")
            manifest = json.loads(Path(f"{path}.manifest.json").read_text())
            before, after = manifest["beside_float32"]["bytes"]
            lines = [" ".join(line.replace("│", " ").split()) for line in screen_text(pilot).splitlines()]
            text = "\n".join(lines)
            assert "beside float32 float32 int8-dynamic" in text
            assert f"size {format_bytes(before)} {format_bytes(after)}" in text
            assert "onnxruntime" in manifest["example"]
            assert "without tleg: 'example' in" in text
            assert f"{path.name}.manifest.json" in text

    asyncio.run(flow())


def test_numbers_follow_the_formats(start: Start) -> None:
    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot)
            numbers = screen.query_one("#dtype", Choices)
            numbers.tick("int8")
            await pilot.pause()
            await pilot.press("right", "space")
            await pilot.pause()
            assert (numbers.names, numbers.chosen) == (("float32", "float16"), ("float32",))
            await pilot.press("left", "space")
            await pilot.pause()
            assert numbers.names == ("float32", "float16", "int8-terms", "int4-terms")
            # Where a file holds every depth, depths are those at which it is measured.
            await pilot.press("right", "space", "right", "space")
            numbers.tick("int8-terms")
            await pilot.pause()
            depths = screen.query_one("#depths", Field)
            assert depths.disabled
            write(pilot, "data", "pets")
            await pilot.pause()
            assert not depths.disabled

    asyncio.run(flow())


def test_the_interface_of_onnx_files_is_unfolded(start: Start) -> None:
    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot)
            assert "F7 more" in screen_text(pilot)
            assert not shown(screen, "batch")
            await pilot.press("f7")
            await eventually(pilot, lambda: at(screen, "batch"))
            await pilot.press("1", "down", *"17", *("down", "right") * 3, "down", "space", "down", *"11")
            await eventually(pilot, lambda: told(pilot) == "top 11: the model has 10 classes")
            assert [row.id for row in screen.query(Row) if row.has_class("-wrong")] == ["top-row"]
            await pilot.press("f7")  # What was answered counts when it is folded, and Enter leads to what is wrong.
            await eventually(pilot, lambda: not shown(screen, "batch") and at(screen, "kinds"))
            await pilot.press("enter")
            await eventually(pilot, lambda: at(screen, "top"))
            await pilot.press("1")
            await eventually(pilot, lambda: told(pilot) == "")
            assert not screen.query("Row.-wrong")
            await pilot.press("f6")
            usual = f"tleg build {NAME} --depth 8 --export onnx"
            assert pilot.app.clipboard == (
                f"{usual} --batch 1 --opset 17 --input uint8 --input-layout nhwc --resize inside --softmax --top 1"
            )
            # Features have no classes, a folder no graph: neither is asked, and the command has none of it.
            write(pilot, "gives", "pooled")
            await pilot.pause()
            assert shown(screen, "opset")
            assert not screen.query_one("#top-row").display
            screen.query_one("#kinds", Choices).tick("pytorch")
            await pilot.pause()
            assert not screen.query_one("#graph").display
            assert "F7" not in screen_text(pilot)
            assert screen.why_not("advanced").startswith("F7 asks more of ONNX and OpenVINO alone")
            await pilot.press("f6")
            assert pilot.app.clipboard == f"{usual} --export pytorch --output-of pooled"

    asyncio.run(flow())


def test_a_loss_of_accuracy_leads_to_what_may_be_lost(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    error = VerificationError("it costs 0.75 points (--max-drop)", field=("max-drop", "dtype"))
    measuring = json.dumps({"stage": "measuring", "index": 0, "count": 1, "images": [64, 10000]})
    monkeypatch.setattr("tleg_tui.export.screen.run_tleg", Replies(1, json.dumps(error.document), (measuring,)))

    async def flow() -> None:
        async with start() as pilot:
            screen = await open_dialog(pilot)
            screen.query_one("#dtype", Choices).tick("int8-dynamic")
            write(pilot, "data", "pets")
            await pilot.pause()
            await pilot.press("enter")
            await eventually(pilot, lambda: told(pilot) == "it costs 0.75 points ('max drop')")
            await eventually(pilot, lambda: at(screen, "max-drop"))
            assert stages(pilot) == ["failed"]
            assert [row.id for row in screen.query(Row) if row.has_class("-wrong")] == ["dtype-row", "max-drop-row"]
            assert pilot.app.settings.data[0] == "pets"  # type: ignore[attr-defined]

    asyncio.run(flow())


def test_the_question_that_one_is_at_stays_in_sight(start: Start) -> None:
    async def flow() -> None:
        async with start(size=(120, 40)) as pilot:
            screen = await open_dialog(pilot)
            await pilot.press("f7")
            await eventually(pilot, lambda: at(screen, "batch"))
            await pilot.press("up", *["down"] * 7)
            assert at(screen, "top")
            for size in ((60, 16), SMALL, (120, 34)):
                await pilot.resize_terminal(*size)
                await eventually(pilot, lambda: "the best so many" in screen_text(pilot), 10)
                await pilot.pause()
                text = screen_text(pilot)
                assert "enter build" in text
                assert "esc close" in text

    asyncio.run(flow())
