"""The file of a family as a program writes it: each document has one text, and what people wrote is not lost.

Standard library only.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError
from tleg.files import check_file, new_file
from tleg.recipes.io import read_toml, toml_key, toml_value

# A text in any of TOML's four kinds of quotes, or a comment.
_TEXT_OR_COMMENT: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'|(?P<comment>#[^\n]*)", re.DOTALL
)
_FIRST: Final = ("title", "learngene", "data", "license", "ancestor", "depths")
_LONGEST: Final = 40


def format_document(document: Mapping[str, Any]) -> str:
    """Return the text of a family's file: values first, then a table each for trainings and devices.

    Tables without values stay, keys keep their order but for those at the top. Reading it gives the same document.
    """
    tables = {name: value for name, value in document.items() if isinstance(value, Mapping)}
    places = {name: place for place, name in enumerate(_FIRST)}
    names = sorted((name for name in document if name not in tables), key=lambda name: places.get(name, len(places)))
    parts = [_lines({name: document[name] for name in names})]
    parts += [f"[{toml_key(name)}]\n{_lines(table)}" for name, table in tables.items() if name != "devices"]
    for name, table in tables.get("devices", {}).items():
        parts.append(f"[devices.{toml_key(name)}]\n{_lines(table)}")
    return "\n".join(filter(None, parts))


def read_devices(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a family's file: its text, and its document, which may still lack or contradict something.

    Raises FileFormatError where it is no TOML, InputError where it cannot be read or its tables are none.
    """
    text, document = read_toml(path, "file")
    tables = {name: document.get(name, {}) for name in ("learn", "finetune", "devices")}
    devices = tables["devices"].items() if isinstance(tables["devices"], dict) else ()
    tables |= {f"devices.{name}": table for name, table in devices}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} is a table, as in [{name}]", field="file", code="malformed")
    return text, document


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{toml_key(name)} = {toml_value(value)}\n" for name, value in values.items())


def first_comment(text: str) -> tuple[int, str] | None:
    """Return the line of the first comment in a TOML text, counted from 1, and the comment; None where there is none."""
    for found in _TEXT_OR_COMMENT.finditer(text):
        if found["comment"] is not None:
            return text.count("\n", 0, found.start()) + 1, found["comment"].rstrip()
    return None


def write_document(path: Path, document: Mapping[str, Any], *, read: str | None = None) -> bool:
    """Write a family's file, and return whether anything had to be: one that says the same keeps its bytes.

    read  the text of the file as it was when the document was begun with; None where it was not begun with a file

    Raises InputError where a file is there that holds what would be lost (comments), that is another than was read, or that
    cannot be written; and where TOML cannot hold the document. Then nothing is written.
    """
    text = format_document(document)
    if tomllib.loads(text) != document:
        raise InputError("the file has values that are no numbers, texts, lists or tables", field="file", code="unsupported")
    if path.exists():
        before, known = read_toml(path, "file")
        if known == document:
            return False
        if before != read:
            what = "is there already" if read is None else "was changed since it was read"
            raise InputError(f"{path} {what}; take another name, or open it first", field="file", code="exists")
        if (comment := first_comment(before)) is not None:
            line, words = comment
            shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
            raise InputError(
                f"{path} has comments, which would be lost (line {line}: {shown}); take another name, or edit the file",
                field="file",
                code="conflict",
            )
    check_file(path, overwrite=True)
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True
