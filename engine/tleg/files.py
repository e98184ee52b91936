"""Outputs appear whole or not at all; hashes of files; names from a disk as text."""

import os
import re
import shutil
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tleg.errors import ExportError, InputError, describe_os_error

# What a folder made by tleg holds. Nothing else is ever removed with a folder that is replaced.
FOLDER_FILES: Final = frozenset({"config.json", "model.safetensors", "manifest.json", "training.json"})
_STALE_SECONDS: Final = 24 * 3600


def check_file(target: Path, *, overwrite: bool) -> None:
    """Refuse a target for a file, before the work: it exists and may not be replaced, is a folder, or cannot be written.

    Raises InputError.
    """
    _check_existing(target, overwrite=overwrite)
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file", code="wrong-kind")
    _check_writable(target)


def check_folder(target: Path, *, overwrite: bool, own: Collection[str] = FOLDER_FILES) -> None:
    """Refuse a target for a folder, before the work: as `check_file`, or it holds files that no folder of tleg's has.

    own  the names of what such a folder may hold

    Raises InputError.
    """
    _check_existing(target, overwrite=overwrite)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; name a folder", code="wrong-kind")
    _check_writable(target)
    foreign = sorted(path.name for path in target.iterdir() if path.name not in own) if target.is_dir() else []
    if foreign:
        raise InputError(
            f"{target} holds {foreign[0]}, which tleg did not make; --force replaces tleg's own folders alone",
            code="wrong-kind",
        )


def _check_existing(target: Path, *, overwrite: bool) -> None:
    try:
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists already", code="exists", advice="--force replaces it")
    except OSError as error:
        raise InputError(f"cannot write {target}: {describe_os_error(error)}", code="system") from error


def _check_writable(target: Path) -> None:
    """The nearest folder above the target that exists must allow new entries."""
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"cannot write {target}: {above} is a file", code="system")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {target}: no permission to write in {above}", code="system")


@contextmanager
def new_file(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`; when the block ends without an error it becomes `target`.

    Folders above the target are made. Raises InputError when the target exists and `overwrite` is false, or is a folder,
    and ExportError when the operating system refuses to write.
    """
    check_file(target, overwrite=overwrite)
    temporary = _temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        # Half written it is its owner's alone; an output is as readable as any other file.
        os.chmod(temporary, 0o666 & ~_umask())
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise ExportError(f"cannot write {target}: {describe_os_error(error)}") from error
    finally:
        with suppress(OSError):  # It may never have come to be: a name that is too long, a read-only file system.
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path, *, overwrite: bool = False, own: Collection[str] = FOLDER_FILES) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; when the block ends without an error it becomes `target`.

    An existing folder, which may hold what is its `own`, is swapped for the new one, and removed after that. Raises as
    `new_file` does.
    """
    check_folder(target, overwrite=overwrite, own=own)
    temporary = _temporary_name(target)
    replaced = temporary.with_suffix(".old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        temporary.mkdir(mode=0o700)
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        for path in temporary.rglob("*"):
            if path.is_file():
                os.chmod(path, 0o666 & ~_umask())  # safetensors makes files that only their owner reads.
                _flush_to_disk(path)
        if not target.exists() or not _exchange(temporary, target):
            if target.exists():
                os.replace(target, replaced)
            os.replace(temporary, target)
    except BaseException as error:
        if replaced.exists() and not target.exists():
            os.replace(replaced, target)
        if isinstance(error, OSError):
            raise ExportError(f"cannot write {target}: {describe_os_error(error)}") from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes as hexadecimal text. Raises OSError."""
    import hashlib  # Here, as all that only writers need: what shows things must start fast.

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary_name(target: Path) -> Path:
    """Chosen before anything is made under it: a signal may come at any moment, and what is made must have its remover."""
    import secrets

    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _exchange(new: Path, old: Path) -> bool:
    """Swap two folders in one step, so that not even a kill leaves none under the name; False where that is not to be had.

    renameat2 with RENAME_EXCHANGE: Linux 3.15, glibc 2.28; not on every file system.
    """
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(new), here, os.fsencode(old), exchange) == 0)


def _remove_stale(target: Path) -> None:
    """Remove what killed commands left beside a target: its temporary files and folders that are older than a day.

    Younger ones may be another command's, at work. What was moved aside ('.old') is never removed: it may be the only copy.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}\.tmp")
    with suppress(OSError):  # What cannot be tidied does no harm.
        for path in target.parent.iterdir():
            if name.fullmatch(path.name) and not path.is_symlink() and path.stat().st_mtime < time.time() - _STALE_SECONDS:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def readable_name(name: str) -> str:
    """Return a name as text in NFC. One that is no UTF-8 is read as Windows-1252, which holds Latin-1's letters."""
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:  # Halves of letters that no disk gave: of a damaged file.
        raw = name.encode("utf-8", "replace")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:  # Five of its bytes mean nothing.
            text = raw.decode("latin-1")
    return unicodedata.normalize("NFC", text)


def readable_path(path: Path | str) -> str:
    """Return a path for a message: bytes that are no UTF-8 as \\xe9, so that one can find the file by them."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def text_only(value: Any) -> Any:
    """Return JSON values with readable names in the place of those that are no UTF-8, which no file of text can hold."""
    if isinstance(value, str):
        return value if is_utf8(value) else readable_name(value)
    if isinstance(value, Mapping):
        return {text_only(key): text_only(item) for key, item in value.items()}
    return [text_only(item) for item in value] if isinstance(value, list | tuple) else value


def require_utf8(path: Path, opener: str) -> None:
    """Refuse a path that is no UTF-8, before the work, where a library opens it that takes text alone. Raises InputError."""
    if not is_utf8(str(path)):
        raise InputError(
            f"the name of {readable_path(path)} is no UTF-8, and {opener} opens no such path; rename it", code="unsupported"
        )


def is_utf8(name: str) -> bool:
    """Whether a name from the disk is text."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


@contextmanager
def undone_on_failure(*files: Path) -> Iterator[None]:
    """Put files back as they were, or away where they were not, when the block raises.

    For refusals that nobody can foresee, such as sbatch's; what can be checked is checked before anything is written.
    """
    before = {path: _read(path) for path in files}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if _read(path) != content:
                _put_back(path, content)
        raise


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _put_back(path: Path, content: bytes | None) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):  # What made the command fail may keep this from being written as well.
        if content is None:
            path.unlink()
        else:
            temporary.write_bytes(content)
            os.replace(temporary, path)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
