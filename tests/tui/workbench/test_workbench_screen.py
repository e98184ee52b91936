"""The first screen: choosing learngenes and depths, budgets, pins, lineage, and the ways on from there."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from tests.conftest import make_learngene
from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg.learngene.container import read_file
from tleg.references import shipped
from tleg_tui.workbench.depth_table import DepthChosen, DepthTable
from tleg_tui.workbench.left_panels import LearngeneList
from tleg_tui.workbench.open_file import OpenFileScreen
from tleg_tui.workbench.screen import WorkbenchScreen


def bench(pilot: Any) -> WorkbenchScreen:
    screen = pilot.app.screen
    assert isinstance(screen, WorkbenchScreen)
    return screen


def line_of(pilot: Any, depth: int) -> str:
    """The table's line of a depth, as it is on the screen."""
    lines = screen_text(pilot).splitlines()
    return next(line for line in lines if line[22:].lstrip(" ▸").startswith(f"{depth} "))


@drive
async def test_it_opens_on_the_shipped_learngene_and_shows_what_the_header_says(start: Start) -> None:
    header = read_file(shipped()["fashion-mnist"]).header
    cost, reached = header.cost.at(8), header.reached
    assert reached is not None
    async with start(SMALL) as pilot:
        assert bench(pilot).depth == 8
        shown = line_of(pilot, 8)
        assert "▸" in shown
        for figure in (
            f"{cost.parameters / 1e3:.2f} k",
            f"{cost.macs / 1e9:.6f}",
            f"{cost.size / 1e6:.1f} MB",
            f"{reached.top1[8]:.1f}",
        ):
            assert figure in shown
        text = screen_text(pilot)
        assert "every layer is one of 3 blocks" in text
        assert f"zero-shot {reached.top1[8]:.2f} %" in text
        assert "resnet10t → auxiliary, 24 epochs of fashion-mnist" in text
        assert "New here? Press b, then Enter" in text
        assert text.splitlines()[-1].rstrip().endswith("? help")


@drive
async def test_keys_move_through_depths_and_everything_follows(start: Start) -> None:
    async with start(SMALL) as pilot:
        screen = bench(pilot)
        for keys, depth in (
            (["down"], 9),
            (["j", "j"], 11),
            (["k"], 10),
            (["up"], 9),
            (["g"], 1),
            (["G"], 24),
            (["pageup"], 16),
            (["home"], 1),
            (["pagedown"], 9),
            (["end", "down"], 24),
            (["home", "up"], 1),
            (["m"], 12),
        ):
            await pilot.press(*keys)
            assert screen.depth == depth, keys
            assert f"Depth {depth} ─" in screen_text(pilot)
            assert "▸" in line_of(pilot, depth)
        assert "12 aux" in line_of(pilot, 12)


@drive
async def test_a_message_says_which_depth_was_chosen(start: Start) -> None:
    seen: list[int] = []

    def hook(message: Any) -> None:
        if isinstance(message, DepthChosen):
            seen.append(message.line)

    from tleg_tui.app import Workbench

    app = Workbench(Path("runs"))
    async with app.run_test(size=SMALL, message_hook=hook) as pilot:
        await pilot.press("down", "down", "up")
        await pilot.pause()
    assert list(dict.fromkeys(seen)) == [8, 9, 10]
    assert seen[-1] == 9


@drive
async def test_the_mouse_chooses_a_depth_and_works_the_keys_below(start: Start) -> None:
    async with start(LARGE) as pilot:
        await pilot.click(DepthTable, offset=(12, 2))
        assert bench(pilot).depth == 3
        bar = pilot.app.screen.query_one("KeyBar")
        place = screen_text(pilot).splitlines()[-1].index("/ budget")
        await pilot.click(bar, offset=(place, 0))
        assert isinstance(pilot.app.focused, Input)


@drive
async def test_a_budget_greys_what_does_not_fit_and_picks_the_deepest_that_does(start: Start) -> None:
    async with start(SMALL) as pilot:
        screen = bench(pilot)
        await pilot.press("slash", *"350k")
        await pilot.pause()
        assert screen.depth == 6
        text = screen_text(pilot)
        assert "fits: 1–6, deepest 6" in text
        assert "over" in line_of(pilot, 7)
        assert "over" not in line_of(pilot, 6)
        # The GMACs as the table shows them, then nonsense, then a limit that nothing keeps.
        await pilot.press("tab", *"0.004")
        await pilot.pause()
        assert screen.depth == 4
        await pilot.press("x")
        await pilot.pause()
        assert str(pilot.app.screen.query_one("#problem", Static).content).startswith("macs: ")
        await pilot.press("backspace", "tab", *"0.1")
        await pilot.pause()
        assert "no depth fits; depth 1 exceeds size" in screen_text(pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.focused, DepthTable)
        await pilot.press("down")
        assert "over the budget: " in screen_text(pilot)
    async with start(SMALL) as pilot:  # It is remembered.
        assert pilot.app.settings.budget["parameters"] == "350k"  # type: ignore[attr-defined]
        assert "no depth fits" in screen_text(pilot)


