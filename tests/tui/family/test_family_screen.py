"""The form of a family in the workbench, by keyboard alone, and the family that it starts."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.project.test_docs_family import FILES
from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg.family.progress import ProgressWriter, begun_by, read_progress, write_progress
from tleg.family.results import FamilyResults, write_slices
from tleg_tui.common.form_fields import FormField
from tleg_tui.common.help import HelpScreen
from tleg_tui.family.devices import DeviceList
from tleg_tui.family.progress import FamilyProgressScreen
from tleg_tui.family.report import FamilyReportScreen
from tleg_tui.family.screen import FamilyScreen
from tleg_tui.workbench.screen import WorkbenchScreen

FILE = Path("devices.toml")
NOWHERE = 2**22 + 1  # No process has this number.


async def open_form(pilot: Pilot[None]) -> FamilyScreen:
    await pilot.press("F")
    screen = await eventually(pilot, lambda: isinstance(pilot.app.screen, FamilyScreen) and pilot.app.screen)
    await eventually(pilot, lambda: isinstance(pilot.app.focused, DeviceList))
    assert isinstance(screen, FamilyScreen)
    return screen


def field(screen: Any, owner: str, name: str) -> Any:
    return screen.query_one(f"#field-{owner}-{name}", FormField).control


async def shows(pilot: Pilot[None], *texts: str) -> None:
    await eventually(pilot, lambda: all(text in " ".join(screen_text(pilot).split()) for text in texts), 20)


async def tells(pilot: Pilot[None], text: str) -> None:
    await eventually(pilot, lambda: any(text in each.message for each in pilot.app._notifications), 20)


@drive
async def test_what_each_device_would_get_follows_what_is_typed(start: Start) -> None:
    FILE.write_text(FILES[0])
    async with start(SMALL) as pilot:
        await open_form(pilot)
        await shows(pilot, "depth 8 89.53 % 404.87 k", "devices.toml is there: F2 opens it")
        await pilot.press("f2")
        await shows(pilot, "depth 10 89.62 %", "depth 3 89.03 %", "depth 12 89.61 %", "devices.toml is open")
        await pilot.press("down", "enter", "down", "down")
        await eventually(pilot, lambda: pilot.app.focused is field(pilot.app.screen, "device", "max-macs"))
        await pilot.press("ctrl+a", "ctrl+k", *"5M")
        await shows(pilot, "depth 5 89.43 %", "phone gets depth 5, 254.92 k parameters")
        await pilot.press("ctrl+a", "ctrl+k", *"5K")
        await shows(pilot, "✗ no depth fits", "depth 1 takes 885.38 k against max-macs 5.00 k")
        await pilot.press("x")
        await shows(pilot, "1 device is not right yet", "'5Kx' is not a count")
        await shows(pilot, "depth 10 89.62 %")  # What is wrong with one leaves the others.


@drive
async def test_a_family_is_described_saved_and_opened_by_keyboard(start: Start) -> None:
    async with start(SMALL) as pilot:
        screen = await open_form(pilot)
        await pilot.press("f5")  # What is missing is gone to.
        await eventually(pilot, lambda: pilot.app.focused is field(screen, "family", "license"))
        await pilot.press(*"mit", "escape", "a")
        await eventually(pilot, lambda: pilot.app.focused is field(screen, "device", "name"))
        await pilot.press("ctrl+a", "ctrl+k", *"watch", "enter", *"200K")
        field(screen, "device", "part").value = ""
        field(screen, "device", "dtype").focus()
        await pilot.press("right")
        await shows(pilot, "onnx float16", "≤200K params", "depth 3 89.03 %")
        await pilot.press("ctrl+s")
        await shows(pilot, "devices.toml is saved")
        saved = FILE.read_bytes()
        assert tomllib.loads(saved.decode()) == {
            "learngene": "fashion-mnist",
            "data": "fashion-mnist",
            "license": "mit",
            "devices": {"device": {"part": 0.5}, "watch": {"max-params": "200K", "dtype": "float16"}},
        }
        await pilot.press("ctrl+s")
        await shows(pilot, "says so already")
        assert FILE.read_bytes() == saved
        await pilot.press("f6")
        assert pilot.app.clipboard == "tleg family devices.toml --output family"
        await pilot.press("escape", "k", "delete")
        await eventually(pilot, lambda: "0.5 of the depth" not in screen_text(pilot))
        await pilot.press("escape")  # It is not saved: leaving asks.
        await shows(pilot, "The devices are not saved")
        await pilot.press("n", "f2")
        await shows(pilot, "What was filled in is lost")
        await pilot.press("y")
        await shows(pilot, "0.5 of the depth", "devices.toml is open")
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))
        assert FILE.read_bytes() == saved


@drive
async def test_a_file_with_comments_is_not_written_over(start: Start) -> None:
    written = FILES[0] + "\n# the watch of 2026\n"
    FILE.write_text(written)
    async with start(LARGE) as pilot:
        screen = await open_form(pilot)
        await pilot.press("ctrl+s")
        await shows(pilot, "devices.toml is there already; take another name, or open it first")
        await pilot.press("f2")
        await shows(pilot, "devices.toml is open")
        await pilot.press("ctrl+s")
        await shows(pilot, "says so already")
        field(screen, "family", "title").value = "Mine"
        await pilot.press("ctrl+s")
        await shows(pilot, "has comments, which would be lost")
        assert FILE.read_text() == written
        field(screen, "family", "file").value = "mine.toml"
        await pilot.press("ctrl+s")
        await shows(pilot, "mine.toml is saved")
        assert tomllib.loads(Path("mine.toml").read_text()) == {**tomllib.loads(written), "title": "Mine"}
        field(screen, "family", "file").value = "none.toml"
        await pilot.press("f2")
        await shows(pilot, "cannot read the file none.toml")


@drive
async def test_keys_are_in_help_and_palette(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("ctrl+p", *"each device of")
        await shows(pilot, "Make a model for each device")
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, FamilyScreen))
        await eventually(pilot, lambda: isinstance(pilot.app.focused, DeviceList))
        await pilot.press("question_mark")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await shows(pilot, "Add a device like the chosen one", "Make a file for each device, in the background")
        await pilot.press("escape", "f7")
        await tells(pilot, "no family was begun in family")


@drive
async def test_it_is_started_and_told_why_it_failed(start: Start) -> None:
    FILE.write_text(FILES[0].replace('data = "fashion-mnist"', 'data = "nowhere/at-all"'))
    async with start(SMALL) as pilot:
        await open_form(pilot)
        await pilot.press("f2")
        await shows(pilot, "devices.toml is open")
        await pilot.press("f5")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, FamilyProgressScreen))
        await shows(pilot, "nowhere/at-all", "R goes on with it")
        begun = read_progress(Path("family"))
        assert begun is not None
        assert begun.file == str(FILE.absolute())
        await pilot.press("R")
        await eventually(pilot, lambda: (now := read_progress(Path("family"))) and now.pid != begun.pid)
        await eventually(pilot, lambda: (now := read_progress(Path("family"))) and not now.at_work)
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, FamilyScreen))


def made() -> FamilyResults:
    facts: dict[str, Any] = {"about": "", "image_size": (28, 28), "sha256": "", "memory": 1, "zero_shot": 88.0, "images": 10}
    facts |= {"parameters": 1, "macs": 1, "expected": None, "on": None, "epochs": 0, "run": None, "made_from": ""}
    from tleg.family.results import DeviceSlice

    device = DeviceSlice(
        **facts,
        name="phone",
        depth="5",
        export="onnx",
        dtype="float16",
        path="phone/gene-depth5.onnx",
        bytes=355_000,
        top1=88.31,
        wanted=90.0,
        latency=0.0012,
    )
    return FamilyResults(
        title="",
        license="mit",
        data="digits",
        learngene="x",
        learngene_sha256="",
        architecture="vit",
        lineage={},
        machine="here",
        versions={},
        devices=(device,),
        depths=(),
        failed={"watch": "no room"},
    )


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_progress_is_shown_by_device_to_the_report(start: Start, size: tuple[int, int]) -> None:
    folder = Path("family")
    writer = ProgressWriter(folder)
    writer.begin(["learngene", "phone", "watch"])
    writer.step("learngene", "done")
    writer.step("phone", "measuring", "measuring accuracy and latency")
    writer.count("phone", 2_000, 10_000)

    @drive
    async def look() -> None:
        async with start(size, refresh=0.1) as pilot:
            await open_form(pilot)
            await pilot.press("f7")
            await shows(pilot, "measuring accuracy and latency, 2,000 of 10,000 images", "at work, 1 of 3 done")
            await pilot.press("y")
            await tells(pilot, "the report is written at the end")
            write_slices(folder, made())
            writer.step("phone", "done", "done")
            writer.step("watch", "failed", "failed: no room")
            await shows(pilot, "depth 5, onnx float16, 88.31 %, 355.0 kB, 1.200 ms here", "failed: no room")
            await pilot.press("down")
            await shows(pilot, "phone: 90 % were wanted; family/phone/gene-depth5.onnx")
            await pilot.press("enter")
            await tells(pilot, "nothing is trained for this line")
            (folder / "report.html").write_text("")
            writer.end()
            await shows(pilot, "complete: ", "o shows the report", "y copies the path")
            await pilot.press("y")
            assert pilot.app.clipboard == str((folder / "report.html").absolute())
            await pilot.press("o")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, FamilyReportScreen))
            await shows(pilot, "device file depth size top-1 latency state")
            await shows(pilot, "phone onnx float16 5 355.0 kB 88.31 1.200 ms ✗ 90 % wanted", "watch – – – – – ✗ failed")
            await shows(pilot, "family/phone/gene-depth5.onnx: 88.00 % as expanded; 10 images", "on digits; with plots")
            await pilot.press("down")
            await shows(pilot, "watch failed: no room")
            pilot.app.copy_to_clipboard("")
            await pilot.press("y")
            assert pilot.app.clipboard == str((folder / "report.html").absolute())
            await pilot.press("escape")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, FamilyProgressScreen))
            (folder / "slices.json").write_text("{")
            await pilot.press("o")
            await shows(pilot, "cannot read family/slices.json")

    look()


@drive
async def test_a_family_that_is_gone_says_its_last_words(start: Start) -> None:
    folder = Path("family")
    folder.mkdir()
    (folder / "family.log").write_text("phone: training\n")
    write_progress(folder, begun_by(NOWHERE, Path.cwd(), None, ["phone"]))
    async with start(SMALL) as pilot:
        await open_form(pilot)
        await pilot.press("f7")
        await shows(pilot, "its process is gone: phone: training")
        await pilot.press("s")
        await tells(pilot, "the family is not at work")
