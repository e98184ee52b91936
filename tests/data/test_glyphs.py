"""Glyphs: a data set drawn from fonts, the same bytes from the same fonts, no family on both sides, nothing half made."""

import contextlib
import itertools
import json
import os
import signal
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from tests.conftest import CommandResult
from tests.data.pixel_fonts import font_bytes, letters, write_collection, write_font
from tleg.data import glyphs
from tleg.data.fonts import CHARACTERS, UnusableFontError, draw, faces_of, find_font_files, font_folders
from tleg.data.glyphs import class_name, collect, family_of, group_fonts, make
from tleg.data.making import choose_validation
from tleg.data.open import open_data
from tleg.errors import DataError, InputError


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six fonts of four families, one of them in two files of other names, and four that are of no use."""
    folder = tmp_path_factory.mktemp("fonts")
    write_font(folder / "blocks.ttf", "Blocks")
    write_font(folder / "blocks-light.ttf", "Blocks Light", dot=40)
    write_font(folder / "bricks.ttf", "Bricks", dot=88)  # The outlines of Blocks, nearly.
    write_font(folder / "copy" / "blocks.ttf", "Cubes")  # Those of Blocks.
    write_font(folder / "tall" / "TALL.TTF", "Tall", tall=1.6, lean=0.35, dot=60)
    write_font(folder / "lean.otf", "Lean", "Italic", lean=0.3)
    write_font(folder / "specks.ttf", "Specks", dot=50, lean=-0.2)
    write_font(folder / "no-q.ttf", "No Q", form_of=lambda each: None if each == "Q" else letters()[each])
    turned = dict(zip(CHARACTERS, CHARACTERS[13:] + CHARACTERS[:13], strict=True))
    write_font(folder / "symbols.ttf", "Symbols", form_of=lambda each: letters()[turned[each]])
    (folder / "broken.ttf").write_bytes(b"no font")
    (folder / "notes.txt").write_text("no font either")
    return folder


@pytest.fixture(scope="module")
def made(fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "glyphs"
    make([str(output), "--fonts", str(fonts)])
    return output


def listing(output: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((output / "fonts.json").read_text("utf-8"))
    return document


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_what_tleg_opens(made: Path) -> None:
    data = open_data(str(made))
    assert data.classes == tuple(sorted(map(class_name, CHARACTERS)))
    assert (len(data.train), len(data.validation)) == (5 * 62, 62)
    assert not data.left_out
    labels = [data.validation.label(index) for index in range(62)]
    assert sorted(labels) == list(range(62))
    with Image.open(made / "train" / "upper_A" / sorted(os.listdir(made / "train" / "upper_A"))[0]) as picture:
        assert (picture.mode, picture.size) == ("L", (28, 28))


def test_classes_differ_where_file_systems_know_no_case() -> None:
    assert {class_name("0"), class_name("A"), class_name("a")} == {"digit_0", "upper_A", "lower_a"}
    assert len({class_name(character).casefold() for character in CHARACTERS}) == 62


def test_the_listing_says_what_was_used_and_what_was_not(made: Path) -> None:
    document = listing(made)
    assert (document["size"], document["seed"], document["validation"]) == (28, 0, 0.2)
    assert set(document["made_with"]) == {"tleg", "pillow", "freetype"}
    assert all(document["made_with"].values())
    assert document["pictures"] == {"train": 310, "val": 62}
    used = {font["family"]: font for font in document["fonts"]}
    assert sorted(used) == ["Blocks", "Blocks Light", "Bricks", "Lean", "Specks", "Tall"]
    assert used["Tall"]["file"] == "tall/TALL.TTF"
    assert used["Lean"]["style"] == "Italic"
    for font in document["fonts"]:
        written = [path for path in contents(made) if path.endswith(f"/{font['name']}.png")]
        assert len(written) == font["pictures"] == 62
        assert {path.split("/")[0] for path in written} == {font["split"]}
    reasons = {each["file"]: each["reason"] for each in document["left_out"]}
    assert reasons.pop("broken.ttf").startswith("cannot be read")
    assert reasons.pop("symbols.ttf").startswith("draws no Latin letters")
    assert reasons == {"copy/blocks.ttf": "has the pictures of Blocks Regular (blocks.ttf)", "no-q.ttf": "has no Q"}


def test_a_family_is_on_one_side_under_all_its_names(fonts: Path) -> None:
    seen = set()
    for seed in range(8):
        found = collect([fonts], 8, 0.5, seed, lambda done, total: None)
        sides = {font.face.family: found.split_of(group) for font, group in zip(found.fonts, found.groups, strict=True)}
        assert sides["Blocks"] == sides["Blocks Light"] == sides["Bricks"]
        assert set(sides.values()) == {"train", "val"}
        seen.add(tuple(sorted(family for family, side in sides.items() if side == "val")))
    assert len(seen) > 1, "the seed decides"


def test_the_same_fonts_give_the_same_bytes_wherever_they_lie(fonts: Path, made: Path, tmp_path: Path) -> None:
    again = tmp_path / "fonts"
    for name, content in reversed(contents(fonts).items()):
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_bytes(content)
    make([str(tmp_path / "glyphs"), "--fonts", str(again)])
    assert contents(tmp_path / "glyphs") == contents(made)


def test_sizes_of_letters_differ_as_on_a_page(made: Path) -> None:
    heights = {}
    for character in "cCoOxg":
        path = next((made / "train" / class_name(character)).glob("blocks-regular-*.png"))
        with Image.open(path) as picture:
            left, top, right, bottom = picture.getbbox() or (0, 0, 0, 0)
            heights[character] = (top, bottom)
            assert abs((left + right) / 2 - 14) <= 1, "in the middle across"
            assert min(left, top, 28 - right, 28 - bottom) >= 1, "with a margin"
    assert heights["C"][0] < heights["c"][0]
    assert heights["O"][0] < heights["o"][0]
    assert abs(heights["c"][1] - heights["C"][1]) <= 1, "on one baseline"
    assert heights["g"][1] > heights["x"][1] + 1


@pytest.mark.parametrize("size", [8, 33, 64])
def test_any_size(fonts: Path, size: int) -> None:
    (face,) = faces_of(fonts / "blocks.ttf", "blocks.ttf")
    assert {picture.size for picture in draw(face, size).pictures} == {(size, size)}


@pytest.mark.parametrize(
    ("form_of", "reason"),
    [
        (lambda each: [] if each == "k" else letters()[each], "draws nothing for k"),
        (lambda each: [(x, y) for x in range(5) for y in range(7)], "has 1 different pictures for 62 characters"),
        (lambda each: letters()[each.upper()], "has 36 different pictures for 62 characters"),
        (lambda each: None if each in CHARACTERS[10:] else letters()[each], "has no A"),
        (lambda each: [(0, 0)], "its largest character measures 0.09 em"),
        (lambda each: [(0, 0), (25, 25)] if each == "Q" else letters()[each], "most of its characters are small beside"),
    ],
)
def test_fonts_that_are_no_alphabet(form_of: Callable[[str], Any], reason: str, tmp_path: Path) -> None:
    path = write_font(tmp_path / "font.ttf", "Font", form_of=form_of)
    (face,) = faces_of(path, path.name)
    with pytest.raises(UnusableFontError, match=reason):
        draw(face, 28)


def test_every_member_of_a_collection(tmp_path: Path) -> None:
    path = write_collection(tmp_path / "three.ttc", "One", "Two", "Three")
    faces = list(faces_of(path, path.name))
    assert [(face.index, face.family) for face in faces] == [(0, "One"), (1, "Two"), (2, "Three")]
    assert len({draw(face, 28).pictures[0].tobytes() for face in faces}) == 3


def test_every_named_style_of_a_variable_font() -> None:
    spec = find_spec("textual_serve")
    if spec is None or spec.origin is None:
        pytest.skip("textual-serve, which brings a variable font, is not installed")
    path = Path(spec.origin).parent / "static" / "fonts" / "RobotoMono-VariableFont_wght.ttf"
    faces = {face.style: face for face in faces_of(path, path.name)}
    assert {"Thin", "Regular", "Bold"} <= set(faces)
    black = [sum(map(sum_of, draw(faces[style], 28).pictures)) for style in ("Thin", "Regular", "Bold")]
    assert black == sorted(black)
    assert black[0] < black[1] / 1.5


def sum_of(picture: Image.Image) -> int:
    return int(np.asarray(picture).sum())


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 1 << 16))
def test_a_damaged_font_is_drawn_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(font_bytes("Blocks"))
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.ttf"
    path.write_bytes(content[: max(cut, 100)] if cut < len(content) // 4 else content)
    with contextlib.suppress(UnusableFontError):
        for face in faces_of(path, path.name):
            assert {picture.size for picture in draw(face, 28).pictures} == {(28, 28)}


def test_a_character_of_no_measure_is_not_drawn(tmp_path: Path) -> None:
    far = [(0, 0), (300, 300)]
    path = write_font(tmp_path / "far.ttf", "Far", form_of=lambda each: far if each == "A" else letters()[each])
    (face,) = faces_of(path, path.name)
    with pytest.raises(UnusableFontError, match="draws 'A' 30 em large"):
        draw(face, 28)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(fonts: Path, tmp_path: Path) -> None:
    path = tmp_path / "blocks.ttf"
    path.write_bytes((fonts / "blocks.ttf").read_bytes())
    path.chmod(0)
    with pytest.raises(UnusableFontError, match=r"^cannot be read: Permission denied$"):
        list(faces_of(path, path.name))


def test_a_file_that_is_gone_is_named_without_its_place(tmp_path: Path) -> None:
    with pytest.raises(UnusableFontError, match=r"^cannot be read: No such file or directory$"):
        list(faces_of(tmp_path / "gone.ttf", "gone.ttf"))


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_font(tmp_path / os.fsdecode(b"caf\xe9.ttf"), "Caf\u00e9\n\x07")
    write_font(tmp_path / "lean.ttf", "Lean", lean=0.3)
    make(["--list", "--fonts", str(tmp_path)])
    # FreeType's names have no letters beyond ASCII.
    assert "\tCaf\tRegular\tcaf\u00e9.ttf\n" in capsys.readouterr().out


def test_the_font_that_pillow_brings_is_recognised(tmp_path: Path) -> None:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    path = tmp_path / "plain.ttf"
    assert isinstance(font.path, BytesIO)
    path.write_bytes(font.path.getvalue())
    (face,) = faces_of(path, path.name)
    assert face.family == "Aileron"
    assert len(draw(face, 28).pictures) == 62


def test_without_fonts_it_says_so(tmp_path: Path) -> None:
    empty, output = tmp_path / "empty", tmp_path / "glyphs"
    empty.mkdir()
    with pytest.raises(DataError, match=f"there are no fonts in {empty}") as none:
        make([str(output), "--fonts", str(empty)])
    assert (none.value.code, none.value.fields) == ("not-found", ("fonts",))
    (empty / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(DataError, match=r"none of 1 font files has all of 0-9 A-Z a-z: broken.ttf cannot be read"):
        make([str(output), "--fonts", str(empty)])
    write_font(empty / "blocks.ttf", "Blocks")
    with pytest.raises(DataError, match="all fonts are of one family, Blocks, and validation needs another"):
        make([str(output), "--fonts", str(empty)])
    with pytest.raises(InputError, match="there is no folder") as missing:
        make([str(output), "--fonts", str(tmp_path / "missing")])
    assert (missing.value.code, missing.value.fields) == ("not-found", ("fonts",))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        (["out", "--size", "7"], "size", "out-of-range"),
        (["out", "--validation", "1"], "validation", "out-of-range"),
        (["out", "--validation", "nan"], "validation", "out-of-range"),
        ([], "output", "missing"),
        (["out", "--siez", "7"], None, "usage"),
    ],
)
def test_arguments_that_cannot_be(arguments: list[str], field: str | None, code: str) -> None:
    with pytest.raises(InputError) as refused:
        make(arguments)
    assert (refused.value.field, refused.value.code) == (field, code)


def test_an_output_is_replaced_when_that_is_asked_for_and_it_is_ours(fonts: Path, tmp_path: Path) -> None:
    output = tmp_path / "glyphs"
    command = [str(output), "--fonts", str(fonts), "--size", "8"]
    make(command)
    with pytest.raises(InputError, match="exists already"):
        make(command)
    make([*command, "--seed", "1", "--force"])
    assert listing(output)["seed"] == 1
    (output / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"thesis\.txt"):
        make([*command, "--force"])


def test_the_list_writes_nothing(fonts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(["--list", "--fonts", str(fonts)])
    printed = capsys.readouterr()
    rows = [line.split("\t") for line in printed.out.splitlines()]
    assert ["left out", "No Q", "Regular", "no-q.ttf", "has no Q"] in rows
    assert sum(row[0] in ("train", "val") for row in rows) == 6
    assert "310 pictures of 5 fonts" in printed.err
    assert not list(tmp_path.iterdir())


INTERRUPTED = """
import os, signal, sys
from tleg.data import glyphs, making

