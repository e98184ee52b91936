"""What to say when a training fails, by the main process and by any other."""

import os
import traceback

import torch

from tleg.errors import TlegError
from tleg.exit_codes import ExitCode, exit_code_of
from tleg.explanations import explain, last_words
from tleg.runs.failures import read_failure, store_failure
from tleg.runs.folder import RunFolder
from tleg.training.distributed import LostProcessError
from tleg.training.run_observer import RunObserver


def advice(error: BaseException) -> str:
    """Return one line: what failed and, where it is known, what to change."""
    text = last_words(error)
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "out of memory on the GPU: give --accumulate 2 (half the memory; batch norm and dropout see smaller parts), "
            "--gradient-checkpointing, or a smaller --batch-size"
        )
    if isinstance(error, TlegError):
        return text
    known = explain(error)
    return known if known is not None else f"unexpected {type(error).__name__}: {text[:300]}. The log has the place"


def tell_failure(folder: RunFolder, error: BaseException, observer: RunObserver) -> ExitCode:
    """Say why the main process fails, in the log with the traceback, and whether torchrun will try again.

    When it fails because another process does, that one's reason is the reason.
    """
    traceback.print_exc()
    code, reason = exit_code_of(error), advice(error)
    if isinstance(error, LostProcessError):
        died = f"another process of the run died ({reason[:300]}); its last words are in train.log"
        code, reason = read_failure(folder) or (code, died)
    if observer.state.step:
        reason = f"{reason}. `tleg resume {folder.id}` goes on from the last checkpoint"
    restart, most = (int(os.environ.get(f"TORCHELASTIC_{name}", "0")) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    if restart < most and code != ExitCode.USAGE:
        observer.warn("restart", f"{reason}; starting again ({restart + 1} of {most})")
        return code
    observer.finish("failed", reason, code)
    return code


def leave_word(folder: RunFolder, error: BaseException) -> ExitCode:
    """Say why another process than the main one fails: in the log, and where the main one and viewers look."""
    traceback.print_exc()
    code = exit_code_of(error)
    # That another one went away, that one explains.
    if not isinstance(error, LostProcessError):
        store_failure(folder, code, advice(error))
    return code
