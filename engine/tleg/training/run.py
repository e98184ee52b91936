"""A trainer process: what a run's folder asks for, from where its checkpoints left off.

`python -m tleg.training RUN_DIR`, alone or under torchrun, starts a run, goes on with one that was stopped, and leaves one
that is finished as it is. So whoever starts it, a person, torchrun after a failure, or SLURM after a requeue, does the same.
"""

import os
import sys
from pathlib import Path

import torch

from tleg.errors import TlegError
from tleg.exit_codes import ExitCode, exit_code_of
from tleg.recipes.document import from_values
from tleg.recipes.kinds import TrainingRecipe
from tleg.runs.control import clear_stop, stop_requested
from tleg.runs.events import EventWriter
from tleg.runs.failures import clear_failure
from tleg.runs.folder import RunFolder
from tleg.runs.lock import RunLock
from tleg.runs.processes import hostname, started_at
from tleg.runs.spec import RunSpec, read_spec
from tleg.runs.state import recall_state
from tleg.threads import Threads
from tleg.training.device import Placement
from tleg.training.devices import DeviceSampler
from tleg.training.distributed import World
from tleg.training.failures import leave_word, tell_failure
from tleg.training.jobs import run_job
from tleg.training.observer import Observer, TrainingStoppedError
from tleg.training.placing import placed
from tleg.training.publish import publish
from tleg.training.run_observer import RunObserver
from tleg.training.stop_signals import CONTINUE_LATER, StopSignals
from tleg.versions import versions

_SECONDS_FOR_THE_LOCK = 5.0


def run_trainer(path: Path, signals: StopSignals, threads: Threads | None = None) -> ExitCode:
    """Train what a run's folder asks for and return the exit code. Of several processes this is one.

    signals  those that ask to stop, installed already
    threads  with which this process computes; None leaves that to torch

    0: finished, or stopped on request; 1 and 2 as everywhere; 75: saved, and to be started again.
    """
    folder = RunFolder(path.absolute())
    if threads is not None:
        # OMP_NUM_THREADS alone gives no more than there are processors, and a run that goes on needs those that it had.
        torch.set_num_threads(threads.count)
    try:
        spec = read_spec(folder)
        recipe = from_values(spec.kind, spec.recipe)
    except TlegError as error:
        print(f"tleg: {error}", file=sys.stderr)
        return exit_code_of(error)
    if recall_state(folder).state == "finished":
        # Every process looks, so that none waits for one that has left.
        print(f"the run {folder.id} is finished; `tleg resume {folder.id} --epochs N` makes it longer")
        return ExitCode.DONE
    if int(os.environ.get("RANK", "0")) != 0:
        return _follow_main(folder, spec, recipe, signals)
    lock = RunLock(folder)
    if not lock.acquire(timeout=_SECONDS_FOR_THE_LOCK):
        print(f"tleg: the run {folder.id} is being trained already", file=sys.stderr)
        return ExitCode.USAGE
    try:
        _take_back_stop(folder)
        # Of an earlier trainer; another process of this one may have failed already.
        clear_failure(folder, before=started_at(os.getpid()))
        with EventWriter(folder) as writer:
            observer = RunObserver(folder, writer, signals, world_size=_world_size(), batch_size=recipe.recipe.batch_size)
            return _train(folder, spec, recipe, observer, signals)
    finally:
        lock.release()


def _take_back_stop(folder: RunFolder) -> None:
    """A request to stop that was answered, or that died with its trainer, is none to the next one.

    One of a run that waits, or that is started again in the middle, is not answered yet.
    """
    again = any(int(os.environ.get(name, "0")) for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))
    if recall_state(folder).state in ("stopped", "failed", *(() if again else ("running", "stopping"))):
        clear_stop(folder)


def _train(
    folder: RunFolder, spec: RunSpec, recipe: TrainingRecipe, observer: RunObserver, signals: StopSignals
) -> ExitCode:
    """The main process: train, put the result where it belongs, and say how it ended."""
    try:
        with placed(recipe) as (placement, world):
            observer.watch_devices(DeviceSampler(placement.device, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
            observer.describe(_describe(placement, world))
            os.chdir(_working_folder(spec, observer))
            result, reached = run_job(folder, recipe, placement, world, observer)
        if observer.away is not None:
            return _leave(observer)
        if spec.output is not None:
            observer.stage("result", f"writing {spec.output}")
            publish(folder, result, Path(spec.output), overwrite=spec.overwrite)
            result = Path(spec.output)
    except TrainingStoppedError as stopped:
        if observer.away is not None:
            return _leave(observer)
        later = not stop_requested(folder) and signals.continues(batch_job=spec.launch.slurm is not None)
        reason = f"{stopped}; it goes on when the job starts again" if later else str(stopped)
        code = ExitCode.CONTINUE if later else ExitCode.DONE
        observer.finish("queued" if later else "stopped", reason, code)
        return code
    except BaseException as error:
        if observer.away is not None:
            return _leave(observer)
        return tell_failure(folder, error, observer)
    observer.finish("finished", reached, ExitCode.DONE, str(result.absolute()))
    return ExitCode.DONE


def _leave(observer: RunObserver) -> ExitCode:
    """End without a folder. torchrun would start again what fails, and there is nothing to go on from."""
    print(f"tleg: {observer.leave()}", file=sys.stderr)
    again = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    return ExitCode.DONE if again else ExitCode.FAILED


def _follow_main(folder: RunFolder, spec: RunSpec, recipe: TrainingRecipe, signals: StopSignals) -> ExitCode:
    """Any other process: the same steps on other images, writing nothing."""
    observer = _Stoppable(signals)
    try:
        with placed(recipe) as (placement, world):
            os.chdir(_working_folder(spec, observer))
            run_job(folder, recipe, placement, world, observer)
    except TrainingStoppedError:
        later = signals.received == CONTINUE_LATER and not stop_requested(folder)
        return ExitCode.CONTINUE if later else ExitCode.DONE
    except BaseException as error:
        return leave_word(folder, error)
    return ExitCode.DONE


class _Stoppable(Observer):
    """Tells nothing; stops when a signal came."""

    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals

    def stop_requested(self) -> bool:
        return self._signals.received is not None


def _working_folder(spec: RunSpec, observer: Observer) -> str:
    """Relative paths mean what they meant where the run was made."""
    if os.path.isdir(spec.folder):
        return spec.folder
    observer.warn("folder", f"the folder {spec.folder}, where the run was made, is gone; relative paths may fail")
    return "."


def _describe(placement: Placement, world: World) -> dict[str, object]:
    return {
        "restart": int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        "host": hostname(),
        "pid": os.getpid(),
        "world_size": world.size,
        "device": str(placement.device),
        "precision": placement.precision,
        "threads": torch.get_num_threads(),
        "reason": placement.reason,
        "versions": versions("tleg", "torch", "timm"),
    }


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
