"""The Train screen: a form that is filled in, checked, tried, copied and launched, with the keyboard alone."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg.recipes.presets import presets_of
from tleg.runs.listing import list_runs
from tleg.runs.spec import read_spec
from tleg.runs.state import observe
from tleg_tui.common.dialogs import ConfirmScreen, NodeLineScreen, PickRunScreen
from tleg_tui.common.form_fields import FormField
from tleg_tui.run.screen import RunScreen
from tleg_tui.train.checks import TIMM
from tleg_tui.train.dry_run import DryRunScreen, report
from tleg_tui.train.pick import PickNameScreen
from tleg_tui.train.screen import TrainScreen
from tleg_tui.workbench.screen import WorkbenchScreen

NAMES = ("vit_tiny_patch16_224", "vit_small_patch16_224", "resnet10t", "resnet18", "levit_384")
TINY: dict[str, Any] = {
    "architecture": "vit_tiny_patch16_224",
    "model-arg": {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2, "in_chans": 1},
    "auxiliary-depth": 3,
    "epochs": 1,
    "batch-size": 40,
    "workers": 0,
    "evaluate-depths": "2-3",
}


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    """timm was asked already; one test asks it."""
    TIMM.known, TIMM.names, TIMM.expandable = True, NAMES, NAMES[:2]
    yield
    TIMM.known, TIMM.names, TIMM.expandable = False, (), frozenset()


@pytest.fixture
def data(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digits, by a short name in the working folder."""
    Path("digits").symlink_to(digits_folder)
    return "digits"


def form(pilot: Pilot[None]) -> TrainScreen:
    screen = pilot.app.screen
    assert isinstance(screen, TrainScreen)
    return screen


def shown(pilot: Pilot[None], name: str) -> str:
    """What stands under a field."""
    field = form(pilot).query_one(f"#field-{name}", FormField)
    return " ".join(str(each.render()) for each in field.query(".problem").results(Static) if each.display)


def focused(pilot: Pilot[None]) -> str:
    """The name of the field that has the focus."""
    assert pilot.app.focused is not None
    parent = pilot.app.focused.parent
    return parent.spec.name if isinstance(parent, FormField) else str(pilot.app.focused.id)


def status(pilot: Pilot[None]) -> str:
    return str(form(pilot).query_one("#status", Static).render())


def command(pilot: Pilot[None]) -> str:
    return str(form(pilot).query_one("#command", Static).render())


async def go_to(pilot: Pilot[None], name: str) -> None:
    form(pilot).query_one(f"#field-{name}", FormField).control.focus()
    await pilot.pause()


async def type_into(pilot: Pilot[None], name: str, text: str) -> None:
    await go_to(pilot, name)
    await pilot.press("end", "ctrl+u", *text)


async def open_form(pilot: Pilot[None], kind: str = "learn", **values: Any) -> TrainScreen:
    pilot.app.open_training(kind, {name.replace("_", "-"): value for name, value in values.items()})  # type: ignore[attr-defined]
    await pilot.pause()
    return form(pilot)


