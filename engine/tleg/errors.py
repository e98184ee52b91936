"""Every error that tleg raises on purpose.

One line each: what went wrong, why, and what to do next. The command line turns them into exit codes in
`tleg.exit_codes`; a library user catches `TlegError` for all of them.
"""

import errno
from collections.abc import Iterable
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