@drive
async def test_the_batch_changes_the_memory(start: Start) -> None:
    header = read_file(shipped()["fashion-mnist"]).header
    async with start(SMALL) as pilot:
        field = pilot.app.screen.query_one("#batch", Input)
        field.focus()
        await pilot.press(*"64")
        await pilot.pause()
        memory = header.cost_at(bench(pilot).depth, 64)
        text = screen_text(pilot)
        assert f"batch 64: inference {memory.inference_memory / 1e6:.1f} MB" in text
        assert f"fine-tuning {memory.training_memory / 1e6:.1f} MB" in text
        await pilot.press("backspace", "backspace", "0")
        await pilot.pause()
        assert "a batch is 1 to" in str(pilot.app.screen.query_one("#problem", Static).content)


@drive
async def test_a_text_that_means_nothing_is_no_limit(start: Start) -> None:
    from tleg_tui.workbench.budget import read_budget

    wanted = read_budget({"parameters": "30x", "size": "5 MB", "batch": "0"})
    assert (wanted.budget.parameters, wanted.budget.size, wanted.batch) == (None, 5_000_000, 1)
    assert wanted.problem is not None
    assert wanted.problem.startswith("parameters: ")
    async with start(SMALL) as pilot:
        await pilot.press("slash", *"30")
        await eventually(pilot, lambda: "over" in screen_text(pilot))
        await pilot.press("x")
        await eventually(pilot, lambda: "over" not in screen_text(pilot))
        assert "30x" in str(pilot.app.screen.query_one("#problem", Static).content)


