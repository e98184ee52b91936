"""What a model says to images: the softmax of what evaluation computes, for files and folders, and what cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tleg
from tleg.data.transforms import Normaliser, evaluation_transform
from tleg.errors import DataError, InputError, TlegError
from tleg.models.learngene import Learngene
from tleg.recipes.prediction import Prediction

Cli = Callable[..., Any]
CLASSES = tuple(f"class {letter}" for letter in "abcdefg")


@pytest.fixture(scope="module")
def model(tiny_learngene: Any) -> Learngene:
    learngene: Learngene = tiny_learngene(classes=CLASSES)
    return learngene


@pytest.fixture
def gene(model: Learngene, tmp_path: Path) -> Path:
    model.save(tmp_path / "gene.safetensors")
    return tmp_path / "gene.safetensors"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures, of which three lie deeper, one that is none, and a text."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    generator = np.random.default_rng(3)
    for number in range(6):
        size = (40 + 5 * number, 32, 3)
        place = folder / ("deeper" if number % 2 else ".") / f"{number}.png"
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(place)
    (folder / "broken.png").write_bytes(b"\x89PNG and no more")
    (folder / "notes.txt").write_text("no picture")
    return folder


def expected(learngene: Learngene, depth: int, picture: Path) -> torch.Tensor:
    header = learngene.header
    with Image.open(picture) as image:
        pixels = evaluation_transform(header.architecture.input_size, header.preprocessing)(image)
    with torch.inference_mode():
        logits: torch.Tensor = learngene.expand(depth).eval()(Normaliser(header.preprocessing)(pixels[None]))
    return logits[0].softmax(0)


def test_it_is_the_softmax_of_the_descendant(model: Learngene, gene: Path, pictures: Path) -> None:
    said = tleg.predict(gene, pictures, 3, top=7, batch_size=4)
    names = ["0.png", "2.png", "4.png", "broken.png", "deeper/1.png", "deeper/3.png", "deeper/5.png"]
    assert [each.image for each in said] == [str(pictures / name) for name in names]
    for each in said:
        if each.image.endswith("broken.png"):
            assert each.classes == ()
            assert each.problem is not None
            assert "broken.png" in each.problem
            continue
        assert each.problem is None
        wanted = expected(model, 3, Path(each.image))
        assert [named.index for named in each.classes] == wanted.argsort(descending=True).tolist()
        for named in each.classes:
            assert named.name == CLASSES[named.index]
            assert named.probability == pytest.approx(float(wanted[named.index]), abs=1e-5)
        assert sum(named.probability for named in each.classes) == pytest.approx(1)


def test_an_export_says_what_the_learngene_says(gene: Path, pictures: Path, tmp_path: Path) -> None:
    built = tleg.build(gene, depths=[3], exports=["onnx", "onnx-elastic"], output=tmp_path / "exports")
    plain, elastic = (item.path for item in built)
    first = tleg.predict(gene, pictures / "0.png", 3, top=7)
    for path, depth in ((plain, None), (elastic, 3)):
        (said,) = tleg.predict(path, pictures / "0.png", depth, top=7)
        assert [each.name for each in said.classes] == [each.name for each in first[0].classes]
        for one, two in zip(said.classes, first[0].classes, strict=True):
            assert one.probability == pytest.approx(two.probability, abs=1e-4)
    with pytest.raises(InputError, match=r"--depth is for learngenes and elastic ONNX files: .* holds depth 3"):
        tleg.predict(plain, pictures, 3)
    with pytest.raises(InputError, match="say which with --depth, as in --depth 8"):
        tleg.predict(elastic, pictures)


def test_five_are_named_for_one_image_and_one_for_each_of_several(gene: Path, pictures: Path) -> None:
    assert [len(each.classes) for each in tleg.predict(gene, pictures / "0.png", 2)] == [5]
    two = [pictures / "0.png", pictures / "2.png"]
    assert [len(each.classes) for each in tleg.predict(gene, two, 2)] == [1, 1]
    assert [len(each.classes) for each in tleg.predict(gene, two, 2, top=100)] == [7, 7]


def test_names_that_are_not_known_are_numbers(tiny_learngene: Any, pictures: Path, tmp_path: Path) -> None:
    tiny_learngene().save(tmp_path / "gene.safetensors")
    ((one,),) = (each.classes for each in tleg.predict(tmp_path / "gene.safetensors", pictures / "0.png", 2, top=1))
    assert one.name == str(one.index)


def test_the_command_shows_one_image_and_several(gene: Path, pictures: Path, run_cli: Cli) -> None:
    one = run_cli("predict", gene, pictures / "0.png", "--depth", 3)
    assert (one.code, len(one.stdout.splitlines())) == (0, 5)
    said = tleg.predict(gene, pictures / "0.png", 3)[0].classes
    assert one.stdout.splitlines()[0] == f"{100 * said[0].probability:>6.2f} %  {said[0].name}"
    several = run_cli("predict", gene, pictures, "--depth", 3)
    assert several.code == 0
    assert len(several.stdout.splitlines()) == 6
    assert "cannot read the image" in several.stderr
    assert "left out of folders: 1 file that is no image (.txt 1)" in several.stderr
    document = json.loads(run_cli("predict", gene, pictures, "--depth", 3, "--top", 2, "--json").stdout)
    assert (document["kind"], document["depth"], len(document["images"])) == ("learngene", 3, 7)
    assert [len(each["classes"]) for each in document["images"]] == [2, 2, 2, 0, 2, 2, 2]


@pytest.mark.parametrize(
    ("images", "options", "says", "field"),
    [
        (["absent.png"], {"depth": "3"}, "there is no image absent.png", "images"),
        (["broken.png"], {"depth": "3"}, "cannot read the image", None),
        (["empty"], {"depth": "3"}, "the folder empty holds no images", "images"),
        ([], {"depth": "3"}, "no image was named", "images"),
        (["0.png"], {}, "holds every depth: say which with --depth", "depth"),
        (["0.png"], {"depth": "0"}, "depth", "depth"),
        (["0.png"], {"depth": "3", "top": 0}, "top", "top"),
    ],
)
def test_bad_input_is_one_sentence(
    images: list[str],
    options: dict[str, Any],
    says: str,
    field: str | None,
    gene: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pictures)
    (pictures / "empty").mkdir()
    from tleg.api import prepare_prediction

    with pytest.raises((InputError, DataError), match=says) as caught:
        prepare_prediction(gene, images, Prediction(**options)).run()
    assert "\n" not in str(caught.value)
    if field is not None:
        assert caught.value.field == field


def test_outputs_that_are_not_finite_are_refused(model: Learngene, pictures: Path, tmp_path: Path) -> None:
    # A file with such weights is refused; these overflow on the way.
    tensors = {**model.tensors, "head.weight": np.full_like(model.tensors["head.weight"], 3e38)}
    Learngene(model.header, tensors).save(tmp_path / "broken.safetensors")
    with pytest.raises(TlegError, match=r"the outputs for .*0\.png are not finite"):
        tleg.predict(tmp_path / "broken.safetensors", pictures / "0.png", 2)