signal.signal(signal.SIGINT, signal.default_int_handler)  # What is started in the background has it ignored.

def count(done, total):
    if counted.append(done) or len(counted) > 12:  # Drawing is over, and writing has begun.
        assert any(name.endswith(".tmp") for name in os.listdir("."))
        os.kill(os.getpid(), int(sys.argv[1]))

counted = []
glyphs.counting = lambda title: __import__("contextlib").nullcontext(count)
sys.exit(making.run_program(lambda: glyphs.make(sys.argv[2:])))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupt_leaves_nothing(
    number: int, code: int, fonts: Path, tmp_path: Path, run_python: Callable[..., CommandResult]
) -> None:
    done = run_python(INTERRUPTED, int(number), "glyphs", "--fonts", fonts, cwd=tmp_path)
    assert (done.code, list(tmp_path.iterdir())) == (code, []), done.stderr
    assert "Traceback" not in done.stderr


def test_programs_read_errors_as_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_python: Callable[..., CommandResult]
) -> None:
    run_it = "import runpy, sys; sys.argv[0] = 'glyphs'; runpy.run_module('tleg.data.glyphs', run_name='__main__')"
    done = run_python(run_it, "out", "--fonts", tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == f"tleg: there are no fonts in {tmp_path}; install some, or name folders: --fonts\n"
    monkeypatch.setenv("TLEG_ERRORS", "json")
    document = json.loads(run_python(run_it, "out", "--fonts", tmp_path).stderr)
    assert (document["code"], document["field"]) == ("not-found", "fonts")


def test_links_are_followed_once(fonts: Path, tmp_path: Path) -> None:
    (tmp_path / "fonts").symlink_to(fonts)
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "more" / "deep" / "up").symlink_to(tmp_path)
    found = find_font_files([tmp_path / "more", tmp_path])
    assert sorted(found.values()) == sorted(f"deep/up/fonts/{name}" for name in find_font_files([fonts]).values())


