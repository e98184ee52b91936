"""Write the tables and plots of docs/study.md from the results in docs/study/. `--check` only compares.

The page says where they stand, each in lines of its own:

    <!-- table: FILE.json NAME -->
    <!-- end -->
    <!-- plot: FILE.json NAME -->
    <!-- end -->

FILE.json is a study's results.json, laid into docs/study/; names are those of `tleg.study.tables` and `tleg.study.plots`,
such as 'accuracy/glyphs'. A plot is written beside its results, as FILE-accuracy-glyphs.svg.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

from tleg.study.measured import Measured
from tleg.study.plots import make_plots
from tleg.study.results import read_results
from tleg.study.tables import make_tables

Made = TypeVar("Made")
PAGE = Path(__file__).resolve().parent / "study.md"
_PLACE = re.compile(
    r"^<!-- (?P<what>table|plot): (?P<file>\S+\.json) (?P<name>\S.*?) -->\n(?P<content>.*?)^<!-- end -->$",
    re.MULTILINE | re.DOTALL,
)
_BEGIN = re.compile(r"^<!-- (?:table|plot): .*-->$", re.MULTILINE)


class PageError(Exception):
    """A page asks for what there is not."""


def filled(text: str, folder: Path) -> str:
    """Return a page with every table, and every link to a plot, written anew. Raises PageError, FileFormatError.

    folder  where the results lie
    """
    page = _PLACE.sub(lambda place: _fill(place, folder), text)
    if len(_BEGIN.findall(page)) != len(_PLACE.findall(page)):
        raise PageError("a place of the page has no end, or is not '<!-- table: FILE.json NAME -->'")
    return page


def plots(text: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """The plots that a page shows: where each lies, and its contents."""
    for place in _PLACE.finditer(text):
        if place["what"] == "plot":
            drawn = make_plots(_measured(folder / place["file"]))
            yield _plot_file(place, folder), _named(drawn, place).svg()


def _fill(place: re.Match[str], folder: Path) -> str:
    measured = _measured(folder / place["file"])
    if place["what"] == "table":
        content = _named(make_tables(measured), place).markdown()
    else:
        title = _named(make_plots(measured), place).title
        content = f"![{title}]({folder.name}/{_plot_file(place, folder).name})"
    begin = place[0].partition("\n")[0]
    return f"{begin}\n\n{content}\n\n<!-- end -->"


def _named(made: Mapping[str, Made], place: re.Match[str]) -> Made:
    if place["name"] not in made:
        raise PageError(f"{place['file']} has no {place['what']} '{place['name']}'; it has {', '.join(made)}")
    return made[place["name"]]


def _plot_file(place: re.Match[str], folder: Path) -> Path:
    name = re.sub(r"[^\w.-]+", "-", place["name"])
    return folder / f"{Path(place['file']).stem}-{name}.svg"


@cache
def _measured(path: Path) -> Measured:
    return Measured(read_results(path))


def main() -> None:
    """Write the page and its plots, or say whether they are as they should be."""
    text, folder = PAGE.read_text("utf-8"), PAGE.with_suffix("")
    page, drawn = filled(text, folder), dict(plots(text, folder))
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")
        for path, content in drawn.items():
            path.write_text(content, "utf-8")
        return
    differ = [PAGE.name] if text != page else []
    differ += [path.name for path, content in drawn.items() if not path.exists() or path.read_text("utf-8") != content]
    if differ:
        raise SystemExit(f"{', '.join(differ)} does not follow from docs/study/: run `python docs/make_study.py`")


if __name__ == "__main__":
    main()
