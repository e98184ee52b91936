"""Pictures without a plotting library: the same shapes as SVG and as PNG."""

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from tleg.errors import InputError
from tleg.picture import COLOURS, Circle, Path, Picture, Rectangle, Words, ramp

SPACE = "{http://www.w3.org/2000/svg}"


def picture() -> Picture:
    drawn = Picture(100, 60, "a < b & c")
    drawn.add(
        Rectangle(10, 10, 30, 20, "first"),
        Rectangle(50, 10, 30, 20, "#00ff00"),
        Path(((10, 50), (90, 50)), "second", 4),
        Circle(20, 40, 5, "third"),
        Words(60, 45, "x < y", anchor="middle"),
    )
    return drawn


def test_svg_is_xml_with_all_shapes_and_both_grounds() -> None:
    text = picture().svg()
    root = ElementTree.fromstring(text)
    assert root.find(f"{SPACE}title").text == "a < b & c"  # type: ignore[union-attr]
    assert [each.text for each in root.iter(f"{SPACE}text")] == ["x < y"]
    assert len(list(root.iter(f"{SPACE}rect"))) == 4  # The card, its edge, two.
    assert len(list(root.iter(f"{SPACE}circle"))) == len(list(root.iter(f"{SPACE}polyline"))) == 1
    light, _, dark = text.partition("prefers-color-scheme: dark")
    assert all(colours[0] in light and colours[1] in dark for colours in COLOURS.values())


def test_png_has_the_same_shapes_in_the_same_places() -> None:
    image = Image.open(io.BytesIO(picture().png())).convert("RGB")
    assert image.size == (200, 120)

    def at(x: float, y: float) -> str:
        return "#" + "".join(f"{value:02x}" for value in image.getpixel((round(2 * x), round(2 * y))))  # type: ignore[union-attr]

    assert at(25, 20) == COLOURS["first"][0]
    assert at(65, 20) == "#00ff00"
    assert at(80, 50) == COLOURS["second"][0]
    assert at(20, 40) == COLOURS["third"][0]
    assert at(45, 5) == COLOURS["card"][0]
    assert min(image.crop((100, 60, 140, 96)).convert("L").tobytes()) < 100  # The words.


def test_the_format_follows_the_suffix() -> None:
    assert picture().in_format(".PNG").startswith(b"\x89PNG")
    assert picture().in_format(".svg").startswith(b"<svg")
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        picture().in_format(".pdf")


@pytest.mark.parametrize(
    ("part", "colour"), [(0, "#000000"), (1, "#ff8000"), (0.5, "#804000"), (-1, "#000000"), (7, "#ff8000")]
)
def test_ramp(part: float, colour: str) -> None:
    assert ramp("#000000", "#ff8000", part) == colour
