"""One registry of actions feeds bindings, the bar of keys, the help and the palette."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg_tui.actions import ACTIONS, action_of, bindings, key_name
from tleg_tui.app import Workbench
from tleg_tui.common.help import HelpScreen

OWNERS = {
    "app": "tleg_tui.app:Workbench",
    "workbench": "tleg_tui.workbench.screen:WorkbenchScreen",
    "depths": "tleg_tui.workbench.depth_table:DepthTable",
    "learngenes": "tleg_tui.workbench.left_panels:LearngeneList",
    "train": "tleg_tui.train.screen:TrainScreen",
    "family": "tleg_tui.family.screen:FamilyScreen",
    "devices": "tleg_tui.family.devices:DeviceList",
    "family_progress": "tleg_tui.family.progress:FamilyProgressScreen",
    "family_report": "tleg_tui.family.report:FamilyReportScreen",
    "run": "tleg_tui.run.screen:RunScreen",
    "runs": "tleg_tui.runs.screen:RunsScreen",
    "export": "tleg_tui.export.screen:ExportScreen",
    "run_table": "tleg_tui.runs.table:RunTable",
    "tail": "tleg_tui.run.events_log:Tail",
    "dialog": "tleg_tui.common.screens:Dialog",
}


def test_every_scope_has_an_owner() -> None:
    assert set(ACTIONS) == set(OWNERS)


@pytest.mark.parametrize("scope", ACTIONS)
def test_every_action_is_a_method_of_its_owner_with_a_key_and_a_sentence(scope: str) -> None:
    module, _, name = OWNERS[scope].partition(":")
    owner = getattr(importlib.import_module(module), name)
    keys: list[str] = []
    for action in ACTIONS[scope]:
        method = action.name.partition("(")[0]
        assert callable(inspect.getattr_static(owner, f"action_{method}", None)), action
        assert action.about[0].isupper()
        assert not action.about.endswith(".")
        keys += action.keys.split(",")
    # Of two actions on one key the owner offers one at a time.
    assert len(keys) == len(set(keys)) or "check_action" in vars(owner), f"a key of {scope} does two things"
    declared = {binding.id for binding in owner.BINDINGS if getattr(binding, "id", None)}
    assert {binding.id for binding in bindings(scope)} <= declared


def test_actions_are_found_by_their_bindings() -> None:
    for scope, actions in ACTIONS.items():
        assert [action_of(binding) for binding in bindings(scope)] == [(scope, action) for action in actions]


@pytest.mark.parametrize(
    ("key", "name"), [("f5", "F5"), ("slash", "/"), ("ctrl+p", "ctrl+p"), ("question_mark", "?"), ("f", "f")]
)
def test_keys_are_written_as_on_keyboards(key: str, name: str) -> None:
    assert key_name(key) == name


def known_actions(screen: Any) -> Iterator[str]:
    for _, binding, enabled, _ in screen.active_bindings.values():
        found = action_of(binding)
        if found is not None and enabled:
            yield f"{found[0]}.{found[1].name}"


@drive
async def test_help_shows_where_you_are_first_and_narrows_down(start: Start) -> None:
    async with start((80, 40)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(pilot.app.screen, HelpScreen)
        text = screen_text(pilot)
        assert text.index("Where you are") < text.index("One depth less") < text.index("This screen")
        assert text.index("This screen") < text.index("Show all runs")
        await pilot.press(*"onnx")
        await pilot.pause()
        text = screen_text(pilot)
        assert "Build and export" in text
        assert "One depth less" not in text
        await pilot.press(*"zzz")
        await pilot.pause()
        assert "no key does that here" in screen_text(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert type(pilot.app.screen).__name__ == "WorkbenchScreen"
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(pilot.app.screen, HelpScreen)


@drive
async def test_the_bar_always_ends_with_help(start: Start) -> None:
    async with start(LARGE) as pilot:
        for width in (200, 120, 80, 70, 60):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
            assert screen_text(pilot).splitlines()[-1].rstrip().endswith("? help")


@drive
async def test_the_palette_offers_what_is_possible_now_and_does_it(start: Start) -> None:
    async with start(LARGE) as pilot:
        assert "workbench.compare" not in set(known_actions(pilot.app.screen))
        await pilot.press("ctrl+p")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))
        await eventually(pilot, lambda: "Set limits" in screen_text(pilot))
        assert "Compare the two pinned" not in screen_text(pilot)
        await pilot.press(*"set limits")
        await eventually(pilot, lambda: "Build and export" not in screen_text(pilot))
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.focused, Input) and pilot.app.focused.id == "parameters")
        await pilot.press("escape", "p", "down", "p")
        assert "workbench.compare" in set(known_actions(pilot.app.screen))


@drive
async def test_themes_are_chosen_in_the_palette_and_kept(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("ctrl+p", *"theme: tleg-light")
        # Nothing else has these letters.
        await eventually(pilot, lambda: [each.option_count for each in pilot.app.screen.query(OptionList)] == [1])
        await pilot.press("enter")
        await eventually(pilot, lambda: pilot.app.theme == "tleg-light")
    async with start(SMALL) as pilot:
        assert pilot.app.theme == "tleg-light"


@pytest.mark.parametrize("theme", ["tleg-dark", "tleg-light", "tleg-colour-blind", "ansi-dark", "ansi-light", "nord"])
def test_every_theme_paints_every_part(start: Start, theme: str) -> None:
    @drive
    async def look() -> None:
        async with start(LARGE, theme=theme) as pilot:
            await pilot.press("slash", *"300k")
            await pilot.pause()
            assert "fits: 1–5" in screen_text(pilot)
            assert pilot.app.theme == theme

    look()


@drive
async def test_no_colour_is_honoured(start: Start) -> None:
    import os

    os.environ["NO_COLOR"] = "1"
    try:
        async with start(SMALL) as pilot:
            assert "▸" in screen_text(pilot)
            for strip in pilot.app.screen._compositor.render_strips():
                for segment in strip:
                    for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                        if colour is not None and colour.triplet is not None:
                            red, green, blue = colour.triplet
                            assert red == green == blue
    finally:
        del os.environ["NO_COLOR"]


@drive
async def test_quitting_says_nothing_when_nothing_goes_on(start: Start) -> None:
    async with start(SMALL) as pilot:
        app = pilot.app
        assert isinstance(app, Workbench)
        assert app.farewell() is None
        await pilot.press("q")
    assert app.return_code == 0


@drive
async def test_leaving_asks_when_a_form_would_be_lost(start: Start) -> None:
    async with start(SMALL) as pilot:
        app = pilot.app
        await pilot.press("l")
        await eventually(pilot, lambda: type(app.screen).__name__ == "TrainScreen")
        await pilot.press("right")  # A preset fills the form.
        await pilot.press("ctrl+q")
        await eventually(pilot, lambda: type(app.screen).__name__ == "ConfirmScreen")
        assert "What was filled in is lost" in screen_text(pilot)
        await pilot.press("n")
        await eventually(pilot, lambda: type(app.screen).__name__ == "TrainScreen")
        await pilot.press("ctrl+q")
        await eventually(pilot, lambda: type(app.screen).__name__ == "ConfirmScreen")
        await pilot.press("y")
    assert app.return_code == 0


@drive
async def test_the_chosen_line_stands_out_by_its_background_too(start: Start) -> None:
    async with start(SMALL) as pilot:
        lines = pilot.app.screen._compositor.render_strips()
        line = next(strip for strip in lines if "▸" in strip.text)
        other = lines[lines.index(line) + 1]

        def backgrounds(strip: Any) -> set[Any]:
            return {segment.style.bgcolor for segment in strip if segment.style and "k" in segment.text}

        assert backgrounds(line).isdisjoint(backgrounds(other))
