"""Real processes of tleg that need not import torch and timm: forks of a process that has, instead of new interpreters.

A fork is a child of this process as any other is: with its own number, session, environment, folder, output and exit code,
and it can be signalled and killed. It differs in what happens before the program starts, so that tests of imports, of the
start, of threads and of what is installed start interpreters. So does whatever asks for more than is known here.
"""

import ctypes
import functools
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tleg.launch import LOOK_MODULE
from tleg.runs import detached
from tleg.runs.launch import TRAINER_MODULE

_MODULES: Final = frozenset({TRAINER_MODULE, LOOK_MODULE, "tleg.cli"})
# Changes of the environment that nothing looks at before the program starts, or that are made up for.
_HARMLESS: Final = frozenset(
    {"COLUMNS", "LINES", "NO_COLOR", "OMP_WAIT_POLICY", "PATH", "PYTEST_CURRENT_TEST", "PYTHONSAFEPATH"}
    | {"PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONPATH", "TERM"}
    | {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}  # torch sets them when it is imported.
    | {"NNCF_CI"}  # tleg sets it when it imports NNCF.
)
_WARNINGS: Final = frozenset({"ignore", "default"})
_PYTHON: Final = sys.executable  # Tests put programs of their own there.
_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER of prctl(2).
_SECONDS: Final = 120.0


class ForkServer:
    """A process of tests/fork_server.py, which starts when it is first asked. Linux alone has what it needs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.paused = False
        self._environment = dict(environment)
        self._path = frozenset(sys.path)
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End it. What it forked goes on."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def request(self, started: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what to ask for instead of a call of Popen's `_execute_child`; None for what has to be an interpreter."""
        if self.paused:
            return None
        words = [os.fspath(each) for each in started["args"]] if isinstance(started["args"], list | tuple) else []
        gate = words[:4] == ["/bin/sh", "-c", detached._GATE, "sh"]
        words = words[4:] if gate else words
        if any(started[name] is not None for name in ("executable", "preexec_fn", "gid", "gids", "uid")):
            return None
        if started["pass_fds"] or started["shell"] or words[:1] != [_PYTHON]:
            return None
        environment = dict(os.environ if started["env"] is None else started["env"])
        if not self._same(environment):
            return None
        warnings = environment.get("PYTHONWARNINGS", "")
        words = words[1:]
        if words[:1] == ["-W"]:
            warnings, words = words[1], words[2:]
        if words[:1] != ["-m"] or words[1] not in _MODULES or warnings not in {"", *_WARNINGS}:
            return None
        return {
            "module": words[1],
            "arguments": words[2:],
            "environment": environment,
            "cwd": os.fspath(started["cwd"] or os.getcwd()),
            "session": started["start_new_session"],
            "gate": gate,
            "warnings": warnings,
        }

    def fork(self, request: Mapping[str, Any], descriptors: list[int]) -> int:
        """Make a process with these as its input, output and error output, and return its number.

        Raises OSError when the server has ended, and TimeoutError when it does not answer.
        """
        with self._lock:
            try:
                line = self._start() if self._line is None else self._line
                # The process that is orphaned on the way is this one's child then.
                self._adopt(True)
                try:
                    socket.send_fds(line, [json.dumps(request).encode()], descriptors)
                    return int(_answer(line)["pid"])
                finally:
                    self._adopt(False)
            except BaseException:
                # An answer that comes later would be taken for that to the next request: it would name another process.
                self.close()
                raise

    def _start(self) -> socket.socket:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(_SECONDS)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [_PYTHON, "-m", "tests.fork_server", str(number)],
                env=self._environment,
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )
        _answer(self._line)  # It says so when it has imported everything.
        return self._line

    def _adopt(self, orphans: bool) -> None:
        if self._prctl(_SUBREAPER, int(orphans), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

    def _same(self, environment: Mapping[str, str]) -> bool:
        """Whether an environment has nothing that the start of the interpreter, or an import, would look at."""
        ours = self._environment
        names = {name for name in {*ours, *environment} if ours.get(name) != environment.get(name)}
        path = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
        return all(name in _HARMLESS or name.startswith("TLEG_") for name in names) and self._path.issuperset(path)


def _answer(line: socket.socket) -> Any:
    message = line.recv(1 << 16)
    if not message:
        raise OSError("the process that forks has ended")
    return json.loads(message)


@contextmanager
def forking(server: ForkServer | None) -> Iterator[None]:
    """Let Popen of `python -m` with a module of tleg be a fork, while this is open. Without a server nothing changes."""
    if server is None:
        yield
        return
    original: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]
    signature = inspect.signature(original)

    @functools.wraps(original)  # With its signature, for one that is opened inside of another.
    def execute(self: Any, *arguments: Any) -> None:
        started = signature.bind(self, *arguments).arguments
        request = server.request(started)
        if request is None:
            original(self, *arguments)
            return
        try:
            ends = [started["p2cread"], started["c2pwrite"], started["errwrite"]]
            self.pid = server.fork(request, [number if end == -1 else end for number, end in enumerate(ends)])
            self._child_created = True
        finally:
            pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
            self._close_pipe_fds(*(started[name] for name in pipes))

    subprocess.Popen._execute_child = execute  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess.Popen._execute_child = original  # type: ignore[attr-defined]
