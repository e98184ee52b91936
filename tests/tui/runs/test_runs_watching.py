"""The look at all runs: what is read, what is kept, what is left out."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tleg.runs.history import Curve, CurveBuilder
from tleg.runs.run import RunFolder
from tleg_tui.runs import watching
from tleg_tui.runs.watching import LOSS_CELLS, RunsWatch, losses_of

Copy = Callable[..., RunFolder]


@pytest.fixture
def copy_run(finished_runs: Path, runs_dir: Path) -> Copy:
    """Copy the finished run under another name: copy_run("b", age=60, state="failed")."""
    source, now = next(path for path in finished_runs.iterdir() if path.is_dir()), time.time()

    def copy(name: str, *, age: float = 0.0, place: Path | None = None, **state: Any) -> RunFolder:
        folder = RunFolder((place or runs_dir) / name)
        shutil.copytree(source, folder.path)
        spec = json.loads(folder.spec_file.read_text())
        folder.spec_file.write_text(json.dumps({**spec, "id": name, "created": now - age}))
        if state:
            folder.state_file.write_text(json.dumps({**json.loads(folder.state_file.read_text()), **state}))
        return folder

    return copy


def test_runs_of_all_places_come_newest_first(copy_run: Copy, runs_dir: Path, tmp_path: Path) -> None:
    copy_run("old", age=300)
    copy_run("new", age=10)
    copy_run("between", age=60, place=tmp_path / "elsewhere")
    runs = RunsWatch().look([runs_dir, tmp_path / "elsewhere", runs_dir, tmp_path / "missing"])
    assert [row.id for row in runs.rows] == ["new", "between", "old"]
    assert (runs.read, runs.complete, runs.errors, runs.skipped) == (True, True, (), ())
    row = runs.rows[0]
    assert (row.state, row.spec.kind) == ("finished", "learn")
    assert row.top1 == max(each.top1 or 0 for each in row.look.snapshot.evaluations)


def test_what_is_no_run_is_named_and_a_place_that_fails_too(copy_run: Copy, runs_dir: Path, tmp_path: Path) -> None:
    copy_run("sound")
    copy_run("torn").spec_file.write_text('{"id": ')
    (runs_dir / "notes").mkdir()
    (tmp_path / "a file").write_text("")
    runs = RunsWatch().look([runs_dir, tmp_path / "a file"])
    assert [row.id for row in runs.rows] == ["sound"]
    reasons = {each.path.name: each.reason for each in runs.skipped}
    assert reasons["notes"] == "not a run: it has no spec.json"
    assert "is not JSON" in reasons["torn"]
    assert runs.errors == (f"cannot read the runs in {tmp_path / 'a file'}: Not a directory",)


def test_a_run_that_ended_is_not_read_again_until_it_changes(copy_run: Copy, runs_dir: Path) -> None:
    folder = copy_run("one")
    looks = RunsWatch()
    first = looks.look([runs_dir]).rows[0]
    assert looks.look([runs_dir]).rows[0] is first
    later = time.time() + 5
    folder.state_file.write_text(json.dumps({**json.loads(folder.state_file.read_text()), "message": "changed"}))
    os.utime(folder.state_file, (later, later))
    second = looks.look([runs_dir]).rows[0]
    assert second.look.state.message == "changed"
    assert (second.top1, second.losses) == (first.top1, first.losses)
    shutil.rmtree(folder.path)
    assert looks.look([runs_dir]).rows == ()
    assert (looks._rows, looks._followers) == ({}, {})


def test_what_ended_keeps_a_line_of_losses_and_no_events(copy_run: Copy, runs_dir: Path) -> None:
    copy_run("one")
    looks = RunsWatch()
    row = looks.look([runs_dir]).rows[0]
    assert row.look.events == ()
    assert row.look.snapshot.curve.points == ()
    assert looks._followers == {}
    assert len(row.losses) == LOSS_CELLS
    known = [value for value in row.losses if value is not None]
    assert known[0] > known[-1] > 0


def test_long_histories_are_read_in_pieces_the_newest_first(
    copy_run: Copy, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        copy_run(f"run{number}", age=number)
    size = (runs_dir / "run0" / "events.jsonl").stat().st_size
    whole = RunsWatch().look([runs_dir]).rows
    monkeypatch.setattr(watching, "_MOST_BYTES", size // 3)
    looks = RunsWatch()
    first = looks.look([runs_dir])
    assert not first.complete
    assert [row.id for row in first.rows] == ["run0", "run1", "run2"]
    assert first.rows[0].look.snapshot.events > first.rows[2].look.snapshot.events
    for _ in range(100):
        runs = looks.look([runs_dir])
        if runs.complete:
            break
    assert runs.complete
    assert [(row.top1, row.losses) for row in runs.rows] == [(row.top1, row.losses) for row in whole]


def test_losses_lie_along_the_planned_steps() -> None:
    builder = CurveBuilder(Curve())
    for step in range(1, 51):
        builder.add(step, {"loss": 100.0 - step})
    half = losses_of(builder.finish(), 100)
    assert [value is None for value in half] == [False] * (LOSS_CELLS // 2) + [True] * (LOSS_CELLS // 2)
    assert half[0] == pytest.approx(98.0, abs=1.0)
    known = [value for value in half if value is not None]
    assert known == sorted(known, reverse=True)
    whole = losses_of(builder.finish(), None)
    assert None not in (whole[0], whole[-1])
    assert losses_of(Curve(), 100) == ()


def test_few_steps_leave_no_gaps() -> None:
    builder = CurveBuilder(Curve())
    for step in (1, 2, 3, 4):
        builder.add(step, {"loss": float(step)})
    losses = losses_of(builder.finish(), 4)
    assert None not in losses[: LOSS_CELLS * 3 // 4 + 1]
    assert sorted(set(filter(None, losses))) == [1.0, 2.0, 3.0, 4.0]


def test_many_runs_take_little_time_and_memory(copy_run: Copy, runs_dir: Path) -> None:
    first = copy_run("run000")
    for number in range(1, 200):
        target = runs_dir / f"run{number:03}"
        target.mkdir()
        for name in ("spec.json", "state.json", "events.jsonl"):
            shutil.copy(first.path / name, target / name)
    looks = RunsWatch()
    while not looks.look([runs_dir]).complete:
        pass
    begin = time.process_time()
    assert len(looks.look([runs_dir]).rows) == 200
    assert time.process_time() - begin < 0.5
