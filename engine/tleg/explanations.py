"""What errors of the operating system and of other libraries mean, as a sentence that says what to do next.

Their texts are written for programmers. Whatever a user's input can reach is explained here, for the command line and the
trainer alike; what is not known stays as it is. The standard library alone: errors are known by their type's name and text.
"""

import re
from types import TracebackType
from typing import Final

from tleg.errors import locate_os_error

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