@drive
async def test_a_budget_of_the_last_time_picks_the_deepest_that_fits_at_once(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("slash", *"300k", "escape")
        await eventually(pilot, lambda: bench(pilot).depth == 5)
        await pilot.press("j", "j")
        assert bench(pilot).depth == 7  # One may look at what does not fit.
    async with start(SMALL) as pilot:
        assert bench(pilot).depth == 5


@drive
async def test_two_pins_are_compared(start: Start) -> None:
    header = read_file(shipped()["fashion-mnist"]).header
    async with start(SMALL) as pilot:
        await pilot.press("c")  # Nothing to compare yet: nothing happens.
        assert isinstance(pilot.app.screen, WorkbenchScreen)
        await pilot.press("p", "down", "down", "p")
        assert "●" in line_of(pilot, 8)
        assert "●" in line_of(pilot, 10)
        await pilot.press("c")
        await pilot.pause()
        text = screen_text(pilot)
        ratio = header.cost.at(10).macs / header.cost.at(8).macs
        assert f"x {ratio:.2f}" in text
        assert header.reached is not None
        top1 = header.reached.top1
        assert f"{top1[8]:.2f} %" in text
        assert f"{top1[10] - top1[8]:+.2f}" in text
        await pilot.press("escape", "down", "p")  # A third pin takes the place of the oldest.
        assert "●" not in line_of(pilot, 8)
        assert "●" in line_of(pilot, 11)


@drive
async def test_learngenes_of_the_folder_are_listed_and_damaged_ones_said(start: Start) -> None:
    make_learngene(classes=tuple("abcdefg")).save("mine.safetensors")
    Path("weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")  # A safetensors file, but no learngene.
    whole = Path("mine.safetensors").read_bytes()
    Path("broken.safetensors").write_bytes(whole[:200])
    async with start(SMALL) as pilot:
        listed = pilot.app.screen.query_one(LearngeneList)
        assert listed.option_count == len(shipped()) + 1
        listed.focus()
        await pilot.press("end")
        await pilot.pause()
        assert "mine.safetensors" in screen_text(pilot)
        assert bench(pilot).entry.name == "mine.safetensors"  # type: ignore[union-attr]
        assert "not measured" in screen_text(pilot)
        # One that was opened and got damaged since is on the list, with the reason.
        assert bench(pilot).open_path(Path("broken.safetensors")) is False
        await pilot.pause()
        assert bench(pilot).entry.name == "mine.safetensors"  # type: ignore[union-attr]
    shutil.copy("mine.safetensors", "later.safetensors")
    async with start(SMALL, opened=Path("later.safetensors")) as pilot:
        assert bench(pilot).entry.name == "later.safetensors"  # type: ignore[union-attr]
    Path("later.safetensors").write_bytes(whole[:300])
    async with start(SMALL) as pilot:
        text = screen_text(pilot)
        assert "✗ later.safetensors" in text
        listed = pilot.app.screen.query_one(LearngeneList)
        listed.focus()
        await pilot.press("home", *["down"] * len(shipped()))
        await pilot.pause()
        assert "This cannot be used." in screen_text(pilot)
        assert "truncated" in " ".join(screen_text(pilot).split())
        assert "del takes it off the list" in " ".join(screen_text(pilot).split())
        await pilot.press("b")  # Nothing can be built from it.
        assert isinstance(pilot.app.screen, WorkbenchScreen)
        await pilot.press("delete")
        await eventually(pilot, lambda: "✗" not in screen_text(pilot))


@drive
async def test_a_deep_auxiliary_has_a_longer_table(start: Start) -> None:
    make_learngene(auxiliary_depth=30).save("deep.safetensors")
    async with start(SMALL, opened=Path("deep.safetensors")) as pilot:
        await pilot.press("G")
        assert bench(pilot).depth == 60
        await pilot.press("m")
        assert bench(pilot).depth == 30


@drive
async def test_opening_a_file_by_typing_walking_and_dropping(start: Start) -> None:
    Path("deep/er").mkdir(parents=True)
    make_learngene().save("deep/er/one.safetensors")
    make_learngene(seed=2).save("deep/with blank.safetensors")
    async with start(SMALL) as pilot:
        await pilot.press("o")
        assert isinstance(pilot.app.screen, OpenFileScreen)
        await pilot.press("enter")  # The only folder there is.
        await pilot.press("enter")
        await pilot.pause()
        assert "one.safetensors" in screen_text(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert bench(pilot).entry.path.name == "one.safetensors"  # type: ignore[union-attr]
        await pilot.press("o", *"deep/er/ome.safetensors", "enter")
        problem = str(pilot.app.screen.query_one("#problem", Static).content)
        assert problem == "there is no file deep/er/ome.safetensors. Did you mean 'one.safetensors'?"
        await pilot.press("escape")
        from textual.events import Paste

        dropped = str(Path("deep/with blank.safetensors").absolute()).replace(" ", "\\ ")
        pilot.app.screen.post_message(Paste(dropped))
        await pilot.pause()
        assert bench(pilot).entry.path.name == "with blank.safetensors"  # type: ignore[union-attr]
        assert pilot.app.settings.learngenes[0].endswith("with blank.safetensors")  # type: ignore[attr-defined]
        await pilot.press("delete")
        await pilot.pause()
        assert bench(pilot).entry.path.name != "with blank.safetensors"  # type: ignore[union-attr]
        assert Path("deep/with blank.safetensors").exists()


@drive
async def test_a_checkpoint_of_the_papers_code_is_imported(start: Start) -> None:
    golden = Path(__file__).resolve().parents[2] / "models" / "data" / "aux_checkpoint.pth"
    shutil.copy(golden, "aux.pth")
    async with start(SMALL) as pilot:
        await pilot.press("o", *"aux.pth", "enter")
        await pilot.pause()
        assert "Import aux.pth" in screen_text(pilot)
        heads = pilot.app.screen.query_one("#heads", Input)
        heads.value = "5"
        await pilot.press("enter")
        told = pilot.app.screen.query_one("#told", Static)
        await eventually(pilot, lambda: told.has_class("problem"))
        assert "heads" in screen_text(pilot)
        assert pilot.app.screen.focused is heads
        heads.value = "3"
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))
        await eventually(pilot, lambda: (entry := bench(pilot).entry) is not None and entry.name == "aux.safetensors")
        entry = bench(pilot).entry
        assert entry is not None
        assert entry.file is not None


