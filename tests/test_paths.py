"""Where runs, data and settings lie: what the user says, or the platform's folders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tleg.errors import InputError
from tleg.paths import check_working_folder, data_folder, runs_folder, settings_folder

FOLDERS: list[tuple[Callable[[], Path], str, str, str]] = [
    (data_folder, "TLEG_DATA", "XDG_DATA_HOME", "tleg"),
    (runs_folder, "TLEG_RUNS", "XDG_DATA_HOME", "tleg/runs"),
    (settings_folder, "TLEG_SETTINGS", "XDG_CONFIG_HOME", "tleg"),
]


@pytest.mark.parametrize(("folder", "own", "base", "below"), FOLDERS)
def test_what_is_said_counts_then_the_platform(
    folder: Callable[[], Path], own: str, base: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(own, raising=False)
    monkeypatch.delenv(base, raising=False)
    home = tmp_path / (".config" if base == "XDG_CONFIG_HOME" else ".local/share")
    assert folder() == home / below
    monkeypatch.setenv(base, str(tmp_path / "base"))
    assert folder() == tmp_path / "base" / below
    monkeypatch.setenv(own, str(tmp_path / "own"))
    assert folder() == tmp_path / "own"
    monkeypatch.setenv(own, "")
    assert folder() == tmp_path / "base" / below
    assert not (tmp_path / "base").exists()


def test_a_working_folder_that_was_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    check_working_folder()
    gone.rmdir()
    with pytest.raises(InputError, match="was removed"):
        check_working_folder()
    monkeypatch.chdir(tmp_path)
