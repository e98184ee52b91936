"""The report: three files, the same bytes every time, readable as Markdown, as HTML and as JSON."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.study.made import made, trained
from tleg.errors import FileFormatError, InputError
from tleg.study.markup import Block, Heading, Listing, Table, Text, html_page, markdown_page
from tleg.study.measured import Measured
from tleg.study.plots import SERIES, make_plots
from tleg.study.report import check_report, write_report
from tleg.study.results import StudyResults, read_results

TWO = ("glyphs", "fashion")
VOID = {"meta", "br"}


class Nesting(HTMLParser):
    """Checks that elements are closed in their order; keeps what refers to elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.outside += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read_html(text: str) -> Nesting:
    parser = Nesting()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_three_files_are_written(tmp_path: Path) -> None:
    results = made(TWO)
    paths = write_report(results, tmp_path / "report")
    assert [path.name for path in paths] == ["report.md", "report.html", "results.json"]
    assert all(path.parent == tmp_path / "report" and path.is_file() for path in paths)
    assert read_results(paths[2]) == results


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (write_report(made(TWO), tmp_path / name) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    again = write_report(read_results(one[2]), tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in one]


def test_the_markdown_answers_in_order(tmp_path: Path) -> None:
    text = write_report(made(TWO), tmp_path / "report")[0].read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings[:8] == [
        "Which basis",
        "What was asked",
        "Accuracy by depth: glyphs",
        "After fine-tuning",
        "Compute",
        "What the family costs",
        "As good as free",
        "Is the difference more than chance?",
    ]
    assert headings[-4:] == ["All data sets together", "What was tuned", "What failed", "How it was run"]
    assert "Every arm at depths 3, 6 and 12, with seeds 0, 1 and 2, each on a budget of 4 epochs." in text
    assert 'start = "chebyshev"' in text


def test_the_html_is_one_file_with_its_plots(tmp_path: Path) -> None:
    text = write_report(made(TWO), tmp_path / "report")[1].read_text()
    page = read_html(text)
    assert page.count["svg"] == 4
    assert page.outside == []
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert "<strong>60.0 ± 1.0</strong>" in text


def test_an_unfinished_study_says_so(tmp_path: Path) -> None:
    some = write_report(replace(made(), complete=False), tmp_path / "some")[0].read_text()
    assert "This study is not complete" in some
    empty = replace(made(), complete=False, trained=(), tried=(), failed=())
    none = write_report(empty, tmp_path / "none")
    assert "No training has ended yet." in none[0].read_text()
    read_html(none[1].read_text())


def test_a_folder_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_report(made(), folder)
    before = (folder / "report.md").read_text()
    for refuse in (write_report, lambda results, target: check_report(target, overwrite=False)):
        with pytest.raises(InputError, match="exists already") as caught:
            refuse(replace(made(), title="Another"), folder)
        assert caught.value.code == "exists"
    assert (folder / "report.md").read_text() == before
    write_report(replace(made(), title="Another"), folder, True)
    assert (folder / "report.md").read_text().startswith("# Another\n")


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds mine\.txt"):
        write_report(made(), tmp_path, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_written_for_a_reference_that_is_no_arm(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results of an arm 'best'"):
        write_report(made(), tmp_path / "report", reference="best")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"format": "tleg-study", "version": 2}', "results of version 2, not 1"),
        ('{"format": "tleg-study", "version": 1}', "lacks the field 'title'"),
        ('{"format": "other"}', "holds no results of a study"),
        ("[1]", "holds no results of a study"),
        ("{", "holds no results of a study"),
    ],
)
def test_other_results_are_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=says):
        read_results(path)


def hostile(text: str) -> StudyResults:
    """Results in which every text is this one."""
    results = made()
    first = replace(results.trained[0], arm=text, data=text, run=text, values={text: text})
    return replace(
        results, title=text, study=text, arms={text: text}, machine=text, versions={text: text}, trained=(first,), failed=()
    )


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a|b\n# c `d` *e*", "\x1b[31mred", "```\n</pre>", "&amp; ![x](y)"]
)
def test_texts_of_files_stay_texts(tmp_path: Path, text: str) -> None:
    markdown, page, _ = (path.read_text() for path in write_report(hostile(text), tmp_path / "report"))
    read_html(page)
    assert "<script" not in page
    assert "\x1b" not in markdown + page
    # Fences, and what stands between them, are no part of the check.
    outside = re.sub(r"^(`{3,})\n.*?\n\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\)<script", outside)
    assert not re.search(r"(?<!\\)!\[|(?<!\\)\*e", outside)
    tables = [line for line in outside.split("\n") if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) >= 2 for line in tables)


