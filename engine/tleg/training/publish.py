"""From the run's folder to where the user wants the result."""

import shutil
from pathlib import Path

from tleg.atomic import new_file, new_folder
from tleg.errors import ExportError, InputError
from tleg.runs.layout import RunFolder
from tleg.runs.published import contents, is_published, note_published


def publish(folder: RunFolder, result: Path, output: Path, *, overwrite: bool) -> None:
    """Copy a run's result, a file or a folder, to its output. An output that is this result already stays as it is.

    What the run put there before, when it was shorter, is replaced as well. Raises ExportError, saying where the result is,
    when it cannot be written or may not be replaced.
    """
    try:
        made = contents(result)
        overwrite = overwrite or is_published(folder, output)
        if made is not None:
            note_published(folder, made)
        if contents(output) == made:
            return
        if result.is_dir():
            with new_folder(output, overwrite=overwrite) as target:
                for path in result.iterdir():
                    shutil.copyfile(path, target / path.name)
        else:
            with new_file(output, overwrite=overwrite) as file:
                shutil.copyfile(result, file)
    except (ExportError, InputError, OSError) as error:
        raise ExportError(f"{error}. The result is in {result}") from error
