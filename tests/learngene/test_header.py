"""Accuracies in a learngene's header: each belongs to its images and its precision, and is not lost to others."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.learngene.test_container import join, split
from tleg.errors import FileFormatError, InputError
from tleg.learngene.container import encode_metadata, read_header
from tleg.learngene.header import LearngeneHeader, Reached
from tleg.learngene.preview import preview


@pytest.fixture
def header(learngene_file: Path) -> LearngeneHeader:
    return replace(read_header(learngene_file), reached=None)


FULL = Reached("fashion-mnist validation", 10_000, {3: 87.55, 4: 88.0})
SPLIT = Reached("fashion-mnist (split 0.01) validation", 600, {3: 91.33})
HALF = Reached("fashion-mnist validation", 10_000, {3: 87.61}, "bfloat16")


def test_other_images_and_precisions_stand_beside(header: LearngeneHeader) -> None:
    found = header.with_measured(FULL).with_measured(SPLIT).with_measured(HALF)
    assert found.reached == FULL
    assert found.further == (SPLIT, HALF)
    assert [row.top1 for row in preview(found, (3, 4, 5)).rows] == [87.55, 88.0, None]
    more = found.with_measured(replace(HALF, top1={4: 88.1}))
    assert more.further == (SPLIT, replace(HALF, top1={3: 87.61, 4: 88.1}))


def test_figures_at_another_size_are_shown_at_that_size_alone(header: LearngeneHeader) -> None:
    small = Reached("fashion-mnist validation", 10_000, {3: 80.0}, image_size=(16, 16))
    assert header.version == 1
    found = header.with_measured(small)
    assert (found.reached, found.further, found.version) == (None, (small,), 2)
    assert [row.top1 for row in preview(found, (3,)).rows] == [None]
    both = found.with_measured(FULL)
    assert (both.reached, both.further) == (FULL, (small,))
    height, width = header.image_size
    own = replace(FULL, image_size=(height, width))
    architecture = replace(header.architecture, structure=None, input_size=(header.architecture.input_size[0], 16, 16))
    there = both.at_image_size(architecture, header.cost)
    assert (there.reached, there.further) == (replace(small, image_size=None), (own,))
    assert there.at_image_size(header.architecture, header.cost) == both
    # Side by side, figures on the same images alone.
    assert [row.top1 for row in preview([both, there], (3, 4)).rows] == [87.55, 88.0, 80.0, None]
    elsewhere = replace(there, reached=replace(small, image_size=None, images=500))
    assert [row.top1 for row in preview([both, elsewhere], (3, 4)).rows] == [87.55, 88.0, None, None]
    assert str(small) == "10,000 images of fashion-mnist validation at 16 pixels"


def test_what_is_shown_is_what_was_measured_first_in_float32(header: LearngeneHeader) -> None:
    assert header.with_measured(HALF).reached == HALF
    assert header.with_measured(HALF).with_measured(SPLIT).measured == (SPLIT, HALF)
    assert header.with_measured(HALF).with_measured(SPLIT).with_measured(FULL).measured == (SPLIT, FULL, HALF)


def test_figures_that_differ_are_replaced_when_that_is_wanted_alone(header: LearngeneHeader) -> None:
    found = header.with_measured(FULL)
    assert found.with_measured(FULL) == found
    other = replace(FULL, top1={3: 87.0, 5: 89.0})
    with pytest.raises(
        InputError, match=r"says 87.55 % for depth 3 already, and 87.00 % was .*; --force replaces 1 figure$"
    ):
        found.with_measured(other)
    assert found.with_measured(other, replace_others=True).reached == replace(FULL, top1={3: 87.0, 4: 88.0, 5: 89.0})


def test_they_are_read_as_they_were_written(header: LearngeneHeader, learngene_file: Path, tmp_path: Path) -> None:
    found = header.with_measured(FULL).with_measured(SPLIT).with_measured(replace(HALF, image_size=(8, 16)))
    document, rest = split(learngene_file.read_bytes())
    path = tmp_path / "it.safetensors"
    path.write_bytes(join({**document, "__metadata__": encode_metadata(found)}, rest))
    assert read_header(path) == found
    texts = encode_metadata(found)
    assert json.loads(texts["reached"]) == {"data": FULL.data, "images": 10_000, "top1": {"3": 87.55, "4": 88.0}}
    assert [each.get("precision") for each in json.loads(texts["further"])] == [None, "bfloat16"]


def test_one_set_in_float32_is_written_as_ever(header: LearngeneHeader) -> None:
    texts = encode_metadata(header.with_measured(FULL))
    assert "further" not in texts
    assert texts["version"] == "1"
    assert json.loads(texts["reached"]) == {"data": FULL.data, "images": 10_000, "top1": {"3": 87.55, "4": 88.0}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"further": (FULL,)}, "no first ones"),
        ({"reached": FULL, "further": (replace(FULL, top1={}),)}, "the same images in the same precision"),
    ],
)
def test_what_makes_no_sense_is_refused(header: LearngeneHeader, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FileFormatError, match=says):
        replace(header, **changes)


def test_inspect_and_preview_name_the_images(
    run_cli: Any, header: LearngeneHeader, learngene_file: Path, tmp_path: Path
) -> None:
    found = header.with_measured(FULL).with_measured(SPLIT).with_measured(replace(HALF, image_size=(8, 16)))
    document, rest = split(learngene_file.read_bytes())
    path = tmp_path / "it.safetensors"
    path.write_bytes(join({**document, "__metadata__": encode_metadata(found)}, rest))
    shown = run_cli("inspect", path).stdout
    for text in (
        "on 10,000 images of fashion-mnist validation\n",
        "on 600 images of fashion-mnist (split 0.01) validation\n",
        "on 10,000 images of fashion-mnist validation at 8x16 pixels, in bfloat16\n",
        "3: 91.33%",
        "3: 87.61%",
    ):
        assert text in shown
    done = run_cli("preview", path, "--depths", "3")
    assert "87.55" in done.stdout
    assert "top-1: on 10,000 images of fashion-mnist validation\n" in done.stderr
    told = json.loads(run_cli("preview", path, "--depths", "3", "--json").stdout)["top1_on"]
    assert told == {"data": "fashion-mnist validation", "images": 10_000, "precision": "float32"}


def test_a_depth_below_all_that_were_drawn_is_doubtful(header: LearngeneHeader) -> None:
    drawn = replace(header.auxiliary, depth=12, sampled_depths=(3, 6, 12))
    said = "not trained below depth 3: fine-tune it first"
    assert [drawn.doubt(depth) for depth in (1, 2)] == [said, said]
    assert not any(drawn.doubt(depth) for depth in (3, 4, 24, (1, 2, 1)))
    # Descendants of one depth alone are made to be fine-tuned.
    assert replace(drawn, sampled_depths=()).doubt(1) is None


def test_preview_doubts_the_depth_that_it_picks(run_cli: Any) -> None:
    said = "not trained below depth 3: fine-tune it first"
    assert said in run_cli("preview", "fashion-mnist", "--max-params", "120k").stderr
    assert said not in run_cli("preview", "fashion-mnist", "--max-params", "300k").stderr
