"""Following a run: its log in whole lines, its history in pieces, and silence when nothing is new."""

import os
import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tleg.runs.events import EventWriter
from tleg.runs.launch import create_run
from tleg.runs.lock import RunLock
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, write_state
from tleg_tui.run.watching import PIECE_BYTES, TAIL_BYTES, LogTail, RunLooked, RunWatch, Watched


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    tail = LogTail(path)
    assert tail.read() == ()
    add(path, "one\ntw")
    assert tail.read() == ("one",)
    assert tail.read() == ()
    add(path, "o\n\nthree\n")
    assert tail.read() == ("two", "", "three")


def test_of_a_line_that_was_written_over_the_last_text_counts(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    add(path, "10 %\r50 %\r100 %\nwindows\r\n")
    assert LogTail(path).read() == ("100 %", "windows")


def test_a_log_that_was_cut_or_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    tail = LogTail(path)
    add(path, "first\nsecond\n")
    assert tail.read() == ("first", "second")
    path.write_text("new\n")
    assert tail.read() == ("new",)
    other = tmp_path / "other"
    other.write_text("replaced, and longer than before\n")
    os.replace(other, path)
    assert tail.read() == ("replaced, and longer than before",)
    path.unlink()
    assert tail.read() == ()


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    add(path, "".join(f"line {number}\n" for number in range(60_000)))
    lines = LogTail(path).read()
    assert lines[-1] == "line 59999"
    assert len(lines) < 60_000
    assert all(line.startswith("line ") for line in lines)  # No half line at the beginning.


def test_a_line_without_end_is_shown_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    tail = LogTail(path)
    add(path, "start\n")
    assert tail.read() == ("start",)
    add(path, "x" * (TAIL_BYTES + 10) + "\nend\n")
    lines = [*tail.read(), *tail.read()]
    assert lines[-1] == "end"
    assert all(len(line) <= 2001 for line in lines)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\t", exclude_categories=["Cs"]), max_size=30)), st.data())
def test_any_division_gives_the_same_lines(tmp_path_factory, lines: list[str], data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("log") / "train.log"
    tail = LogTail(path)
    whole = "".join(f"{line}\n" for line in lines).encode()
    found: list[str] = []
    done = 0
    while done < len(whole):
        size = data.draw(st.integers(1, len(whole) - done))
        with path.open("ab") as file:
            file.write(whole[done : done + size])
        done += size
        found += tail.read()
    assert found == lines


def make_run(place: Path) -> tuple[RunFolder, EventWriter, RunLock]:
    """A run that this process holds, as a trainer does."""
    folder = create_run(place, kind="learn", recipe={})
    lock = RunLock(folder)
    assert lock.acquire(timeout=1.0)
    write_state(folder, RunState("running", heartbeat=1.0))
    return folder, EventWriter(folder), lock


def see(watch: RunWatch) -> Watched:
    seen = watch.look()
    assert seen is not None
    return seen


def test_silence_when_nothing_is_new(tmp_path: Path) -> None:
    folder, events, lock = make_run(tmp_path)
    watch = RunWatch(folder)
    assert see(watch).look.state.state == "running"
    assert watch.look() is None
    write_state(folder, RunState("running", heartbeat=2.0))
    assert watch.look() is None  # A heartbeat alone is no news.
    events.write("step", {"step": 1, "steps": 10, "loss": 2.0})
    seen = see(watch)
    assert seen.look.snapshot.step is not None
    assert seen.look.snapshot.step.loss == 2.0
    add(folder.log_file, "a word\n")
    assert see(watch).lines == ("a word",)
    folder.stop_file.touch()
    assert see(watch).asked_to_stop
    assert watch.look() is None
    lock.release()
    assert see(watch).look.state.state == "lost"
    shutil.rmtree(folder.path)
    assert see(watch).look.gone
    assert watch.look() is None
    events.close()


def test_a_long_history_comes_in_pieces(tmp_path: Path) -> None:
    folder, events, lock = make_run(tmp_path)
    padding = "x" * 1000
    count = 3 * PIECE_BYTES // 1000
    for step in range(1, count + 1):
        events.write("step", {"step": step, "steps": count, "loss": 1.0, "note": padding})
    watch = RunWatch(folder)
    pieces = []
    while True:
        pieces.append(see(watch).look)
        if pieces[-1].complete:
            break
    assert len(pieces) >= 3
    steps = [look.snapshot.step.step for look in pieces if look.snapshot.step is not None]
    assert steps == sorted(steps)
    assert steps[-1] == count
    lock.release()
    events.close()


def test_a_torn_line_waits_and_a_broken_one_is_counted(tmp_path: Path) -> None:
    folder, events, lock = make_run(tmp_path)
    events.write("step", {"step": 1, "steps": 10})
    events.close()
    watch = RunWatch(folder)
    see(watch)
    add(folder.events_file, '{"v":1,"seq":1,"t":1.0,"type":"step","payl')
    assert watch.look() is None
    add(folder.events_file, 'oad":{"step":2,"steps":10}}\n')
    seen = see(watch)
    assert seen.look.snapshot.step is not None
    assert seen.look.snapshot.step.step == 2
    add(folder.events_file, '{"v":1,"seq":2,"t"\n')
    assert see(watch).look.broken == 1
    lock.release()


def test_a_look_replaces_one_that_waits_but_no_lines(tmp_path: Path) -> None:
    folder, _, lock = make_run(tmp_path)
    watch = RunWatch(folder)
    bare = RunLooked(see(watch))
    add(folder.log_file, "a word\n")
    spoken = RunLooked(see(watch))
    assert bare.can_replace(spoken)
    assert not spoken.can_replace(bare)
    other, _, other_lock = make_run(tmp_path / "others")
    assert not bare.can_replace(RunLooked(see(RunWatch(other))))
    lock.release()
    other_lock.release()