@drive
async def test_who_sees_it_first_learns_what_to_do(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("l")
        await pilot.pause()
        text = screen_text(pilot)
        assert "learn a learngene" in text
        assert "New here? → fills in an example, and F5 trains it in minutes." in text
        assert "data *             to be filled in" in text
        assert "epochs             30" in text
        assert "teacher            none: learn from the labels alone" in text
        assert "tleg learn --architecture TIMM_NAME --data DATA" in text
        assert "fill in: architecture, data" in text
        assert "F5 launch" in text.splitlines()[-1]
        assert focused(pilot) == "preset"
        await pilot.press("f5")
        await pilot.pause()
        assert focused(pilot) == "architecture"
        assert len(list_runs(pilot.app.runs_dir)) == 0  # type: ignore[attr-defined]
        assert len(list(form(pilot).walk_children())) < 70


@drive
async def test_keys_alone_fill_the_form_try_it_and_launch_it(start: Start, runs_dir: Path, data: str) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("l", "down", *data, "enter", *"vit_tiny_patch16_224", "enter")
        assert focused(pilot) == "model-arg"
        await pilot.press(*"img_size=8 patch_size=2 embed_dim=32 num_heads=2 in_chans=1", *["enter"] * 3, "3", "enter")
        assert focused(pilot) == "sample-depths"
        await pilot.press("down", "1", "down", *"40")
        assert status(pilot) == "✓ ready"
        assert "--auxiliary-depth 3 --epochs 1 --batch-size 40" in command(pilot).replace("\n", " ")
        await pilot.press("f4")
        assert isinstance(pilot.app.screen, DryRunScreen)
        await eventually(pilot, lambda: "nothing is trained and nothing is written" in screen_text(pilot))
        await eventually(pilot, lambda: "nothing speaks against it" in screen_text(pilot))
        text = screen_text(pilot)
        assert "200 training and 50 validation images" in text
        assert "10; guessing gives 10.0 %" in text
        assert "at depth 3" in text
        assert "piecewise, 3 terms" in text
        assert re.search(r"depths +3\b", text)
        assert "5, 5 an epoch; peak learning rate 0.00335" in text
        assert "none: from the labels alone" in text
        assert len(list_runs(runs_dir)) == 0
        await pilot.press("enter")  # The button that launches has the focus.
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        (folder,) = list_runs(runs_dir)
        assert [type(screen) for screen in pilot.app.screen_stack][-2:] == [WorkbenchScreen, RunScreen]
        await eventually(pilot, lambda: observe(folder).state in ("running", "finished"))
        spec = read_spec(folder)
        assert (spec.kind, spec.recipe["data"], spec.recipe["epochs"]) == ("learn", data, 1)
        assert spec.recipe["model-arg"]["embed_dim"] == 32
        assert pilot.app.settings.data == (data,)  # type: ignore[attr-defined]


@drive
async def test_the_example_is_one_key_away_and_another_key_takes_it_off(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("l", "right")
        await pilot.pause()
        text = screen_text(pilot)
        assert "◂ example ▸" in text
        assert "fashion-mnist" in text
        assert "patch_size=7 embed_dim=64 num_heads=2" in text
        assert "example: a small ViT on Fashion-MNIST" in text
        assert status(pilot) == "✓ ready"
        await pilot.press("right")
        await pilot.pause()
        assert "◂ paper-aux-s ▸" in screen_text(pilot)
        assert "--teacher levit_384" in command(pilot)
        assert "--model-arg" not in command(pilot)
        await pilot.press("left", "left")
        await pilot.pause()
        assert status(pilot) == "fill in: architecture, data"
        assert "num_heads" not in screen_text(pilot)


@drive
async def test_what_is_wrong_is_said_while_it_is_typed(start: Start) -> None:
    async with start(LARGE) as pilot:
        await open_form(pilot, data="fashion-mnist", architecture="vit_tiny_patch16_224")
        await type_into(pilot, "epochs", "0")
        assert shown(pilot, "epochs") == "epochs must be from 1 to 100000, not 0"
        await type_into(pilot, "sample-depths", "4-x")
        assert "cannot read '4-x' as depths" in shown(pilot, "sample-depths")
        assert status(pilot) == "✗ 2 problems: sample-depths, epochs"
        assert command(pilot) == "the equal command line appears when nothing is wrong"
        await type_into(pilot, "epochs", "4")
        assert shown(pilot, "epochs") == ""
        await type_into(pilot, "sample-depths", "4-6")
        await type_into(pilot, "architecture", "vit_tini")
        await eventually(pilot, lambda: shown(pilot, "architecture"))
        assert shown(pilot, "architecture") == "timm has no model 'vit_tini'. Did you mean 'vit_tiny_patch16_224'?"
        await type_into(pilot, "data", "fashion-mnits")
        await eventually(pilot, lambda: "Did you mean 'fashion-mnist'?" in shown(pilot, "data"))
        await pilot.press("f5")
        await pilot.pause()
        assert focused(pilot) == "data"
        await type_into(pilot, "data", "fashion-mnist")
        assert shown(pilot, "data") == ""


@drive
async def test_a_problem_in_a_folded_group_is_unfolded(start: Start) -> None:
    async with start(SMALL) as pilot:
        screen = await open_form(pilot, data="fashion-mnist", architecture="vit_tiny_patch16_224", warmup_epochs=99.0)
        group = screen.query_one("#group-optimisation")
        assert not group.query(FormField)
        assert "✗ 1" in str(screen.query_one("#group-optimisation > GroupTitle").render())
        await pilot.press("f5")
        await eventually(pilot, lambda: focused(pilot) == "warmup-epochs")
        assert "from 0 to 30" in shown(pilot, "warmup-epochs")
        await pilot.press("end", "ctrl+u", "2")
        assert status(pilot) == "✓ ready"


@drive
async def test_all_fields_unfold_and_fold(start: Start) -> None:
    async with start(LARGE) as pilot:
        screen = await open_form(pilot)
        before = len(screen.query(FormField))
        await pilot.press("f7")
        await pilot.pause()
        assert len(screen.query(FormField)) > before + 25
        await go_to(pilot, "gradient-checkpointing")
        await pilot.press("space")
        assert "--gradient-checkpointing" in command(pilot)
        await go_to(pilot, "optimizer")
        await pilot.press("right", "enter")
        assert focused(pilot) == "lr"
        assert "--optimizer adam " in f"{command(pilot)} "
        await pilot.press("f7")
        await pilot.pause()
        assert not screen.query_one("#field-optimizer").display
        assert "optimizer" in str(screen.query_one("#group-optimisation > GroupTitle").render())


@drive
async def test_fine_tuning_starts_from_the_chosen_depth(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("f")
        await pilot.pause()
        text = screen_text(pilot)
        assert "learngene *        fashion-mnist" in text
        assert "depth *            8" in text
        assert "checkpoint" not in text
        assert focused(pilot) == "data"
        await go_to(pilot, "start")
        await pilot.press("right")
        await pilot.pause()
        text = screen_text(pilot)
        assert "checkpoint *       to be filled in" in text
        assert "depth *" not in text
        shown = form(pilot).query_one("#group-model")
        assert shown.display  # Which weights of a file, and for which size; a learngene and a timm model have others.
        assert "tleg finetune --data DATA --checkpoint 'PATH|RUN'" in text


@drive
async def test_a_model_is_trained_by_its_own_form(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("t")
        await pilot.pause()
        text = screen_text(pilot)
        assert "train a model" in text
        assert "model *" in text
        assert "learngene" not in text.partition("start ")[2].splitlines()[0]
        await go_to(pilot, "model")
        await pilot.press(*"resnet18")
        await eventually(pilot, lambda: "tleg train --data DATA --model resnet18" in screen_text(pilot))
        await go_to(pilot, "start")
        await pilot.press("right")
        await eventually(pilot, lambda: "checkpoint *" in screen_text(pilot))
        assert "model *" not in screen_text(pilot)


def listed(pilot: Any) -> str:
    """What stands in the dialog on top: the form is seen around it."""
    return "\n".join(line for line in screen_text(pilot).splitlines() if "│" in line)


@drive
async def test_picking_data(start: Start, data: str) -> None:
    async with start(SMALL) as pilot:
        screen = await open_form(pilot)
        await go_to(pilot, "data")
        await pilot.press("f3")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, PickNameScreen))
        await pilot.pause()
        lines = [line for line in screen_text(pilot).splitlines() if "│" in line]
        words = [line.partition("│")[2].split()[:1] for line in lines]
        assert words.index(["fashion-mnist"]) < words.index(["digits"]) < words.index(["torch/cifar10"])
        assert any("digits  train/ and val/" in line for line in lines)
        await pilot.press("enter")
        assert screen.query_one("#field-data", FormField).control.value == "fashion-mnist"  # type: ignore[union-attr]
        await pilot.press("f3")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, PickNameScreen))
        await pilot.press(*"./")
        await eventually(pilot, lambda: "digits" in listed(pilot) and "torch/" not in listed(pilot))
        await pilot.press("enter")
        assert "--data digits" in command(pilot)
        await go_to(pilot, "epochs")
        assert screen.check_action("pick", ()) is False


