"""Events are written whole, numbered, and never lost in silence; readers follow them through every accident."""

import errno
import json
import math
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measuring import processor_seconds
from tleg.runs.events import Event, EventReader, EventWriter
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder

LINE = '{{"v":1,"seq":{},"t":1.5,"type":"log","payload":{{"text":"line {}"}}}}\n'
STEP = {
    "step": 3,
    "steps": 1000,
    "epoch": 1,
    "epochs": 3,
    "loss": 2.345678,
    "task_loss": 1.234567,
    "distillation_loss": 1.111111,
    "learning_rate": 0.000512345,
    "gradient_norm": 1.2345,
    "images_per_second": 1234.5678,
    "data_wait": 0.01,
    "depth": 12,
    "scale": None,
}

# What is said of a disk that is full and of a file that is too large, with what to do.
TOO_LARGE = "File too large (`ulimit -f` or the file system allows no larger ones)"
FULL = "No space left on device (make room there, such as with `tleg rm`, or choose another place)"


def numbers(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


def texts(events: list[Event]) -> list[str]:
    return [event.payload["text"] for event in events]


def foreign_line(text: str) -> str:
    """A line as another program might write it: not in ASCII alone."""
    return json.dumps({"v": 1, "seq": 5, "t": 2, "type": text, "payload": {"text": text}}, ensure_ascii=False) + "\n"


def refuse(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> Callable[[], None]:
    """Make the disk full: `os.write` writes `after` bytes more, then nothing. Returns what empties it again."""
    write, left = os.write, [after]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr("os.write", full)
    return lambda: monkeypatch.setattr("os.write", write)


# --- the writer


def test_a_line_holds_version_number_time_type_and_payload(run: RunFolder) -> None:
    before = time.time()
    with EventWriter(run) as writer:
        writer.write("step", STEP)
        writer.write("log", {"text": "ä\n"})
    lines = [json.loads(line) for line in run.events_file.read_text("ascii").splitlines()]
    assert [list(line) for line in lines] == [["v", "seq", "t", "type", "payload"]] * 2
    assert [(line["v"], line["seq"], line["type"]) for line in lines] == [(1, 0, "step"), (1, 1, "log")]
    assert lines[0]["payload"] == STEP
    assert lines[1]["payload"] == {"text": "ä\n"}
    assert before <= lines[0]["t"] <= lines[1]["t"] <= time.time()


def test_an_event_is_there_before_write_returns(run: RunFolder) -> None:
    with EventWriter(run) as writer:
        for count in range(1, 4):
            writer.write("log", {"text": "x"})
            assert len(EventReader(run).read()) == count


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_become_null(run: RunFolder, value: float) -> None:
    with EventWriter(run) as writer:
        writer.write("step", {"loss": value, "nested": {"list": [1.0, value, (value,)]}})
    assert EventReader(run).read()[0].payload == {"loss": None, "nested": {"list": [1.0, None, [None]]}}


def test_what_json_has_no_value_for_is_written_all_the_same(run: RunFolder) -> None:
    class Scalar:
        def item(self) -> float:
            return 2.5

    with EventWriter(run) as writer:
        writer.write("log", {"scalar": Scalar(), "path": Path("a/b"), "set": {1}, "table": {3: "x"}, "text": "\ud800"})
    plain = {"scalar": 2.5, "path": "a/b", "set": [1], "table": {"3": "x"}, "text": "\ud800"}
    assert EventReader(run).read()[0].payload == plain


def test_numbers_go_on_after_a_restart(run: RunFolder) -> None:
    for start in range(3):
        with EventWriter(run) as writer:
            for count in range(5):
                writer.write("log", {"text": f"{start} {count}"})
    assert numbers(EventReader(run).read()) == list(range(15))


@given(st.data())
def test_a_line_that_a_kill_left_torn_is_ended_and_ignored(runs_dir: Path, data: st.DataObject) -> None:
    run = create_run(runs_dir, kind="learn", recipe={})
    lines = [LINE.format(seq, seq).encode() for seq in range(data.draw(st.integers(1, 4)))]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    run.events_file.write_bytes(whole[:cut])
    # A line without its end holds all of its event when nothing but the end is missing.
    kept = sum(1 for count in range(1, len(lines) + 1) if cut >= len(b"".join(lines[:count])) - 1)
    with EventWriter(run) as writer:
        writer.write("log", {"text": "after"})
        writer.write("log", {"text": "and on"})
    reader = EventReader(run)
    events = reader.read()
    assert texts(events) == [*(f"line {seq}" for seq in range(kept)), "after", "and on"]
    assert numbers(events) == list(range(kept + 2))
    torn = cut - len(b"".join(lines[:kept]))
    assert reader.broken == (1 if torn > 0 else 0)


def test_the_number_is_found_behind_a_long_torn_piece(run: RunFolder) -> None:
    run.events_file.write_bytes(LINE.format(41, 41).encode() + b"\x00" * 200_000 + b"\n" + b"{" * 200_000)
    with EventWriter(run) as writer:
        writer.write("log", {"text": "after"})
    assert numbers(EventReader(run).read()) == [41, 42]


def test_a_full_disk_is_survived_counted_and_reported(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventWriter(run) as writer:
        writer.write("log", {"text": "before"})
        free = refuse(monkeypatch)
        for _ in range(3):
            writer.write("log", {"text": "lost"})
        assert writer.lost == 3
        free()
        writer.write("log", {"text": "after"})
        writer.write("log", {"text": "later"})
        assert writer.lost == 3
    events = EventReader(run).read()
    assert numbers(events) == [0, 1, 2, 3]
    assert events[1].type == "warning"
    assert events[1].payload == {
        "code": "events-lost",
        "text": f"3 events could not be written: {FULL}",
        "step": None,
    }
    assert texts(events)[2:] == ["after", "later"]


@pytest.mark.parametrize("truncate", [True, False])
@pytest.mark.parametrize("after", [1, 40])
def test_a_disk_that_is_full_within_a_line(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, after: int, truncate: bool
) -> None:
    def no(*_: Any) -> None:
        raise OSError(errno.EIO, "no")

    reader = EventReader(run)
    with EventWriter(run) as writer:
        writer.write("log", {"text": "before"})
        free = refuse(monkeypatch, after=after)
        if not truncate:
            monkeypatch.setattr("os.ftruncate", no)
        writer.write("log", {"text": "torn"})
        assert texts(reader.read()) == ["before"]
        free()
        writer.write("log", {"text": "after"})
    assert texts(reader.read()) == [f"1 event could not be written: {FULL}", "after"]
    assert reader.restarts == 0
    assert reader.broken == (0 if truncate else 1)


def test_a_real_limit_on_the_size_of_files(run: RunFolder, program: Callable[..., Any]) -> None:
    code = """
import resource, sys
from pathlib import Path
from tleg.runs.events import EventWriter
from tleg.runs.launch import RunFolder
from tleg.runs.state import RunState, write_state
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
folder = RunFolder(Path(sys.argv[1]))
writer = EventWriter(folder)
for number in range(30):
    writer.write("log", {"text": "x" * 50})
lost = writer.lost
small, big = write_state(folder, RunState(state="running")), write_state(folder, RunState(message="x" * 2000))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.write("log", {"text": "after"})
print(lost, small, big)
"""
    lost, small, big = program(code, run.path).communicate(timeout=120)[0].split()
    events = EventReader(run).read()
    assert int(lost) > 15
    assert len(events) == 30 - int(lost) + 2
    assert events[-2].payload["text"] == f"{lost} events could not be written: {TOO_LARGE}"
    assert numbers(events) == list(range(len(events)))
    assert (small, big) == ("True", "False")
    assert not list(run.path.glob(".state*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_folder_that_vanishes_and_comes_back(run: RunFolder) -> None:
    reader = EventReader(run)
    with EventWriter(run) as writer:
        writer.write("log", {"text": "one"})
        assert texts(reader.read()) == ["one"]
        away = run.path.with_name("away")
        shutil.rmtree(run.path)
        writer.write("log", {"text": "two"})
        writer.write("log", {"text": "three"})
        assert writer.lost == 2
        assert reader.read() == []
        run.path.mkdir()
        writer.write("log", {"text": "four"})
    events = reader.read()
    assert texts(events) == ["2 events could not be written: No such file or directory", "four"]
    assert numbers(events) == [1, 2]
    assert reader.restarts == 1
    assert not away.exists()


def test_a_folder_that_moves_keeps_its_writer(run: RunFolder) -> None:
    with EventWriter(run) as writer:
        writer.write("log", {"text": "one"})
        moved = RunFolder(run.path.rename(run.path.with_name("moved")))
        writer.write("log", {"text": "two"})
        assert writer.lost == 0
    assert texts(EventReader(moved).read()) == ["one", "two"]


def test_a_folder_that_never_was(tmp_path: Path) -> None:
    with EventWriter(RunFolder(tmp_path / "none")) as writer:
        writer.write("log", {"text": "x"})
        assert writer.lost == 1
    assert not (tmp_path / "none").exists()


def test_threads_share_a_writer(run: RunFolder) -> None:
    with EventWriter(run) as writer:

        def work(name: int) -> None:
            for count in range(200):
                writer.write("log", {"text": f"{name} {count}", "filling": "x" * 300})

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader = EventReader(run)
    events = reader.read()
    assert numbers(events) == list(range(800))
    assert reader.broken == 0
    for name in range(4):
        assert [text for text in texts(events) if text.startswith(f"{name} ")] == [f"{name} {count}" for count in range(200)]


def test_a_killed_writer_loses_nothing_that_it_wrote(run: RunFolder, program: Callable[..., Any]) -> None:
    code = """
import sys
from pathlib import Path
from tleg.runs.events import EventWriter
from tleg.runs.launch import RunFolder
writer = EventWriter(RunFolder(Path(sys.argv[1])))
for number in range(10**9):
    writer.write("log", {"text": str(number)})
    print(number, flush=True)
"""
    process = program(code, run.path)
    for _ in range(50):
        said = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    said = max([said, *map(int, process.stdout.read().split("\n")[:-1])])
    events = EventReader(run).read()
    assert len(events) >= said + 1
    with EventWriter(run) as writer:
        writer.write("log", {"text": "after"})
    events = EventReader(run).read()
    assert numbers(events) == list(range(len(events)))


# --- the reader


@settings(max_examples=60)
@given(st.data())
def test_any_division_of_the_bytes_gives_the_same_events(runs_dir: Path, data: st.DataObject) -> None:
    run = create_run(runs_dir, kind="learn", recipe={})
    broken = st.sampled_from(["garbage\n", "\n", "{}\n", "[1,2]\n", "null\n", LINE.format(1, 1).replace('"v":1', '"v":2')])
    sound = st.integers(0, 99).map(lambda seq: LINE.format(seq, seq))
    pieces = st.one_of(sound, broken, st.text(max_size=20).map(foreign_line))
    stream = "".join(data.draw(st.lists(pieces, max_size=12))).encode("utf-8", "surrogatepass")
    run.events_file.write_bytes(stream)
    whole = EventReader(run)
    expected = whole.read()
    run.events_file.unlink()

    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = EventReader(run)
    events: list[Event] = []
    with run.events_file.open("ab", buffering=0) as file:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            file.write(stream[start:end])
            events += reader.read(data.draw(st.none() | st.integers(1, 200)))
    while more := reader.read(data.draw(st.none() | st.integers(1, 200))):
        events += more
    assert events == expected
    assert (reader.broken, reader.restarts) == (whole.broken, 0)
    assert reader.offset == len(stream)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        '{"v":1,"seq":1,"t":1.0,"type":"log"}',
        '{"v":1,"seq":"1","t":1.0,"type":"log","payload":{}}',
        '{"v":1,"seq":true,"t":1.0,"type":"log","payload":{}}',
        '{"v":1,"seq":1,"t":null,"type":"log","payload":{}}',
        '{"v":1,"seq":1,"t":1.0,"type":7,"payload":{}}',
        '{"v":1,"seq":1,"t":1.0,"type":"log","payload":[]}',
        '{"v":2,"seq":1,"t":1.0,"type":"log","payload":{}}',
        '{"v":1,"seq":1,"t":1.0,"type":"log","payload":{}}{"v":1}',
        "[" * 100_000,
        "1" * 10_000,
        "\x00\x00\x00",
    ],
)
def test_broken_lines_are_counted_and_passed_over(run: RunFolder, line: str) -> None:
    run.events_file.write_text(LINE.format(0, 0) + line + "\n" + LINE.format(1, 1))
    reader = EventReader(run)
    assert texts(reader.read()) == ["line 0", "line 1"]
    assert reader.broken == 1


def test_unknown_types_and_keys_are_read(run: RunFolder) -> None:
    run.events_file.write_text('{"v":1,"seq":0,"t":1,"type":"novelty","payload":{"a":1},"more":2}\n')
    assert EventReader(run).read() == [Event(1, 0, 1, "novelty", {"a": 1})]


def test_a_file_that_is_not_there_yet(run: RunFolder) -> None:
    reader = EventReader(run)
    assert reader.read() == []
    run.events_file.write_text(LINE.format(0, 0))
    assert texts(reader.read()) == ["line 0"]
    assert reader.read() == []
    assert reader.restarts == 0


def test_a_broken_line_has_the_time_of_what_stands_before_it(run: RunFolder) -> None:
    def add(text: str) -> None:
        with run.events_file.open("a") as file:
            file.write(text)

    def line(seq: int) -> str:
        return json.dumps({"v": 1, "seq": seq, "t": 10.0 + seq, "type": "log", "payload": {}}) + "\n"

    reader = EventReader(run)
    before = time.time()
    add("torn\n")
    reader.read()
    assert reader.broken_at is not None
    assert before <= reader.broken_at <= time.time()
    again = EventReader(run)
    add("".join(map(line, range(3))))
    again.read()
    assert (again.broken, again.broken_at) == (1, 10.0)  # Nothing stands before it.
    for text, broken, at in (("torn\n", 2, 12.0), (line(3), 2, 12.0), (line(4) + "torn\n" + line(5), 3, 14.0)):
        add(text)
        again.read()
        assert (again.broken, again.broken_at) == (broken, at)


@pytest.mark.parametrize("replaced", ["shorter", "longer"])
def test_a_file_that_was_replaced_is_read_from_its_beginning(run: RunFolder, replaced: str) -> None:
    run.events_file.write_text("".join(LINE.format(seq, seq) for seq in range(5)) + "torn\n")
    reader = EventReader(run)
    assert len(reader.read()) == 5
    assert reader.broken == 1
    other = [LINE.format(0, 100 + seq) for seq in range(2 if replaced == "shorter" else 20)]
    run.events_file.write_text("".join(other))
    assert texts(reader.read()) == [f"line {100 + seq}" for seq in range(len(other))]
    assert (reader.restarts, reader.broken) == (1, 0)


def test_readers_do_not_disturb_each_other(run: RunFolder) -> None:
    first, second = EventReader(run), EventReader(run)
    with EventWriter(run) as writer:
        writer.write("log", {"text": "one"})
        assert texts(first.read()) == ["one"]
        writer.write("log", {"text": "two"})
        assert texts(second.read()) == ["one", "two"]
        assert texts(first.read()) == ["two"]


def test_reading_in_pieces(run: RunFolder) -> None:
    lines = [LINE.format(seq, seq) for seq in range(100)]
    run.events_file.write_text("".join(lines))
    reader, calls, events = EventReader(run), 0, list[Event]()
    while more := reader.read(most_bytes=10 * len(lines[50])):
        events += more
        calls += 1
    assert numbers(events) == list(range(100))
    assert calls == pytest.approx(10, abs=2)


def test_a_line_longer_than_a_piece(run: RunFolder) -> None:
    run.events_file.write_text(LINE.format(0, "x" * 5000) + LINE.format(1, "y" * 5000))
    reader = EventReader(run)
    assert [numbers(reader.read(100)) for _ in range(3)] == [[0], [1], []]


def test_reading_costs_little_more_than_parsing(run: RunFolder) -> None:
    line = json.dumps({"v": 1, "seq": 1, "t": 1.5, "type": "step", "payload": STEP})
    run.events_file.write_text(f"{line}\n" * 20_000)
    lines = run.events_file.read_bytes().splitlines()

    parsing, reading = processor_seconds(lambda: [json.loads(each) for each in lines], lambda: EventReader(run).read())
    assert reading < 1.5 * parsing


def test_appending_is_cheap(run: RunFolder) -> None:
    def encode() -> None:
        for _ in range(1000):
            json.dumps(STEP)

    with EventWriter(run) as writer:

        def write() -> None:
            for _ in range(1000):
                writer.write("step", STEP)

        encoding, writing = processor_seconds(encode, write)
    assert writing < 20 * encoding
