"""Making a family in a process of its own, which outlives whoever started it; and ending that."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tleg.errors import InputError, TlegError, describe_os_error
from tleg.family.file import read_family
from tleg.family.progress import LOG, begun_by, read_progress, write_progress
from tleg.runs.detached import Detached
from tleg.runs.processes import hostname


def family_command(file: Path, output: Path) -> tuple[str, ...]:
    """Return the words of the command that makes a family: 'tleg', 'family', …."""
    return ("tleg", "family", str(file), "--output", str(output))


def launch_family(file: Path, output: Path, folder: Path | None = None) -> int:
    """Start `tleg family FILE --output OUTPUT` in a folder, by default the working folder; return its process's number.

    It has a session of its own, no input, and family.log in its folder for what it says. Raises InputError for what is wrong
    in the file, and when a family is at work in the folder already; TlegError when the operating system refuses.
    """
    read_family(file)
    before = read_progress(output)
    if before is not None and before.at_work:
        raise InputError(
            f"another `tleg family` is at work in {output} (process {before.pid} on {before.host})",
            field="output",
            code="wrong-state",
        )
    work = (folder or Path.cwd()).absolute()
    words = family_command(file.absolute(), output.absolute())
    try:
        output.mkdir(parents=True, exist_ok=True)
        process = Detached([sys.executable, "-m", "tleg.cli", *words[1:]], output / LOG, work)
    except OSError as error:
        raise TlegError(f"cannot start the family in {output}: {describe_os_error(error)}", code="system") from error
    try:
        write_progress(output, begun_by(process.pid, work, file))
        process.go()
    except OSError as error:
        raise TlegError(f"cannot start the family in {output}: {describe_os_error(error)}", code="system") from error
    finally:
        process.close()
    return process.pid


def stop_family(output: Path) -> None:
    """Ask the family of a folder to save and stop the training at work, and to end. The same command goes on with it.

    Raises InputError where none is at work on this machine.
    """
    progress = read_progress(output)
    if progress is None or not progress.at_work:
        raise InputError(f"no family is at work in {output}", field="output", code="wrong-state")
    if progress.host != hostname():
        raise InputError(
            f"the family in {output} is made on {progress.host}; stop it there", field="output", code="wrong-state"
        )
    with suppress(ProcessLookupError):
        os.kill(progress.pid, signal.SIGINT)
