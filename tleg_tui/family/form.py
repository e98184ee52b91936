"""The form of a family: its devices with their budgets, and what each would get."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

from textual import work
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import Static

from tleg.errors import TlegError
from tleg.family.document import format_document
from tleg.family.progress import PROGRESS
from tleg_tui.child import ChildResult, run_tleg
from tleg_tui.common.form_fields import Form, FormField, focused_spec
from tleg_tui.common.inputs import OptionList
from tleg_tui.common.learngenes import resolve_path
from tleg_tui.common.screens import WorkScreen
from tleg_tui.common.wording import said
from tleg_tui.family.devices import DeviceLine, DeviceList
from tleg_tui.family.model import FILE, GENERAL, OUTPUT, FamilyForm, Problems, device_specs, file_words, wanted_words

_QUIET_SECONDS: Final = 0.3


class FamilyFormScreen(WorkScreen):
    """A list of devices, the fields of the chosen one and of the family, and what the dry run of `tleg family` says.

    What is done with the form is for those who inherit.
    """

    SCOPE = "family"
    NAME = "family"
    AUTO_FOCUS = None
    DEFAULT_CSS = """
    FamilyFormScreen #family { height: 1fr; }
    FamilyFormScreen #devices-box { height: auto; padding: 0 1; border-bottom: solid $panel; }
    FamilyFormScreen #titles { height: 1; color: $text-muted; text-style: bold; }
    FamilyFormScreen FormField > Field, FamilyFormScreen FormField > Choice { margin-left: 21; }
    FamilyFormScreen FormField > .problem { margin-left: 21; }
    FamilyFormScreen #gets { height: 2; color: $text-muted; }
    FamilyFormScreen #form { height: 1fr; scrollbar-size-vertical: 1; }
    FamilyFormScreen #foot { height: 3; padding: 0 1; border-top: solid $panel; }
    FamilyFormScreen #about, FamilyFormScreen #status { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    FamilyFormScreen #about { color: $text-muted; }
    FamilyFormScreen #status.-wrong { color: $error; }
    FamilyFormScreen .panel-title { padding-left: 1; }
    FamilyFormScreen.-tall DeviceList { max-height: 12; }
    FamilyFormScreen.-wide #family { layout: horizontal; }
    FamilyFormScreen.-wide #devices-box { width: 1fr; height: 100%; border-bottom: none; border-right: solid $panel; }
    FamilyFormScreen.-wide #gets { height: auto; }
    FamilyFormScreen.-wide #form { width: 52; height: 100%; }
    """

    class Planned(Message):
        """The dry run of a document ended."""

        def __init__(self, document: dict[str, Any], result: ChildResult) -> None:
            super().__init__()
            self.document = document
            self.result = result

    def __init__(self, learngene: str) -> None:
        super().__init__()
        self._learngene = learngene
        self._form = FamilyForm()
        self._texts = {FILE: "", OUTPUT: ""}  # What is no part of the file.
        self._read: str | None = None  # The text of the file that was opened or saved.
        self._kept: dict[str, Any] = {}  # What would not be lost by leaving.
        self._place = 0
        self._problems = Problems({}, {})
        self._plans: dict[str, dict[str, Any]] = {}
        self._planned: dict[str, Any] | None = None
        self._measured: str | None = None
        self._told, self._wrong = "", False

    def compose_body(self) -> ComposeResult:
        """The list above or on the left, the fields below or on the right, a line of help and one that says how it is."""
        settings = self.host.settings
        data = settings.data[0] if settings.data else "fashion-mnist"
        self._form = FamilyForm.begin(self._learngene, data, settings.budget)
        self._kept = self._form.document
        self._texts = {FILE: settings.devices, OUTPUT: settings.family}
        with Container(id="family"):
            with Vertical(id="devices-box"):
                yield Static(id="titles", markup=False)
                yield DeviceList(id="devices")
                yield Static(id="gets", markup=False)
            with Form(id="form"):
                yield Static("Device", classes="panel-title", id="device-title", markup=False)
                for spec in device_specs():
                    yield FormField(spec, self._form.device_text(0, spec.name), owner="device")
                yield Static("Family", classes="panel-title")
                for spec in GENERAL:
                    yield FormField(spec, self._general_text(spec.name), owner="family")
        with Vertical(id="foot"):
            yield Static(id="about", markup=False)
            yield Static(id="status", markup=False)

    def on_mount(self) -> None:
        """Show what there is, and begin with the list."""
        self.watch(self, "focused", self._show_help)
        self._take()
        self.set_focus(self._list)
        if Path(self._texts[FILE]).is_file():
            self._tell(f"{self._texts[FILE]} is there: F2 opens it")

    @property
    def _list(self) -> DeviceList:
        return self.query_one(DeviceList)

    # Texts, and what they mean.

    def _general_text(self, name: str) -> str:
        return self._texts[name] if name in self._texts else self._form.text(name)

    def on_form_field_changed(self, message: FormField.Changed) -> None:
        """Somebody typed or chose; a field that is first shown says what is known."""
        of_device = message.owner == "device"
        if of_device and not self._form.devices:
            return
        before = self._form.device_text(self._place, message.name) if of_device else self._general_text(message.name)
        if message.text.strip() == before:
            return
        if of_device:
            self._form.set_device_text(self._place, message.name, message.text)
        elif message.name in self._texts:
            self._texts[message.name] = message.text.strip()
            if message.name == FILE:
                self._read = None  # Another file, which was not opened.
        else:
            self._form.set_text(message.name, message.text)
        self._take()

    def _take(self) -> None:
        """Judge all anew: at once what needs no file, and what each device gets when the keys are quiet."""
        self._told = ""
        self._problems = self._form.problems()
        sound = self._form.sound(self._problems)
        if sound != self._planned:
            self._planned = sound
            if sound is None:
                self._plans = {}
            self._plan(sound)
        self._show()

    @work(exclusive=True, group="plan")
    async def _plan(self, document: dict[str, Any] | None) -> None:
        if document is None:
            return
        await asyncio.sleep(_QUIET_SECONDS)
        with tempfile.TemporaryDirectory(prefix="tleg-family-") as folder:
            file = Path(folder) / "devices.toml"
            file.write_text(format_document(document), encoding="utf-8")
            result = await run_tleg(["family", str(file), "--dry-run", "--json"])
        self.post_message(self.Planned(document, result))

    def on_family_form_screen_planned(self, message: Planned) -> None:
        """Show what each device gets, unless something else is asked for by now."""
        if message.document != self._planned:
            return
        found = message.result.document
        if isinstance(found, dict):
            self._plans = {each["name"]: each for each in found["devices"]}
            self._measured = found["measured_on"]
        else:
            self._plans = {}
            self._tell(str(message.result.error), wrong=True)
        self._show()

    # What is shown.

    def _show(self) -> None:
        form, wrong = self._form, self._problems
        lines = [
            DeviceLine(name, wanted_words(table), file_words(table), self._plans.get(name), wrong.devices.get(place))
            for place, (name, table) in enumerate(form.devices)
        ]
        self._place = max(min(self._place, len(lines) - 1), 0)
        self._list.show(lines, self._place if lines else None)
        self.query_one("#gets", Static).update(said(lines[self._place].sentence(self._measured)) if lines else "")
        self.query_one("#device-title", Static).update(lines[self._place].name if lines else "Device")
        for each in self._fields("family"):
            each.show_problem(wrong.general.get(each.spec.name, ""))
        self._show_status()
        self.refresh_bindings()

    def _fields(self, owner: str) -> list[FormField]:
        return [each for each in self.query(FormField) if each.owner == owner]

    def _show_texts(self) -> None:
        """Fields say what the form holds, which nobody typed."""
        for each in self._fields("device"):
            each.show_text(self._form.device_text(self._place, each.spec.name) if self._form.devices else "")
        for each in self._fields("family"):
            each.show_text(self._general_text(each.spec.name))

    def _show_status(self) -> None:
        status, wrong = self.query_one("#status", Static), self._problems
        told, bad = self._told, self._wrong
        if not told and wrong.general:
            told, bad = next(iter(wrong.general.values())), True
        elif not told and wrong.devices:
            count = len(wrong.devices)
            told, bad = f"{count} device{'s are' if count > 1 else ' is'} not right yet", True
        elif not told:
            told = "F5 makes the family" + (", F7 shows the one in the folder" if self._begun else "")
        status.update(said(told))
        status.set_class(bad, "-wrong")

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        self._told, self._wrong = text, wrong
        self._show_status()

    def _show_help(self) -> None:
        spec = focused_spec(self)
        text = "a adds a device, del takes one away, enter changes it" if spec is None else spec.help
        self.query_one("#about", Static).update(text)
        self.refresh_bindings()

    @property
    def _begun(self) -> bool:
        text = self._texts[OUTPUT]
        try:
            return bool(text) and (resolve_path(text) / PROGRESS).is_file()
        except (OSError, TlegError):
            return False

    # Moving.

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """The cursor chooses at once."""
        if event.option_index != self._place:
            self._place = event.option_index
            self._show_texts()
            self._show()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter goes to the device's fields."""
        self._fields("device")[0].control.focus()

    def on_form_field_entered(self) -> None:
        """Enter goes to the next field."""
        self.focus_next()

    def action_move(self, step: int) -> None:
        """To the field above or below."""
        (self.focus_next if step > 0 else self.focus_previous)()

    def on_device_list_titled(self, message: DeviceList.Titled) -> None:
        """The titles stand over their columns."""
        self.query_one("#titles", Static).update(message.titles)

    def on_device_list_added(self) -> None:
        """Add a device like the chosen one, and name it."""
        self._place = self._form.add(self._place if self._form.devices else None)
        self._show_texts()
        self._take()
        self._fields("device")[0].control.focus()

    def on_device_list_removed(self) -> None:
        """Take the chosen device away."""
        if self._form.devices:
            self._form.remove(self._place)
            self._place = max(min(self._place, len(self._form.devices) - 1), 0)
            self._show_texts()
            self._take()