def test_where_a_system_keeps_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "share" / "fonts").mkdir(parents=True)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path}/share:{tmp_path}/other")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "mine"))
    assert font_folders()[0] == tmp_path / "share" / "fonts"
    assert all(folder.is_dir() for folder in font_folders())


def test_a_dry_run_takes_it(made: Path, run_cli: Callable[..., CommandResult]) -> None:
    model = ["img_size=28", "patch_size=7", "embed_dim=24", "num_heads=2", "in_chans=1"]
    arguments = [word for each in model for word in ("--model-arg", each)]
    done = run_cli(
        "learn", "--architecture", "vit_tiny_patch16_224", *arguments, "--data", made, "--batch-size", 62, "--dry-run"
    )
    assert done.code == 0, done.stderr
    assert "310 training and 62 validation images" in done.stdout


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Lato Light", "lato"),
        ("DejaVu Sans Condensed", "dejavu sans"),
        ("LM Roman 10", "lm roman"),
        ("EB Garamond 12pt SemiBold Italic", "eb garamond"),
        ("Bold", "bold"),
        ("Noto Sans Mono", "noto sans mono"),
        ("Gentium Book Basic", "gentium book basic"),
    ],
)
def test_a_familys_name(name: str, family: str) -> None:
    assert family_of(name) == family


