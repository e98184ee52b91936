"""Hours of training are not lost to a full disk: what cannot be written where it should be is written elsewhere."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tleg.errors import ExportError, InputError


def save_or_rescue(output: Path, save: Callable[[Path], None]) -> None:
    """Call save(output); when that fails, save to the system's temporary folder.

    Raises ExportError, naming the rescued result where there is one.
    """
    try:
        save(output)
    except (ExportError, InputError) as error:
        rescued = Path(tempfile.mkdtemp(prefix="tleg-")) / output.name
        try:
            save(rescued)
        except ExportError:
            raise error from None
        raise ExportError(f"{error}. The result is in {rescued}") from error
