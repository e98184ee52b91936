"""docs/extending.md: its examples run as they stand, each section in an interpreter of its own, and its places exist."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def examples(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_an_example_that_runs(section: str, run_python: Any) -> None:
    blocks = examples(SECTIONS[section])
    assert blocks
    done = run_python("\n".join(blocks))
    assert done.code == 0, done.stderr
    assert done.stdout.strip(), "an example shows something"


@pytest.mark.parametrize("name", ["extending.md", "architecture.md", "releasing.md"])
def test_places_that_are_named_exist(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    places = re.findall(r"`((?:engine/|tests/|tleg(?:_tui)?/)[\w/*.]*)`", text)
    assert places
    missing = [place for place in places if not any((ROOT / base / place).exists() for base in (".", "engine"))]
    assert [place for place in missing if "*" not in place and place != "tleg/assets/"] == []
