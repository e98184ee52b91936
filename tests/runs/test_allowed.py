"""What a run allows where it stands: one table, and everybody who acts refuses what it refuses."""

from typing import get_args

import pytest

from tleg.errors import InputError
from tleg.runs.allowed import Action, allows, check_allowed, check_not_queued, refusal
from tleg.runs.control import remove_run
from tleg.runs.launch import check_startable
from tleg.runs.lock import RunLock
from tleg.runs.run import CONTENTS, RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import ENDED, TERMINAL, RunState, StateName, write_state

STATES: tuple[StateName, ...] = get_args(StateName)
AT_WORK = {"starting", "running", "stopping"}
ALLOWED = {
    "stop": {"queued", "starting", "running"},
    "kill": AT_WORK,
    "start": set(STATES) - AT_WORK,
    "resume": {"queued", "stopped", "failed", "lost"},
    "remove": set(STATES) - AT_WORK,
    "track": set(STATES),
}


@pytest.mark.parametrize("action", get_args(Action))
def test_every_action_makes_sense_in_some_states(action: Action) -> None:
    assert {name for name in STATES if allows(action, RunState(state=name))} == ALLOWED[action]
    for name in STATES:
        reason = refusal(action, RunState(state=name))
        assert (reason == "") == allows(action, RunState(state=name))
        assert not reason or reason.startswith(f"is {name}")


def test_a_run_whose_job_waits_is_left_alone() -> None:
    queued = RunState(state="queued")
    assert {action for action in get_args(Action) if not allows(action, queued, "12")} == {
        "kill",
        "start",
        "resume",
        "remove",
    }
    assert refusal("remove", queued, "12") == "waits for its turn as job 12"
    assert allows("remove", RunState(state="stopped"), "12"), "it waited once"


def test_states_end_or_go_on() -> None:
    assert {name for name in STATES if RunState(state=name).at_work} == AT_WORK
    assert {name for name in STATES if RunState(state=name).ended} == ENDED == set(STATES) - AT_WORK - {"queued"}
    assert {name for name in STATES if RunState(state=name).terminal} == TERMINAL == ENDED - {"lost"}


@pytest.mark.parametrize("name", STATES)
def test_commands_refuse_what_is_not_allowed(run: RunFolder, name: StateName) -> None:
    state = RunState(state=name)
    for action in get_args(Action):
        if allows(action, state):
            check_allowed(action, run, state, None)
        else:
            with pytest.raises(InputError, match=f"run {run.id} {refusal(action, state)}; stop it first"):
                check_allowed(action, run, state, None)
    check_not_queued(run, state, None)
    write_state(run, state)
    if name in AT_WORK:
        with RunLock(run):
            with pytest.raises(InputError, match=f"run {run.id} is {name}; stop it first"):
                remove_run(run)
            with pytest.raises(InputError, match=f"run {run.id} is {name} already on .*; stop it first"):
                check_startable(run, read_spec(run))
        return
    check_startable(run, read_spec(run))
    remove_run(run)
    assert not run.path.exists()


def test_every_path_of_a_run_is_in_the_one_list(run: RunFolder) -> None:
    names = {name for name, each in vars(RunFolder).items() if isinstance(each, property)} - {
        "id",
        "exists",
        "has_checkpoint",
    }
    paths = {getattr(run, name) for name in names} | {run.tracked_file("*")}
    assert {path.name for path in paths} == {name.rstrip("/") for name in CONTENTS}
