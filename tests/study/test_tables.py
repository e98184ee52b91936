"""The tables of a study, with numbers that can be computed by hand."""

from dataclasses import replace

import pytest

from tests.study.made import DEPTHS, made, trained
from tleg.errors import InputError
from tleg.study.measured import Measured, points
from tleg.study.results import StudyResults
from tleg.study.tables import format_p, format_value, render_tables


def rows(table: str) -> dict[str, list[str]]:
    """The rows of a Markdown table by their first cell, without the head."""
    lines = [line for line in table.split("\n") if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first: rest for first, *rest in cells}


def note(table: str) -> str:
    return table.rpartition("\n\n")[2]


def only(results: StudyResults, *arms: str) -> StudyResults:
    return replace(
        results,
        arms={arm: text for arm, text in results.arms.items() if arm in arms},
        trained=tuple(each for each in results.trained if each.arm in arms),
    )


def test_names_of_tables() -> None:
    of_data = ("accuracy", "finetuned", "reach", "family", "tests", "tests-by-depth")
    glyphs = [f"{name}/glyphs" for name in of_data]
    assert list(render_tables(made())) == ["arms", *glyphs, "tuning", "failures"]
    fashion = [f"{name}/fashion" for name in of_data]
    assert list(render_tables(made(("glyphs", "fashion")))) == ["arms", *glyphs, *fashion, "tests", "tuning", "failures"]


def test_accuracy_is_mean_and_spread_over_seeds() -> None:
    table = render_tables(made())["accuracy/glyphs"]
    assert table.startswith("| arm | depth 3 | depth 6 | depth 12 |\n| --- | ---: | ---: | ---: |\n")
    assert rows(table) == {
        "linear": ["12.5 ± 0.5", "13.0 ± 0.5", "13.5 ± 0.5"],
        # At depth 12 above free by 3, 2 and 4 points: a spread of 1, t = 3 * sqrt(3) with 2 degrees, p = 0.035.
        "chebyshev": ["59.0 ± 1.0", "59.5 ± 1.0", "**60.0 ± 1.0**"],
        "free": ["61.0 ± 1.0", "59.0 ± 1.0", "57.0 ± 1.0"],
    }
    assert note(table).startswith("Top-1 in percent, 3 seeds: mean ± standard deviation. Bold: above the next")


def test_the_best_is_not_bold_by_one_seed() -> None:
    table = render_tables(made(seeds=(0,)))["accuracy/glyphs"]
    assert rows(table)["free"] == ["60.0", "58.0", "56.0"]
    assert note(table) == "Top-1 in percent, 1 seed."


def test_a_cell_of_other_seeds_says_so_and_one_of_none_is_empty() -> None:
    results = made()
    kept = [each for each in results.trained if not (each.arm == "free" and (each.depth, each.seed) == (6, 2))]
    kept = [each for each in kept if not (each.arm == "free" and each.depth == 12)]
    table = render_tables(replace(results, trained=tuple(kept), complete=False))["accuracy/glyphs"]
    assert rows(table)["free"] == ["61.0 ± 1.0", "59.0 ± 1.4 (n = 2)", "–"]


def test_a_family_costs_one_learngene_or_every_model() -> None:
    table = render_tables(made())["family/glyphs"]
    assert table.startswith(
        "| arm | depths | n | training MACs | time | parameters | stored | MACs / free | stored / free |"
    )
    found = rows(table)
    # Four epochs of 6 T; of 3 + 6 + 12 = 21 T; of the learngene's 24 T and one epoch of 21 T.
    assert found["chebyshev"] == ["3, 6, 12", "3", "24.00 T", "4 min", "200.00 k", "800.0 kB", "0.29×", "0.19×"]
    assert found["free"] == ["3, 6, 12", "3", "84.00 T", "12 min", "1.05 M", "4.2 MB", "1.00×", "1.00×"]
    assert found["fine"] == ["3, 6, 12", "3", "45.00 T", "7 min", "1.05 M", "4.2 MB", "0.54×", "1.00×"]


def test_a_family_of_fewer_depths_is_not_compared() -> None:
    results = made()
    kept = tuple(each for each in results.trained if not (each.arm == "fine" and each.depth == 12))
    assert rows(render_tables(replace(results, trained=kept))["family/glyphs"])["fine"][-2:] == ["–", "–"]


def test_what_is_not_known_is_no_number() -> None:
    results = made()
    unknown = tuple(replace(each, macs=None, seconds=None, bytes=None, curve=()) for each in results.trained)
    tables = render_tables(replace(results, trained=unknown))
    assert rows(tables["family/glyphs"])["free"] == ["3, 6, 12", "3", "–", "–", "1.05 M", "–", "–", "–"]
    assert rows(tables["reach/glyphs"])["fine"][0] == "1.0 (3/3)"


def test_when_an_arm_is_as_good_as_the_reference_in_the_end() -> None:
    results = only(made(), "chebyshev", "free")
    # A learngene that grows evenly to 80 in 4 epochs reaches the 60 of separate models after 3 at depth 3.
    fast = replace(
        trained("chebyshev", "glyphs", 0, None),
        top1=dict.fromkeys(DEPTHS, 80.0),
        curve=tuple(
            replace(point, top1=dict.fromkeys(DEPTHS, 20.0 * point.epoch))
            for point in trained("chebyshev", "glyphs", 0, None).curve
        ),
    )
    separate = [each for each in results.trained if each.arm == "free" and each.seed == 0]
    table = render_tables(replace(results, trained=(fast, *separate)))["reach/glyphs"]
    assert table.startswith("| arm | depth 3: 60.0 | depth 6: 58.0 | depth 12: 56.0 |")
    assert rows(table)["chebyshev"] == ["3.0, 18.00 T (1/1)"] * 3
    assert rows(table)["free"] == ["4.0, 12.00 T (1/1)", "4.0, 24.00 T (1/1)", "4.0, 48.00 T (1/1)"]


