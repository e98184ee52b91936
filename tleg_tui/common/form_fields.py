"""The fields of a form: a name, what is typed or chosen, what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from tleg.text import printable
from tleg_tui.common.cells import under_cursor
from tleg_tui.common.inputs import Field
from tleg_tui.common.wording import said

if TYPE_CHECKING:
    from textual.suggester import Suggester

YES: Final = "yes"
NO: Final = "no"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What the form knows of a field.

    help     one line, for the field that has the focus
    default  what holds while nothing is given, as a placeholder
    choices  words to choose from; YES and NO are a box
    """

    name: str
    help: str
    default: str
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def is_box(self) -> bool:
        """Whether it is yes or no."""
        return self.choices == (NO, YES)


class Choice(Widget, can_focus=True):
    """A word between two arrows; left and right change it, and so does a click on either half.

    `text` is '' while nobody chose: then the default is shown, and dimmed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "turn(1)", "next", show=False),
        Binding("left", "turn(-1)", "previous", show=False),
    ]
    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; background: $surface; color: $text-disabled; }
    Choice:focus { background: $primary 25%; }
    Choice:ansi:focus { background: ansi_default; color: ansi_default; text-style: bold reverse; }
    """

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, choice: "Choice", text: str) -> None:
            super().__init__()
            self.choice = choice
            self.text = text

        @property
        def control(self) -> "Choice":
            """Who says so."""
            return self.choice

    text: reactive[str] = reactive("")

    def __init__(self, choices: Sequence[str], text: str, default: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.choices = tuple(choices)
        self.default = default
        self.set_reactive(Choice.text, text)

    def render(self) -> RenderResult:
        """The word, and where it stands among the others when there is room."""
        shown = printable(self.text or self.default)
        word = (shown, "$foreground") if self.text else shown
        return under_cursor(self, Content.assemble(("◂ ", "$accent"), word, (" ▸", "$accent")))

    def action_turn(self, step: int) -> None:
        """The next word, or the one before; after the last comes the first."""
        now = self.text or self.default
        place = self.choices.index(now) if now in self.choices else -1 if step > 0 else 0
        self.text = self.choices[(place + step) % len(self.choices)]
        self.post_message(self.Changed(self, self.text))

    def on_click(self, event: events.Click) -> None:
        """On the left arrow the one before, else the next."""
        self.action_turn(-1 if event.x < 2 else 1)


class Tick(Choice):
    """Yes or no, as a box."""

    def render(self) -> RenderResult:
        """The box."""
        on = (self.text or self.default) == "yes"
        return under_cursor(self, Content.assemble(("[x]" if on else "[ ]", "bold $accent" if on else "")))


class FormField(Widget):
    """A line of the form. Posts Changed with the text; the screen tells it what is wrong.

    It writes its name itself: a form has many fields, and every widget less opens it faster. `owner` tells apart fields of
    one form that are of several things.
    """

    DEFAULT_CSS = """
    FormField { height: auto; layout: vertical; color: $text-muted; padding-left: 1; }
    FormField.-absent { display: none; }
    FormField.-given { color: $foreground; }
    FormField.-wrong { color: $error; }
    FormField > Field, FormField > Choice { margin-left: 19; width: 1fr; }
    FormField > .problem { margin-left: 19; }
    """

    class Changed(Message):
        """A text was typed or chosen."""

        def __init__(self, name: str, text: str, owner: str = "") -> None:
            super().__init__()
            self.name = name
            self.text = text
            self.owner = owner

    class Entered(Message):
        """Enter: on to the next."""

    def __init__(self, spec: FieldSpec, text: str, suggester: "Suggester | None" = None, *, owner: str = "") -> None:
        super().__init__(id="-".join(filter(None, ("field", owner, spec.name))), classes="-given" if text else "")
        self.spec = spec
        self.owner = owner
        self._text = text
        self._suggester = suggester
        self._problem = ""

    def compose(self) -> ComposeResult:
        """The control."""
        spec = self.spec
        if spec.is_box:
            yield Tick(spec.choices, self._text, spec.default)
        elif spec.choices:
            yield Choice(spec.choices, self._text, spec.default)
        else:
            yield Field(self._text, placeholder=spec.default, suggester=self._suggester, compact=True, select_on_focus=False)

    def render(self) -> RenderResult:
        """The name, left of the control."""
        return Content(f"{self.spec.name}{' *' if self.spec.required else ''}")

    @property
    def control(self) -> Field | Choice:
        """What takes the keys."""
        found = self.query_one("Field, Choice")
        assert isinstance(found, Field | Choice)
        return found

    def show_text(self, text: str) -> None:
        """Show another text, which no one typed."""
        self._text = text
        self.set_class(bool(text), "-given")
        for control in self.query("Field, Choice"):
            if isinstance(control, Field):
                if control.value != text:
                    with control.prevent(Input.Changed):
                        control.value = text
            elif isinstance(control, Choice):
                control.text = text

    def show_problem(self, problem: str) -> None:
        """Say what is wrong, or that nothing is."""
        problem = said(problem)
        if problem == self._problem:
            return
        self._problem = problem
        self.set_class(bool(problem), "-wrong")
        known = self.query(".problem")
        if known:
            known.first(Static).update(problem)
            known.first().display = bool(problem)
        else:
            self.mount(Static(problem, classes="problem", markup=False))

    def on_input_changed(self, event: Input.Changed) -> None:
        """It was typed in."""
        event.stop()
        self._tell(event.value)

    def on_choice_changed(self, event: Choice.Changed) -> None:
        """It was chosen."""
        event.stop()
        self._tell(event.text)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """On to the next."""
        event.stop()
        self.post_message(self.Entered())

    def on_key(self, event: events.Key) -> None:
        """Enter on a choice: on to the next."""
        if event.key == "enter" and isinstance(self.screen.focused, Choice):
            event.stop()
            self.post_message(self.Entered())

    def _tell(self, text: str) -> None:
        self._text = text
        self.set_class(bool(text), "-given")
        self.post_message(self.Changed(self.spec.name, text, self.owner))


class Form(VerticalScroll, can_focus=False, inherit_bindings=False):
    """All fields. It scrolls with the wheel and with the focus alone: the arrows move between fields."""


def focused_spec(screen: Screen[Any]) -> FieldSpec | None:
    """Return the field of a screen in which the focus is; None where it is elsewhere."""
    node: Widget | None = screen.focused
    while node is not None and not isinstance(node, FormField):
        node = node.parent if isinstance(node.parent, Widget) else None
    return None if node is None else node.spec
