"""The limits of a deployment as people type them."""

from collections.abc import Mapping
from typing import Final

from tleg.errors import InputError
from tleg.learngene.cost import Budget

# Key, label, example.
FIELDS: Final = (
    ("parameters", "params ≤", "20M"),
    ("macs", "GMACs  ≤", "3"),
    ("size", "size   ≤", "50MB"),
    ("memory", "memory ≤", "1GB"),
    ("batch", "batch", "1"),
)


def read_budget(texts: Mapping[str, str]) -> tuple[Budget, int, str | None]:
    """Return the budget and the batch that the texts mean, and what is wrong with the first that means nothing.

    Such a text is no limit. What is said of it begins with the field's key.
    """
    values: dict[str, int | None] = {}
    problem = None
    for key, _, _ in FIELDS:
        text = texts.get(key, "").strip().removeprefix("≤").strip()
        try:
            values[key] = None if text in ("", "-", "–") else _read(key, text)
        except InputError as error:
            values[key] = None
            problem = problem or f"{key}: {error}"
    batch = values["batch"] or 1
    return Budget(values["parameters"], values["macs"], values["size"], values["memory"]), batch, problem


def _read(key: str, text: str) -> int:
    from tleg.text import parse_bytes, parse_count

    if key == "macs":
        # A bare number is in GMACs, as the table shows them.
        return int(float(text) * 1e9) if _is_number(text) else parse_count(text)
    if key == "batch":
        if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= 1_000_000:
            raise InputError(f"a batch is 1 to 1,000,000 images, not '{text[:20]}'")
        return int(text)
    if key == "parameters":
        return parse_count(text)
    # A bare number is in MB: nobody's budget is a few bytes.
    return int(float(text) * 1e6) if _is_number(text) else parse_bytes(text)


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < 1e9
    except ValueError:
        return False
