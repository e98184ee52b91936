"""The fields of a recipe: a name, what is typed or chosen, what is wrong; and the groups of those that are folded away."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from tleg.text import printable
from tleg_tui.common.cells import under_cursor
from tleg_tui.common.inputs import Field
from tleg_tui.common.wording import said
from tleg_tui.train.field_specs import FieldSpec

if TYPE_CHECKING:
    from textual.suggester import Suggester


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


class Form(VerticalScroll, can_focus=False, inherit_bindings=False):
    """All fields. It scrolls with the wheel and with the focus alone: the arrows move between fields."""


class GroupTitle(Widget, can_focus=True):
    """The line of a group; Enter, Space or a click unfolds it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "unfold", "unfold", show=False),
        Binding("right", "unfold(True)", "unfold", show=False),
        Binding("left", "unfold(False)", "fold", show=False),
    ]
    DEFAULT_CSS = """
    GroupTitle { height: 1; padding-left: 1; color: $text-muted; }
    GroupTitle:focus { background: $primary 25%; }
    GroupTitle:ansi:focus { background: ansi_default; color: ansi_default; text-style: bold reverse; }
    """

    class Toggled(Message):
        """Unfold it, fold it, or (None) the other of both."""

        def __init__(self, unfold: bool | None) -> None:
            super().__init__()
            self.unfold = unfold

    unfolded: reactive[bool] = reactive(False)
    given: reactive[tuple[str, ...]] = reactive(())
    wrong: reactive[int] = reactive(0)
    fields: reactive[int] = reactive(0)

    def __init__(self, title: str, fields: int) -> None:
        super().__init__()
        self._title = title
        self.set_reactive(GroupTitle.fields, fields)

    def render(self) -> RenderResult:
        """An arrow, the name, how many fields, which of them are given, and how many are wrong."""
        given = f"  {', '.join(self.given)}" if self.given else f"  {self.fields} field{'s' if self.fields > 1 else ''}"
        wrong = f"  ✗ {self.wrong}" if self.wrong else ""
        line = Content.assemble(
            ("▼ " if self.unfolded else "▸ ", "$accent"),
            (f"{self._title:<17}", "bold $foreground" if self.given else "$foreground"),
            (wrong, "$error"),
            (given, "$foreground" if self.given else ""),
        )
        return under_cursor(self, line).truncate(self.size.width, ellipsis=True)

    def action_unfold(self, unfold: bool | None = None) -> None:
        """Ask the group."""
        self.post_message(self.Toggled(unfold))

    def on_click(self, event: events.Click) -> None:
        """As Enter."""
        self.action_unfold()


class RecipeGroup(Vertical):
    """A group. Its fields are made when they are first shown, by `make`."""

    DEFAULT_CSS = """
    RecipeGroup { height: auto; }
    RecipeGroup RecipeField { padding-left: 3; }
    RecipeGroup RecipeField > Field, RecipeGroup RecipeField > Choice { margin-left: 27; }
    RecipeGroup RecipeField > .problem { margin-left: 27; }
    RecipeGroup.-absent { display: none; }
    RecipeGroup.-folded RecipeField { display: none; }
    """

    class Unfolded(Message):
        """It was unfolded, or folded away."""

    def __init__(self, title: str, specs: Sequence[FieldSpec], make: Callable[[FieldSpec], RecipeField]) -> None:
        super().__init__(id=f"group-{title.lower()}", classes="-folded")
        self.specs = tuple(specs)
        self.title = title
        self._make = make
        self._made = False

    def compose(self) -> ComposeResult:
        """The line alone."""
        yield GroupTitle(self.title, len(self.specs))

    @property
    def line(self) -> GroupTitle:
        """Its line."""
        return self.query_one(GroupTitle)

    async def on_group_title_toggled(self, message: GroupTitle.Toggled) -> None:
        """Somebody asked for it."""
        message.stop()
        await self.unfold(not self.unfolded if message.unfold is None else message.unfold)
        self.post_message(self.Unfolded())

    @property
    def unfolded(self) -> bool:
        """Whether its fields are shown."""
        return self.line.unfolded

    async def unfold(self, unfold: bool) -> None:
        """Show its fields, or fold them away."""
        self.line.unfolded = unfold
        if unfold and not self._made:
            self._made = True
            await self.mount(*(self._make(spec) for spec in self.specs))
        self.set_class(not unfold, "-folded")

    def show(self, names: Collection[str], texts: Mapping[str, str], problems: Mapping[str, str]) -> None:
        """Say on its line how many fields there are among `names`, which of them are given, and how many are wrong."""
        self.line.fields = sum(spec.name in names for spec in self.specs)
        self.set_class(not self.line.fields, "-absent")
        self.line.given = tuple(spec.name for spec in self.specs if texts.get(spec.name))
        self.line.wrong = sum(spec.name in problems for spec in self.specs)
