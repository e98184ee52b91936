"""docs/family.md: its first file runs as it stands, its second is read, and its keys are those that there are."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CommandResult
from tests.data.fashion_files import fill_fashion_mnist
from tleg.family.file import DeviceOptions, make_family
from tleg.family.results import read_slices
from tleg.recipes.fields import options_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "family.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.usefixtures("forks")
def test_the_first_file_runs_as_it_stands(
    run_cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("devices.toml").write_text(FILES[0])
    data = fill_fashion_mnist(tmp_path, 20, 60)
    planned = run_cli("family", "devices.toml", "--dry-run")
    assert planned.code == 0, planned.stderr
    assert [line.split()[0] for line in planned.stdout.splitlines()] == ["watch", "phone", "server"]
    done = run_cli("family", "devices.toml", "--output", "clothes", "--data", data)
    assert done.code == 0, done.stderr
    found = read_slices(tmp_path / "clothes")
    assert found is not None
    watch, phone, server = found.devices
    assert watch.bytes <= 450_000
    assert phone.macs <= 3_000_000
    assert (phone.dtype, server.depth, server.export) == ("float16", "12", "pytorch")
    assert {each.name for each in (tmp_path / "clothes").iterdir() if each.is_file()} >= {
        *("slices.json", "report.md", "report.html", "README.md")
    }


def test_the_second_file_is_a_whole_chain() -> None:
    family = make_family(tomllib.loads(FILES[1]))
    assert family.trains_ancestor
    assert family.learngene is None
    assert [bool(each.epochs) for each in family.devices] == [True, False, False]


def test_every_key_of_a_device_is_described() -> None:
    table = PAGE.split("Each `[devices.NAME]`")[1]
    for each in options_of(DeviceOptions):
        assert f"`{each.name}`" in table, each.name
