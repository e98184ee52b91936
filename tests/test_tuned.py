"""What fine-tuning a learngene's descendants reached, as runs tell it."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_learngene
from tleg.errors import InputError
from tleg.learngene.container import read_file
from tleg.learngene.frontier import TunedPoint
from tleg.runs.events import EventReader, EventWriter
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.tuned import Place, Tuned, runs_that_tuned, tuned_by_data, tuned_points

OWN = (32, 32)


def add_run(runs_dir: Path, learngene: Path, depth: int, *top1: float, kind: str = "finetune", **recipe: Any) -> RunFolder:
    """A run of a fine-tuning that reached these accuracies, one an epoch."""
    given = {"learngene": str(learngene), "depth": depth, "data": "digits", **recipe}
    folder = create_run(runs_dir, kind=kind, recipe=given, name="it")
    with EventWriter(folder) as events:
        for epoch, value in enumerate(top1, 1):
            scores = [{"depth": None, "top1": value, "images": 10}]
            events.write("evaluation", {"step": epoch, "epoch": epoch, "weights": "model", "scores": scores})
    return folder


def test_the_best_of_each_data_set_depth_and_size(learngene_file: Path, tmp_path: Path) -> None:
    runs_dir, other = tmp_path / "runs", tmp_path / "other.safetensors"
    make_learngene(seed=3).save(other)
    add_run(runs_dir, learngene_file, 4, 70.0, 60.0)
    best = add_run(runs_dir, learngene_file, 4, 80.0, 90.0)
    add_run(runs_dir, learngene_file, 8, 91.0)
    add_run(runs_dir, learngene_file, 8, 55.0, **{"image-size": "64"})
    add_run(runs_dir, learngene_file, 8, 88.0, data="fashion-mnist")
    add_run(runs_dir, learngene_file, 6)  # Which measured nothing yet.
    add_run(runs_dir, learngene_file, 4, 99.0, init="scratch")
    add_run(runs_dir, learngene_file, 4, 98.0, kind="train")
    add_run(runs_dir, other, 4, 97.0)
    file = read_file(learngene_file)
    found = tuned_by_data(file, runs_that_tuned(file, runs_dir))
    assert list(found) == ["fashion-mnist", "digits"]  # That of the learngene's own accuracies first.
    assert found["digits"][Place(OWN, 4)] == Tuned(90.0, 2, best.id, "digits")
    assert sorted(tuned_points(found)) == [
        TunedPoint("digits", OWN, 4, 90.0),
        TunedPoint("digits", OWN, 8, 91.0),
        TunedPoint("digits", (64, 64), 8, 55.0),
        TunedPoint("fashion-mnist", OWN, 8, 88.0),
    ]


def test_of_other_runs_no_events_are_read(learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.safetensors"
    make_learngene(seed=3).save(other)
    own = add_run(tmp_path / "runs", learngene_file, 4, 70.0)
    add_run(tmp_path / "runs", other, 4, 80.0)
    broken = add_run(tmp_path / "runs", learngene_file, 5, 90.0)
    broken.spec_file.write_text("{")
    read, opened = EventReader.read, list[EventReader]()

    def counted(reader: EventReader, *arguments: Any) -> Any:
        opened.append(reader)
        return read(reader, *arguments)

    monkeypatch.setattr(EventReader, "read", counted)
    assert [each.id for each in runs_that_tuned(read_file(learngene_file), tmp_path / "runs")] == [own.id]
    assert len(opened) == 1


def test_a_folder_that_is_missing_has_none_and_a_file_is_refused(learngene_file: Path, tmp_path: Path) -> None:
    file = read_file(learngene_file)
    assert list(runs_that_tuned(file, tmp_path / "none")) == []
    with pytest.raises(InputError, match="cannot read the runs in"):
        list(runs_that_tuned(file, learngene_file))
