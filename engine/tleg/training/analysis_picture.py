"""The picture of an analysis: R^2 by parameter beside shuffled layers, the path of the layers, and which are alike."""

from itertools import pairwise
from typing import Final

from tleg.models.linearity import Components, Linearity
from tleg.picture import Circle, Path, Picture, Rectangle, Words, ramp
from tleg.training.analyze import LayerAnalysis

# Early and late layers, as in the picture of the idea of tleg.
_START, _END = "#2a6fdb", "#e8457a"
# From unlike to alike: 0 or less, and 1.
_UNLIKE, _ALIKE = "#eef2f7", "#1d4fa3"
_SERIES: Final = ("first", "second", "third")
_MARGIN, _TOP, _BAR, _GAP = 20.0, 74.0, 7.0, 8.0
_WIDEST_ROW: Final = 60.0
_BETWEEN: Final = 46.0
_LONGEST: Final = 64
_CAPTION: Final = 46
_NAMES, _BARS, _SIDE = 142.0, 330.0, 290.0


def draw_analysis(analysis: LayerAnalysis) -> Picture:
    """Return the picture. With more than three bases the colours begin anew."""
    shown = [each for each in (*analysis.parameters, analysis.overall, analysis.balanced) if each.fits]
    panels = 2 * _SIDE + _BETWEEN
    row = max(len(analysis.overall.fits), 2) * _BAR + _GAP
    row = max(row, min((panels - _BETWEEN) / max(len(shown), 1), _WIDEST_ROW))
    height = _TOP + max(len(shown) * row + 60, panels + 30)
    width = 3 * _MARGIN + _NAMES + _BARS + 40 + _SIDE
    model = analysis.model if len(analysis.model) <= _LONGEST else f"...{analysis.model[-_LONGEST:]}"
    title = f"{model}: how linear its {analysis.layers} layers are in their position"
    picture = Picture(width, height, title)
    picture.add(
        Words(_MARGIN, 28, title, size=15),
        Words(_MARGIN, 46, analysis.description, "soft"),
        Words(_MARGIN + _NAMES, 66, "variance that a basis explains; grey: shuffled layers", "soft", 11),
    )
    _draw_bars(picture, shown, row)
    left = 2 * _MARGIN + _NAMES + _BARS + 40
    if analysis.balanced.components is not None:
        _draw_path(picture, analysis, analysis.balanced.components, left, _TOP)
    _draw_similarity(picture, analysis, left, _TOP + _SIDE + _BETWEEN)
    return picture


def _draw_bars(picture: Picture, shown: list[Linearity], row: float) -> None:
    left, bottom = _MARGIN + _NAMES, _TOP + len(shown) * row
    thick = (row - _GAP) / max(len(shown[0].fits), 1) if shown else _BAR
    for tick in range(0, 11, 2):
        x = left + _BARS * tick / 10
        picture.add(Path(((x, _TOP), (x, bottom)), "edge"), Words(x, bottom + 15, f"{tick / 10:g}", "soft", 11, "middle"))
    for index, each in enumerate(shown):
        y = _TOP + index * row + _GAP / 2
        picture.add(Words(left - 8, y + (row - _GAP) / 2 + 4, each.name, "ink", 12, "end"))
        for place, fit in enumerate(each.fits):
            top = y + place * thick
            low, high = (fit.shuffled.mean + sign * fit.shuffled.std for sign in (-1, 1))
            low, high = max(low, 0.0), min(high, 1.0)
            # At least as wide as a line: many values leave shuffled layers hardly any spread.
            band = max(_BARS * (high - low), 2.0)
            picture.add(
                Rectangle(left + _BARS * low, top, band, thick, "band"),
                Rectangle(left, top + thick / 4, max(_BARS * fit.r2, 1.0), thick / 2, _SERIES[place % len(_SERIES)]),
                Rectangle(left + _BARS * fit.shuffled.mean - 0.5, top, 1, thick, "ink"),
            )
    x = left
    for place, fit in enumerate(shown[-1].fits if shown else ()):
        colour = _SERIES[place % len(_SERIES)]
        picture.add(Rectangle(x, bottom + 31, 10, 10, colour), Words(x + 15, bottom + 40, fit.basis, "ink"))
        x += 40 + 7 * len(fit.basis)
    picture.add(Rectangle(x, bottom + 31, 10, 10, "band"), Words(x + 15, bottom + 40, "shuffled", "ink"))


def _draw_path(picture: Picture, analysis: LayerAnalysis, components: Components, left: float, top: float) -> None:
    """Layers on their first two principal components, each linked with the next."""
    shares = components.shares[:2]
    inner, border = _SIDE - 44, 22.0
    extent = max(abs(value) for pair in components.coordinates for value in pair) or 1.0
    points = [
        (left + border + inner * (0.5 + 0.5 * x / extent), top + border + inner * (0.5 - 0.5 * y / extent))
        for x, y in components.coordinates
    ]
    picture.add(
        Rectangle(left, top, _SIDE, _SIDE, "edge", outline=True),
        Words(
            left,
            top - 8,
            f"layers on two components ({100 * shares[0]:.0f}, {100 * shares[1]:.0f} %), each alike",
            "soft",
            11,
        ),
    )
    last = max(analysis.layers - 1, 1)
    for layer, (start, end) in enumerate(pairwise(points)):
        picture.add(Path((start, end), ramp(_START, _END, (layer + 0.5) / last), 1.5))
    for layer, (x, y) in enumerate(points):
        picture.add(Circle(x, y, 8, ramp(_START, _END, layer / last)))
        picture.add(Words(x, y + 3.5, str(layer), "#ffffff", 10, "middle"))


def _draw_similarity(picture: Picture, analysis: LayerAnalysis, left: float, top: float) -> None:
    similarity = analysis.similarity
    # Whole units, so that cells meet without a seam.
    cell = _SIDE // analysis.layers or _SIDE / analysis.layers
    what = f"CKA of outputs on {similarity.on}" if similarity.of == "outputs" else "cosines of the layers' weights"
    what = what if len(what) <= _CAPTION else f"{what[:_CAPTION]}..."
    picture.add(Words(left, top - 8, what, "soft", 11))
    for row, values in enumerate(similarity.values):
        for column, value in enumerate(values):
            colour = ramp(_UNLIKE, _ALIKE, value)
            picture.add(Rectangle(left + column * cell, top + row * cell, cell, cell, colour))
    step = max(analysis.layers // 6, 1)
    for layer in range(0, analysis.layers, step):
        picture.add(Words(left + (layer + 0.5) * cell, top + cell * analysis.layers + 14, str(layer), "soft", 11, "middle"))
        picture.add(Words(left - 5, top + (layer + 0.5) * cell + 4, str(layer), "soft", 11, "end"))
