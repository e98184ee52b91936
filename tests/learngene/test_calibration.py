"""Temperatures in a record: which depth has which, what is refused, and that files stay of the version that they had."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import FileFormatError
from tleg.learngene.calibration import Calibration, calibration_in
from tleg.learngene.container import read_header
from tleg.models.learngene import Learngene
from tleg.serialize import encode


def made(**changes: Any) -> Calibration:
    known: dict[str, Any] = {"temperature": 0.75, "data": "pets validation", "images": 50, "seed": 3}
    return Calibration(**{**known, "num_classes": 7, "image_size": (28, 28), **changes})


def test_a_depth_has_its_own_temperature_or_that_of_all() -> None:
    found = made(by_depth={"3": 0.6, "2-2-6-2": 0.9})
    assert (found.at(3), found.at((2, 2, 6, 2)), found.at(4), found.at(None)) == (0.6, 0.9, 0.75, 0.75)
    assert made().at(3) == 0.75
    assert str(found) == "fitted to 50 images of pets validation"


def test_it_is_of_one_head_and_one_size() -> None:
    assert made().fits(7, (28, 28))
    assert not made().fits(8, (28, 28))
    assert not made().fits(7, (56, 56))


def test_what_is_written_is_read() -> None:
    for each in (made(), made(by_depth={"3": 0.6})):
        assert calibration_in({"calibration": encode(each), "data": "pets"}) == each
    assert calibration_in({"data": "pets"}) is None
    assert "by_depth" not in encode(made())


@pytest.mark.parametrize("value", [0, -1, 0.009, 101, float("nan"), float("inf")])
def test_what_is_no_temperature_is_refused(value: float) -> None:
    with pytest.raises(FileFormatError, match=r"lies between 0\.01 and 100"):
        made(temperature=value)
    with pytest.raises(FileFormatError, match=r"lies between 0\.01 and 100"):
        made(by_depth={"3": value})


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (5, "calibration must be an object"),
        ({"temperature": 1.0}, "calibration lacks the field 'data'"),
        ({**encode(made()), "bins": 15}, "unknown field 'bins'"),
        ({**encode(made()), "temperature": "1"}, r"calibration\.temperature must be a number"),
    ],
)
def test_a_damaged_record_is_refused_in_a_header_too(tiny_learngene: Any, record: Any, words: str) -> None:
    with pytest.raises(FileFormatError, match=words):
        calibration_in({"calibration": record})
    with pytest.raises(FileFormatError, match=words):
        tiny_learngene(learned={"calibration": record})


def test_a_file_with_one_is_of_the_version_and_fields_that_it_had(tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene(learned={"data": "pets"})
    kept = replace(learngene.header, learned={**learngene.header.learned, "calibration": encode(made())})
    Learngene(kept, learngene.tensors).save(tmp_path / "gene.safetensors")
    header = read_header(tmp_path / "gene.safetensors")
    assert header.version == learngene.header.version == 1
    assert replace(header, learned=learngene.header.learned, sha256="") == learngene.header
    assert calibration_in(header.learned) == made()
