"""One field of a recipe: its name, what is typed or chosen, and below it what is wrong."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult, RenderResult
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from tleg_tui.recipe_form import NO, YES
from tleg_tui.widgets.choice import Choice, Tick
from tleg_tui.widgets.field import Field
from tleg_tui.wording import said

if TYPE_CHECKING:
    from textual.suggester import Suggester


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


class RecipeField(Widget):
    """A line of the form. Posts Changed with the text; the screen tells it what is wrong.

    It writes its name itself: a form has many fields, and every widget less opens it faster.
    """

    DEFAULT_CSS = """
    RecipeField { height: auto; layout: vertical; color: $text-muted; padding-left: 1; }
    RecipeField.-absent { display: none; }
    RecipeField.-given { color: $foreground; }
    RecipeField.-wrong { color: $error; }
    RecipeField > Field, RecipeField > Choice { margin-left: 19; width: 1fr; }
    RecipeField > .problem { margin-left: 19; }
    """

    class Changed(Message):
        """A text was typed or chosen."""

        def __init__(self, name: str, text: str) -> None:
            super().__init__()
            self.name = name
            self.text = text

    class Entered(Message):
        """Enter: on to the next."""

    def __init__(self, spec: FieldSpec, text: str, suggester: "Suggester | None" = None) -> None:
        super().__init__(id=f"field-{spec.name}", classes="-given" if text else "")
        self.spec = spec
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
        self.post_message(self.Changed(self.spec.name, text))
