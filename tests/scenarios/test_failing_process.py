"""One process of several fails: the others must not wait for it, and its reason must be the one that is told."""

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from tleg.cli.follow import explain_end
from tleg.errors import ExitCode, FileFormatError, InputError, TlegError
from tleg.recipes.io import from_values
from tleg.runs.events import EventWriter
from tleg.runs.history import RunSnapshot
from tleg.runs.launch import create_run
from tleg.runs.processes import started_at
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, clear_failure, observe, read_failure, read_state, store_failure, write_state
from tleg.training import distributed
from tleg.training import worker as run
from tleg.training.device import choose_placement
from tleg.training.distributed import LostProcessError, World, join_world
from tleg.training.dry_run import examine
from tleg.training.observer import RunObserver, TrainingStoppedError
from tleg.training.process import StopSignals
from tleg.training.worker import check_shares, report_failure, report_to_main, set_up_process

PEER = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:9999"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create_run(tmp_path / "runs", kind="learn", recipe={})


@pytest.fixture
def observer(folder: RunFolder) -> Iterator[RunObserver]:
    with EventWriter(folder) as writer:
        yield RunObserver(folder, writer, StopSignals(), world_size=2, batch_size=8)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process group that was joined, on paper: what was done to it."""
    done: list[str] = []
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([(HashStore(), 1, 2)]))
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: done.append("joined"))
    monkeypatch.setattr(dist, "new_group", lambda *_, **__: None)
    monkeypatch.setattr(dist, "is_initialized", lambda: bool(done) and done[-1] != "destroyed")
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("destroyed"))
    return done


def test_the_group_is_taken_apart_when_all_leave_together_alone(group: list[str]) -> None:
    # NCCL waits there for processes that are gone.
    with join_world(torch.device("cpu")):
        pass
    assert group == ["joined", "destroyed"]
    with pytest.raises(TrainingStoppedError), join_world(torch.device("cpu"), together=(TrainingStoppedError,)):
        raise TrainingStoppedError("stopped")
    assert group == ["joined", "destroyed"] * 2
    for error in (torch.OutOfMemoryError("CUDA out of memory"), LostProcessError(PEER), KeyboardInterrupt(), OSError(28)):
        with (
            pytest.raises(type(error)),
            join_world(torch.device("cpu"), together=(TrainingStoppedError,)),
        ):
            raise error
        assert group[-1] == "joined"


def test_a_process_that_fails_leaves_word_and_then_ends_at_once(
    group: list[str], folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    ended: list[tuple[int, Any]] = []
    monkeypatch.setattr(run, "run_job", fail)
    monkeypatch.setattr(os, "_exit", lambda code: ended.append((code, read_failure(folder))))
    recipe = from_values("learn", _values(folder))
    spec: Any = SimpleNamespace(folder=str(folder.path), output=None)
    before = os.getcwd()
    try:
        code = run._follow_main(folder, spec, recipe, StopSignals())
    finally:
        os.chdir(before)
    with pytest.raises(SystemExit):  # The real one does not come back.
        distributed.leave(code)
    assert group == ["joined"]
    ((code_of_exit, word),) = ended
    assert code_of_exit == code == ExitCode.FAILED
    assert word is not None
    assert word[1].startswith("out of memory on the GPU")


def _values(folder: RunFolder) -> dict[str, Any]:
    return {"architecture": "vit_tiny_patch16_224", "data": str(folder.path), "batch-size": 8, "device": "cpu"}


def test_without_others_a_process_ends_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda _: pytest.fail("there is nobody to wait for"))
    with pytest.raises(SystemExit) as ended:
        distributed.leave(75)
    assert ended.value.code == 75


def test_a_trainer_ends_by_way_of_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg.training import __main__ as trainer
    from tleg.training import process as log_stream

    left: list[int] = []
    monkeypatch.setattr(sys, "argv", ["tleg.training", str(tmp_path)])
    for module, name in ((faulthandler, "enable"), (faulthandler, "register"), (log_stream, "tolerate_full_disks")):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(StopSignals, "install", lambda _: None)
    monkeypatch.setattr(run, "run_trainer", lambda *_: 3)
    monkeypatch.setattr(distributed, "leave", left.append)
    trainer.main()
    assert left == [3]


def test_only_what_processes_do_together_counts_as_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise RuntimeError(PEER)

    world = World(0, 2)
    for name in ("all_reduce", "broadcast", "all_gather", "monitored_barrier"):
        monkeypatch.setattr(dist, name, lost)
    parameter = torch.nn.Parameter(torch.zeros(3))
    together: list[Callable[[], object]] = [
        lambda: world.any(True),
        lambda: world.sum(torch.zeros(1)),
        lambda: world.from_main(1),
        lambda: world.first("a"),
        lambda: world.share(torch.zeros(1)),
        world.barrier,
        lambda: distributed.average_gradients([parameter], world),
    ]
    for do in together:
        with pytest.raises(LostProcessError, match="Connection closed by peer"):
            do()

    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(dist, "all_reduce", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        world.any(True)


def test_the_main_process_believes_another_only_when_it_lost_it(folder: RunFolder, observer: RunObserver) -> None:
    store_failure(folder, ExitCode.USAGE, "an old reason")
    assert report_failure(folder, RuntimeError("Error(s) in loading state_dict"), observer) == ExitCode.FAILED
    message = read_state(folder).message or ""
    assert "loading state_dict" in message
    assert "another process" not in message
    assert report_failure(folder, FileFormatError("the teacher is damaged"), observer) == ExitCode.USAGE
    assert read_state(folder).message == "the teacher is damaged"
    assert report_failure(folder, LostProcessError(PEER), observer) == ExitCode.USAGE
    assert read_state(folder).message == "an old reason"
    clear_failure(folder)
    assert report_failure(folder, LostProcessError(PEER), observer) == ExitCode.FAILED
    assert "another process of the run died" in (read_state(folder).message or "")


def test_the_first_word_counts_and_an_earlier_trainer_s_is_forgotten(folder: RunFolder) -> None:
    assert read_failure(folder) is None
    report_to_main(folder, LostProcessError(PEER))
    assert read_failure(folder) is None
    report_to_main(folder, InputError("the class 'cat' is empty"))
    report_to_main(folder, TlegError("later"))
    assert read_failure(folder) == (ExitCode.USAGE, "the class 'cat' is empty")
    began = started_at(os.getpid())
    assert began is not None
    # A process that started with this one has failed already.
    clear_failure(folder, before=began)
    assert read_failure(folder) is not None
    os.utime(folder.path / "failure.json", (began - 60, began - 60))
    clear_failure(folder, before=began)
    assert read_failure(folder) is None


def test_a_run_that_is_lost_says_what_another_process_left(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    write_state(folder, RunState(state="starting", host=os.uname().nodename))
    assert observe(folder).message == "its process is gone without a last word"
    store_failure(folder, ExitCode.USAGE, "there is no 'cuda:4'")
    state = observe(folder)
    assert (state.state, state.message, state.exit_code) == ("lost", "there is no 'cuda:4'", 2)
    assert explain_end(folder, state, RunSnapshot()) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "ended (there is no 'cuda:4')" in said
    assert "without a word" not in said


def test_every_process_sees_that_there_are_too_few_devices(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert choose_placement("cuda", local_rank=3, local_size=4).device == torch.device("cuda:3")
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    recipe = from_values("learn", {**_values(folder), "device": "auto"})
    with pytest.raises(InputError, match="8 devices were asked for, and torch sees 4"), set_up_process(recipe):
        pass
    # A dry run is one process, and looks for all.
    with pytest.raises(InputError, match="8 devices were asked for, and torch sees 4"):
        examine(from_values("learn", {**_values(folder), "device": "auto", "devices": 8}), folder.path)


@pytest.mark.parametrize(
    ("values", "processes", "words"),
    [
        ({"batch-size": 8}, 3, "does not divide into 3 equal parts"),
        # timm's Mixup pairs images, and would fail in the middle of a step.
        ({"batch-size": 12, "mixup": 0.8}, 4, r"must be a multiple of 8, not 12"),
        ({"batch-size": 16, "mixup": 0.8}, 8, ""),
    ],
)
def test_shares_are_looked_at_for_the_processes_that_there_are(
    folder: RunFolder, values: dict[str, Any], processes: int, words: str
) -> None:
    recipe = from_values("learn", {**_values(folder), **values})
    if not words:
        check_shares(recipe, processes)
        return
    with pytest.raises(InputError, match=words):
        check_shares(recipe, processes)


def test_what_torchrun_sets_must_be_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(InputError, match=r"not what torchrun sets beside it: .*MASTER_ADDR"),
        join_world(torch.device("cpu")),
    ):
        pass
