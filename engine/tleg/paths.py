"""Where tleg keeps what it makes for the user: the platform's folders (platformdirs), or what TLEG_* names."""

import os
from pathlib import Path

from tleg.errors import InputError


def data_folder() -> Path:
    """The folder for downloaded data: TLEG_DATA, else the user's data folder (~/.local/share/tleg). It need not exist."""
    return _chosen("TLEG_DATA") or _user_data()


def runs_folder() -> Path:
    """The folder for runs: TLEG_RUNS, else `runs` in the data folder (~/.local/share/tleg/runs). It need not exist."""
    return _chosen("TLEG_RUNS") or _user_data() / "runs"


def settings_folder() -> Path:
    """The folder for settings: TLEG_SETTINGS, else the user's configuration folder (~/.config/tleg). It need not exist."""
    if chosen := _chosen("TLEG_SETTINGS"):
        return chosen
    from platformdirs import user_config_path

    return user_config_path("tleg", appauthor=False)


def _chosen(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _user_data() -> Path:
    # Here, because a preview of a file asks for none of these folders.
    from platformdirs import user_data_path

    return user_data_path("tleg", appauthor=False)


def check_working_folder() -> None:
    """Raise InputError when the working folder was removed: relative paths mean nothing there, and torch does not load."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            "the folder that you are in was removed; go to one that exists, such as with `cd ~`", code="not-found"
        ) from error