def test_an_arm_that_never_gets_there_says_so() -> None:
    assert rows(render_tables(made())["reach/glyphs"])["linear"] == ["no (0/3)"] * 3


def test_tests_are_paired_and_corrected() -> None:
    found = rows(render_tables(made())["tests/glyphs"])
    # chebyshev - free, mean over depths, by seed: 0.5, -0.5, 1.5: a mean of 0.5, a spread of 1, t = 0.866 with 2 degrees.
    assert found["chebyshev"] == ["3", "+0.5", "−2.0 to +3.0", "0.478", "0.478"]
    # fine - free: 4.5, 3.5, 6.5: 4.83, a spread of 1.53; its p counts twice, chebyshev's once, linear's three times.
    assert found["fine"] == ["3", "+4.8", "+1.0 to +8.6", "0.032", "0.063"]
    assert found["linear"][1] == "**−46.0**"
    assert "free" not in found


def test_all_data_sets_are_paired_by_data_and_seed() -> None:
    table = render_tables(made(("glyphs", "fashion")))["tests"]
    assert rows(table)["chebyshev"][:2] == ["6", "+0.5"]
    assert "paired by data set and seed" in note(table)


def test_one_seed_is_not_tested() -> None:
    found = rows(render_tables(made(seeds=(1,)))["tests/glyphs"])
    assert found["chebyshev"] == ["1", "−0.5", "–", "–", "–"]


def test_only_depths_of_both_arms_are_compared() -> None:
    results = made()
    kept = tuple(each for each in results.trained if not (each.arm == "fine" and each.depth == 12))
    table = render_tables(replace(results, trained=kept))["tests/glyphs"]
    assert table.startswith("| arm | depths | n |")
    # Without depth 12: 62 + 0, 1, 3 + 0.25 against 60 + 0, 2, 1 - 1.
    assert rows(table)["fine"][:3] == ["3, 6", "3", "+3.6"]


def test_one_depth_is_no_mean() -> None:
    results = made()
    table = render_tables(replace(results, trained=tuple(each for each in results.trained if each.depth in (None, 3))))[
        "tests/glyphs"
    ]
    assert note(table).startswith("Accuracy minus that of free, in points, paired by seed. Depth 3. Two-sided")


def test_the_reference_is_separate_models_or_what_is_given_or_the_best() -> None:
    assert Measured(made()).reference == "free"
    assert Measured(made(), "linear").reference == "linear"
    assert Measured(only(made(), "linear", "chebyshev", "fine")).reference == "chebyshev"
    assert Measured(replace(made(), trained=())).reference is None
    assert "minus that of linear" in render_tables(made(), "linear")["tests/glyphs"]
    with pytest.raises(InputError, match="no results of an arm 'fre'; it has: linear, chebyshev, free, fine") as caught:
        render_tables(made(), "fre")
    assert (caught.value.code, caught.value.fields) == ("unknown-name", ("reference",))


def test_a_study_without_results_has_its_arms() -> None:
    tables = render_tables(replace(made(), trained=(), tried=(), failed=()))
    assert list(tables) == ["arms"]
    assert rows(tables["arms"])["linear"] == ["–", "the paper's basis", "0", "0"]


def test_tuning_and_failures() -> None:
    tables = render_tables(made())
    assert "| linear | glyphs | lr 0.001 | 13.8 | 1 | yes |" in tables["tuning"]
    assert "| linear | glyphs | lr 0.003 | failed | 1 |  |" in tables["tuning"]
    assert r"the loss is not finite \| twice" in tables["failures"]


def test_a_file_that_is_no_toml_and_a_start_in_a_circle_do_no_harm() -> None:
    assert Measured(replace(made(), study="not [ toml")).start("fine") is None
    circle = '[arms.fine]\nstart = "fine"\n[arms.linear]\nstart = 3\n'
    measured = Measured(replace(made(), study=circle))
    assert (measured.start("fine"), measured.start("linear")) == (None, None)
    two = '[arms.linear]\nstart = "arm:fine"\n[arms.fine]\nstart = "linear"\n'
    assert Measured(replace(made(), study=two)).family("fine", "glyphs", "macs", with_start=True) == 21e12


def test_a_curve_ends_with_what_was_measured_in_the_end() -> None:
    training = trained("free", "glyphs", 0, 3)
    assert [point.epoch for point in points(training)] == [1, 2, 3, 4]
    assert points(training)[-1].top1 == training.top1
    assert [point.epoch for point in points(replace(training, curve=()))] == [4]


@pytest.mark.parametrize(
    ("p", "text"), [(None, "–"), (0.0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")]
)
def test_how_p_is_written(p: float | None, text: str) -> None:
    assert format_p(p) == text


def test_how_values_are_written() -> None:
    assert format_value(0.0030) == "0.003"
    assert format_value(True) == "true"
    assert format_value([3, 6]) == "3, 6"
    assert format_value({"patch_size": 4}) == "patch_size = 4"
