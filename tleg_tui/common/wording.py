"""What the engine and its commands say, in the words of the workbench: fields for options, no commands, nothing endless."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tleg.errors import TlegError
from tleg.text import printable

# Letters of a message, and of a value that somebody typed or pasted and that a message repeats.
LONGEST: Final = 320
LONGEST_VALUE: Final = 48
_HALF: Final = 79  # Of a word without blanks, such as a path: what stays at either end of one that is longer than both.
_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})
_QUOTED: Final = re.compile(r"(?<!\w)(['\"])(?P<value>(?:(?!\1).){49,}?)\1(?!\w)", re.DOTALL)  # Longer than that.
_WORD: Final = re.compile(r"[^\s'\"]{161,}")
# What a run may be told to do is done by keys here: a clause of its log that names the command instead says nothing.
_COMMAND: Final = re.compile(r"(?:[;:,.] )?`tleg (?:attach|stop|resume|runs|logs)\b[^`]*`[^;,.]*")
# With what stands for its value: 'add --data DATA'.
_ASKED: Final = re.compile(r"\b(add|give) --([a-z][a-z-]*[a-z])(?![\w-])(?: [A-Z]{2,}\b)?")
_OPTION: Final = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])(?![\w-])")


def said(text: str, names: Mapping[str, str] = _NO_NAMES) -> str:
    """Return a sentence as it is shown.

    names  of a dialog's fields: option -> what stands before it there; in a form a field is called as its option is
    """

    def name_of(option: str) -> str:
        name = names.get(option, option)
        return f"'{name}'" if " " in name else name

    text = _ASKED.sub(lambda found: f"fill in {name_of(found[2])}", text)
    text = _OPTION.sub(lambda found: name_of(found[1]), text)
    return shortened(text)


def explained(error: Exception, replace: str = "") -> str:
    """Return what an error says, without what it advises on a command line: keys and fields do that here.

    replace  what there is to do where something exists already
    """
    if not isinstance(error, TlegError):
        return str(error)
    return f"{error.message}; {replace}" if error.code == "exists" and replace else error.message


def noted(text: str) -> str:
    """Return a sentence that a run wrote down, for whoever reads its folder, as it is shown."""
    return said(_COMMAND.sub("", text).strip(" ;,"))


def shortened(text: str) -> str:
    """Return a message without what is endless in it: what is left out leaves '…'."""
    text = _QUOTED.sub(lambda found: f"{found[1]}{found['value'][: LONGEST_VALUE - 1]}…{found[1]}", text)
    text = _WORD.sub(_without_its_middle, text)
    text = printable(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _without_its_middle(found: re.Match[str]) -> str:
    """Of a path or an id both ends tell it from others."""
    return f"{found[0][:_HALF]}…{found[0][-_HALF:]}"


def last_part(text: str) -> str:
    """The last part of a path; a name with a colon or without a slash as it is."""
    return text.rstrip("/").rpartition("/")[2] or text
