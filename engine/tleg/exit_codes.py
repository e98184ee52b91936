"""Exit codes, and the one place where an exception becomes one."""

from enum import IntEnum

from tleg.errors import InputError


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
