"""Signals that ask a program to end: it tidies up and ends by them, whatever became of the exception on its way.

What a signal raises passes through others' code, compiled code among it, which may turn it into an error of its own, or into
nothing. What was received is remembered, so that neither such an error nor success is reported instead.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

_received: Final[list[int]] = []


class Ended(BaseException):
    """A signal asked this process to end."""


def run_to_end(program: Callable[[], int]) -> int:
    """Return a program's exit code, or end this process by the signal that asked for it, so that whoever waits is told.

    SIGTERM and SIGHUP raise Ended in the program, once, and SIGINT raises KeyboardInterrupt. What is ignored stays ignored
    (nohup, for one, ignores SIGHUP), and so does what has a handler. To be called by the main thread.
    """
    _listen()
    try:
        return program()
    except Ended:
        pass
    # Not above, where the exception still holds what is to be tidied up.
    os.kill(os.getpid(), _received[-1])
    sys.exit(128 + _received[-1])


@contextmanager
def raising_received() -> Iterator[None]:
    """Raise again what a signal asked for, where an error came instead, or nothing did.

    Without an error Ended alone: an interrupt was answered. Raises Ended, KeyboardInterrupt.
    """
    try:
        yield
    except Exception as error:
        if _received:
            raise (KeyboardInterrupt if _received[-1] == signal.SIGINT else Ended) from error
        raise
    if _received and _received[-1] != signal.SIGINT:
        raise Ended


def _listen() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _end(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    _received.append(number)
    raise Ended


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    _received.append(number)
    raise KeyboardInterrupt
