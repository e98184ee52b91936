"""What commands say of data: classes with their images, and a batch that is too large, before anything starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_image_files import fill
from tleg.cli.launch import class_lines
from tleg.recipes.io import from_values, to_values
from tleg.runs.launch import create_run

pytestmark = pytest.mark.usefixtures("forks")

RunCli = Callable[..., Any]
TOO_FEW = "tleg: 90 training images are too few for a batch of 128; the largest batch-size that fits is 90"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    fill(tmp_path / "small", {f"{split}/{name}": 30 for split in ("train", "val") for name in "abc"})
    return tmp_path / "small"


def test_classes_are_listed_with_their_images() -> None:
    lines = list(class_lines({"cat": (20, 5), "line\nbreak": (3, 0)}, 50.0))
    assert lines == [
        "classes     2; guessing gives 50.0 %; training + validation images of each:",
        "            cat 20 + 5, line\ufffdbreak 3 + 0",
    ]
    many = list(class_lines({f"class {number}": (number + 1, 1) for number in range(1000)}, 0.1))
    assert many[0].startswith("classes     1000; guessing gives 0.1 %")
    assert many[-1].endswith("and 980 more; 1 to 1000 training images each")
    assert all(len(line) <= 112 for line in many)


@pytest.mark.parametrize("how", [(), ("--dry-run",), ("--detach",), ("--slurm", "--print")])
def test_a_batch_larger_than_the_images_is_refused_before_a_run_is_made(
    small: Path, run_tleg: RunCli, tmp_path: Path, how: tuple[str, ...]
) -> None:
    result = run_tleg("finetune", "--model=resnet10t", "--data", small, "--runs-dir", tmp_path / "runs", *how)
    assert (result.code, result.stdout, result.stderr.splitlines()) == (2, "", [TOO_FEW])
    assert not (tmp_path / "runs").exists()


def test_a_run_that_cannot_go_on_for_that_is_not_started_again(small: Path, run_tleg: RunCli, tmp_path: Path) -> None:
    recipe = from_values("finetune", {"model": "resnet10t", "data": "small"})
    folder = create_run(tmp_path / "runs", kind="finetune", recipe=to_values(recipe), folder=tmp_path)
    state = folder.state_file.read_bytes()
    result = run_tleg("resume", folder.id, "--runs-dir", tmp_path / "runs")
    assert (result.code, result.stderr.splitlines()[-1]) == (2, TOO_FEW)
    assert folder.state_file.read_bytes() == state