@drive
async def test_a_first_start_says_what_to_do_and_says_it_once(start: Start) -> None:
    async with start(SMALL) as pilot:
        assert len(pilot.app.screen.query("#greeting")) == 1
        await pilot.press("b")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert not pilot.app.screen.query_one("#greeting").display
    async with start(SMALL) as pilot:
        assert not pilot.app.screen.query("#greeting")


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (120, 40), (136, 24), (160, 50), (200, 60)])
def test_every_size_shows_table_descendant_and_help(start: Start, size: tuple[int, int]) -> None:
    @drive
    async def look() -> None:
        async with start(size) as pilot:
            text = screen_text(pilot)
            assert "fashion-mnist" in text
            assert "Depth 8 ─" in text
            # Beside the table where both have room, else below it.
            beside = next(line for line in text.splitlines() if "Depth 8 ─" in line)
            assert ("aux" in text and "Params" in beside) == (size[0] >= 136)
            assert "▸" in text
            assert text.splitlines()[-1].rstrip().endswith("? help")
            assert max(map(len, text.splitlines())) <= size[0]

    look()


@drive
async def test_a_resize_storm_and_a_terminal_that_is_too_small(start: Start) -> None:
    async with start(SMALL) as pilot:
        for size in [(200, 60), (61, 16), (140, 20), (59, 30), (10, 5), (80, 15), (1, 1), (80, 24)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            if size[0] < 60 or size[1] < 16:
                assert type(pilot.app.screen).__name__ == "TooSmallScreen"
        assert isinstance(pilot.app.screen, WorkbenchScreen)
        await pilot.resize_terminal(50, 12)
        await pilot.pause()
        assert "too small" in " ".join(screen_text(pilot).split())
        await pilot.press("q")
    assert pilot.app.return_code == 0


@drive
async def test_results_of_runs_are_listed_on_one_line_each(start: Start, finished_runs: Path) -> None:
    (run,) = finished_runs.iterdir()
    async with start(SMALL, runs_dir=finished_runs) as pilot:
        listed = pilot.app.screen.query_one(LearngeneList)
        await eventually(pilot, lambda: listed.option_count == len(shipped()) + 1)
        await pilot.pause()
        assert listed.size.height == len(shipped()) + 1
        assert run.name[14:30] in screen_text(pilot)  # Its id without the date.
        listed.focus()
        await pilot.press("end")
        await pilot.pause()
        entry = bench(pilot).entry
        assert entry is not None
        assert entry.path.parent == run / "exports"
        reached = read_file(entry.path).header.reached
        assert reached is not None
        assert f"zero-shot {reached.top1[4]:.2f} %" in await at_depth(pilot, 4)


async def at_depth(pilot: Any, depth: int) -> str:
    pilot.app.screen.query_one(DepthTable).line = depth
    await pilot.pause()
    return screen_text(pilot)


@drive
async def test_accuracies_of_fine_tuning_are_shown_beside_those_without(
    start: Start, start_run: Any, digits_folder: Path
) -> None:
    from dataclasses import replace

    from tleg.runs.events import EventWriter
    from tleg.runs.state import recall_state, write_state

    folder = start_run("finetune", learngene="fashion-mnist", depth=5, begin=False)
    with EventWriter(folder) as events:
        events.write("started", {"step": 0, "steps": 10, "epochs": 1})
        scores = [{"depth": None, "top1": 91.25, "images": 100}]
        events.write("evaluation", {"step": 10, "epoch": 1, "weights": "model", "scores": scores})
    write_state(folder, replace(recall_state(folder), state="stopped"))
    async with start((120, 40)) as pilot:
        await eventually(pilot, lambda: "91.2" in line_of(pilot, 5))
        shown = " ".join((await at_depth(pilot, 5)).split())
        assert f"fine-tuned 91.25 % after 1 epoch on {digits_folder.name}" in shown
        reached = read_file(shipped()["fashion-mnist"]).header.reached
        assert reached is not None
        top1 = reached.top1
        assert f"zero-shot {top1[5]:.2f} % on fashion-mnist validation" in shown
        assert f"Top-1 on fashion-mnist validation, Tuned on {digits_folder.name}" in shown
        await pilot.press("p", "down", "p", "c")

        def rows() -> list[str]:
            lines = [line.split("│")[1] for line in screen_text(pilot).splitlines() if "%" in line and "│" in line]
            return [" ".join(line.split()) for line in lines]

        zero_shot = f"zero-shot top-1, fashion-mnist {top1[5]:.2f} % {top1[6]:.2f} % {top1[6] - top1[5]:+.2f}"
        await eventually(pilot, lambda: any(row.startswith(zero_shot) for row in rows()))
        assert f"fine-tuned top-1, {digits_folder.name} 91.25 % – –" in rows()  # Nothing to compare it with.
        await pilot.press("escape")
        assert "fine-tuned" not in await at_depth(pilot, 6)
