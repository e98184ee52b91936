"""What is chosen in the workbench, and the jobs that are started with it on screens of their own."""

from tleg.learngene.preview import PreviewRow
from tleg.learngene.profile import Depth, plain_depth
from tleg.text import format_image_size
from tleg_tui.common.learngenes import Entry
from tleg_tui.common.screens import WorkScreen
from tleg_tui.workbench.depth_table import DepthTable
from tleg_tui.workbench.model import WorkbenchModel


class JobsScreen(WorkScreen):
    """A screen with a table of depths, from which builds, trainings and families begin, and which leads to the runs."""

    def __init__(self) -> None:
        super().__init__()
        self._model = WorkbenchModel()

    @property
    def row(self) -> PreviewRow | None:
        """The chosen line of the table."""
        line, rows = self.query_one(DepthTable).line, self._model.rows
        return rows[line - 1] if 1 <= line <= len(rows) else None

    @property
    def depth(self) -> Depth:
        """The chosen depth; 0 where there is none."""
        return 0 if self.row is None else self.row.depth

    @property
    def _image_size(self) -> tuple[int, int] | None:
        """The size of the chosen line's inputs where it is another than the learngene's own."""
        size = None if self.row is None else self.row.image_size
        return None if size == self._model.own.image_size else size

    @property
    def entry(self) -> Entry | None:
        """The chosen learngene."""
        return self._model.entry

    def action_build(self) -> None:
        """Export the chosen depth."""
        assert self.entry is not None
        self._greeted()
        classes = self._model.own.architecture.num_classes
        self.host.open_export(self.entry.argument, self.depth, classes=classes, image_size=self._image_size)

    def action_finetune(self) -> None:
        """Fine-tune the chosen depth."""
        assert self.entry is not None
        self._greeted()
        size = self._image_size
        sized = {} if size is None else {"image-size": format_image_size(size)}
        self.host.open_training("finetune", {"learngene": self.entry.argument, "depth": plain_depth(self.depth), **sized})

    def action_family(self) -> None:
        """Make a model for each device of a list."""
        assert self.entry is not None
        self.host.open_family(self.entry.argument)

    def action_train(self) -> None:
        """Train a model, such as an ancestry model."""
        self._greeted()
        self.host.open_training("train")

    def action_learn(self) -> None:
        """Learn a learngene."""
        self._greeted()
        self.host.open_training("learn")

    def action_runs(self) -> None:
        """Show all runs."""
        self._greeted()
        self.host.open_runs()

    def action_last_run(self) -> None:
        """Watch the newest run."""
        self.host.open_run(self.host.runs.rows[0].folder)

    def _greeted(self) -> None:
        if not self.host.settings.greeted:
            self.host.remember(greeted=True)
            self.query("#greeting").set(display=False)
