"""A signal that asks a program to end does so, whatever others' code makes of what it raises."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tleg.ending import run_to_end

PROGRAM = """
import os, signal, sys
from tleg.ending import raising_received, run_to_end

signal.signal(signal.SIGINT, signal.default_int_handler)  # The shell of a background job ignores it.

def others(number):
    try:
        os.kill(os.getpid(), number)
        for _ in range(1000):
            pass
    except BaseException as error:
        {made_of_it}

def program():
    try:
        with raising_received():
            others(int(sys.argv[1]))
    except KeyboardInterrupt:
        return 130
    except RuntimeError:
        return 1
    finally:
        print("tidied up", flush=True)
    return 0

sys.exit(run_to_end(program))
"""
AN_ERROR = 'raise RuntimeError("cannot export") from error'


@pytest.mark.parametrize("made_of_it", ["raise", AN_ERROR, "pass"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)]
)
def test_the_end_is_that_of_the_signal(
    number: signal.Signals, code: int, made_of_it: str, child_environment: Callable[..., dict[str, str]]
) -> None:
    program = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)\n" + PROGRAM.format(made_of_it=made_of_it)
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))], env=child_environment(), capture_output=True, check=False
    )
    assert done.stdout == b"tidied up\n"
    assert done.stderr == b""
    # Nothing came of an interrupt, so it was answered.
    assert done.returncode == (0 if (number, made_of_it) == (signal.SIGINT, "pass") else code)


def test_an_error_without_a_signal_is_an_error(child_environment: Callable[..., dict[str, str]]) -> None:
    program = PROGRAM.format(made_of_it="raise").replace("os.kill(os.getpid(), number)", 'raise RuntimeError("theirs")')
    done = subprocess.run([sys.executable, "-c", program, "15"], env=child_environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"tidied up\n", b"")


def test_what_has_a_handler_keeps_it() -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    heard: list[int] = []
    try:
        for number in numbers:
            signal.signal(number, lambda number, frame: heard.append(number))

        def program() -> int:
            for number in numbers:
                signal.raise_signal(number)
            return 7

        assert run_to_end(program) == 7
        assert heard == list(numbers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
