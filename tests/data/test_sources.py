"""Every data source through everything that takes data; and one more, which is registered here alone."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.fashion_files import fill_fashion_mnist
from tests.data.test_image_files import fill
from tests.data.test_tar import make as make_archive
from tests.project.test_imports import HEAVY
from tleg.data.counting import count_training_images
from tleg.data.datasets import PARTS, Data, Wanted
from tleg.data.fashion_mnist import ArrayImages
from tleg.data.open import open_data
from tleg.data.sources import SOURCES, DataSource, data_name, register, source_of
from tleg.errors import DataError
from tleg.recipes.fields import option_named
from tleg.recipes.learning import LearnRecipe

ROOT = Path(__file__).resolve().parents[2]


class Noise(DataSource):
    """'noise:N': N images of each of two classes, N - 1 of each for validation."""

    name = "noise"
    forms = ("noise:N",)
    help = "noise:N"

    def recognises(self, text: str, place: Path | None = None) -> bool:
        return text.startswith("noise:")

    def open(self, text: str, wanted: Wanted) -> Data:
        count = self._count(text)
        images = np.random.default_rng(0).integers(0, 255, (2 * count, 4, 4), dtype=np.uint8)
        train = ArrayImages(images, np.arange(2 * count, dtype=np.uint8) % 2)
        held_out = train if wanted.split == "train" else ArrayImages(images[2:], train.labels[2:])
        return Data(self.name_of(text), ("even", "odd"), train, held_out, 1, (4, 4), part=PARTS[wanted.split or "val"])

    def name_of(self, text: str) -> str:
        return f"{self._count(text)} of noise"

    def count(self, text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
        return iter((self._count(text),) * 2)

    def _count(self, text: str) -> int:
        return int(text.partition(":")[2])


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(Noise())
    yield
    del SOURCES["noise"]


def fashion_mnist(root: Path) -> str:
    return fill_fashion_mnist(root, train=30, validation=30)


def folder(root: Path) -> str:
    fill(root / "pets", {f"{split}/{name}": 5 for split in ("train", "val") for name in ("cat", "dog")})
    return str(root / "pets")


def heap(root: Path) -> str:
    fill(root / "heap", {"cats": 5, "dogs/small": 4})
    return f"unlabelled:{root / 'heap'}"


def archives(root: Path) -> str:
    for split in ("train", "val"):
        make_archive(root / f"{split}.tar", {"cat": 3, "dog": 4})
    return f"tar:{root}"


# By the kind: what makes one of its data sets, and how many training images it has; None: they cannot be counted unopened.
MADE: dict[str, tuple[Callable[[Path], str], int, int | None]] = {
    "fashion-mnist": (fashion_mnist, 30, None),
    "folder": (folder, 10, 10),
    "unlabelled": (heap, 7, 7),
    "tar": (archives, 7, 7),
    "noise": (lambda root: "noise:6", 12, 12),
}


class TimmSet:
    """What timm returns for a set of torchvision's."""

    classes = ("cat", "dog")

    def __init__(self, labels: list[int]) -> None:
        self.targets = labels

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return Image.new("RGB", (4, 4), (index, 0, 0)), self.targets[index]


@pytest.fixture
def made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str, int, int | None]:
    """A data set of a kind: (kind, text, training images, those that can be counted unopened)."""
    kind = request.param
    if kind == "timm":
        import timm.data

        monkeypatch.setattr(timm.data, "create_dataset", lambda *_, **options: TimmSet([0, 1] * 4))
        return kind, f"torch/pets:{tmp_path}", 8, None
    make, images, counted = MADE[kind]
    return kind, make(tmp_path), images, counted


every_kind = pytest.mark.parametrize("made", [*SOURCES, "noise"], indirect=True)


@every_kind
def test_recognised_named_opened_and_counted(made: tuple[str, str, int, int | None]) -> None:
    kind, text, images, counted = made
    source = source_of(text)
    assert source is SOURCES[kind]
    data = open_data(text)
    assert data.name == data_name(text)
    assert len(data.train) == images
    assert len(data.validation) > 0
    assert count_training_images(text, None, 10**6) == counted
    halves = open_data(text, 0.5, 3)
    assert count_training_images(text, 0.5, 10**6) in (None, len(halves.train))
    assert halves.name == f"{data_name(text)} (split 0.5, seed 3)"
    assert open_data(text, wanted=Wanted(evaluation=True, split="train")).part == "training"


@pytest.mark.parametrize("made", [*(kind for kind in SOURCES if kind != "unlabelled"), "noise"], indirect=True)
def test_a_training_takes_it(made: tuple[str, str, int, int | None], run_cli: Any, tmp_path: Path) -> None:
    _, text, images, _ = made
    words = ("finetune", "--model=resnet10t", "--data", text, "--batch-size=4", "--epochs=1", "--device=cpu")
    done = run_cli(*words, "--dry-run", "--runs-dir", tmp_path / "runs", "--json")
    assert done.code == 0, done.stderr
    assert f'"training": {images}' in done.stdout


def test_an_unknown_text_is_refused_with_all_that_is_known(run_cli: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data("fashion-mnits")
    assert str(caught.value) == (
        "there is no folder and no known data set 'fashion-mnits'; known: fashion-mnist, "
        "unlabelled:FOLDER, noise:N, and timm's tar:FILE, torch/NAME, hfds/NAME. Did you mean 'fashion-mnist'?"
    )
    done = run_cli("finetune", "--model=resnet10t", "--data=nosie", "--dry-run", "--runs-dir", tmp_path / "runs")
    assert done.code == 2
    assert "known: fashion-mnist, unlabelled:FOLDER, noise:N, and timm's tar:FILE, torch/NAME, hfds/NAME" in done.stderr
    file = tmp_path / "it.tar"
    file.touch()
    with pytest.raises(DataError, match=f"or tar:{file}"):
        open_data(str(file))


def test_help_and_documentation_name_every_source() -> None:
    sources = [each for each in SOURCES.values() if each.name != "noise"]
    *some, last = [each.help for each in sources if each.help]
    assert f"{', '.join(some)}, or {last}." == option_named(LearnRecipe, "data").help
    text = (ROOT / "docs" / "data.md").read_text()
    assert [form for each in sources for form in each.forms if form.partition("/NAME")[0] not in text] == []


def test_a_source_is_registered_once() -> None:
    with pytest.raises(ValueError, match="noise"):
        register(Noise())


def test_the_table_is_light(run_python: Any) -> None:
    code = (
        "import sys, tleg.data.sources as sources; sources.source_of('torch/cifar10'); sources.data_name('fashion-mnist')\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == ""
    assert sys.modules["tleg.data.sources"].SOURCES is SOURCES


@pytest.mark.parametrize(
    ("text", "splitting", "problem"),
    [
        ("fashion-mnist", False, None),
        ("fashion-mnist:{here}", False, None),
        ("fashion-mnist:absent", False, "there is no folder absent"),
        ("{here}", True, None),
        ("{here}", False, "must hold the folders train/ and val/"),
        ("tar:{here}/absent.tar", False, "there is no"),
        ("torch/cifar10", False, None),
        ("noise:3", False, None),
    ],
)
def test_what_is_missing_is_seen_without_opening(tmp_path: Path, text: str, splitting: bool, problem: str | None) -> None:
    text = text.format(here=tmp_path)
    source = source_of(text)
    assert source is not None
    if problem is None:
        source.check(text, splitting=splitting)
    else:
        with pytest.raises(DataError, match=problem):
            source.check(text, splitting=splitting)
