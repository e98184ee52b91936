"""One process of a run: what the run asks for, where it trains, what is said when it fails, where the result goes."""

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tleg.errors import ExitCode, ExportError, InputError, TlegError, exit_code_of, explain, last_words
from tleg.files import new_file, new_folder
from tleg.learngene.profile import format_depth
from tleg.recipes.io import from_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.control import clear_stop, stop_requested
from tleg.runs.events import EventWriter
from tleg.runs.lock import RunLock
from tleg.runs.processes import hostname, started_at
from tleg.runs.run import LEARNGENE, MODEL, RunFolder, contents, is_published, note_published
from tleg.runs.spec import RunSpec, read_spec
from tleg.runs.state import clear_failure, read_failure, recall_state, store_failure
from tleg.threads import Threads
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement, choose_placement
from tleg.training.distributed import LostProcessError, World, join_world
from tleg.training.finetune import finetune
from tleg.training.job import FinetuneJob, open_job
from tleg.training.learn import learn_to_file
from tleg.training.observer import Observer, RunObserver, TrainingStoppedError
from tleg.training.process import CONTINUE_LATER, StopSignals
from tleg.training.telemetry import DeviceSampler
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
        # OMP_NUM_THREADS alone gives no more than there are processors, and a run that is resumed needs those that it had.
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


def _train(
    folder: RunFolder, spec: RunSpec, recipe: TrainingRecipe, observer: RunObserver, signals: StopSignals
) -> ExitCode:
    """The main process: train, put the result where it belongs, and say how it ended."""
    try:
        with set_up_process(recipe) as (placement, world):
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
        return report_failure(folder, error, observer)
    observer.finish("finished", reached, ExitCode.DONE, str(result.absolute()))
    return ExitCode.DONE


def _follow_main(folder: RunFolder, spec: RunSpec, recipe: TrainingRecipe, signals: StopSignals) -> ExitCode:
    """Any other process: the same steps on other images, writing nothing."""
    observer = _Stoppable(signals)
    try:
        with set_up_process(recipe) as (placement, world):
            os.chdir(_working_folder(spec, observer))
            run_job(folder, recipe, placement, world, observer)
    except TrainingStoppedError:
        later = signals.received == CONTINUE_LATER and not stop_requested(folder)
        return ExitCode.CONTINUE if later else ExitCode.DONE
    except BaseException as error:
        return report_to_main(folder, error)
    return ExitCode.DONE


def run_job(
    folder: RunFolder, recipe: TrainingRecipe, placement: Placement, world: World, observer: Observer
) -> tuple[Path, str]:
    """Open what the recipe names, train, and return the result, in the run's folder, and a sentence on what it reached.

    Raises what `open_job`, `learn_to_file` and `finetune` raise.
    """
    job = open_job(recipe, world, observer, folder)
    checkpoints = Checkpoints(folder.checkpoints, recipe.keeping)
    if world.is_main:
        checkpoints.tidy()
    if isinstance(job, FinetuneJob):
        output = folder.exports / MODEL
        score = finetune(job, placement, output, overwrite=True, observer=observer, checkpoints=checkpoints, world=world)
        assert score.top1 is not None, "finetune refuses a model without figures"
        assert score.loss is not None
        return output, f"top-1 {score.top1:.2f} %, loss {score.loss:.4f}, on {score.images} images"
    output = folder.exports / LEARNGENE
    learngene = learn_to_file(
        job, placement, output, overwrite=True, observer=observer, checkpoints=checkpoints, world=world
    )
    reached = learngene.header.reached
    if reached is None:
        return output, "finished"
    by_depth = reached.by_depth
    best = max(by_depth, key=lambda depth: by_depth[depth])
    return output, f"top-1 {by_depth[best]:.2f} % at depth {format_depth(best)}, on {reached.images} images"


def publish(folder: RunFolder, result: Path, output: Path, *, overwrite: bool) -> None:
    """Copy a run's result, a file or a folder, to its output. An output that is this result already stays as it is.

    What the run put there before, when it was shorter, is replaced as well. Raises ExportError, saying where the result is,
    when it cannot be written or may not be replaced.
    """
    try:
        made = contents(result)
        overwrite = overwrite or is_published(folder, output)
        if made is not None:
            note_published(folder, made)
        if contents(output) == made:
            return
        if result.is_dir():
            with new_folder(output, overwrite=overwrite) as target:
                for path in result.iterdir():
                    shutil.copyfile(path, target / path.name)
        else:
            with new_file(output, overwrite=overwrite) as file:
                shutil.copyfile(result, file)
    except (ExportError, InputError, OSError) as error:
        raise ExportError(f"{error}. The result is in {result}") from error


