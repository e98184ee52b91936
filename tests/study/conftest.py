"""Data that studies are trained on."""

from pathlib import Path

import pytest

from tests.training.conftest import load_digits_data


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 training and 200 validation images as a folder."""
    root, data = tmp_path_factory.mktemp("digits"), load_digits_data()
    for split, images, most in (("train", data.train, 1000), ("val", data.validation, 200)):
        for index in range(most):
            folder = root / split / str(images.label(index))
            folder.mkdir(parents=True, exist_ok=True)
            images.image(index).save(folder / f"{index}.png")
    return root


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A folder of runs of its own."""
    return tmp_path / "runs"
