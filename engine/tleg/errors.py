"""Every error that tleg raises on purpose, what errors of others mean, and the exit codes.

One line each: what went wrong, why, and what to do next. A library user catches `TlegError` for all of them; `exit_code_of`
is the one place where an exception becomes an exit code. Programs read `code` and `field`, never the sentence.
"""

import errno
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Final

# What went wrong, as programs tell it apart: the code of an error, and what it says. docs/errors.md explains each.
CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "failed": "The job failed; the message says why.",
        "unusable": "What was given cannot be used; the message says why.",
        "usage": "A command was called with an option or an argument that it does not have, or that it cannot read.",
        "missing": "An option, or something that another option needs, was not given.",
        "malformed": "A text does not follow the grammar of its option.",
        "out-of-range": "A number, or several, lie outside what is possible.",
        "unknown-name": "A word is none of those that there are.",
        "conflict": "Options contradict each other, or one was given without the one that it belongs to.",
        "not-found": "A name or a path leads to nothing.",
        "ambiguous": "A name could mean several things.",
        "wrong-kind": "A name or a path leads to something else than is needed.",
        "exists": "The output exists already; it is replaced when that is asked for.",
        "bad-file": "A file is damaged, of a newer version, or not what it should be.",
        "bad-data": "A data set is empty, incomplete or contradictory.",
        "mismatch": "Two things do not belong together, such as a teacher and the classes of the data.",
        "unsupported": "A model, or a device, cannot do what was asked of it.",
        "no-device": "A device that was asked for is not there.",
        "not-installed": "A package or a program that is needed is not there, or does not load.",
        "wrong-state": "A run is in a state in which this cannot be done with it, such as at work.",
        "changed": "What a run is trained on changed since it began.",
        "not-finite": "Weights, a loss or outputs hold NaN or infinity.",
        "system": "The operating system refused: permissions, room, memory, processes.",
        "verification": "A file does not compute what it should, or its contents changed since it was written.",
        "stopped": "A training was asked to stop, and did.",
        "lost-process": "Another process of a run is gone.",
        "interrupted": "A person interrupted the command, or said no.",
        "unexpected": "An error that nobody foresaw.",
    }
)


