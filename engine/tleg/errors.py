"""Every error that tleg raises on purpose, what errors of others mean, and the exit codes.

One line each: what went wrong, why, and what to do next. A library user catches `TlegError` for all of them; `exit_code_of`
is the one place where an exception becomes an exit code.
"""

import errno
import re
from collections.abc import Iterable
from enum import IntEnum
from types import TracebackType
from typing import Final


class TlegError(Exception):
    """The job failed. Base of every error that tleg raises on purpose."""


class InputError(TlegError):
    """What the user gave cannot be used: a wrong option, name, number or path."""


class FileFormatError(InputError):
    """A file is not what it should be: truncated, wrongly shaped, of a future version, or something else."""


class NotFoundError(InputError):
    """A name that means nothing here: no path, no run, nothing that ships with tleg."""


class DepthError(InputError):
    """A depth outside 1 to MAX_DEPTH, or not a whole number."""


class BasisError(InputError):
    """An unknown basis, or one whose parameters make no sense."""


class ArchitectureError(InputError):
    """An architecture that tleg cannot expand, with the reason."""


class DataError(InputError):
    """A data set that is missing, empty or contradictory."""


class TeacherError(InputError):
    """A teacher that does not fit the data, or that knows no more than chance."""


class ExportError(TlegError):
    """An export could not be written."""


class VerificationError(TlegError):
    """A file does not compute what it should, or its contents changed since it was written."""


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


def explain(error: BaseException) -> str | None:
    """Return what an error of somebody else's means and what to do next, in one line; None when it is not known."""
    text = last_words(error)
    if isinstance(error, MemoryError):
        return MEMORY
    library = _that_does_not_load(error)
    if library is not None:
        first, culprit = library
        because = "" if first == culprit else f" because {culprit} does not"
        return f"{first} does not load{because}: {text[:_LONGEST]}. `tleg doctor` says what to install again"
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


def _that_does_not_load(error: BaseException) -> tuple[str, str] | None:
    """The library that tleg was importing when the error came, and the innermost one that failed; None for other errors."""
    names = [_library(name) for name in _importing(error.__traceback__)]
    if not names and isinstance(error, ModuleNotFoundError):
        names = [_library(error.name or "a library")]
    return (names[0], names[-1]) if names else None


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


def _library(module: str) -> str:
    """The name of a library by a module of it."""
    return "protobuf" if module.startswith("google.protobuf") else module.partition(".")[0]
