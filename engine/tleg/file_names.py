"""Names from a disk as text: whatever bytes a folder's name holds, it can be stored, shown and compared.

A name on Linux is bytes. Most are UTF-8; archives of other systems bring Latin-1, and macOS brings letters and accents apart
(Unicode's form NFD). Standard library only.
"""

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tleg.errors import InputError


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
        raise InputError(f"the name of {readable_path(path)} is no UTF-8, and {opener} opens no such path; rename it")


def is_utf8(name: str) -> bool:
    """Whether a name from the disk is text."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
