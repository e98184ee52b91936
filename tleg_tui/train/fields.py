"""The groups of a recipe's fields that are folded away."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tleg_tui.common.cells import under_cursor
from tleg_tui.common.form_fields import FieldSpec, FormField


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
    RecipeGroup FormField { padding-left: 3; }
    RecipeGroup FormField > Field, RecipeGroup FormField > Choice { margin-left: 27; }
    RecipeGroup FormField > .problem { margin-left: 27; }
    RecipeGroup.-absent { display: none; }
    RecipeGroup.-folded FormField { display: none; }
    """

    class Unfolded(Message):
        """It was unfolded, or folded away."""

    def __init__(self, title: str, specs: Sequence[FieldSpec], make: Callable[[FieldSpec], FormField]) -> None:
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