@contextmanager
def set_up_process(recipe: TrainingRecipe) -> Iterator[tuple[Placement, World]]:
    """The device and precision of this process, joined with the others that torchrun started.

    Everything that can be wrong is looked at by every process before any waits for another. Raises InputError.
    """
    compute = recipe.compute
    rank, here, size = (environment_number(name) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    placement = choose_placement(compute.device, compute.precision, rank, max(here, 1))
    check_shares(recipe, max(size, 1))
    if placement.device.type == "cuda":
        torch.cuda.set_device(placement.device)
    with join_world(placement.device, together=(TrainingStoppedError,)) as world:
        yield placement, world


def check_shares(recipe: TrainingRecipe, processes: int) -> None:
    """Check that a batch divides among so many processes; torchrun may have others than the recipe. Raises InputError."""
    parts, batch_size = processes * recipe.recipe.accumulate, recipe.recipe.batch_size
    if batch_size % parts:
        raise InputError(
            f"batch-size {batch_size} does not divide into {parts} equal parts ({processes} processes times accumulate)",
            field=("batch-size", "accumulate", "devices", "nodes"),
            code="out-of-range",
        )
    if recipe.recipe.mixing and batch_size % (2 * processes):
        raise InputError(
            f"mixup and cutmix pair images in each of the {processes} processes: batch-size must be a multiple of "
            f"{2 * processes}, not {batch_size}",
            field="batch-size",
            code="out-of-range",
        )


def environment_number(name: str) -> int:
    """Return one of torchrun's variables, 0 where it is missing. Raises InputError when it is no number."""
    value = os.environ.get(name) or "0"
    try:
        return int(value)
    except ValueError as error:
        raise InputError(f"{name} is set to '{value}', which is no number", code="malformed") from error


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


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


def _working_folder(spec: RunSpec, observer: Observer) -> str:
    """Relative paths mean what they meant where the run was made."""
    if os.path.isdir(spec.folder):
        return spec.folder
    observer.warn("folder", f"the folder {spec.folder}, where the run was made, is gone; relative paths may fail")
    return "."


def _take_back_stop(folder: RunFolder) -> None:
    """A request to stop that was answered, or that died with its trainer, is none to the next one.

    One of a run that waits, or that is started again in the middle, is not answered yet.
    """
    again = any(int(os.environ.get(name, "0")) for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))
    if recall_state(folder).state in ("stopped", "failed", *(() if again else ("running", "stopping"))):
        clear_stop(folder)


def _leave(observer: RunObserver) -> ExitCode:
    """End without a folder. torchrun would start again what fails, and there is nothing to go on from."""
    print(f"tleg: {observer.leave()}", file=sys.stderr)
    again = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    return ExitCode.DONE if again else ExitCode.FAILED


class _Stoppable(Observer):
    """Tells nothing; stops when a signal came."""

    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals

    def stop_requested(self) -> bool:
        return self._signals.received is not None


def advice(error: BaseException) -> str:
    """Return one line: what failed and, where it is known, what to change."""
    text = last_words(error)
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "out of memory on the GPU: give --accumulate 2 (half the memory; batch norm and dropout see smaller parts), "
            "--gradient-checkpointing, or a smaller --batch-size"
        )
    if isinstance(error, TlegError):
        return text
    known = explain(error)
    return known if known is not None else f"unexpected {type(error).__name__}: {text[:300]}. The log has the place"


def report_failure(folder: RunFolder, error: BaseException, observer: RunObserver) -> ExitCode:
    """Say why the main process fails, in the log with the traceback, and whether torchrun will try again.

    When it fails because another process does, that one's reason is the reason.
    """
    traceback.print_exc()
    code, reason = exit_code_of(error), advice(error)
    if isinstance(error, LostProcessError):
        died = f"another process of the run died ({reason[:300]}); its last words are in train.log"
        code, reason = read_failure(folder) or (code, died)
    if observer.state.step:
        reason = f"{reason}. `tleg resume {folder.id}` goes on from the last checkpoint"
    restart, most = (int(os.environ.get(f"TORCHELASTIC_{name}", "0")) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    if restart < most and code != ExitCode.USAGE:
        observer.warn("restart", f"{reason}; starting again ({restart + 1} of {most})")
        return code
    observer.finish("failed", reason, code)
    return code


def report_to_main(folder: RunFolder, error: BaseException) -> ExitCode:
    """Say why another process than the main one fails: in the log, and where the main one and viewers look."""
    traceback.print_exc()
    code = exit_code_of(error)
    # That another one went away, that one explains.
    if not isinstance(error, LostProcessError):
        store_failure(folder, code, advice(error))
    return code