@drive
async def test_an_existing_output_asks_to_be_replaced(start: Start) -> None:
    Path("gene.safetensors").write_bytes(b"old")
    async with start(SMALL) as pilot:
        screen = await open_form(pilot, data="fashion-mnist", architecture="vit_tiny_patch16_224")
        assert not screen.query_one("#field-replace").display
        await type_into(pilot, "output", "gene.safetensors")
        await eventually(pilot, lambda: shown(pilot, "output"))
        assert shown(pilot, "output") == "gene.safetensors exists already; tick 'replace' below, or name another"
        await pilot.press("down")
        assert focused(pilot) == "replace"
        await pilot.press("space")
        await eventually(pilot, lambda: status(pilot) == "✓ ready")
        assert command(pilot).endswith("--output gene.safetensors --force")
        assert Path("gene.safetensors").read_bytes() == b"old"


@drive
async def test_the_command_is_copied(start: Start) -> None:
    async with start(SMALL) as pilot:
        await open_form(pilot, data="my data", architecture="vit_tiny_patch16_224", model_arg={"patch_size": 7})
        await pilot.press("f6")
        expected = "tleg learn --architecture vit_tiny_patch16_224 --data 'my data' --model-arg patch_size=7"
        assert pilot.app.clipboard == expected
        await type_into(pilot, "data", "")
        await pilot.press("f6")
        await pilot.pause()
        assert pilot.app.clipboard == expected
        assert focused(pilot) == "data"


