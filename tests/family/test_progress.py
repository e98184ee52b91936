"""How far a family is: what its maker writes, and what whoever shows it makes of that."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tleg.errors import FileFormatError
from tleg.family.progress import LOG, PROGRESS, ProgressWriter, Step, begun_by, last_words, read_progress, write_progress


def test_steps_are_told_as_they_come(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    writer = ProgressWriter(tmp_path)
    writer.begin(["learngene", "phone"])
    first = read_progress(tmp_path)
    assert first is not None
    assert first.at_work
    assert dict(first.steps) == {"learngene": Step("waiting"), "phone": Step("waiting")}
    writer.step("learngene", "measuring", "accuracy of 3 depths")
    writer.count("learngene", 10, 200)
    writer.count("learngene", 20, 200)  # Within a second: not worth a write.
    now = read_progress(tmp_path)
    assert now is not None
    assert now.steps["learngene"] == Step("measuring", "accuracy of 3 depths", (10, 200))
    assert list(now.steps) == ["learngene", "phone"]
    writer.end("no room")
    ended = read_progress(tmp_path)
    assert ended is not None
    assert (ended.problem, ended.at_work, ended.lost) == ("no room", False, False)
    assert ended.ended is not None


def test_a_process_that_is_gone_is_lost_here_and_unknown_elsewhere(tmp_path: Path) -> None:
    progress = replace(begun_by(os.getpid(), tmp_path, Path("devices.toml")), started=1)
    write_progress(tmp_path, progress)
    (tmp_path / LOG).write_text("phone: training\ntleg: no room\n\n")
    found = read_progress(tmp_path)
    assert found is not None
    assert (found.at_work, found.lost) == (False, True)
    assert found.file == str(tmp_path / "devices.toml")
    assert last_words(tmp_path) == "no room"
    assert last_words(tmp_path / "nowhere") == ""
    elsewhere = replace(progress, host="another-machine")
    assert (elsewhere.at_work, elsewhere.lost) == (True, False)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / PROGRESS).write_text(json.dumps({"version": 2}))
    with pytest.raises(FileFormatError, match=r"progress\.json"):
        read_progress(tmp_path)
