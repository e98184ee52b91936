"""The best of a run is one thing: what viewers call so is the checkpoint that is kept."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.test_history import checkpoint, evaluation, events, started
from tests.training.conftest import Recorder
from tleg.errors import InputError
from tleg.recipes.training import Keeping
from tleg.runs.history import RunSnapshot, best_of, fold
from tleg.training.checkpoint import Checkpoints, learngene_of_checkpoint, read_progress
from tleg.training.distributed import SINGLE
from tleg.training.resume import finished_model

UNSAVED = ("warning", {"code": "checkpoint", "text": "no checkpoint of step 4: the disk is full", "step": 4})


def test_of_equals_the_latest_is_the_best_and_what_was_not_measured_is_not() -> None:
    assert best_of([(None, 9, "d"), (50.0, 1, "a"), (70.0, 2, "b"), (70.0, 3, "c"), (60.0, 4, "e")]) == "c"
    assert best_of([(None, 1, "a")]) is None
    assert best_of([]) is None


@given(st.lists(st.sampled_from([None, 50.0, 60.0, 70.0]), min_size=1, max_size=8), st.integers(1, 3))
def test_what_is_called_best_is_on_the_disk(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float | None], keep_last: int
) -> None:
    checkpoints = Checkpoints(tmp_path_factory.mktemp("best"), Keeping(keep_last=keep_last))
    told, best_told = [started(0)], None
    for number, score in enumerate(scores, 1):
        saved = checkpoints.save(
            number,
            number,
            {"model": {"x": torch.zeros(1)}},
            milestone=False,
            score=score,
            optimizer={},
            scaler=None,
            about={},
        )
        told += [evaluation(number, score), checkpoint(number, best=saved.best)]
        best_told = number if saved.best else best_told
    best, shown = checkpoints.best(), fold(RunSnapshot(), events(*told)).best
    if best is None:
        assert shown is None
        assert best_told is None
    else:
        assert shown is not None
        assert best.is_dir()
        assert shown.step == best_told == read_progress(best).step
        assert shown.top1 == read_progress(best).score


def test_an_evaluation_without_its_checkpoint_is_not_called_best() -> None:
    first = [started(0), evaluation(2, 60.0), checkpoint(2, best=True), evaluation(4, 90.0)]
    assert fold(RunSnapshot(), events(*first)).best == fold(RunSnapshot(), events(*first)).evaluations[1]
    broken = fold(RunSnapshot(), events(*first, UNSAVED))
    assert broken.best == broken.evaluations[0]
    # Parts of the events give the same, and so does a later attempt that finds room.
    assert fold(fold(RunSnapshot(), events(*first)), events(UNSAVED)).best == broken.best
    again = fold(broken, events(checkpoint(4, best=True)))
    assert again.best == again.evaluations[1]


def test_a_best_that_nobody_knows_is_not_replaced_in_silence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", Keeping(result="best"))
    recorder, model = Recorder(), torch.nn.Linear(1, 1)
    finished_model(model, checkpoints, SINGLE, recorder)
    assert recorder.warnings == [
        ("result", "no checkpoint has an accuracy, so that the last weights are the result, not the best")
    ]
    with pytest.raises(InputError, match="none is known to be the best"):
        learngene_of_checkpoint(tmp_path, "best")


def test_a_run_that_goes_back_forgets_what_was_best(tmp_path: Path) -> None:
    told = [started(0), evaluation(2, 60.0), checkpoint(2, best=True), evaluation(4, 90.0), UNSAVED, started(2)]
    snapshot = fold(RunSnapshot(), events(*told, evaluation(4, 61.0), checkpoint(4, best=True)))
    assert snapshot.best == snapshot.evaluations[-1]
    assert snapshot.best is not None
    assert snapshot.best.top1 == 61.0
