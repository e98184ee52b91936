"""Names from a disk as text: whatever bytes a folder's name holds, it can be stored, shown and compared.

A name on Linux is bytes. Most are UTF-8; archives of other systems bring Latin-1, and macOS brings letters and accents apart
(Unicode's form NFD). Standard library only.
"""

import os
import unicodedata
from pathlib import Path


def readable_name(name: str) -> str:
    """Return a name as text in NFC. One that is no UTF-8 is read as Windows-1252, which holds Latin-1's letters."""
    raw = os.fsencode(name)
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
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Whether a name from the disk is text."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
