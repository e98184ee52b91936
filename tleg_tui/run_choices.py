"""What can be done with a run, and what is said where there is none."""

from pathlib import Path
from typing import Final

from textual.content import Content

from tleg.errors import InputError
from tleg_tui.run_list import RunList, RunRow

_MOST_NAMED: Final = 2


def possible(row: RunRow, action: str) -> bool:
    """Whether an action makes sense for a run where it stands; one that is not about where it stands always does."""
    in_queue = row.state == "queued" and row.spec.launch.job_id is not None
    if action == "stop":
        return row.state in ("starting", "running") or in_queue
    if action == "resume":
        return row.state in ("stopped", "failed", "lost", "queued") and not in_queue
    if action == "export":
        return row.state == "finished" and row.look.state.result is not None
    return True


def export_source(row: RunRow) -> tuple[str, int | None, int | None]:
    """What the export of a run's result begins with: path, depth and classes, which a folder has of its own.

    Raises InputError when the result cannot be used.
    """
    assert row.look.state.result is not None
    result = Path(row.look.state.result)
    if not result.exists():
        raise InputError(f"the result of {row.id} is no longer at {result}")
    if row.spec.kind != "learn":
        return str(result), None, None
    from tleg.container import read_file

    header = read_file(result).header
    return str(result), header.auxiliary.depth, header.architecture.num_classes


def empty_text(runs: RunList, words: tuple[str, ...]) -> Content:
    """What stands where the table would be: why there is nothing, and what to press next."""
    if not runs.read:
        return Content.styled("looking at the runs…", "$foreground-muted")
    if runs.rows and words:
        return Content.assemble("No run has these words.  ", ("esc", "bold $accent"), " shows all of them again.")
    if runs.errors:
        return Content("")
    return Content.assemble(
        ("No runs yet.\n\n", "bold"),
        "Every training is a run, and goes on when you leave. To start one, go back to the workbench with ",
        ("esc", "bold $accent"),
        ", then press\n\n  ",
        ("f", "bold $accent"),
        "  to fine-tune the chosen depth on your data\n  ",
        ("l", "bold $accent"),
        "  to train an auxiliary model and keep its learngene",
    )


def skipped_text(runs: RunList) -> str:
    """'2 folders are no runs: …', with the first reasons."""
    count = len(runs.skipped)
    if not count:
        return ""
    reasons = [f"{each.path.name}: {each.reason}" for each in runs.skipped[:_MOST_NAMED]]
    more = f"; and {count - _MOST_NAMED} more" if count > _MOST_NAMED else ""
    noun = "folder is no run or a damaged one" if count == 1 else "folders are no runs or damaged ones"
    return f"{count} {noun}: {'; '.join(reasons)}{more}"
