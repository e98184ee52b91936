"""The frontier as a picture."""

from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Final

from tleg.axes import Axis, draw_frame
from tleg.learngene.frontier import Frontier, FrontierPoint, Kind
from tleg.picture import Circle, Path, Picture, Rectangle, Shape, Words

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 760.0, 430.0, 56.0, 62.0, 78.0, 740.0
# Of a name, by letter, and how far it is from its mark.
_LETTER, _OFF = 6.5, 9.0
# Data sets of fine-tuning beyond these begin anew.
_TUNED: Final = ("second", "third")


def draw_frontier(frontier: Frontier, title: str, note: str = "", limit: str = "") -> Picture:
    """Return the picture. The frontier must have a point.

    title  what it is of, and `note` what accuracies were measured on
    limit  what the limit is called, as '--max-params 1M'
    """
    across = Axis(*frontier.costs, _LEFT, _RIGHT)
    up = Axis(*frontier.accuracies, _HEIGHT - _BOTTOM, _TOP)
    picture = Picture(_WIDTH, _HEIGHT, f"{title}: accuracy over {frontier.label}")
    remarks = "; ".join(filter(None, (note, *frontier.remarks)))
    picture.add(Words(20, 26, _shortened(picture.title, 84), size=15), Words(20, 44, _shortened(remarks, 108), "soft"))
    draw_frame(picture, across, up, frontier.ticks(9), frontier.label)
    if frontier.shown_limit is not None:
        x = across.place(frontier.shown_limit)
        picture.add(Path(((x, _TOP), (x, up.start)), "third", 1.5))
        picture.add(Words(x - 6, up.start - 8, limit or "limit", "third", 11, "end"))
    spots = [(each, across.place(each.cost), min(up.place(each.top1), up.start)) for each in frontier.points]
    for (_, data), group in groupby(spots, key=lambda spot: (spot[0].image_size, spot[0].data)):
        line = tuple((x, y) for _, x, y in group)
        if len(line) > 1:
            picture.add(Path(line, _colour(frontier, data), 1))
    # What is chosen comes last, over the others.
    for each, x, y in sorted(spots, key=lambda spot: (spot[0].chosen, spot[0].fits)):
        colour = _colour(frontier, each.data) if each.fits else "band"
        picture.add(*(_ring(x, y) if each.chosen else ()), *_mark(each.kind, colour, x, y))
    _write_names(picture, frontier.below, spots)
    _write_legend(picture, frontier)
    return picture


def _colour(frontier: Frontier, data: str) -> str:
    return _TUNED[frontier.data_sets.index(data) % len(_TUNED)] if data else "first"


def _mark(kind: Kind, colour: str, x: float, y: float) -> tuple[Shape, ...]:
    match kind:
        case "trained":
            return (Circle(x, y, 4.5, colour),)
        case "expanded":
            return (Circle(x, y, 4.5, colour), Circle(x, y, 2.8, "card"))
        case "tuned":
            return (Rectangle(x - 4, y - 4, 8, 8, colour),)


def _ring(x: float, y: float) -> tuple[Shape, ...]:
    """What is around the mark that is chosen."""
    return Circle(x, y, 8, "ink"), Circle(x, y, 6.5, "card")


def _write_names(
    picture: Picture, below: tuple[FrontierPoint, ...], spots: list[tuple[FrontierPoint, float, float]]
) -> None:
    """Write names above marks where there is room, that of what is chosen first."""
    taken: list[tuple[float, float, float]] = []
    for each, x, y in sorted(spots, key=lambda spot: (not spot[0].chosen, not spot[0].fits)):
        name = f"{each.name} ↓" if each in below else each.name
        half = _LETTER * len(name) / 2 + 2
        height = y - (_OFF + 3 if each.chosen else _OFF)
        if all(abs(x - other) >= half + reach or abs(height - level) >= 11 for other, reach, level in taken):
            taken.append((x, half, height))
            picture.add(Words(x, height, name, "ink" if each.fits else "soft", 11, "middle"))


def _write_legend(picture: Picture, frontier: Frontier) -> None:
    """Write what marks mean on lines below the axis; the picture grows with them."""
    kinds = {point.kind for point in frontier.points}
    entries: list[tuple[bool, Callable[[float, float], tuple[Shape, ...]], str]] = [
        ("trained" in kinds, partial(_mark, "trained", "first"), "trained depth"),
        ("expanded" in kinds, partial(_mark, "expanded", "first"), "other depth"),
        *((True, partial(_mark, "tuned", _colour(frontier, data)), f"fine-tuned on {data}") for data in frontier.data_sets),
        (any(each.chosen for each in frontier.points), _ring, "chosen"),
        (any(not each.fits for each in frontier.points), partial(_mark, "trained", "band"), "over the budget"),
    ]
    x, y = _LEFT + 5, picture.height - 20
    for shown, mark, text in entries:
        if not shown:
            continue
        if x + _LETTER * len(text) > _RIGHT:
            x, y, picture.height = _LEFT + 5, y + 20, picture.height + 20
        picture.add(*mark(x, y), Words(x + 13, y + 4, text, "ink", 12))
        x += 32 + _LETTER * len(text)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
