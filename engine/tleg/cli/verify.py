"""`tleg verify`."""

from typing import Annotated

import typer

from tleg.cli.build import encode_verification
from tleg.cli.main import app
from tleg.cli.output import printable, write, write_json
from tleg.errors import VerificationError


@app.command()
def verify(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A learngene, an ONNX export, a folder that timm loads, or a run.")
    ],
    learngene: Annotated[
        str | None, typer.Option(help="The learngene or folder that an export was made from, where it is not found.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a learngene or an export again: its bytes, that it runs, and that it computes what its learngene says.

    The learngene of an export, or the folder that it was made from, is looked for beside it, in the folder above, in the
    working folder and among the shipped ones. What cannot be checked is said, and is no failure.
    """
    from tleg.cli.references import path_of
    from tleg.export.check import check_path

    report = check_path(
        path_of(path, "learngene", "folder", "onnx"),
        None if learngene is None else path_of(learngene, "learngene", "folder"),
    )
    if as_json:
        document = {
            "path": str(report.path),
            "kind": report.kind,
            "passed": report.passed,
            "checks": [{"name": check.name, "outcome": check.outcome, "detail": check.detail} for check in report.checks],
            "verification": None if report.verification is None else encode_verification(report.verification),
        }
        write_json(document)
    else:
        for check in report.checks:
            write(printable(f"{check.outcome:<12} {check.name:<10} {check.detail}"))
    if not report.passed:
        failed = [check.name for check in report.checks if check.outcome == "failed"]
        raise VerificationError(f"{report.path} failed: {', '.join(failed)}")
