"""Where tleg keeps what it makes for the user, after the XDG base directories."""

import os
from pathlib import Path

from tleg.errors import InputError


def data_folder() -> Path:
    """The folder for downloaded data: TLEG_DATA, else $XDG_DATA_HOME/tleg, else ~/.local/share/tleg. It need not exist."""
    if chosen := os.environ.get("TLEG_DATA"):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "tleg"


def runs_folder() -> Path:
    """The folder for runs: TLEG_RUNS, else $XDG_DATA_HOME/tleg/runs, else ~/.local/share/tleg/runs. It need not exist."""
    if chosen := os.environ.get("TLEG_RUNS"):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "tleg" / "runs"


def settings_folder() -> Path:
    """The folder for settings: TLEG_SETTINGS, else $XDG_CONFIG_HOME/tleg, else ~/.config/tleg. It need not exist."""
    if chosen := os.environ.get("TLEG_SETTINGS"):
        return Path(chosen)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "tleg"


def check_working_folder() -> None:
    """Raise InputError when the working folder was removed: relative paths mean nothing there, and torch does not load."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            "the folder that you are in was removed; go to one that exists, such as with `cd ~`", code="not-found"
        ) from error
