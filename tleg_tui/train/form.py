"""The form of a recipe: its fields, what is read from them, what fills them in."""

import asyncio
import shutil
from collections.abc import Mapping
from typing import Any, cast

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import Static

from tleg.errors import InputError
from tleg.paths import runs_folder
from tleg.recipes import Kind
from tleg.recipes.io import NONE
from tleg.recipes.presets import preset_values
from tleg.runs.run import RunFolder
from tleg_tui.common.bars import TitleBar
from tleg_tui.common.form_fields import FieldSpec, Form, FormField, focused_spec
from tleg_tui.common.screens import WorkScreen
from tleg_tui.train.checks import TIMM, Places, check_places
from tleg_tui.train.field_specs import HINTS, PRESET, TITLES, folded_fields, main_fields, preset_help
from tleg_tui.train.fields import GroupTitle, RecipeGroup
from tleg_tui.train.model import (
    OUTPUT,
    REPLACE,
    Overlay,
    Reading,
    is_shown,
    read_form,
    texts_of,
    texts_of_run,
)
from tleg_tui.train.pick import NameSuggester, Offer, completions_of, is_picked, offers_of
from tleg_tui.train.side_panel import RecipeSide

_PATIENCE = 0.2  # Seconds without a key, after which the disk is looked at.


class RecipeScreen(WorkScreen):
    """Fields of a recipe, checked as they are typed. What is done with the recipe is for those who inherit.

    kind    'learn', 'train' or 'finetune'
    values  option name -> value, filled in at first
    """

    SCOPE = "train"
    NAME = "train"
    DEFAULT_CSS = """
    RecipeScreen #train { height: 1fr; }
    RecipeScreen #form { height: 1fr; scrollbar-size-vertical: 1; }
    RecipeScreen #newcomer { height: auto; padding: 0 1; color: $accent; }
    RecipeScreen #advanced { margin-top: 1; padding-left: 1; }
    RecipeScreen.-wide #train { layout: horizontal; }
    RecipeScreen.-wide #form { height: 100%; width: 1fr; }
    RecipeScreen.-wide RecipeSide { width: 50; height: 100%; border-top: none; border-left: solid $panel; }
    RecipeScreen.-wide RecipeSide #about { height: 5; max-height: 5; }
    RecipeScreen.-wide RecipeSide #command-box { height: auto; max-height: 1fr; }
    RecipeScreen.-wide RecipeSide #foot { height: 3; layout: grid; grid-size: 3; grid-rows: 2 1; }
    RecipeScreen.-wide RecipeSide #status { column-span: 3; width: 100%; height: 2; }
    RecipeScreen.-huge RecipeSide { width: 72; }
    """

    class PlacesChecked(Message):
        """Names and paths of a reading were looked up."""

        def __init__(self, reading: Reading, places: Places) -> None:
            super().__init__()
            self.reading = reading
            self.places = places

    class NamesLearned(Message):
        """timm's names are known now."""

    class OffersFound(Message):
        """What can be picked for a field was looked up."""

        def __init__(self, name: str, offers: tuple[Offer, ...]) -> None:
            super().__init__()
            self.name = name
            self.offers = offers

    AUTO_FOCUS = None  # The field where something is to be done.

    def __init__(self, kind: str, values: dict[str, Any]) -> None:
        super().__init__()
        self._kind = cast(Kind, kind)
        self._texts: dict[str, str] = texts_of(kind=self._kind, values=values)
        self._first = dict(self._texts)
        self._overlay = Overlay()
        self._preset = NONE
        self._specs = main_fields(self._kind, slurm=shutil.which("sbatch") is not None)
        self._reading = Reading(None, {}, {}, (), None)
        self._checked: tuple[Reading, Places] | None = None
        self._shown: Mapping[str, str] = {}
        self._told, self._wrong = "", False
        self.suggester = NameSuggester(lambda name: completions_of(name, self.host.settings, TIMM))

    def compose_body(self) -> ComposeResult:
        """The form and what stands beside or below it."""
        with Container(id="train"):
            with Form(id="form"):
                if not self._texts or self._kind != "learn":
                    yield Static(HINTS[self._kind], id="newcomer")
                for spec in self._specs:
                    yield self._field(spec)
                yield Static("More", classes="panel-title", id="advanced")
                for title, specs in folded_fields(self._kind).items():
                    yield RecipeGroup(title, specs, self._field)
            yield RecipeSide()

    def on_mount(self) -> None:
        """Read what is there already, and begin where something is to be filled in."""
        self.query_one(TitleBar).title = TITLES[self._kind]
        self.watch(self, "focused", self._show_help)
        self._read()
        first = PRESET if not self._texts else next(iter(self._reading.missing), "epochs")
        self.query_one(f"#field-{first}", FormField).control.focus()
        self.set_timer(0.5, self._ask_timm)

    # Texts, and what they mean.

    def on_form_field_changed(self, message: FormField.Changed) -> None:
        """Somebody typed or chose."""
        if message.name == PRESET:
            self._lay_preset(message.text)
        else:
            self._texts[message.name] = message.text
        self._read()

    def _lay_preset(self, name: str) -> None:
        self._preset = name
        laid = {} if name == NONE else texts_of(self._kind, preset_values(name, self._kind))
        self._overlay.replace(self._texts, laid)
        self._show_texts()
        self._show_help()

    def _read(self) -> None:
        """Read all texts again, at once what needs no disk, and the rest when the keys are quiet."""
        more = [] if self.host.runs_dir == runs_folder() else ["--runs-dir", str(self.host.runs_dir)]
        self._reading = read_form(self._kind, self._texts, more)
        self._told = ""
        self._show()
        self._check_places(self._reading)

    @work(exclusive=True, group="places")
    async def _check_places(self, reading: Reading) -> None:
        await asyncio.sleep(_PATIENCE)
        self.post_message(self.PlacesChecked(reading, await asyncio.to_thread(self._look_at, reading)))

    def _look_at(self, reading: Reading) -> Places:
        return check_places(self._kind, reading.values, reading.output, reading.overwrite, self.host.runs_dir, TIMM)

    def on_recipe_screen_places_checked(self, message: PlacesChecked) -> None:
        """Show what is not there."""
        self._checked = (message.reading, message.places)
        self._show()

    @property
    def problems(self) -> dict[str, str]:
        """Field -> what is wrong, as far as it is known: what the disk said counts while the text is the same."""
        found = dict(self._reading.problems)
        if self._checked is not None:
            reading, places = self._checked
            for name, problem in places.problems.items():
                now, then = (
                    (each.output, each.overwrite) if name == OUTPUT else each.values.get(name)
                    for each in (self._reading, reading)
                )
                if now == then:
                    found.setdefault(name, problem)
        return found

    # What is shown.

    def _show(self) -> None:
        problems, exists = self.problems, self._checked is not None and self._checked[1].output_exists
        for each in self.query(FormField):
            name = each.spec.name
            shown = is_shown(self._kind, name, self._texts) and (name != REPLACE or exists)
            each.set_class(not shown, "-absent")
            each.show_problem(problems.get(name, ""))
        texts = {name: text for name, text in self._texts.items() if is_shown(self._kind, name, self._texts)}
        for group in self.query(RecipeGroup):
            names = {spec.name for spec in group.specs if is_shown(self._kind, spec.name, self._texts)}
            group.show(names, texts, problems)
        side = self.query_one(RecipeSide)
        side.show_command(self._reading)
        side.show_status(self._reading, problems, self._told, self._wrong)

    def _show_texts(self) -> None:
        for each in self.query(FormField):
            each.show_text(self._preset if each.spec.name == PRESET else self._texts.get(each.spec.name, ""))

    def _show_help(self) -> None:
        spec = focused_spec(self)
        if spec is not None:
            text = preset_help(self._kind, self._preset) if spec.name == PRESET else spec.help
            self.query_one(RecipeSide).show_help(
                f"{text} F3 shows what there is." if is_picked(spec.name, self._kind) else text
            )
        elif isinstance(self.focused, GroupTitle):
            self.query_one(RecipeSide).show_help("Enter unfolds; F7 unfolds all.")
        self.refresh_bindings()

    def _tell(self, text: str, *, wrong: bool) -> None:
        self._told, self._wrong = text, wrong
        self._show()

    def _field(self, spec: FieldSpec) -> FormField:
        suggests = is_picked(spec.name, self._kind)
        made = FormField(spec, self._texts.get(spec.name, ""), self.suggester.for_field(spec.name) if suggests else None)
        made.set_class(spec.name == REPLACE or not is_shown(self._kind, spec.name, self._texts), "-absent")
        return made

    def on_recipe_group_unfolded(self) -> None:
        """What is wrong stands at the fields now."""
        self._show()

    def _show_runs(self) -> None:
        super()._show_runs()
        self.refresh_bindings()

    # Moving.

    def on_form_field_entered(self) -> None:
        """Enter goes to the next field."""
        self.focus_next()

    def action_move(self, step: int) -> None:
        """To the field above or below."""
        (self.focus_next if step > 0 else self.focus_previous)()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Picking is offered where there is something to pick, and so on."""
        if action == "pick":
            spec = focused_spec(self)
            return spec is not None and is_picked(spec.name, self._kind)
        if action == "from_run":
            return any(row.spec.kind == self._kind for row in self.host.runs.rows)
        return True

    def why_not(self, action: str) -> str:
        """What is missing."""
        if action == "pick":
            fields = [
                each.spec.name for each in self.query(FormField) if is_picked(each.spec.name, self._kind) and each.display
            ]
            return f"F3 chooses for {', '.join(fields)}: this field is typed"
        return "there is no run of this kind yet to take a recipe from" if action == "from_run" else ""

    async def action_advanced(self) -> None:
        """Unfold all groups, or fold them when all are unfolded."""
        groups = list(self.query(RecipeGroup))
        unfold = not all(group.unfolded for group in groups)
        for group in groups:
            await group.unfold(unfold)
        self._show()

    # Filling in.

    @work(group="names")
    async def _ask_timm(self) -> None:
        if await TIMM.ask():
            self.post_message(self.NamesLearned())

    def on_recipe_screen_names_learned(self) -> None:
        """Names can be judged now."""
        self._check_places(self._reading)

    def action_pick(self) -> None:
        """Offer what there is for the focused field."""
        if (spec := focused_spec(self)) is not None and is_picked(spec.name, self._kind):
            self._find_offers(spec.name)

    @work(exclusive=True, group="offers")
    async def _find_offers(self, name: str) -> None:
        with self.host.keys_wait():
            offers = await asyncio.to_thread(offers_of, name, self._kind, self.host.settings, self.host.runs, TIMM)
            self.post_message(self.OffersFound(name, offers))

    def on_recipe_screen_offers_found(self, message: OffersFound) -> None:
        """Let one be chosen."""
        from tleg_tui.train.pick import PickNameScreen

        def take(text: str | None) -> None:
            if text is not None:
                self._texts[message.name] = text
                self._show_texts()
                self._read()

        self.app.push_screen(PickNameScreen(message.name, message.offers), take)

    def action_from_run(self) -> None:
        """Fill the form from a run."""
        from tleg_tui.common.dialogs import PickRunScreen

        rows = [row for row in self.host.runs.rows if row.spec.kind == self._kind]
        if rows:
            self.app.push_screen(PickRunScreen("Fill the form from a run", rows), self._take_run)
        else:
            self.host.tell(self.why_not("from_run"))

    def _take_run(self, folder: RunFolder | None) -> None:
        row = next((row for row in self.host.runs.rows if folder is not None and row.folder.path == folder.path), None)
        if row is None:
            return
        try:
            texts = texts_of_run(row.spec)
        except InputError as error:
            self.host.tell(f"the recipe of {row.id} does not fit this version: {error}", wrong=True)
            return
        self._overlay, self._preset = Overlay(), NONE
        self._texts.clear()
        self._texts.update(texts)
        self._show_texts()
        self._read()
