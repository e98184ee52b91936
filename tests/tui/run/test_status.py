"""Where a run stands, in one line."""

from pathlib import Path

from tleg.runs.follower import RunLook
from tleg.runs.history import RunSnapshot
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState
from tleg_tui.run.status import status


def test_a_lost_run_says_what_another_process_of_it_left(tmp_path: Path) -> None:
    def line(state: RunState) -> str:
        return status(RunLook(RunFolder(tmp_path), state, RunSnapshot()))[0].text

    word = RunState(state="lost", message="8 devices were asked for, and torch sees 4", exit_code=2)
    assert line(word) == "lost: 8 devices were asked for, and torch sees 4; it has no checkpoint yet · R goes on"
    silent = RunState(state="lost", message="its process is gone without a last word")
    assert line(silent) == "lost: the trainer ended without a word; it has no checkpoint yet · R goes on"
