"""`python -m tests.fork_server DESCRIPTOR`: a process that has imported what tleg is slow to import, and forks on request.

A request is one message on the socket of that descriptor: a JSON document and the three descriptors that the new process has
as its input and outputs. The answer is the number of the new process. It ends when the socket is closed.
"""

import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

# What trainings and builds import. Only what starts no thread: a fork has the thread alone that forks.
MODULES: Final = (
    "tleg.training.worker",
    "tleg.cli.app",
    "tleg.export.build",
    "tleg.models.flops",
    "torch._dynamo",
    "onnxscript",
    "fvcore.nn",
)
_LONGEST: Final = 1 << 20


def main() -> None:
    """Import, say so with an empty document, and answer requests. In a new process: be what was asked for, and return."""
    line = socket.socket(fileno=int(sys.argv[1]))
    own = len(warnings.filters)
    for name in MODULES:
        importlib.import_module(name)
    added = warnings.filters[: len(warnings.filters) - own]
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"importing started threads, {threads} are there: a fork would lack them")
    gc.collect()
    gc.freeze()  # What is never collected stays shared with the forks.
    line.send(b"{}")
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 3)
        if not message:
            return
        pid = _fork()
        if pid is None:
            line.close()
            _become(json.loads(message), descriptors, added)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        line.send(json.dumps({"pid": pid}).encode())


def _fork() -> int | None:
    """Fork, and return the number of the new process, in which it returns None.

    Its parent ends at once, so that it becomes a child of whoever adopts it: of the one that asks, see tests/forks.py.
    """
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.close(writing)
            return None
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(parent, 0)
    with open(reading, encoding="ascii") as file:
        return int(file.read())


def _become(request: dict[str, Any], descriptors: Sequence[int], added: Sequence[Any]) -> None:
    """Be `python -W WARNINGS -m MODULE ARGUMENTS` in a folder, with an environment."""
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["gate"]:
        _wait_at_the_gate()
    _open_streams()
    if "PYTHONSAFEPATH" not in os.environ:
        sys.path.insert(0, os.getcwd())
    if request["warnings"]:
        # As if it had been said at the start: what libraries add when they are imported stands before it.
        sys.warnoptions[:] = [request["warnings"]]
        warnings.resetwarnings()
        warnings.simplefilter(request["warnings"])
        for action, message, category, module, number in reversed(added):
            patterns = [each.pattern if each is not None else "" for each in (message, module)]
            warnings.filterwarnings(action, patterns[0], category, patterns[1], number)
    sys.argv[:] = ["-m", *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _open_streams() -> None:
    """Take new streams, as those that are there know what the descriptors were before."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    encoding = sys.getfilesystemencoding()

    def writer(number: int, errors: str | None, line_buffering: bool) -> io.TextIOWrapper:
        binary = os.fdopen(number, "wb", 0 if unbuffered else -1, closefd=False)
        return io.TextIOWrapper(binary, encoding, errors, line_buffering=line_buffering, write_through=unbuffered)

    sys.stdin = os.fdopen(0, encoding=encoding, errors=sys.stdin.errors, closefd=False)
    sys.stdout = writer(1, sys.stdout.errors, os.isatty(1))
    sys.stderr = writer(2, sys.stderr.errors, True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _wait_at_the_gate() -> None:
    """Do what the shell does that tleg.runs.detached puts before a program."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    text = b""
    while not text.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            os._exit(1)
        text += more
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


if __name__ == "__main__":
    main()
