"""Reports of results whose tables can be computed by hand."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.study.made import DEPTHS, accuracy, made
from tleg.errors import InputError
from tleg.study.report import REPORT_FILES, write_report
from tleg.study.results import read_results


def lines_of(text: str, heading: str) -> list[str]:
    """The lines under a heading of Markdown, up to the next one."""
    after = text.split(f"# {heading}\n")[1]
    return after.split("\n#")[0].splitlines()


@pytest.fixture
def report(tmp_path: Path) -> str:
    """The report of four arms with three seeds, as Markdown."""
    paths = write_report(made(), tmp_path / "report")
    assert [path.name for path in paths] == list(REPORT_FILES)
    return paths[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("arm", ["linear", "chebyshev", "free"])
def test_accuracies_are_means_over_seeds(report: str, arm: str) -> None:
    row = next(line for line in lines_of(report, "Accuracy by depth: glyphs") if line.startswith(f"| {arm}"))
    for depth in DEPTHS:
        mean = sum(accuracy(arm, "glyphs", seed, depth) for seed in range(3)) / 3
        assert f"{mean:.1f}" in row
    assert "±" in row


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_report(made(), tmp_path / name) for name in ("a", "b"))
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(first, second, strict=True))
    assert read_results(first[2]) == made()


def test_the_page_needs_no_network_and_its_plots_are_whole(tmp_path: Path) -> None:
    page = write_report(made(("glyphs", "fashion")), tmp_path / "report")[1].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "src=" not in page
    assert 'href="http' not in page
    plots = [f"<svg{each.split('</svg>')[0]}</svg>" for each in page.split("<svg")[1:]]
    assert len(plots) >= 4  # Accuracy and compute of each data set.
    for plot in plots:
        ElementTree.fromstring(plot)


def test_what_failed_and_what_was_tuned_is_told(report: str) -> None:
    assert "fine/glyphs/seed-9/depth-3" in report
    assert "the loss is not finite" in report
    assert any("0.001" in line and "13.8" in line for line in report.splitlines())


def test_one_seed_has_no_spread_and_no_test(tmp_path: Path) -> None:
    text = write_report(made(seeds=(0,)), tmp_path / "report")[0].read_text(encoding="utf-8")
    row = next(line for line in lines_of(text, "Accuracy by depth: glyphs") if line.startswith("| free"))
    assert "±" not in row


def test_an_empty_study_says_so(tmp_path: Path) -> None:
    empty = replace(made(), trained=(), tried=(), failed=(), complete=False)
    text = write_report(empty, tmp_path / "report")[0].read_text(encoding="utf-8")
    assert "No training has ended yet." in text
    assert "is not complete" in text


def test_a_folder_that_exists_is_replaced_when_asked(tmp_path: Path) -> None:
    write_report(made(), tmp_path / "report")
    with pytest.raises(InputError, match="exists already"):
        write_report(made(), tmp_path / "report")
    write_report(made(seeds=(0,)), tmp_path / "report", overwrite=True)
    assert read_results(tmp_path / "report" / "results.json").seeds == (0,)


def test_a_reference_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing"):
        write_report(made(), tmp_path / "report", reference="nothing")