class TlegError(Exception):
    """The job failed. Base of every error that tleg raises on purpose.

    message  what went wrong, and why
    advice   what to do about it on a command line, where that is said apart: another program has a way of its own.
             `str(error)` is both, with '; ' between them
    code     one of CODES, for programs
    fields   the options or arguments that it is about, by the names that recipe files have ('batch-size'): first the one to
             change; empty where it is about none
    """

    default_code: ClassVar[str] = "failed"
    default_field: ClassVar[str | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        field: str | tuple[str, ...] | None = None,
        code: str | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.message = message
        self.advice = advice
        self.code = code or self.default_code
        if self.code not in CODES:
            raise ValueError(f"there is no code '{self.code}'")
        self._fields = (field,) if isinstance(field, str) else field or ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The options or arguments that it is about."""
        return self._fields or (() if self.default_field is None else (self.default_field,))

    @property
    def field(self) -> str | None:
        """The option or argument to change; None where it is about none."""
        return next(iter(self.fields), None)

    @property
    def about(self) -> dict[str, Any]:
        """What another error needs to be about the same: `raise InputError(f"{path}: {error}", **error.about)`."""
        return {"field": self.fields, "code": self.code}

    @property
    def document(self) -> dict[str, Any]:
        """The error as JSON values, which `read_error` reads."""
        return {
            "message": self.message,
            "advice": self.advice or None,
            "code": self.code,
            "field": self.field,
            "fields": list(self.fields),
        }

    def concerns(self, *fields: str) -> None:
        """Name the options that it is about, unless whoever raised it knew them."""
        self._fields = self.fields or fields


@contextmanager
def concerning(*fields: str) -> Iterator[None]:
    """Let errors that are raised inside be about these options, unless they name some themselves. Also decorates."""
    try:
        yield
    except TlegError as error:
        error.concerns(*fields)
        raise


def read_error(text: str) -> TlegError | None:
    """Return the error that a process of tleg wrote as a JSON document in one line; None for any other line."""
    try:
        found = json.loads(text)
        fields = tuple(str(each) for each in found["fields"])
        advice = found["advice"]
        return TlegError(str(found["message"]), field=fields, code=str(found["code"]), advice=str(advice) if advice else "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class InputError(TlegError):
    """What the user gave cannot be used: a wrong option, name, number or path."""

    default_code = "unusable"


class FileFormatError(InputError):
    """A file is not what it should be: truncated, wrongly shaped, of a future version, or something else."""

    default_code = "bad-file"


class NotFoundError(InputError):
    """A name that means nothing here: no path, no run, nothing that ships with tleg."""

    default_code = "not-found"


class DepthError(InputError):
    """A depth outside 1 to MAX_DEPTH, or not a whole number."""

    default_code = "out-of-range"


class BasisError(InputError):
    """An unknown basis, or one whose parameters make no sense."""

    default_code = "malformed"
    default_field = "basis"


class ArchitectureError(InputError):
    """An architecture that tleg cannot expand, with the reason."""

    default_code = "unsupported"


class DataError(InputError):
    """A data set that is missing, empty or contradictory."""

    default_code = "bad-data"
    default_field = "data"


class TeacherError(InputError):
    """A teacher that does not fit the data, or that knows no more than chance."""

    default_code = "mismatch"
    default_field = "teacher"


class ExportError(TlegError):
    """An export could not be written."""

    default_code = "system"


class VerificationError(TlegError):
    """A file does not compute what it should, or its contents changed since it was written."""

    default_code = "verification"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean …?' with the closest known name, or an empty string."""
    from difflib import get_close_matches  # Here, because commands that succeed need no hints and must start fast.

    matches = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def closest_name(name: str, known: Iterable[str]) -> str:
    """As `did_you_mean`, for long names of which people type the beginning: 'vit_tini' means one that begins so."""
    from difflib import get_close_matches

    names = list(known)
    beginnings = get_close_matches(name, {each[: len(name)] for each in names}, n=1, cutoff=0.75)
    near = next((each for each in names if beginnings and each.startswith(beginnings[0])), None)
    whole = did_you_mean(name, names)
    return whole if whole or near is None else f" Did you mean '{near}'?"


# What to do about an error of the operating system, where that is not said by its name.
_OS_ADVICE: Final = {
    errno.ENOSPC: "make room there, such as with `tleg rm`, or choose another place",
    errno.EDQUOT: "make room there, such as with `tleg rm`, or choose another place",
    errno.EFBIG: "`ulimit -f` or the file system allows no larger ones",
    errno.EMFILE: "raise the limit with `ulimit -n 65536`, or give fewer --workers",
    errno.ENFILE: "the whole machine has too many; end what is not needed",
    errno.ENOMEM: "give fewer --workers, or end what is not needed",
    errno.EAGAIN: "give fewer --workers, or raise `ulimit -u`",
    errno.EROFS: "choose another place",
    errno.EIO: "the disk is failing, or its file server is gone",
    errno.EADDRINUSE: "wait a moment, or set another MASTER_PORT",
    errno.ESTALE: "the file server was started again; open the folder anew",
}


def describe_os_error(error: OSError) -> str:
    """Say an operating system error in words, without number or path: 'No space left on device (make room there, …)'."""
    return f"{error.strerror or error}{_os_advice(error)}"


def locate_os_error(error: OSError) -> str:
    """Say an operating system error with the path that it is about, where it has one."""
    place = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{place}{_os_advice(error)}"


def _os_advice(error: OSError) -> str:
    advice = _OS_ADVICE.get(error.errno or 0)
    return f" ({advice})" if advice else ""


class ExitCode(IntEnum):
    """What a process's exit status says. A trainer that saved and asks to be started again says CONTINUE (EX_TEMPFAIL)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONTINUE = 75
    INTERRUPTED = 130


def exit_code_of(error: BaseException) -> ExitCode:
    """Map an exception to an exit code: input that cannot be used is 2, an interrupt 130, any other failure 1."""
    if isinstance(error, InputError):
        return ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED


MEMORY: Final = "out of memory: give fewer --workers, or a smaller --batch-size"
_LONGEST: Final = 300
SHARED_MEMORY: Final = (
    "the shared memory through which workers hand over images (/dev/shm) is full: give fewer --workers (0 needs none), "
    "or make it larger (docker run --shm-size 8g)"
)
_FILES: Final = "too many files are open at once: raise the limit with `ulimit -n 65536`, or give fewer --workers"
_DISK: Final = "the disk is full: make room there, such as with `tleg rm`, or choose another place"
_PROCESSES: Final = "no more processes or threads may be started: give fewer --workers or --threads, or raise `ulimit -u`"
_BATCH_NORM: Final = (
    "batch norm cannot learn from one value: each part of a step has a single image (batch-size over processes and "
    "accumulate) of a single pixel by then; give a larger --batch-size, a smaller --accumulate, or larger images"
)
_COMPILER: Final = (
    "torch.compile needs a compiler that works: install g++ and Python's headers (Debian: g++ and python3-dev), or leave "
    "--compile out"
)
_OLD_GPU: Final = "this torch holds no code for this GPU: install one that does (pytorch.org), or give --device cpu"
_DRIVER: Final = "the driver of the GPU is older than torch needs: update it, or give --device cpu"
_GPU_ERROR: Final = (
    "the GPU stopped at an error: `tleg resume` goes on from the last checkpoint; when it comes again, look for Xid in "
    "`dmesg`, or give --device cpu, whose message names the place"
)
_GPU_LIBRARY: Final = (
    "a library of the GPU failed, most often for want of memory: give a smaller --batch-size, or --accumulate 2"
)
_NCCL: Final = "the GPUs cannot talk to each other: run it again with NCCL_DEBUG=INFO, whose lines are in the log"
_PORT: Final = "the port at which the processes of the run meet is taken: wait a moment, or set another MASTER_PORT"
# Libraries whose modules have other names.
_INSTALLED_AS: Final = {"PIL": "pillow", "pynvml": "nvidia-ml-py", "textual_serve": "textual-serve"}
# In the type's name and the text; the first that is found counts.
_KNOWN: Final = (
    (r"expected more than 1 value per channel", _BATCH_NORM),
    (r"too many open files", _FILES),
    (r"out of shared memory|bus error", SHARED_MEMORY),
    (r"unable to (open|allocate|mmap|resize|write to) .*(shared memory|shm|torch_\d)", SHARED_MEMORY),
    (r"no space left on device|\(os error 28\)|disk quota exceeded", _DISK),
    (r"can't start new thread|resource temporarily unavailable|thread creation failed", _PROCESSES),
    (r"can't allocate memory|cannot allocate memory|unable to allocate|bad_alloc|allocate memory", MEMORY),
    (r"no working c\+\+ compiler|invalidcxxcompiler|cppcompileerror|python\.h|triton.*(missing|not found)", _COMPILER),
    (r"no kernel image is available", _OLD_GPU),
    (r"driver (version is insufficient|on your system is too old)|no nvidia driver", _DRIVER),
    (r"device-side assert|illegal memory access|unspecified launch failure|uncorrectable ecc", _GPU_ERROR),
    (r"(cudnn|cublas)(_status| error)", _GPU_LIBRARY),
    (r"\bnccl\b", _NCCL),
    (r"address already in use|eaddrinuse", _PORT),
)


def first_line(error: BaseException) -> str:
    """What somebody else's error says, up to its first line's end; its kind, where it says nothing.

    A line that only announces the next one ("Error(s) in loading state_dict:") is not all that it says.
    """
    first, *others = str(error).splitlines() or [type(error).__name__]
    return f"{first} {others[0].strip()}" if first.endswith(":") and others else first


def explain(error: BaseException) -> str | None:
    """Return what an error of somebody else's means and what to do next, in one line; None when it is not known."""
    text = last_words(error)
    if isinstance(error, MemoryError):
        return MEMORY
    if (names := not_loaded(error)) is not None:
        missing = isinstance(error, ModuleNotFoundError) and library_of(error.name or "") == names[-1]
        reason = None if missing else (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST]
        return (
            f"{describe_library(*(names[-1:] if missing else names), reason=reason)}; `tleg doctor` looks at every library"
        )
    if isinstance(error, OSError) and error.strerror:
        return locate_os_error(error)
    for pattern, sentence in _KNOWN:
        if re.search(pattern, f"{type(error).__name__}: {text}", re.IGNORECASE):
            return sentence
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile cannot compile this model: {text[:_LONGEST]}. Leave --compile out"
    if type(error).__name__ == "SafetensorError":
        return f"a file of weights cannot be read or written: {text[:_LONGEST]}"
    return None


def last_words(error: BaseException) -> str:
    """Return an error's text as one line; of one that torch repeats with a worker's traceback the last line alone."""
    text = str(error)
    if "DataLoader worker process" in text and (lines := text.strip().splitlines()):
        text = lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(text.split()) or type(error).__name__


def describe_library(name: str, *needed: str, reason: str | None) -> str:
    """Say that a library is not installed (no reason), or does not load, and what to do.

    needed  the libraries through which it fails, where it is not by itself
    reason  the first line of the error
    """
    if reason is None:
        return f"{name} is not installed: pip install {name}"
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = f"{name} {version(name)}"
    except PackageNotFoundError:  # Some builds go by another name, such as onnxruntime-gpu.
        installed = name
    return f"{installed} does not load ({reason}): pip install --force-reinstall {' '.join((name, *needed))}"


def library_of(module: str) -> str:
    """The library that a module belongs to, as it is installed."""
    top = module.partition(".")[0]
    return "protobuf" if module.startswith("google.protobuf") else _INSTALLED_AS.get(top, top)


def not_loaded(error: BaseException) -> tuple[str, ...] | None:
    """The library that tleg was importing when the error came, and the innermost one where that is another; else None."""
    names = [library_of(name) for name in _importing(error.__traceback__)]
    if isinstance(error, ModuleNotFoundError) and error.name:
        names.append(library_of(error.name))
    return tuple(dict.fromkeys((names[0], names[-1]))) if names else None


def _importing(traceback: TracebackType | None) -> list[str]:
    """The modules of others whose bodies were running, the outermost first, since a function of tleg's began."""
    found: list[str] = []
    while traceback is not None:
        frame = traceback.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        ours = name.partition(".")[0] in ("tleg", "tleg_tui", "__main__")
        if frame.f_code.co_name != "<module>":
            found = [] if ours else found
        elif not ours:
            found.append(name)
        traceback = traceback.tb_next
    return found
