"""What screens and panels know of the application: a protocol, so that none of them needs the application itself.

`Workbench` in `tleg_tui.app` is one; mypy compares the two there. A screen that leads to another folder's screen asks its
host to open it.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from textual.message_pump import MessagePump

from tleg_tui.run_list import RunList
from tleg_tui.settings import RecentName, Settings

if TYPE_CHECKING:
    from tleg.learngene.profile import Depth
    from tleg.runs.run import RunFolder


class Host(Protocol):
    """The application, as its screens see it."""

    @property
    def runs(self) -> RunList:
        """All runs, as they were seen last."""

    @property
    def runs_dir(self) -> Path:
        """The folder of the runs that are started here."""

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders whose runs are shown, `runs_dir` first."""

    @property
    def settings(self) -> Settings:
        """What is remembered between starts."""

    @property
    def refresh_seconds(self) -> float:
        """Seconds between two looks at a run that is shown."""

    @property
    def ascii(self) -> bool:
        """Whether ASCII alone is painted."""

    def look_at_runs(self, *, changed: bool = False) -> None:
        """Look at all runs, on a thread; `changed`: a key has changed them, and the next key waits for a new look."""

    def keys_wait(self) -> AbstractContextManager[None]:
        """While something is done that leads elsewhere, what is typed waits for it; but never for long."""

    def remember(self, **changes: Any) -> None:
        """Change fields of the settings and keep them."""

    def remember_recent(self, name: RecentName, value: str) -> None:
        """Put a value first in one of the lists of settings."""

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Say something in the corner for a while."""

    def open_run(self, folder: "RunFolder", compare: "RunFolder | None" = None) -> None:
        """Watch a run, beside the curves of another where there is one."""

    def open_runs(self) -> None:
        """Show all runs."""

    def open_training(self, kind: str, values: dict[str, Any] | None = None) -> None:
        """Show the form of a kind of training ('learn', 'train', 'finetune'), with some values of its recipe filled in."""

    def open_export(
        self,
        source: str,
        depth: "Depth | None" = None,
        *,
        classes: int | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        """Show the dialog that exports a learngene at a depth, or (without a depth) a folder that timm loads."""

    def open_family(self, learngene: str) -> None:
        """Show the form of a family: a model of a learngene for each device of a list."""


def host_of(node: MessagePump) -> Host:
    """Return the host of a screen or a panel."""
    return cast(Host, node.app)
