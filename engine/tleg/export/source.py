"""What exports are made from: a learngene or a folder that timm loads, as the build sees them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tleg.export.formats import ExportKind
from tleg.export.manifest import DescendantRecord, FolderRecord, LearngeneRecord
from tleg.export.plan import PlannedExport
from tleg.header import Preprocessing

if TYPE_CHECKING:
    from tleg.export.verification import Reference


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where an export's weights come from: a descendant of a learngene, or a folder, whose learngene may be unknown."""

    learngene: LearngeneRecord | None
    descendant: DescendantRecord | None = None
    folder: FolderRecord | None = None

    @property
    def ancestry(self) -> Any:
        """What the learngene says of its ancestry model; None when nothing is known."""
        return None if self.learngene is None else self.learngene.ancestry


class Source(Protocol):
    """Where exports come from, loaded and ready to be written."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input of every export."""

    def lineage(self, export: PlannedExport) -> Lineage:
        """Where an export's weights come from."""

    def libraries(self, kind: ExportKind, *, verified: bool) -> tuple[str, ...]:
        """The libraries that had a part in an export."""

    def reference(self, export: PlannedExport) -> "Reference":
        """What an export must compute."""

    def write(self, path: Path, export: PlannedExport) -> None:
        """Write an export's file, or into its folder. Raises ExportError, OSError."""
