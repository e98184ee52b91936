"""What the tests of commands share, golden files above all: what commands print, kept beside the tests.

After a change that is meant, `TLEG_UPDATE_GOLDEN=1 pytest tests/cli/test_golden.py` writes them anew; read the difference
before committing.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.conftest import eventually as eventually
from tests.runs.conftest import program as program
from tests.runs.conftest import runs_dir as runs_dir
from tests.training.conftest import digits_folder as digits_folder
from tests.training.conftest import recipe as recipe

FOLDER = Path(__file__).parent / "golden"
UPDATE = "TLEG_UPDATE_GOLDEN"


def _compare(name: str, text: str) -> None:
    """Assert that a text is the one in tests/cli/golden/NAME."""
    path = FOLDER / name
    if os.environ.get(UPDATE):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    assert text == expected, f"{path} differs; {UPDATE}=1 pytest tests/cli writes it anew"


@pytest.fixture
def compare() -> Callable[[str, str], None]:
    """Compare what was printed with a golden file: compare("preview.txt", text)."""
    return _compare
