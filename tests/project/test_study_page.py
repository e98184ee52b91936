"""The tables and plots of docs/study.md are what the results in docs/study/ give."""

import re
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType

import pytest

from tests.conftest import clean_environment
from tests.project.test_docs import ROOT, script
from tests.study.made import made
from tleg.errors import FileFormatError
from tleg.study.results import read_results, write_results

PAGE = """# Results

<!-- table: one.json accuracy/glyphs -->
<!-- end -->

Words.
<!-- plot: one.json compute/glyphs -->
before
<!-- end -->
"""


@pytest.fixture
def program() -> ModuleType:
    return script("make_study")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_results(tmp_path / "study" / "one.json", made())
    return tmp_path / "study"


def test_the_page_follows_from_the_results() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_study.py", "--check"], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# A row of a table that is put together by hand: | DATA | EPOCHS | ARM, [FILE.toml](study/FILE.toml) | depth 3 | depth 12 |.
GATHERED = re.compile(
    r"^\| (?P<data>\w+) \| (?P<epochs>\d+) \| (?P<arm>\S+), \[(?P<file>\S+)\.toml\]\(study/(?P=file)\.toml\) \| "
    r"(?P<shallow>\S+ ± \S+) \| (?P<deep>\S+ ± \S+) \|$",
    re.MULTILINE,
)


def test_what_is_gathered_of_several_studies_is_what_each_measured() -> None:
    rows = list(GATHERED.finditer((ROOT / "docs" / "study.md").read_text()))
    assert len(rows) == 8
    for row in rows:
        results = read_results(ROOT / "docs" / "study" / f"{row['file']}.json")
        trained = [each for each in results.trained if (each.arm, each.data) == (row["arm"], row["data"])]
        assert {each.seed for each in trained} == {0, 1, 2}
        assert {each.epochs for each in trained} == {int(row["epochs"])}
        for depth, said in ((3, row["shallow"]), (12, row["deep"])):
            values = [each.top1[depth] for each in trained]
            assert said == f"{mean(values):.1f} ± {stdev(values):.1f}", row[0]


def test_a_page_is_filled_and_filling_it_again_changes_nothing(program: ModuleType, folder: Path) -> None:
    page = program.filled(PAGE, folder)
    assert "| linear | 12.5 ± 0.5 | 13.0 ± 0.5 | 13.5 ± 0.5 |" in page
    assert "![glyphs: mean accuracy over depths by compute](study/one-compute-glyphs.svg)" in page
    assert "before" not in page
    assert "\nWords.\n" in page
    assert program.filled(page, folder) == page


def test_a_figure_that_was_changed_by_hand_is_found(program: ModuleType, folder: Path) -> None:
    page = program.filled(PAGE, folder)
    assert program.filled(page.replace("12.5", "99.5"), folder) == page


def test_plots_lie_beside_the_results(program: ModuleType, folder: Path) -> None:
    ((path, content),) = program.plots(PAGE, folder)
    assert path == folder / "one-compute-glyphs.svg"
    assert content.startswith("<svg")


def test_what_there_is_not_is_refused(program: ModuleType, folder: Path) -> None:
    with pytest.raises(program.PageError, match=r"one\.json has no table 'accuracy/emoji'; it has arms, accuracy/glyphs"):
        program.filled(PAGE.replace("accuracy/glyphs", "accuracy/emoji"), folder)
    with pytest.raises(FileFormatError, match="holds no results of a study"):
        program.filled(PAGE.replace("one.json", "two.json"), folder)
    with pytest.raises(program.PageError, match="no end"):
        program.filled(PAGE.removesuffix("<!-- end -->\n"), folder)
