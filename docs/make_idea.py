"""Draw the idea of tleg, the first picture of README.md: `python docs/make_idea.py` writes assets/idea.svg.

The colours are the arithmetic: every layer is painted in the colour of its term, that of the third in which its position
t = l / L lies, so that the descendants show which layers take which term. Beside that is the paper's rule, a line.
"""

from collections.abc import Iterator
from pathlib import Path

from tleg.learngene.basis import parse_basis

TARGET = Path(__file__).resolve().parent.parent / "assets" / "idea.svg"
WIDTH, HEIGHT = 960, 336
START, END = (42, 111, 219), (232, 69, 122)  # The colours of the first and of the last term.
THIRDS = parse_basis("piecewise:3")
TERMS = THIRDS.terms
DEPTHS = (3, 6, 12)
AUXILIARY_DEPTH = 12
BAR, GAP = 11, 4  # Of one layer, in pixels.

# The card has a ground of its own, so that it can be read on any page; a dark page gets a dark one.
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de }
  .box { fill: #f6f8fa; stroke: #d0d7de }
  .grey { fill: #8c959f }
  .line { stroke: #57606a; fill: none }
  .tip { fill: #57606a }
  text { fill: #1f2328; font: 14px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; text-anchor: middle }
  .name { font-weight: 600; font-size: 16px }
  .small { fill: #57606a; font-size: 13px }
  .math { font: italic 18px 'DejaVu Serif', Georgia, serif }
  .left { text-anchor: start }
  .tile { fill: #ffffff; font: italic 18px 'DejaVu Serif', Georgia, serif }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #30363d }
    .box { fill: #161b22; stroke: #30363d }
    .line { stroke: #9198a1 }
    .tip { fill: #9198a1 }
    text:not(.tile) { fill: #e6edf3 }
    text.small { fill: #9198a1 }
  }
"""


def colour(t: float) -> str:
    """The colour of a position 0 <= t <= 1 on a line."""
    return "#" + "".join(f"{round(a + t * (b - a)):02x}" for a, b in zip(START, END, strict=True))


def shade(number: int) -> str:
    """The colour of a term."""
    return colour(number / (TERMS - 1))


def layers(x: float, y: float, depth: int, height: float) -> Iterator[str]:
    """The layers of a ViT of this depth from left to right, each in the colour of its term."""
    for layer, term in enumerate(THIRDS.selected(depth) or ()):
        left = x + layer * (BAR + GAP)
        yield f'<rect x="{left:g}" y="{y:g}" width="{BAR}" height="{height:g}" rx="2" fill="{shade(term)}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """One line of text, its baseline at y."""
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{attribute}>{words}</text>'


def box(x: float, y: float, width: float, height: float) -> str:
    """A panel."""
    return f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'


def arrow(x: float, y: float, length: float, words: str) -> Iterator[str]:
    """An arrow to the right, with what it stands for above it."""
    tip = x + length
    yield f'<path class="line" d="M{x:g} {y:g} H{tip - 7:g}" stroke-width="2"/>'
    yield f'<path class="tip" d="M{tip:g} {y:g} l-10 -5.5 v11 z"/>'
    yield text(x + length / 2, y - 12, words, "small")


def ancestry(x: float) -> Iterator[str]:
    """A classifier of any kind: feature maps that shrink."""
    yield box(x, 64, 150, 148)
    for column, height in enumerate((72, 58, 44, 30)):
        left, top = x + 33 + column * 23, 138 - height / 2
        yield f'<rect class="grey" x="{left:g}" y="{top:g}" width="15" height="{height:g}" rx="2"/>'
    yield text(x + 75, 44, "ancestry model", "name")
    yield text(x + 75, 236, "any trained classifier", "small")


def auxiliary(x: float) -> Iterator[str]:
    """The ViT whose layers follow from few terms."""
    yield box(x, 64, 204, 148)
    yield from layers(x + 14, 102, AUXILIARY_DEPTH, 72)
    yield text(x + 102, 44, "auxiliary model", "name")
    yield text(x + 102, 236, "a ViT of few terms, at any depth", "small")


def learngene(x: float) -> Iterator[str]:
    """The terms: a block for each third."""
    yield box(x, 64, 124, 148)
    for number in range(TERMS):
        top = 74 + number * 46
        yield f'<rect x="{x + 22:g}" y="{top}" width="80" height="36" rx="6" fill="{shade(number)}"/>'
        yield text(x + 62, top + 23, f'θ<tspan font-size="12" dy="4">{number}</tspan>', "tile")
    yield text(x + 62, 44, "learngene", "name")
    yield text(x + 62, 236, "one file", "small")


def descendants(x: float) -> Iterator[str]:
    """ViTs of several depths, each with the terms of its layers."""
    yield box(x, 64, 204, 148)
    for row, depth in enumerate(DEPTHS):
        yield from layers(x + 14, 74 + row * 46, depth, 36)
        if depth < max(DEPTHS):
            yield text(x + 22 + depth * (BAR + GAP), 97 + row * 46, f"depth {depth}", "small left")
    yield text(x + 102, 44, "descendants", "name")
    yield text(x + 102, 236, "plain ViTs of any depth", "small")


def legend() -> Iterator[str]:
    """The rule, in colours, and the paper's."""
    yield f'<path class="line" d="M24 258 H{WIDTH - 24}" stroke-width="1" opacity="0.4"/>'
    sub = '<tspan font-size="12" dy="4">{}</tspan>'
    first, second = sub.format("B"), sub.format("A")
    yield text(145, 302, f'layer l of L = θ{sub.format("k")}<tspan dy="-4">, k = ⌊3 l/L⌋</tspan>', "math")
    for number in range(TERMS):
        yield f'<rect x="{292 + 48 * number}" y="288" width="46" height="16" rx="3" fill="{shade(number)}"/>'
    yield text(560, 302, "or the paper's line", "small")
    yield text(712, 302, f'θ{first}<tspan dx="6" dy="-4">+ l/L · θ</tspan>{second}', "math")
    yield '<rect x="794" y="288" width="142" height="16" rx="3" fill="url(#line)"/>'


def draw() -> str:
    """Return the picture."""
    parts = [
        *ancestry(22),
        *arrow(176, 138, 82, "distillation"),
        *auxiliary(262),
        *arrow(472, 138, 64, "keep"),
        *learngene(542),
        *arrow(670, 138, 62, "expand"),
        *descendants(736),
        *legend(),
    ]
    title = "An ancestry model is distilled into an auxiliary model; its terms are the learngene, which expands to any depth"
    gradient = f'<stop offset="0" stop-color="{colour(0)}"/><stop offset="1" stop-color="{colour(1)}"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            f'<defs><linearGradient id="line">{gradient}</linearGradient></defs>',
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), "utf-8")
    print(TARGET)
