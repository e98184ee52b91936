"""Tables and pages, as Markdown and as one file of HTML that needs no network. Standard library only."""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tleg.picture import Picture
from tleg.text import printable

EMPTY: Final = "–"
# What Markdown would read as more than text: "<" where a tag could begin, "_" at the edge of a word.
_SPECIAL: Final = re.compile(r"[\\`*\[\]|]|<(?=[a-zA-Z/!?])|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that is set apart from others."""

    text: str
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Rows are as long as the header; the first column is text, the others are figures.

    note  what to know to read it: sentences under it
    left  how many columns at the left are text
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    note: str = ""
    left: int = 1

    def markdown(self) -> str:
        """Return it as Markdown, its note under it, without an end of line."""
        dashes = ["---" if column < self.left else "---:" for column in range(len(self.header))]
        lines = [_line(map(_markdown_text, self.header)), _line(dashes)]
        lines += [_line(map(_markdown_cell, row)) for row in self.rows]
        return "\n".join([*lines, *(("", _markdown_text(self.note)) if self.note else ())])

    def html(self) -> str:
        """Return it as HTML."""
        head = "".join(f"<th{self._place(column)}>{_html_text(text)}</th>" for column, text in enumerate(self.header))
        rows = "\n".join(
            "<tr>"
            + "".join(f"<td{self._place(column)}>{_html_cell(cell)}</td>" for column, cell in enumerate(row))
            + "</tr>"
            for row in self.rows
        )
        note = f'\n<p class="note">{_html_text(self.note)}</p>' if self.note else ""
        return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>{note}'

    def _place(self, column: int) -> str:
        return "" if column < self.left else ' class="figure"'


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a part (level 2) or of a part of that (3)."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines that stand as they are, such as those of a file."""

    text: str


Block = Heading | Text | Listing | Table | Picture


def markdown_page(title: str, blocks: Sequence[Block]) -> str:
    """Return a page of Markdown. Pictures are left out."""
    parts = [f"# {_markdown_text(title)}"]
    for block in blocks:
        match block:
            case Heading():
                parts.append(f"{'#' * block.level} {_markdown_text(block.text)}")
            case Text():
                parts.append(_markdown_text(block.text))
            case Listing():
                # A fence that is longer than any within.
                fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", block.text)), default=0))
                parts.append(f"{fence}\n{_lines(block.text)}\n{fence}")
            case Table():
                parts.append(block.markdown())
            case Picture():
                pass
    return "\n\n".join(parts) + "\n"


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """Return a page of HTML with its pictures in it, light or dark as the reader's system is."""
    parts = []
    for block in blocks:
        match block:
            case Heading():
                parts.append(f"<h{block.level}>{_html_text(block.text)}</h{block.level}>")
            case Text():
                parts.append(f"<p>{_html_text(block.text)}</p>")
            case Listing():
                parts.append(f"<pre>{html.escape(_lines(block.text))}</pre>")
            case Table():
                parts.append(block.html())
            case Picture():
                parts.append(f"<figure>\n{block.svg().strip()}\n</figure>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_html_text(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{_html_text(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """One line without control characters: what studies hold comes from files."""
    return printable(" ".join(text.split()))


def _lines(text: str) -> str:
    return "\n".join(printable(line.expandtabs()) for line in text.strip("\n").split("\n"))


def _markdown_text(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", plain(text))


def _markdown_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _markdown_text(cell)
    return f"**{_markdown_text(cell.text)}**" if cell.bold else _markdown_text(cell.text)


def _html_text(text: str) -> str:
    return html.escape(plain(text))


def _html_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _html_text(cell)
    return f"<strong>{_html_text(cell.text)}</strong>" if cell.bold else _html_text(cell.text)


_STYLE: Final = """\
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1f2328; --soft: #57606a; --edge: #d0d7de; --row: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --edge: #30363d; --row: #151b23; }
}
body { background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 2.2em; padding-bottom: .2em; border-bottom: 1px solid var(--edge); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3em .7em; border-bottom: 1px solid var(--edge); text-align: left; vertical-align: top; }
tbody tr:nth-child(even) { background: var(--row); }
th.figure, td.figure { text-align: right; white-space: nowrap; }
.note { color: var(--soft); font-size: .875rem; margin-top: .4em; }
figure { margin: 1.5em 0; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; }
pre { background: var(--row); border: 1px solid var(--edge); padding: .8em; overflow-x: auto; font-size: .8125rem; }
"""
