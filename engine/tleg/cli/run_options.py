"""Options of the commands that are about runs."""

from pathlib import Path
from typing import Annotated

import typer

RunsDirOption = Annotated[
    str | None,
    typer.Option(help="Folder of the runs. Default: TLEG_RUNS, else tleg's data folder.", metavar="DIR"),
]
RunArgument = Annotated[str, typer.Argument(help="An id, the beginning of one, 'last', or a path.", metavar="RUN")]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


def runs_folder_of(text: str | None) -> Path:
    """Return the folder of the runs that an option, or its absence, names."""
    from tleg.places import runs_folder

    return runs_folder() if text is None else Path(text)
