"""Emoji: a data set in colour from an unpacked package, variants of an emoji on one side."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tleg.data.emoji import class_of, make, motif_of
from tleg.data.open import open_data
from tleg.errors import DataError, InputError

# Of the package's own entries: category, code points, tones of skin.
ENTRIES = [
    ("Food & Drink", "1F34E", ()),
    ("Food & Drink", "1F34F", ()),
    ("Food & Drink", "1F347", ()),
    ("People & Body", "1F385", ("1F3FB", "1F3FF")),
    ("People & Body", "1F469-200D-1F692", ("1F3FB",)),
    ("People & Body", "1F468-200D-1F692", ("1F3FB",)),
    ("People & Body", "1F9D1-200D-1F692", ()),
    ("People & Body", "1F44B", ("1F3FC", "1F3FD")),
    ("Component", "1F3FB", ()),
]


def entry(category: str, unified: str, tones: tuple[str, ...]) -> dict[str, Any]:
    def picture(points: str) -> dict[str, Any]:
        return {"unified": points, "image": f"{points.lower()}.png", "has_img_google": True}

    first, _, rest = unified.partition("-")
    variants = {tone: picture("-".join(filter(None, (first, tone, rest)))) for tone in tones}
    return {**picture(unified), "category": category, **({"skin_variations": variants} if tones else {})}


def write_package(folder: Path, entries: list[dict[str, Any]]) -> Path:
    pictures = folder / "img" / "google" / "64"
    pictures.mkdir(parents=True)
    (folder / "emoji.json").write_text(json.dumps(entries))
    for number, each in enumerate(entries):
        for shade, variant in enumerate((each, *each.get("skin_variations", {}).values())):
            picture = Image.new("RGBA", (64, 64))
            picture.paste((10 * number, 50 * shade, 200, 255), (16, 16, 48, 48))
            picture.save(pictures / variant["image"])
    return folder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    missing = {**entry("Food & Drink", "1F37A", ()), "has_img_google": False}
    folder = write_package(tmp_path / "package", [*(entry(*each) for each in ENTRIES), missing])
    (folder / "img" / "google" / "64" / "1f37a.png").unlink()
    return folder


def test_the_folder_is_what_tleg_opens(package: Path, tmp_path: Path) -> None:
    make([str(package), str(tmp_path / "emoji"), "--validation", "0.4"])
    data = open_data(str(tmp_path / "emoji"))
    assert data.classes == ("food-drink", "people-body")
    assert len(data.train) + len(data.validation) == 14
    assert not data.left_out
    with Image.open(next((tmp_path / "emoji").glob("*/food-drink/1f34e.png"))) as picture:
        assert (picture.mode, picture.size) == ("RGB", (64, 64))
        assert picture.getpixel((0, 0)) == (255, 255, 255)
        assert picture.getpixel((32, 32)) == (0, 0, 200)


def test_variants_are_on_one_side_and_the_listing_says_which(package: Path, tmp_path: Path) -> None:
    seen = set()
    for seed in range(6):
        output = tmp_path / str(seed)
        make([str(package), str(output), "--seed", str(seed), "--size", "16", "--validation", "0.5"])
        document = json.loads((output / "emoji.json").read_text())
        sides: dict[tuple[str, str], set[str]] = defaultdict(set)
        for each in document["emoji"]:
            assert (output / each["split"] / each["class"] / each["image"]).is_file()
            sides[each["class"], each["motif"]].add(each["split"])
        assert all(len(found) == 1 for found in sides.values())
        assert len(sides) == 6
        for label in ("food-drink", "people-body"):
            assert {side for (of, _), found in sides.items() if of == label for side in found} == {"train", "val"}
        assert document["left_out"] == [{"image": "1f3fb.png", "reason": "a swatch of skin"}]
        assert sum(document["pictures"].values()) == 14
        seen.add(str(sides))
    assert len(seen) > 1, "the seed decides"


def test_the_same_package_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        make([str(package), str(tmp_path / name)])
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("unified", "motif"),
    [
        ("1F600", "1F600"),
        ("1F469-200D-1F692", "1F692"),
        ("1F6B6-200D-2640-FE0F-200D-27A1-FE0F", "1F6B6"),
        ("1F9D1-200D-1F91D-200D-1F9D1", "1F91D"),
        ("1F468-200D-1F469-200D-1F466", "person"),
        ("27A1-FE0F", "27A1-FE0F"),
        ("0023-FE0F-20E3", "0023-20E3"),
    ],
)
def test_what_an_emoji_shows(unified: str, motif: str) -> None:
    assert motif_of(unified) == motif


def test_names_of_classes() -> None:
    assert class_of("Smileys & Emotion") == "smileys-emotion"


def test_what_is_no_package_is_refused_and_nothing_is_written(package: Path, tmp_path: Path) -> None:
    output = tmp_path / "emoji"
    with pytest.raises(InputError, match="there is no folder") as missing:
        make([str(tmp_path / "missing"), str(output)])
    assert (missing.value.field, missing.value.code) == ("package", "not-found")
    with pytest.raises(DataError, match=r"it holds 0 folders img/NAME/64; npm pack"):
        make([str(tmp_path), str(output)])
    one = write_package(tmp_path / "one", [entry("Flags", "1F1E9-1F1EA", ())])
    with pytest.raises(DataError, match="the class flags has one motif"):
        make([str(one), str(output)])
    broken = package / "img" / "google" / "64" / "1f44b.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1f44b\.png") as unreadable:
        make([str(package), str(output)])
    assert unreadable.value.code == "bad-file"
    (package / "emoji.json").write_text('[{"image": "a.png"}]')
    with pytest.raises(DataError, match="an entry lacks 'has_img_google'"):
        make([str(package), str(output)])
    (package / "emoji.json").write_text("{")
    with pytest.raises(DataError, match=r"emoji\.json is no JSON"):
        make([str(package), str(output)])
    assert not output.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_an_output_that_exists_is_replaced_when_that_is_asked_for(package: Path, tmp_path: Path) -> None:
    make([str(package), str(tmp_path / "emoji")])
    with pytest.raises(InputError, match="exists already"):
        make([str(package), str(tmp_path / "emoji")])
    make([str(package), str(tmp_path / "emoji"), "--size", "8", "--force"])
    assert json.loads((tmp_path / "emoji" / "emoji.json").read_text())["size"] == 8
