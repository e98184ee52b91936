"""What a run allows where it stands: the one table, for commands, for the workbench and for what they call."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from tleg.errors import InputError
from tleg.runs.processes import job_waits
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, StateName

# 'start' starts a trainer, also one that makes a finished run longer; 'resume' is for runs that have steps left.
Action = Literal["stop", "kill", "start", "resume", "remove", "track"]


@dataclass(frozen=True, slots=True)
class _Rule:
    """In which states an action makes sense, what is said of a run in another one, and whether its job may be queued."""

    states: frozenset[StateName]
    otherwise: str = "is {state}"
    queued_job: bool = True


_AT_REST: Final[frozenset[StateName]] = frozenset({"queued", "finished", "stopped", "failed", "lost"})
_RULES: Final[Mapping[Action, _Rule]] = MappingProxyType(
    {
        "stop": _Rule(frozenset({"queued", "starting", "running"})),
        "kill": _Rule(frozenset({"starting", "running", "stopping"})),
        "start": _Rule(_AT_REST, "is {state} already", queued_job=False),
        "resume": _Rule(_AT_REST - {"finished"}, queued_job=False),
        "remove": _Rule(_AT_REST, queued_job=False),
        "track": _Rule(frozenset(get_args(StateName))),
    }
)


def refusal(action: Action, state: RunState, job: str | None = None) -> str:
    """Return why an action makes no sense for a run, as what follows 'the run': 'is running'; '' where it does make sense.

    state  as `observe` sees it
    job    the batch job of the run, or None; SLURM is not asked about it
    """
    rule = _RULES[action]
    if state.state not in rule.states:
        return rule.otherwise.format(state=state.state)
    if job is not None and state.state == "queued" and not rule.queued_job:
        return f"waits for its turn as job {job}"
    return ""


def allows(action: Action, state: RunState, job: str | None = None) -> bool:
    """Whether an action makes sense for a run; the arguments are those of `refusal`."""
    return not refusal(action, state, job)


def check_allowed(action: Action, folder: RunFolder, state: RunState, job: str | None) -> None:
    """Refuse an action that a run does not allow, and one on a run whose job SLURM put back into its queue.

    Raises InputError.
    """
    if reason := refusal(action, state, job):
        raise InputError(f"run {folder.id} {reason}; stop it first", code="wrong-state")
    if not _RULES[action].queued_job:
        check_not_queued(folder, state, job)


def check_not_queued(folder: RunFolder, state: RunState, job: str | None) -> None:
    """Refuse a run whose batch job waits for its turn, whatever else it says of itself. Raises InputError."""
    if job is not None and state.state == "queued":
        raise InputError(f"run {folder.id} waits for its turn as job {job}; stop it first", code="wrong-state")
    if job_waits(job):
        raise InputError(
            f"run {folder.id} is {state.state}, but its job {job} is in SLURM's queue; stop it first", code="wrong-state"
        )
