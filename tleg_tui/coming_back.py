"""How one comes back to a run."""

import shlex

from tleg.paths import runs_folder
from tleg.runs.run import RunFolder


def attach_command(folder: RunFolder) -> str:
    """Return the command that shows a run, from anywhere: by its id where runs usually are, else by its folder."""
    usual = folder.path.parent.absolute() == runs_folder().absolute()
    return shlex.join(["tleg", "attach", folder.id if usual else str(folder.path.absolute())])
