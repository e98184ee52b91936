"""What results are called."""

from pathlib import Path

import pytest

from tleg.runs.run import LEARNGENE, MODEL, RunFolder, name_of


def test_a_result_in_the_folder_of_its_run_is_called_by_the_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    file, folder = run.exports / LEARNGENE, run.exports / MODEL
    file.touch()
    folder.mkdir()
    assert name_of(file) == name_of(folder) == run.id
    monkeypatch.chdir(run.exports)
    assert name_of(Path(LEARNGENE)) == name_of(Path(MODEL)) == run.id
    assert name_of(Path("..") / "exports" / LEARNGENE) == run.id
    monkeypatch.chdir(folder)
    assert name_of(Path()) == run.id


def test_whatever_has_a_name_of_its_own_keeps_it(run: RunFolder, tmp_path: Path) -> None:
    file = run.exports / LEARNGENE
    file.touch()
    named = tmp_path / "gene.safetensors"
    named.symlink_to(file)
    assert name_of(named) == "gene"
    assert name_of(run.exports / "other.safetensors") == "other"
    assert name_of(Path("fashion-mnist")) == "fashion-mnist"
    (tmp_path / "exports" / MODEL).mkdir(parents=True)  # In no run.
    assert name_of(tmp_path / "exports" / MODEL) == "model"
    assert name_of(tmp_path / "exports" / LEARNGENE) == "learngene"
    (tmp_path / "v1.5").mkdir()
    assert name_of(tmp_path / "v1.5") == "v1.5"
