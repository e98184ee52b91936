"""The report of a study: Markdown, one file of HTML with its plots, and the results as JSON. Standard library only.

It holds no time of its making, so that the same results give the same bytes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tleg.files import check_folder, new_folder
from tleg.study.cosines import cosine_tests
from tleg.study.markup import Block, Heading, Listing, Table, Text, html_page, markdown_page
from tleg.study.measured import Measured
from tleg.study.plots import make_plots
from tleg.study.results import StudyResults, write_results
from tleg.study.tables import format_value, make_tables
from tleg.text import format_count, join_words

REPORT_FILES: Final = ("report.md", "report.html", "results.json")


def check_report(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder for a report before the work: it exists, or holds what no report has. Raises InputError."""
    check_folder(folder, overwrite=overwrite, own=REPORT_FILES)


def write_report(
    results: StudyResults, folder: Path, overwrite: bool = False, *, reference: str | None = None
) -> tuple[Path, ...]:
    """Write report.md, report.html and results.json into a folder, all or none, and return their paths.

    reference  the arm that the others are compared with; None is the first arm of separate models, else the best

    Raises InputError when the folder exists and `overwrite` is false, or holds other files, and for a reference without
    results; ExportError when the operating system refuses to write.
    """
    measured = Measured(results, reference)
    blocks = list(_blocks(measured))
    with new_folder(folder, overwrite=overwrite, own=REPORT_FILES) as target:
        (target / "report.md").write_text(markdown_page(results.title, blocks), encoding="utf-8")
        (target / "report.html").write_text(html_page(results.title, blocks), encoding="utf-8")
        write_results(target / "results.json", results)
    return tuple(folder / name for name in REPORT_FILES)


def _blocks(measured: Measured) -> Iterator[Block]:
    results, tables, plots = measured.results, make_tables(measured), make_plots(measured)
    if not results.complete:
        yield Text(
            "This study is not complete: some of its trainings have not ended, and every n below counts those that have."
        )
    yield from _question(measured, tables["arms"])
    if not results.trained:
        yield Text("No training has ended yet.")
    for data in measured.data:
        yield Heading(f"Accuracy by depth: {data}")
        yield from _found(tables, f"accuracy/{data}")
        if f"finetuned/{data}" in tables:
            yield Heading("After fine-tuning", 3)
            yield tables[f"finetuned/{data}"]
        if f"accuracy/{data}" in plots:
            yield plots[f"accuracy/{data}"]
        if f"compute/{data}" in plots:
            yield Heading("Compute", 3)
            yield plots[f"compute/{data}"]
        if (cosines := cosine_tests(measured, data)) is not None:
            yield Heading("Cosines with the teacher", 3)
            yield cosines
        yield from _found(tables, f"family/{data}", "What the family costs")
        yield from _found(tables, f"reach/{data}", f"As good as {measured.reference}")
        yield from _found(tables, f"tests/{data}", "Is the difference more than chance?")
        yield from _found(tables, f"tests-by-depth/{data}", "The same by depth")
    yield from _found(tables, "tests", "All data sets together", 2)
    yield from _found(tables, "tuning", "What was tuned", 2)
    yield from _found(tables, "failures", "What failed", 2)
    yield Heading("How it was run")
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    yield Text(". ".join(filter(None, (results.machine, versions))) + ".")
    yield Listing(results.study)


def _question(measured: Measured, arms: Table) -> Iterator[Block]:
    results = measured.results
    yield Heading("What was asked")
    depths = join_words([str(depth) for depth in results.depths])
    seeds = join_words([str(seed) for seed in results.seeds])
    sentences = [
        f"Every arm at depth {depths}" if len(results.depths) == 1 else f"Every arm at depths {depths}",
        f"with seed {seeds}" if len(results.seeds) == 1 else f"with seeds {seeds}",
    ]
    budget = _budget(results.budget)
    yield Text(", ".join((*sentences, *((f"each on a budget of {budget}",) if budget else ()))) + ".")
    yield arms


def _budget(budget: Mapping[str, Any]) -> str:
    """A budget in words: '5 epochs (further: 1 epoch)', '360,000 images for all depths of an arm together'."""
    own: Mapping[str, Any] = budget.get("own") or {}
    parts = {name: value for name, value in budget.items() if name not in ("of", "own")}
    epochs = parts.get("epochs")
    if isinstance(epochs, Mapping):
        known = [each for each in epochs.values() if each is not None]
        if not known:
            return ""
        # Of equally many the larger, which has most of the compute.
        usual = max(set(known), key=lambda each: (known.count(each), each))
        own = {name: each for name, each in epochs.items() if each not in (None, usual)}
        parts["epochs"] = usual
    text = join_words([_amount(name, value) for name, value in parts.items()])
    if budget.get("of") == "family":
        text += " for all depths of an arm together"
    others = join_words([f"{name}: {_amount('epochs', value)}" for name, value in own.items()])
    return f"{text} ({others})" if others else text


def _amount(name: str, value: Any) -> str:
    if name == "macs":
        return f"{format_count(value)} MACs"
    number = f"{value:,.15g}" if isinstance(value, int | float) else format_value(value)
    return f"{number} {name.removesuffix('s') if value == 1 else name}"


def _found(tables: Mapping[str, Table], name: str, title: str | None = None, level: int = 3) -> Iterator[Block]:
    if name in tables:
        if title is not None:
            yield Heading(title, level)
        yield tables[name]