@drive
async def test_another_folder_of_runs_is_in_the_command(start: Start, tmp_path: Path) -> None:
    async with start(SMALL, runs_dir=tmp_path / "other runs") as pilot:
        await open_form(pilot, data="d", architecture="a")
        await pilot.press("f6")
        assert pilot.app.clipboard.endswith(f"--runs-dir '{tmp_path}/other runs'")


@drive
async def test_a_run_fills_the_form(start: Start, finished_runs: Path, tmp_path: Path) -> None:
    place = tmp_path / "copied"
    shutil.copytree(finished_runs, place)
    (folder,) = list_runs(place)
    async with start(SMALL, runs_dir=place) as pilot:
        await open_form(pilot)
        await eventually(pilot, lambda: pilot.app.runs.rows)  # type: ignore[attr-defined]
        await pilot.press("f2")
        assert isinstance(pilot.app.screen, PickRunScreen)
        await pilot.press("enter")
        await eventually(pilot, lambda: status(pilot) == "✓ ready")
        await pilot.press("f6")
        assert pilot.app.clipboard == f"{shlex.join(read_spec(folder).command)} --runs-dir {place}"


@drive
async def test_leaving_asks_when_something_was_filled_in(start: Start) -> None:
    async with start(SMALL) as pilot:
        await open_form(pilot)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, WorkbenchScreen)
        await open_form(pilot, data="fashion-mnist")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, WorkbenchScreen)
        await open_form(pilot)
        await type_into(pilot, "epochs", "3")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("n")
        assert status(pilot) == "fill in: architecture, data"
        await pilot.press("escape", "y")
        assert isinstance(pilot.app.screen, WorkbenchScreen)


@pytest.mark.usefixtures("interpreters")  # It is known by the words that it was started with.
@drive
async def test_a_dry_run_that_fails_says_why_and_one_that_is_left_ends(start: Start, data: str) -> None:
    async with start(SMALL) as pilot:
        await open_form(pilot, **{**TINY, "data": data, "model-arg": {"embed_dimm": 3}})
        await pilot.press("f4")
        await eventually(pilot, lambda: "✗" in screen_text(pilot) and "embed_dimm" in screen_text(pilot))
        text = " ".join(line.partition("│")[2].rstrip("│ ").strip() for line in screen_text(pilot).splitlines())
        assert "takes no argument 'embed_dimm'. Did you mean 'embed_dim'?" in text
        await pilot.press("f5")
        assert isinstance(pilot.app.screen, DryRunScreen)  # It cannot be launched from here.
        await pilot.press("escape")
        await pilot.press("f4")
        await eventually(pilot, _children)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, TrainScreen)
        await eventually(pilot, lambda: not _children())


