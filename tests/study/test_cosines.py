"""Arms that learn features are compared by their cosines."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.study.made import made
from tleg.study.cosines import cosine_tests
from tleg.study.measured import Measured
from tleg.study.report import write_report
from tleg.study.results import StudyResults, read_results


def of_features() -> StudyResults:
    """Two arms without accuracies: one is above the other by 0.10, 0.11 and 0.12."""
    results = made()
    learned = [each for each in results.trained if each.arm in ("linear", "chebyshev")]
    above = {"linear": 0.0, "chebyshev": 0.1}
    return replace(
        results,
        trained=tuple(
            replace(
                each,
                top1={},
                curve=(),
                cosine=dict.fromkeys((3, 6), 0.5 + above[each.arm] + (0.01 * each.seed if each.arm == "chebyshev" else 0.0)),
            )
            for each in learned
        ),
    )


def test_cosines_are_tested_by_seed() -> None:
    table = cosine_tests(Measured(of_features(), "linear"), "glyphs")
    assert table is not None
    rows = {str(row[0]): [str(cell) for cell in row[1:]] for row in table.rows}
    assert rows["linear"][:3] == ["0.5000 ± 0.0000", "3", "–"]
    # Differences 0.10, 0.11, 0.12: an error of 0.01 / sqrt(3), t = 19.05 with two degrees of freedom, whose 97.5 % is 4.303.
    assert rows["chebyshev"] == ["0.6100 ± 0.0100", "3", "+0.1100", "+0.0852 to +0.1348", "0.003", "0.003"]
    assert "Mean over depths 3 and 6" in str(table)


def test_without_cosines_there_is_no_table() -> None:
    assert cosine_tests(Measured(made()), "glyphs") is None


def test_the_report_has_it_and_results_come_back(tmp_path: Path) -> None:
    results = of_features()
    write_report(results, tmp_path / "report")
    assert "Cosines with the teacher" in (tmp_path / "report" / "report.md").read_text()
    again = read_results(tmp_path / "report" / "results.json")
    assert again.trained[0].cosine == pytest.approx({3: 0.5, 6: 0.5})
