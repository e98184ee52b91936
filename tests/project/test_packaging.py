"""What is shipped: a wheel that works from any folder with the learngene inside, and a source distribution."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_wheel_works_from_any_folder(distributions: Path, tmp_path: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"tleg", "tleg_tui"}
    assert {
        "tleg/py.typed",
        "tleg_tui/py.typed",
        "tleg/assets/characters.safetensors",
        "tleg/assets/fashion-mnist.safetensors",
    } <= set(names)
    code = (
        "import tleg, tleg.references; print(tleg.__file__); print(tleg.references.shipped()['fashion-mnist']); "
        "print(len(tleg.load('fashion-mnist').expand(5).blocks))"
    )
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    package, shipped, depth = done.stdout.splitlines()
    assert Path(package).is_relative_to(site)
    assert Path(shipped).is_relative_to(site)
    assert depth == "5"


def test_the_source_distribution_holds_what_the_wheel_is_built_from(distributions: Path) -> None:
    (source,) = distributions.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "assets/characters.safetensors",
        "assets/fashion-mnist.safetensors",
        "engine/tleg/models/learngene.py",
        "tleg_tui/__main__.py",
        "tests/conftest.py",
    }
    assert expected <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".ci/", "exports/"))]