def test_blocks_as_markdown_and_as_html() -> None:
    blocks: list[Block] = [Heading("A part"), Text("a < b"), Listing("x ``` y"), Table(("a", "b"), (("c", "1"),), "A note.")]
    assert markdown_page("T", blocks) == (
        "# T\n\n## A part\n\na < b\n\n````\nx ``` y\n````\n\n| a | b |\n| --- | ---: |\n| c | 1 |\n\nA note.\n"
    )
    page = html_page("T", blocks)
    assert "<p>a &lt; b</p>" in page
    assert '<td>c</td><td class="figure">1</td>' in page
    read_html(page)


def circles(svg: str, colour: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(svg)
    found = root.iter("{http://www.w3.org/2000/svg}circle")
    # The last one is the mark of the legend.
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in found if each.attrib.get("fill") == colour][:-1]


def test_a_plot_shows_accuracies_in_their_places() -> None:
    plots = make_plots(Measured(made()))
    assert list(plots) == ["accuracy/glyphs", "compute/glyphs"]
    svg = plots["accuracy/glyphs"].svg()
    linear, chebyshev, free = (circles(svg, colour) for colour in SERIES[:3])
    assert len(linear) == len(chebyshev) == len(free) == 3
    # Deeper is to the right, evenly by depth; better is above.
    assert (linear[2][0] - linear[1][0]) == pytest.approx(2 * (linear[1][0] - linear[0][0]), abs=0.02)
    assert linear[0][1] > chebyshev[0][1] > free[0][1]
    assert chebyshev[2][1] < free[2][1]
    # Evenly by accuracy: 46.5 points between linear and chebyshev, 2 between chebyshev and free.
    ratio = (linear[0][1] - chebyshev[0][1]) / (chebyshev[0][1] - free[0][1])
    assert ratio == pytest.approx(46.5 / 2, rel=0.02)


def test_the_course_of_a_family_is_by_its_whole_compute() -> None:
    svg = make_plots(Measured(made()))["compute/glyphs"].svg()
    chebyshev, free, fine = (circles(svg, SERIES[index]) for index in (1, 2, 3))
    assert (len(chebyshev), len(free), len(fine)) == (4, 4, 1)
    # 24 T, 84 T and 45 T on one axis, which is logarithmic.
    import math

    ratio = (fine[0][0] - chebyshev[-1][0]) / (free[-1][0] - chebyshev[-1][0])
    assert ratio == pytest.approx(math.log(45 / 24) / math.log(84 / 24), abs=0.002)


@pytest.mark.parametrize(
    "change",
    [
        {"top1": {3: 0.0}},
        {"top1": {3: 100.0}},
        {"macs": None},
        {"macs": 0},
        {"macs": 1, "curve": ()},
        {"top1": {}},
        {"seed": 7},
        {"epochs": 0},
    ],
)
def test_plots_and_tables_of_odd_results_are_made(tmp_path: Path, change: dict[str, Any]) -> None:
    odd = replace(trained("free", "glyphs", 0, 3), **change)
    for trainings in ((odd,), (odd, trained("linear", "glyphs", 0, None))):
        paths = write_report(replace(made(), trained=trainings), tmp_path / "report", True)
        for svg in re.findall(r"<svg.*?</svg>", paths[1].read_text(), re.DOTALL):
            assert "nan" not in svg
            ElementTree.fromstring(svg)


def test_more_arms_than_colours_have_other_marks(tmp_path: Path) -> None:
    base = trained("linear", "glyphs", 0, None)
    many = tuple(replace(base, arm=f"an arm with a rather long name, number {index}") for index in range(20))
    svg = make_plots(Measured(replace(made(), trained=many)))["accuracy/glyphs"].svg()
    ElementTree.fromstring(svg)
    assert svg.count("an arm with a rather") == 20
    assert svg.count('width="8" height="8"') == 8 * (3 + 1)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"epochs": 1}, "1 epoch"),
        ({"epochs": {"linear": 5, "free": 5}}, "5 epochs"),
        ({"epochs": {"linear": 5, "free": 5, "fine": 1, "new": None}}, "5 epochs (fine: 1 epoch)"),
        ({"epochs": {"linear": 1, "free": 3}}, "3 epochs (linear: 1 epoch)"),
        ({"images": 360000, "of": "family"}, "360,000 images for all depths of an arm together"),
        (
            {"minutes": 1.5, "of": "training", "own": {"fine": 1, "free": 2}},
            "1.5 minutes (fine: 1 epoch and free: 2 epochs)",
        ),
        ({"macs": 1.2e15, "of": "training"}, "1200.00 T MACs"),
    ],
)
def test_a_budget_in_words(tmp_path: Path, budget: dict[str, Any], says: str) -> None:
    write_report(replace(made(), budget=budget), tmp_path / "report")
    assert f", each on a budget of {says}." in (tmp_path / "report" / "report.md").read_text()


def test_without_known_epochs_no_budget_is_told(tmp_path: Path) -> None:
    write_report(replace(made(), budget={"epochs": {"linear": None}}), tmp_path / "report")
    assert "budget" not in (tmp_path / "report" / "report.md").read_text().split("```")[0]
