"""What workers and panels tell: past tense, typed, and never more than facts. One handler owns each piece of state."""

from textual.message import Message

from tleg.cost import Budget
from tleg.runs.follower import RunLook
from tleg_tui.board import RunList
from tleg_tui.library import Entry


class RunsLooked(Message):
    """All runs were looked at. A newer look replaces one that waits."""

    def __init__(self, runs: RunList) -> None:
        super().__init__()
        self.runs = runs

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, RunsLooked)


class RunLooked(Message):
    """One run was looked at, with the lines that its log got since. A look that has lines replaces none."""

    def __init__(self, look: RunLook, lines: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.look = look
        self.lines = lines

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts, unless lines of the log would be lost."""
        return isinstance(message, RunLooked) and message.look.folder == self.look.folder and not message.lines


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