SIZES = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.integers(1, 60), min_size=2, max_size=30)


@given(SIZES, st.floats(0.001, 0.999), st.integers(0, 5))
def test_what_is_chosen_for_validation(sizes: dict[str, int], part: float, seed: int) -> None:
    chosen = choose_validation(sizes, part, seed)
    taken, room = sum(sizes[name] for name in chosen), part * sum(sizes.values())
    assert set() < chosen < set(sizes)
    assert taken <= room or chosen == {min(chosen)}
    if taken <= room:
        assert all(taken + size > room for name, size in sizes.items() if name not in chosen), "as many as fit"
    else:
        assert taken == min(sizes.values())
    assert choose_validation(dict(reversed(sizes.items())), part, seed) == chosen


FORMS = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 255)), min_size=1, max_size=20)


@given(FORMS)
def test_groups_are_families_and_their_kin(fonts: list[tuple[str, int]]) -> None:
    families = [family for family, _ in fonts]
    forms = np.array([[grey] * 5 for _, grey in fonts], np.uint8)
    groups = group_fonts(families, forms)
    # By hand: what is together grows until nothing more belongs to it.
    near: dict[int, set[int]] = defaultdict(set)
    for one, other in itertools.product(range(len(fonts)), repeat=2):
        if families[one] == families[other] or abs(fonts[one][1] - fonts[other][1]) <= 30:
            near[one].add(other)
    for first in range(len(fonts)):
        together, edge = {first}, {first}
        while edge:
            edge = set().union(*(near[each] for each in edge)) - together
            together |= edge
        assert {each for each, group in enumerate(groups) if group == groups[first]} == together
        assert groups[first] == min(families[each] for each in together)


def test_many_fonts_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    families = [f"{number:02}" for number in range(20)]
    forms = np.array([[10 * number] for number in range(20)], np.uint8)
    forms[10:] += 45
    whole = group_fonts(families, forms)
    monkeypatch.setattr(glyphs, "_ROWS_AT_ONCE", 3)
    assert group_fonts(families, forms) == whole == ["00"] * 10 + ["10"] * 10
