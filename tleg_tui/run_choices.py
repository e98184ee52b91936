"""What can be done with a run, and what is said where there is none."""

from pathlib import Path
from typing import Final

from textual.content import Content

from tleg.errors import InputError
from tleg.learngene.basis import parse_depths
from tleg.runs.spec import RunSpec
from tleg_tui.run_list import RunList, RunRow

_MOST_NAMED: Final = 2
DEFAULT_DEPTH: Final = 12  # Of an auxiliary model, where a recipe says nothing else.


def possible(row: RunRow, action: str) -> bool:
    """Whether an action makes sense for a run where it stands; one that is not about where it stands always does."""
    in_queue = row.state == "queued" and row.spec.launch.job_id is not None
    if action == "stop":
        return row.state in ("starting", "running") or in_queue
    if action == "resume":
        return row.state in ("stopped", "failed", "lost", "queued") and not in_queue
    if action == "export":
        finished = row.state == "finished" and row.look.state.result is not None
        return finished or (row.state != "finished" and bool(row.look.snapshot.checkpoints))
    return True


def why_impossible(row: RunRow, action: str) -> str:
    """Why an action is not `possible` for a run, and what is; '' for one that is not about where it stands."""
    if action == "stop":
        asked = "it was asked to stop: it finishes its step and saves"
        return asked if row.state == "stopping" else f"the run is {row.state}: there is nothing to stop"
    if action == "resume":
        if row.state == "finished":
            return "the run is finished: n begins another with its recipe"
        return "the run waits in SLURM's queue" if row.state == "queued" else f"the run is {row.state}: s stops it"
    if action == "export":
        return "there is nothing to export yet: the run has no checkpoint"
    return ""


def export_source(row: RunRow) -> tuple[str, int | None, int | None]:
    """What the export of a run begins with: path, depth and classes, which a folder has of its own.

    Of a run that is not finished the path is its folder: what is in its last checkpoint is exported. Raises InputError when
    the result cannot be used.
    """
    if row.state != "finished" or row.look.state.result is None:
        return str(row.folder.path), unfinished_depth(row.spec), None
    result = Path(row.look.state.result)
    if not result.exists():
        raise InputError(f"the result of {row.id} is no longer at {result}")
    if row.spec.kind != "learn":
        return str(result), None, None
    from tleg.learngene.container import read_file

    header = read_file(result).header
    return str(result), header.auxiliary.depth, header.architecture.num_classes


def unfinished_depth(spec: RunSpec) -> int | None:
    """The depth that the export of a run that is not finished begins with; None for one that trains a model of one depth."""
    if spec.kind != "learn":
        return None
    given, sampled = spec.recipe.get("auxiliary-depth"), spec.recipe.get("sample-depths")
    if isinstance(given, int):
        return given
    try:
        return max(parse_depths(str(sampled))) if sampled else DEFAULT_DEPTH
    except InputError:
        return DEFAULT_DEPTH


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