def _children() -> list[str]:
    """Dry runs that are at work."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:  # A thread that has ended.
            continue
        for number in children:
            try:
                words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += [number] if b"--dry-run" in words else []
    return found


def test_a_report_has_teacher_notes_and_problems() -> None:
    document = {
        "data": "d",
        "classes": 4,
        "chance": 25.0,
        "training": 1000,
        "validation": 10,
        "teacher": {"name": "t", "accuracy": 31.5, "images": 10},
        "memory": {"weights": 1e9, "activations": None, "teacher": 5e8},
        "memory_available": 1e9,
        "notes": ["one note"],
        "problems": ["too much"],
    }
    text = report(document, 70).plain
    assert "teacher   t, right on 31.5 % of 10 images; guessing gives 25.0 %" in text
    assert "memory    about 1.5 GB a device, of 1.0 GB available" in text
    assert "note      one note" in text
    assert text.endswith("✗ too much")
    # What is longer than a line goes on below its beginning.
    narrow = report(document, 40).plain.splitlines()
    assert "teacher   t, right on 31.5 % of 10\n          images; guessing gives 25.0 %" in "\n".join(narrow)
    assert max(map(len, narrow)) <= 40


@drive
async def test_a_folder_of_runs_that_cannot_be_written_is_a_sentence(start: Start, tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("")
    async with start(SMALL, runs_dir=tmp_path / "file" / "runs") as pilot:
        await open_form(pilot, **{**TINY, "data": data})
        await pilot.press("f5")
        await eventually(pilot, lambda: status(pilot).startswith("cannot") or "Not a directory" in status(pilot))
        assert isinstance(pilot.app.screen, TrainScreen)
        await type_into(pilot, "epochs", "2")
        assert status(pilot) == "✓ ready"


@drive
async def test_data_that_vanished_keeps_the_training_from_starting(start: Start, runs_dir: Path, data: str) -> None:
    async with start(SMALL) as pilot:
        await open_form(pilot, **{**TINY, "data": data})
        await pilot.pause(0.5)
        assert status(pilot) == "✓ ready"
        Path(data).unlink()
        await pilot.press("f5")
        await eventually(pilot, lambda: "there is no folder and no known data set 'digits'" in shown(pilot, "data"))
        await eventually(pilot, lambda: status(pilot) == "✗ 1 problem: data")
        assert len(list_runs(runs_dir)) == 0


@drive
async def test_several_machines_get_a_line_to_type(start: Start, runs_dir: Path, data: str) -> None:
    async with start(SMALL) as pilot:
        await open_form(pilot, **{**TINY, "data": data, "nodes": 2})
        await pilot.press("f5")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, NodeLineScreen))
        (folder,) = list_runs(runs_dir)
        await pilot.press("enter")
        assert pilot.app.clipboard.startswith("torchrun --nnodes=2 --nproc-per-node=1")
        assert pilot.app.clipboard.endswith(str(folder.path))
        assert observe(folder).state == "queued"
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunScreen)


@drive
async def test_a_batch_job_is_submitted(
    start: Start, runs_dir: Path, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" > sbatch.said\necho 4711\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    async with start(LARGE) as pilot:
        screen = await open_form(pilot, **{**TINY, "data": data})
        assert not screen.query_one("#field-partition").display
        await go_to(pilot, "slurm")
        await pilot.press("space", "down", *"gpu", "down", *"soon")
        assert "a time of SLURM is minutes" in shown(pilot, "time")
        await pilot.press("ctrl+u", *"30")
        assert "--slurm --partition gpu --time 30" in command(pilot)
        await pilot.press("f5")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        (folder,) = list_runs(runs_dir)
        assert read_spec(folder).launch.job_id == "4711"
        assert "--partition=gpu" in folder.job_file.read_text()


@drive
async def test_timm_is_asked_once_for_its_names(start: Start) -> None:
    TIMM.known, TIMM.names, TIMM.expandable = False, (), frozenset()
    async with start(SMALL) as pilot:
        await open_form(pilot, architecture="vit_smal_patch16_224")
        await pilot.pause(0.4)
        assert shown(pilot, "architecture") == ""  # Nothing is claimed yet.
        await eventually(pilot, lambda: shown(pilot, "architecture"))
        assert "Did you mean 'vit_small_patch16_224'?" in shown(pilot, "architecture")
        assert len(TIMM.names) > 500
        await type_into(pilot, "architecture", "deit_tiny_p")
        await pilot.pause(0.1)
        await pilot.press("right")
        assert "--architecture deit_tiny_patch16_224" in command(pilot)
        assert not await TIMM.ask()


@drive
async def test_sizes_from_least_to_largest(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("l", "right")
        for size in ((60, 16), (200, 60), SMALL, (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            text = screen_text(pilot)
            assert "preset" in text
            assert "✓ ready" in text
            assert "launch F5" in text
            assert max(map(len, text.splitlines())) <= size[0]


@drive
async def test_the_mouse_does_what_keys_do(start: Start) -> None:
    async with start(SMALL) as pilot:
        screen = await open_form(pilot)
        await pilot.click("#field-preset Choice", offset=(4, 0))
        assert "◂ example ▸" in screen_text(pilot)
        await pilot.click("#copy")
        assert pilot.app.clipboard.startswith("tleg learn --architecture vit_tiny_patch16_224 --data fashion-mnist")
        screen.query_one("#group-data").scroll_visible(animate=False)
        await pilot.pause()
        await pilot.click("#group-data GroupTitle")
        await pilot.pause()
        assert screen.query_one("#field-validation-split").region


def test_the_form_needs_neither_numpy_nor_torch(run_python: Any) -> None:
    code = (
        "import sys, tleg_tui.train.screen, tleg_tui.train.dry_run, tleg_tui.train.pick\n"
        "print(sorted({'numpy', 'torch', 'timm', 'onnx', 'typer'} & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == "[]"


def test_presets_of_the_form_are_those_of_the_command() -> None:
    assert [preset.name for preset in presets_of("learn")] == ["example", "paper-aux-s", "paper-aux-b", "quick"]
