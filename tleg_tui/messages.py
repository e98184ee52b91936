"""What workers and panels tell: past tense, typed, and never more than facts. One handler owns each piece of state."""

from typing import TYPE_CHECKING

from textual.message import Message

from tleg.learngene.cost import Budget
from tleg_tui.learngenes import Entry
from tleg_tui.run_list import RunList

if TYPE_CHECKING:
    from tleg_tui.watching import Watched


class RunsLooked(Message):
    """All runs were looked at. A newer look replaces one that waits."""

    def __init__(self, runs: RunList) -> None:
        super().__init__()
        self.runs = runs

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, RunsLooked)


class RunLooked(Message):
    """One run was looked at, and something is new. A newer look replaces one that waits, but no line of its log."""

    def __init__(self, seen: "Watched") -> None:
        super().__init__()
        self.seen = seen

    def can_replace(self, message: Message) -> bool:
        """Whether the newer message makes this one void."""
        return isinstance(message, RunLooked) and message.seen.look.folder == self.seen.look.folder and not self.seen.lines


class EntryChosen(Message):
    """A learngene was chosen."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


class DepthChosen(Message):
    """A depth was chosen."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth


class BudgetChanged(Message):
    """The limits or the batch changed; `texts` are as they were typed."""

    def __init__(self, budget: Budget, batch: int, texts: dict[str, str]) -> None:
        super().__init__()
        self.budget = budget
        self.batch = batch
        self.texts = texts
