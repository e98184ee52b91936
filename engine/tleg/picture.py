"""Plain pictures: rectangles, lines, circles and words, as SVG or PNG, without a plotting library.

Colours are named by what they are for. An SVG takes the dark ones on a dark page; a PNG has a light ground of its own, so
that it can be read on either. Pillow is imported when a PNG is made.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final, Literal

from tleg.errors import InputError

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]
# What a colour is for: on a light ground, and on a dark one.
COLOURS: Final[dict[str, tuple[str, str]]] = {
    "card": ("#ffffff", "#0d1117"),
    "edge": ("#d0d7de", "#30363d"),
    "ink": ("#1f2328", "#e6edf3"),
    "soft": ("#57606a", "#9198a1"),
    "band": ("#c5ccd3", "#3d444d"),
    "first": ("#2a6fdb", "#5b93ea"),
    "second": ("#e8457a", "#f0709a"),
    "third": ("#b7791f", "#d9a441"),
}
SUFFIXES: Final = (".svg", ".png")
_ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}
# Pixels of a PNG for each unit, and how many times finer it is drawn before.
_SCALE: Final = 2
_FINER: Final = 2


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A filled rectangle, or its outline alone. Colours are names in COLOURS, or '#rrggbb', the same on every page."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    outline: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: tuple[Point, ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Circle:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """One line of text, its baseline at y."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    size: float = 12.0
    anchor: Anchor = "start"


Shape = Rectangle | Path | Circle | Words


@dataclass(slots=True)
class Picture:
    """Shapes on a card, later ones over earlier ones. `title` is for those who cannot see it."""

    width: float
    height: float
    title: str
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Draw over what is there."""
        self.shapes.extend(shapes)

    def in_format(self, suffix: str) -> bytes:
        """Return the contents of a file with this suffix. Raises InputError for another than SUFFIXES."""
        check_suffix(suffix)
        return self.svg().encode() if suffix.lower() == ".svg" else self.png()

    def svg(self) -> str:
        """Return the picture as SVG."""
        light = "".join(f" .{name} {{ fill: {colours[0]} }}" for name, colours in COLOURS.items())
        dark = "".join(f" .{name} {{ fill: {colours[1]} }}" for name, colours in COLOURS.items())
        strokes = [
            "".join(f" .{name}-line {{ stroke: {colours[index]}; fill: none }}" for name, colours in COLOURS.items())
            for index in (0, 1)
        ]
        font = "text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif }"
        style = f"{font}{light}{strokes[0]} @media (prefers-color-scheme: dark) {{{dark}{strokes[1]} }}"
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}"'
        card = (
            Rectangle(0, 0, self.width, self.height, "card"),
            Rectangle(0.5, 0.5, self.width - 1, self.height - 1, "edge", True),
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{style}</style>",
                *(_element(shape) for shape in (*card, *self.shapes)),
                "</svg>\n",
            ]
        )

    def png(self) -> bytes:
        """Return the picture as PNG, in the light colours."""
        from PIL import Image, ImageDraw

        factor = _SCALE * _FINER
        image = Image.new("RGB", (round(self.width * factor), round(self.height * factor)), COLOURS["card"][0])
        draw = ImageDraw.Draw(image)
        for shape in (Rectangle(0.5, 0.5, self.width - 1, self.height - 1, "edge", True), *self.shapes):
            _draw(draw, shape, factor)
        image = image.resize((round(self.width * _SCALE), round(self.height * _SCALE)), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        return file.getvalue()


def check_suffix(suffix: str) -> None:
    """Refuse what is no kind of picture. Raises InputError."""
    if suffix.lower() not in SUFFIXES:
        raise InputError(f"a picture ends in {' or '.join(SUFFIXES)}, not in '{suffix}'", code="malformed")


def ramp(start: str, end: str, part: float) -> str:
    """The colour between two, each '#rrggbb', at 0 <= part <= 1."""
    pairs = zip(_rgb(start), _rgb(end), strict=True)
    return "#" + "".join(f"{round(a + min(max(part, 0.0), 1.0) * (b - a)):02x}" for a, b in pairs)


def _rgb(colour: str) -> Sequence[int]:
    return bytes.fromhex(colour.removeprefix("#"))


def _paint(colour: str, *, line: bool = False) -> str:
    if colour in COLOURS:
        return f'class="{colour}{"-line" if line else ""}"'
    return f'stroke="{colour}" fill="none"' if line else f'fill="{colour}"'


def _element(shape: Shape) -> str:
    match shape:
        case Rectangle():
            place = f'x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}"'
            # Crisp, so that neighbours meet without a seam.
            return f'<rect {place} shape-rendering="crispEdges" {_paint(shape.colour, line=shape.outline)}/>'
        case Path():
            points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
            return f'<polyline points="{points}" stroke-width="{shape.width:g}" {_paint(shape.colour, line=True)}/>'
        case Circle():
            return f'<circle cx="{shape.x:.2f}" cy="{shape.y:.2f}" r="{shape.radius:g}" {_paint(shape.colour)}/>'
        case Words():
            place = f'x="{shape.x:.2f}" y="{shape.y:.2f}" font-size="{shape.size:g}" text-anchor="{shape.anchor}"'
            return f"<text {place} {_paint(shape.colour)}>{escape(shape.text)}</text>"


def _draw(draw: Any, shape: Shape, factor: int) -> None:
    """Draw a shape with Pillow; units times the factor are its pixels."""
    colour = COLOURS[shape.colour][0] if shape.colour in COLOURS else shape.colour
    match shape:
        case Rectangle():
            x, y = shape.x * factor, shape.y * factor
            # Pillow's second corner is part of the rectangle.
            corners = (x, y, max(x + shape.width * factor - 1, x), max(y + shape.height * factor - 1, y))
            if shape.outline:
                draw.rectangle(corners, outline=colour, width=factor)
            else:
                draw.rectangle(corners, fill=colour)
        case Path():
            points = [(x * factor, y * factor) for x, y in shape.points]
            draw.line(points, fill=colour, width=max(round(shape.width * factor), 1), joint="curve")
        case Circle():
            x, y, radius = shape.x * factor, shape.y * factor, shape.radius * factor
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        case Words():
            from PIL import ImageFont

            font = ImageFont.load_default(shape.size * factor)
            draw.text(
                (shape.x * factor, shape.y * factor), shape.text, fill=colour, font=font, anchor=_ANCHORS[shape.anchor]
            )
