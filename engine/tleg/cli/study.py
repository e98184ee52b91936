"""`tleg study`: a grid of trainings from one file, on the slots that there are."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from tleg.cli.app import app
from tleg.cli.options import BatchOptions, JsonOption, takes_options
from tleg.errors import ExitCode, InputError, concerning
from tleg.recipes.fields import check_fields, option
from tleg.terminal import say, write, write_json
from tleg.text import format_count, format_epochs, printable

if TYPE_CHECKING:
    from tleg.runs.slurm import SlurmOptions
    from tleg.study.schedule import Progress


_MOST_SLOTS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """How a study is trained."""

    slots: str | None = option(
        None,
        help="Trainings at a time, each on its part of the cores; auto: one a GPU. Default: 1; with --slurm all there are.",
        metavar="N|auto",
    )
    slurm: bool = option(False, help="Submit every training as a batch job.", group="SLURM")
    submit_only: bool = option(
        False, help="Submit what can be submitted by now, and return; the same command goes on.", group="SLURM"
    )
    batch: BatchOptions = field(default_factory=BatchOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.trainings
        if self.submit_only and not self.slurm:
            raise InputError("--submit-only belongs to --slurm", field=("submit-only", "slurm"), code="conflict")
        _ = self.job

    @property
    def trainings(self) -> int | Literal["auto"] | None:
        """The trainings at a time; 'auto' is as many as there are GPUs here."""
        if self.slots is None:
            return None
        if self.slots == "auto":
            if self.slurm:
                raise InputError("--slots auto counts GPUs here, and jobs run elsewhere", field="slots", code="conflict")
            return "auto"
        if not re.fullmatch(r"\d{1,6}", self.slots, re.ASCII):
            raise InputError(f"slots are a number or auto, not '{self.slots}'", field="slots", code="malformed")
        if not 1 <= int(self.slots) <= _MOST_SLOTS:
            raise InputError(f"slots are 1 to {_MOST_SLOTS}, not {self.slots}", field="slots", code="out-of-range")
        return int(self.slots)

    @property
    def job(self) -> "SlurmOptions | None":
        """What each batch job asks for; None without --slurm."""
        return self.batch.job(self.slurm)


@app.command()
@takes_options
def study(
    file: Annotated[str, typer.Argument(help="The study: arms, data, seeds and depths (TOML).", metavar="STUDY.toml")],
    options: StudyOptions,
    output: Annotated[
        str | None, typer.Option(help="Folder of the study. Default: the file without its ending.", metavar="DIR")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="Write report.md, report.html and results.json into this folder.", metavar="DIR")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, list the trainings; train nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train anew what the file now says otherwise; replace a report.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a grid of arms over data, seeds and depths, and compare them: docs/study-files.md describes the file.

    Each training is a run in DIR/runs. Ctrl-C saves and stops those at work; the same command goes on where it stood, also
    after a kill. What was measured is in DIR/results.json. Exits with 1 when a training failed. With --slurm each
    training is a job, behind those whose results it takes.
    """
    from tleg.api import run_study
    from tleg.serialize import encode
    from tleg.study.report import check_report, write_report

    path = Path(file)
    if dry_run:
        _list(path)
        return
    if report is not None:
        with concerning("report"):
            check_report(Path(report), overwrite=force)
    results = run_study(
        path,
        output,
        slots=options.trainings,
        slurm=options.job,
        wait=not options.submit_only,
        overwrite=force,
        progress=_show,
    )
    if as_json:
        write_json(encode(results))
    else:
        for row in results.trained:
            figures = [f"{depth}: {value:.2f}" for depth, value in row.top1.items()]
            cosines = [f"{depth}: cosine {value:.3f}" for depth, value in (row.cosine or {}).items()]
            write(printable(f"{row.task}  " + "  ".join(figures or cosines)))
    if report is not None:
        for written in write_report(results, Path(report), overwrite=force):
            say(f"written: {printable(str(written))}")
    if results.failed:
        say(f"{len(results.failed)} of the trainings failed; the same command tries them again")
        raise typer.Exit(int(ExitCode.FAILED))


def _list(file: Path) -> None:
    """Write each training of a study with its epochs and, where they can be known, its multiply-accumulates."""
    from tleg.study.file import read_study
    from tleg.study.plan import Plan, check_grid

    study = read_study(file)
    plan = Plan(study)
    for planned in check_grid(study, plan):
        epochs, macs = planned.epochs, plan.macs(planned)
        words = [planned.task.name]
        words.append("as many epochs as time allows" if epochs is None else format_epochs(epochs))
        words += [] if macs is None else [f"{format_count(macs)} MACs"]
        write(printable("  ".join(words)))


def _show(progress: "Progress") -> None:
    if progress.what == "left":
        say(printable(progress.text))
        return
    say(printable(f"{progress.done}/{progress.total} {progress.what} {progress.task}: {progress.text}"))
