"""What a process runs and whom it hands one object to, noted as it happens. For `benchmarks.structure`.

A copy of this file, called sitecustomize.py and on PYTHONPATH, is imported by every interpreter that starts; it does nothing
but in the process whose command line names MODULE. It needs the standard library alone, and knows no file of the project.

    TLEG_TRACE            where lines are appended, one JSON list each
    TLEG_TRACE_FOLDER     the folder whose files count
    TLEG_TRACE_PARAMETER  the parameter whose first value is followed

["imported", FILE]  this file is being imported
["ran", FILE]       a function of this file is called for the first time
["step"]            the optimiser is about to make its first step
["passed", FILE]    a function of this file is called with the value or a part of it
"""

import dataclasses
import json
import os
import sys
import threading
from types import CodeType, FrameType
from typing import Any, Final

MODULE: Final = "tleg.training"
# inspect's: a function's code, not that of a module or of a class; and that of a generator, which is entered many times.
_FUNCTION, _GENERATOR = 1, 0x20 | 0x80 | 0x200
# None is everywhere, and equal numbers or words may be the same object by accident.
_NOBODY: Final = (type(None), bool, int, float, complex, str, bytes)


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """Files as paths in the folder: imported and run before the first step, and those that the followed value came to."""

    imported: frozenset[str]
    ran: frozenset[str]
    passed: tuple[str, ...]


def read_trace(file: str | os.PathLike[str]) -> Trace:
    """Return what a Tracer noted. Raises ValueError where no step was made."""
    with open(file, encoding="ascii") as stream:
        lines = [json.loads(line) for line in stream]
    before = lines[: lines.index(["step"])]
    imported, ran = (frozenset(words[1] for words in before if words[0] == word) for word in ("imported", "ran"))
    return Trace(imported, ran, tuple(words[1] for words in lines if words[0] == "passed"))


def parts_of(value: Any) -> list[Any]:
    """Return a value and, where it is a dataclass, all that its fields hold, except what cannot be told from its equals."""
    if isinstance(value, _NOBODY) or (isinstance(value, tuple | frozenset) and not value):
        return []
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    return [value, *(part for field in fields for part in parts_of(getattr(value, field.name, None)))]


class Tracer:
    """A profile function that appends to a file what it sees."""

    def __init__(self, target: str, folder: str, parameter: str) -> None:
        self._target = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._folder = os.path.join(os.path.abspath(folder), "")
        self._parameter = parameter
        self._names: dict[str, str | None] = {}
        self._ran: set[str] = set()
        self._stepped = False
        self._followed: dict[int, Any] = {}
        self._calls: set[tuple[object, ...]] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename not in self._names:
            inside = code.co_filename.startswith(self._folder)
            self._names[code.co_filename] = code.co_filename.removeprefix(self._folder) if inside else None
        name = self._names[code.co_filename]
        if name is None:
            if not self._stepped and code.co_name == "step" and _is_optimiser(code.co_filename):
                self._stepped = True
                self._write("step")
        elif code.co_name == "<module>":
            self._write("imported", name)
        elif code.co_flags & _FUNCTION:
            if name not in self._ran:
                self._ran.add(name)
                self._write("ran", name)
            if threading.current_thread() is threading.main_thread():
                self._follow(name, code, frame)

    def _follow(self, name: str, code: CodeType, frame: FrameType) -> None:
        count = code.co_argcount + code.co_kwonlyargcount
        given = {each: frame.f_locals[each] for each in code.co_varnames[:count] if each in frame.f_locals}
        if not self._followed and self._parameter in given:
            # Kept, so that nothing else is ever made at their addresses.
            self._followed = {id(part): part for part in parts_of(given[self._parameter])}
        # A method that is called on the value is the value at work, and no place that it is handed to.
        if not any(id(value) in self._followed for each, value in given.items() if each not in ("self", "cls")):
            return
        caller = frame.f_back
        where = (None, 0) if caller is None or code.co_flags & _GENERATOR else (caller.f_code, caller.f_lineno)
        # A loop hands over the same thing at the same place again and again: that is one place of the code.
        if (code, *where) not in self._calls:
            self._calls.add((code, *where))
            self._write("passed", name)

    def _write(self, *words: str) -> None:
        os.write(self._target, json.dumps(words).encode() + b"\n")


def _is_optimiser(file: str) -> bool:
    path = file.replace(os.sep, "/")
    return "/torch/optim/" in path and not path.endswith("lr_scheduler.py")


if os.environ.get("TLEG_TRACE") and MODULE in sys.orig_argv:
    _tracer = Tracer(os.environ["TLEG_TRACE"], os.environ["TLEG_TRACE_FOLDER"], os.environ["TLEG_TRACE_PARAMETER"])
    threading.setprofile(_tracer)
    sys.setprofile(_tracer)
