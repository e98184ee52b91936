"""Runs killed at random moments, many times over: nothing is ever lost, and the end is the same to the bit.

TLEG_KILL_SEED repeats the moments of an earlier test, TLEG_KILLS changes their number (50).
"""

import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_run import LEARN, finish, kill, learned, start
from tleg.recipes.io import from_values, to_values
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.state import observe
from tleg.training.checkpoint import Checkpoints, read_checkpoint

# Every step is checkpointed and every epoch evaluated, so that kills fall into all of these.
CONSTANT: Mapping[str, Any] = {**LEARN, "checkpoint-steps": 1, "keep-last": 2, "epochs": 8}


def make(runs: Path, digits_folder: Path, processes: int, workers: int) -> RunFolder:
    values = {**CONSTANT, "data": str(digits_folder), "workers": workers, "devices": processes, "accumulate": 1}
    return create_run(runs, kind="learn", recipe=to_values(from_values("learn", values)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 2), (2, 0)])
def test_fifty_kills_at_random_moments(
    tmp_path: Path, digits_folder: Path, processes: int, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("TLEG_KILL_SEED", time.time_ns() % 2**31))
    kills = int(os.environ.get("TLEG_KILLS", "50"))
    moments = random.Random(seed)
    with capsys.disabled():
        print(f"\nTLEG_KILL_SEED={seed} TLEG_KILLS={kills}, {processes} processes, {workers} workers")
    whole = make(tmp_path / "whole", digits_folder, processes, workers)
    began = time.monotonic()
    finish(whole, processes=processes)
    length = time.monotonic() - began
    done = 0
    while done < kills:
        folder = make(tmp_path / "killed", digits_folder, processes, workers)
        reached, ended = 0, False
        while done < kills and not ended:
            process = start(folder, processes=processes)
            end = time.monotonic() + moments.uniform(0.3, 1.1) * length
            while time.monotonic() < end and process.poll() is None:
                time.sleep(0.002)
            ended = process.poll() is not None
            kill(process)
            if ended:
                break
            done += 1
            assert observe(folder).state in ("lost", "queued", "finished")
            # Whatever the moment: what is there under a checkpoint's name is whole, and no step is taken back.
            paths = Checkpoints(folder.checkpoints).paths()
            steps = [read_checkpoint(path).progress.step for path in paths]
            latest = max(steps, default=0)
            assert latest >= reached
            reached = latest
        finish(folder, processes=processes)
        assert learned(folder) == learned(whole), f"TLEG_KILL_SEED={seed}"
