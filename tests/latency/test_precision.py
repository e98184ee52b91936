"""What decides on a smaller number type: calibration on training images, accuracy on validation images, both figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tleg
from tests.conftest import make_learngene
from tleg.errors import DataError, InputError, VerificationError
from tleg.export.manifest import read_manifest
from tleg.export.precision_cost import AccuracyPair
from tleg.latency import precision
from tleg.training.accuracy import Score
from tleg.training.accuracy_drop import pair_accuracies, require_kept


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learngene of three classes, and images: six a class to train on, four to validate on."""
    folder = tmp_path_factory.mktemp("precision")
    make_learngene(num_classes=3, classes=("a", "b", "c")).save(folder / "gene.safetensors")
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 4)):
        for name in "abc":
            (folder / "data" / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "data" / part / name / f"{index}.png")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_SECONDS", 0.05)


def built(place: Path, folder: Path, **options: Any) -> Any:
    export = "onnx-elastic" if options["dtype"] == "int8-terms" else "onnx"
    depths = options.pop("depths", [3])
    (found,) = tleg.build(place / "gene.safetensors", depths, [export], folder, **options)
    return found


def test_labelled_images_calibrate_and_decide(place: Path, tmp_path: Path) -> None:
    found = built(place, tmp_path, dtype="int8", calibration=place / "data", calibration_images=10, max_drop=100)
    beside = found.manifest.beside_float32
    assert read_manifest(found.manifest_path).beside_float32 == beside
    assert (beside.calibration.data, beside.calibration.images) == ("data", 10)
    assert (beside.data, beside.images, beside.max_drop) == ("data validation", 12, 100)
    (pair,) = beside.accuracies
    exact = tleg.evaluate(place / "gene.safetensors", place / "data", depths=[3])[3]
    rounded = tleg.evaluate(found.path, place / "data")[3]
    assert (pair.depth, pair.before, pair.after) == ("3", exact.top1, rounded.top1)
    assert beside.bytes[1] == found.path.stat().st_size < 0.6 * beside.bytes[0]
    assert min(beside.seconds) > 0
    (said,) = tleg.predict(found.path, place / "data" / "val" / "a" / "0.png")
    assert sum(each.probability for each in said.classes) == pytest.approx(1)


def test_without_labels_ranges_are_taken_and_accuracy_is_not_measured(place: Path, tmp_path: Path) -> None:
    found = built(place, tmp_path, dtype="int8", calibration=f"unlabelled:{place / 'data' / 'train'}")
    beside = found.manifest.beside_float32
    assert beside.calibration.images == 17  # Of 18 one is held out.
    assert (beside.accuracies, beside.data, beside.max_drop) == ((), None, None)


def test_terms_in_8_bits_and_float16_are_measured_at_the_depths_asked_for(place: Path, tmp_path: Path) -> None:
    terms = built(place, tmp_path, dtype="int8-terms", depths=[2, 5], data=place / "data", max_drop=100)
    assert [each.depth for each in terms.manifest.beside_float32.accuracies] == ["2", "5"]
    half = built(place, tmp_path, dtype="float16", data=place / "data", limit=5, max_drop=100)
    assert half.manifest.beside_float32.images == 5
    assert built(place, tmp_path, dtype="float16", overwrite=True).manifest.beside_float32 is None


@pytest.mark.parametrize("dtype", ["int8", "int8-dynamic", "int8-terms"])
def test_a_file_of_pixels_and_a_fixed_batch_is_measured(dtype: str, place: Path, tmp_path: Path) -> None:
    more = {"calibration": place / "data"} if dtype == "int8" else {"data": place / "data"}
    found = built(
        place, tmp_path, dtype=dtype, batch=5, input_type="uint8", input_layout="nhwc", softmax=True, max_drop=100, **more
    )
    beside = found.manifest.beside_float32
    (pair,) = beside.accuracies
    assert (beside.images, pair.after) == (12, tleg.evaluate(found.path, place / "data", depths=depths_of(dtype))[3].top1)
    assert min(beside.seconds) > 0


def depths_of(dtype: str) -> list[int] | None:
    return [3] if dtype.endswith("terms") else None


def test_a_loss_is_refused_with_both_figures_and_nothing_is_written(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "pair_accuracies", lambda *_: (AccuracyPair("3", 75.0, 74.25),))
    out = tmp_path / "out"
    with pytest.raises(VerificationError) as error:
        built(place, out, dtype="int8-dynamic", data=place / "data")
    assert str(error.value) == (
        "the number type costs 0.75 points of accuracy at depth 3: 75.00 % in float32 is 74.25 % on 12 images of data "
        "validation, and 0.5 may be lost (--max-drop)"
    )
    assert error.value.fields == ("max-drop", "dtype")
    assert not [*out.glob("*")]
    assert built(place, out, dtype="int8-dynamic", data=place / "data", max_drop=0.75).path.is_file()


def test_features_have_no_accuracy(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an export of pooled features has none") as error:
        built(place, tmp_path / "out", dtype="int8-dynamic", data=place / "data", output_of="pooled")
    assert error.value.fields == ("data", "output-of")
    assert not (tmp_path / "out").exists()
    found = built(place, tmp_path, dtype="int8", calibration=place / "data", output_of="pooled")
    assert found.manifest.beside_float32.accuracies == ()


def test_data_that_is_not_there_is_said_before_anything_is_written(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        built(place, tmp_path / "out", dtype="int8", calibration=tmp_path / "missing")
    assert not (tmp_path / "out").exists()


def test_compress_measures_records_and_refuses(place: Path, tmp_path: Path) -> None:
    gene, small = place / "gene.safetensors", tmp_path / "small.safetensors"
    found = tleg.compress(gene, small, data=place / "data", depths=[2, 4], max_drop=100)
    scores = tleg.evaluate(small, place / "data", depths=[2, 4])
    assert {int(each.depth or 0): each.after for each in found.accuracies} == {d: s.top1 for d, s in scores.items()}
    reached = tleg.read_header(small).reached
    assert reached is not None
    assert dict(reached.top1) == {depth: round(score.top1 or 0, 2) for depth, score in scores.items()}
    tleg.compress(gene, small, data=place / "data", limit=6, max_drop=100, overwrite=True)
    assert tleg.read_header(small).reached is None  # Of some images alone.


def test_the_worst_depth_decides() -> None:
    def score(top1: float) -> Score:
        return Score(100, top1, None, 1.0)

    pairs = pair_accuracies({2: score(80.0), 4: score(90.0)}, {2: score(80.5), 4: score(89.6)})
    assert [round(pair.drop, 6) for pair in pairs] == [-0.5, 0.4]
    require_kept(pairs, 0.4, "x", 100)
    with pytest.raises(VerificationError, match=r"at depth 4: 90\.00 % in float32 is 89\.60 %"):
        require_kept(pairs, 0.3, "x", 100)
