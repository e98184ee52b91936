"""The training loop: the same for auxiliary models, descendants and ancestry models.

`Trainer.train` is all of it, top to bottom; what it calls stands below, in the order in which it is called.

Step s depends on the parameters before it, the recipe and s alone: everything random is seeded by its place. So a run that
resumes from a checkpoint equals one that was never interrupted, and so does one on more processes, within rounding where no
batch norm, dropout or drop-path sees how a step is cut.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F

from tleg.data.loader import Batch
from tleg.data.sampler import seed_everything
from tleg.data.transforms import Normaliser, PixelTransform
from tleg.errors import DataError, ExportError, InputError, TlegError
from tleg.learngene.header import Preprocessing
from tleg.recipes.training import Keeping
from tleg.runs.events import NO_CHECKPOINT
from tleg.runs.scalars import StepReport
from tleg.training.accuracy import CosineTally, Predictor, Score, describe_nonfinite, evaluate, monitored
from tleg.training.batches import TrainingBatches
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World, average_gradients, in_eval_mode
from tleg.training.job import Job
from tleg.training.losses import Losses, Objective, mean_losses
from tleg.training.observer import QUIET, Observer, TrainingStoppedError
from tleg.training.optim import TrainingState
from tleg.training.resume import finished_model, resume
from tleg.training.students import AuxiliaryStudent, Student, compile_student
from tleg.training.teacher import LastFeatures, Teacher
from tleg.training.watch import CurveWatch

_SECONDS_BETWEEN_REPORTS: Final = 0.5
# An evaluation on several processes cannot be left, and a job may end during it: work that is worth more is saved first.
_SECONDS_AT_RISK: Final = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A job, and what was made of it: everything that can be wrong with it was checked.

    transform    of training images
    input_size   (C, H, W) of the student
    layer_decay  each layer's learning rate as a part of the next one's; 1 is off
    about        what the weights are, stored with every checkpoint
    """

    job: Job[Any]
    student: Student
    transform: PixelTransform
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    placement: Placement
    world: World = SINGLE
    teacher: Teacher | None = None
    layer_decay: float = 1.0
    about: Mapping[str, Any] = field(default_factory=dict)


def train(plan: Plan, observer: Observer = QUIET, checkpoints: Checkpoints | None = None) -> nn.Module:
    """Train a student in place, from its latest checkpoint where there is one.

    Return the model whose weights are the result, in eval mode and the same in every process: the average with EMA, and the
    best checkpoint's where the run keeps the best.

    Raises TrainingStoppedError when the observer asked for it, DataError when there are too few images for a batch,
    TlegError when the loss is not finite or a checkpoint cannot be read.
    """
    plan.job.check_enough(plan.world.size)
    return Trainer(plan, observer, checkpoints).train()


class Trainer:
    """One training, from its first step to its last. `step` counts those that are done."""

    def __init__(self, plan: Plan, observer: Observer, checkpoints: Checkpoints | None) -> None:
        self.plan, self.observer, self.checkpoints = plan, observer, checkpoints
        job, device = plan.job, plan.placement.device
        self.world, self.recipe = plan.world, job.recipe.recipe
        self.steps, self.steps_per_epoch = job.steps, job.steps_per_epoch
        self.intervals = Intervals(job.recipe.keeping, self.steps, self.steps_per_epoch)
        self.student = plan.student.to(device)
        self.state = TrainingState(self.student, self.recipe, plan.placement, self.steps_per_epoch, plan.layer_decay)
        self.normalise = Normaliser(plan.preprocessing).to(device)
        self.embeds = job.recipe.distillation.embeds
        self.watch = CurveWatch()
        # On the device, so that looking for what is not finite makes no GPU wait.
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.losses: Losses | None = None
        self.evaluated: dict[str, Mapping[int | None, Score]] = {}
        self.saved_at = self.reported_at = time.monotonic()
        self.step = self.saved_step = self.reported_step = 0
        self.waited = 0.0

    def train(self) -> nn.Module:
        """Do the steps that are left, and return the model that is the result. Raises what the function `train` raises."""
        plan, recipe, world, state = self.plan, self.recipe, self.world, self.state
        self._resume()
        self.observer.started(self.step, self.steps, recipe.epochs)
        if text := batch_norm_warning(self.student, recipe.batch_size, world.size * recipe.accumulate):
            self.observer.warn("batch-norm", text)
        if recipe.compile:
            compile_student(self.student)
        if self._evaluation_is_due():  # It was stopped, or killed, before it could be evaluated.
            self._evaluate()
            self._save()
            if self._evaluation_is_due():
                raise self._stopped()

        batches = TrainingBatches(plan.job, plan.transform, plan.placement.device, world, self.observer, start=self.step)
        objective = Objective(recipe, plan.job.recipe.distillation, plan.teacher)
        self.student.train()
        self.reported_at = time.monotonic()
        for pixels, labels, unreadable in self._until_stopped(batches):
            batches.unreadable.note(unreadable, self.step + 1)

            # Forward and backward: the parts of the batch one after the other, and in each the depths of the step.
            seed_everything(recipe.seed, "step", self.step)
            pixels, labels = batches.mix(pixels, labels)
            depths, image_size = self.student.depths(self.step), self.student.image_size(self.step)
            state.optimizer.zero_grad(set_to_none=True)
            losses = []
            parts = zip(pixels.chunk(recipe.accumulate), labels.chunk(recipe.accumulate), strict=True)
            for part, (some_pixels, some_labels) in enumerate(parts, start=world.rank * recipe.accumulate):
                if part:
                    seed_everything(recipe.seed, "step", self.step, "part", part)
                for each in objective.losses(
                    self.student, self.normalise, some_pixels, some_labels, depths, plan.placement, image_size
                ):
                    state.scaled(each.total / (recipe.accumulate * len(depths))).backward()
                    losses.append(each)
            self.losses = mean_losses(losses)
            self.finite &= torch.isfinite(self.losses.total)

            # Update: clip the gradients, then optimizer, learning rate and EMA.
            average_gradients(state.trained, world)
            state.update(self.step)
            self.step += 1
            self.evaluated = {}

            # Report, evaluate, save, stop: all processes have the same answers, so that none waits for another.
            stop, save, report, at_risk = world.any(
                self.observer.stop_requested(),
                self._checkpoint_is_due(),
                self._report_is_due(),
                time.monotonic() - self.saved_at >= _SECONDS_AT_RISK,
            )
            evaluate = self._is_evaluated_now() and not stop
            save = save or stop or evaluate or self.step == self.steps
            if report or save:
                self._check_finite()
            if report or stop:
                self._report(batches)
            if evaluate:
                if at_risk:
                    self._save()
                self._evaluate()
            if save:
                self._save()
            left = self._evaluation_is_due()
            if left and not (report or stop):
                self._report(batches)  # The last step is told, also when the request came during its evaluation.
            if stop or left:
                break

        self.student.eval()
        if self.step < self.steps or self._evaluation_is_due():
            raise self._stopped()
        return finished_model(state.result, self.checkpoints, world, self.observer, self.student.projection)

    # Resume and stop

    def _resume(self) -> None:
        """Continue from the latest checkpoint that is whole."""
        progress = resume(self.state, self.checkpoints, self.steps, self.world, self.observer)
        if progress is not None:
            self.step = progress.step
            if progress.score is not None:
                self.evaluated = {"model": {}}
        self.saved_step = self.reported_step = self.step

    def _until_stopped(self, batches: TrainingBatches) -> Iterator[Batch]:
        """A signal to the whole process group ends the workers as well: then what is done is saved, as for any other."""
        try:
            yield from batches
        except DataError:
            if self.world.size > 1 or not self.observer.stop_requested():
                raise
            self._save()

    def _stopped(self) -> TrainingStoppedError:
        return TrainingStoppedError(f"stopped after step {self.step} of {self.steps}")

    # Report

    def _report_is_due(self) -> bool:
        return self.step in (1, self.steps) or time.monotonic() - self.reported_at >= _SECONDS_BETWEEN_REPORTS

    def _report(self, batches: TrainingBatches) -> None:
        """Tell the observer of the step, and of how fast steps were since the report before."""
        assert self.losses is not None
        step, now, waited = self.step, time.monotonic(), batches.waited
        elapsed = max(now - self.reported_at, 1e-9)
        distilled = self.losses.distillation
        parts = (self.losses.total, self.losses.task, *([] if distilled is None else [distilled]))
        total, task, *rest = (self.world.sum(torch.stack(parts).double().cpu()) / self.world.size).tolist()
        report = StepReport(
            step=step,
            steps=self.steps,
            epoch=(step - 1) // self.steps_per_epoch + 1,
            epochs=self.recipe.epochs,
            loss=total,
            task_loss=task,
            distillation_loss=rest[0] if rest else None,
            learning_rate=self.state.rate,
            gradient_norm=float(self.state.norm),
            images_per_second=(step - self.reported_step) * self.recipe.batch_size / elapsed,
            data_wait=min(1.0, (waited - self.waited) / elapsed),
            depth=self.student.depths(step - 1)[0],
            scale=self.state.scale,
        )
        self.reported_at, self.reported_step, self.waited = now, step, waited
        self.observer.stepped(report)
        batches.unreadable.share(step)
        for code, text in self.watch.look(report):
            self.observer.warn(code, text, step)

    def _check_finite(self) -> None:
        # A step may leave weights that are not finite after a loss that was.
        weights = torch.stack([value.detach().isfinite().all() for value in self.state.trained]).all()
        (broken,) = self.world.any(not bool(self.finite & weights))
        if broken:
            value = "not finite" if self.losses is None or self.finite else f"{float(self.losses.total):g}"
            last = "" if self.checkpoints is None else f"; the last checkpoint is of step {self.saved_step}"
            raise TlegError(
                f"the loss became {value} by step {self.step}; try a lower --lr or a longer warm-up{last}",
                field="lr",
                code="not-finite",
            )

    # Evaluate

    def _is_evaluated_now(self) -> bool:
        return self.intervals.evaluates(self.step)

    def _evaluation_is_due(self) -> bool:
        """Whether an evaluation was left, or not begun, because it was asked to stop: it comes first on resume."""
        return self.step > 0 and self._is_evaluated_now() and not self.evaluated

    def _evaluate(self) -> None:
        """Evaluate the model, and its average, at the depths that are shown; leave it when a stop is requested."""
        plan, step = self.plan, self.step
        began = time.monotonic()
        self.student.eval()
        models = {name: in_eval_mode(model, self.world) for name, model in self.state.models.items()}
        depths = self.student.shown_depths()
        predictor = self._cosine_predictor() if self.embeds else self._predictor
        predictors = {(name, depth): predictor(model, depth) for name, model in models.items() for depth in depths}
        try:
            scores = evaluate(
                predictors,
                plan.job.data.validation,
                plan.placement,
                input_size=plan.input_size,
                preprocessing=plan.preprocessing,
                workers=self.recipe.workers,
                world=self.world,
                progress=self._count,
                tally=CosineTally if self.embeds else None,
            )
        except TrainingStoppedError:
            return
        finally:
            self.student.train()
        self.evaluated = {name: {depth: scores[name, depth] for depth in depths} for name in models}
        for name, some in self.evaluated.items():
            self.observer.evaluated(step, step // self.steps_per_epoch, name, some)
            if text := describe_nonfinite(some, "the average of the weights" if name == "ema" else "the model"):
                self.observer.warn("nonfinite", f"{text}; this evaluation does not count", step)
        for code, text in self.watch.scored(step, self.steps, self._shown, plan.job.data.classes):
            self.observer.warn(code, text, step)
        self.reported_at += time.monotonic() - began  # It is no part of the speed of steps.

    @property
    def _shown(self) -> Mapping[int | None, Score]:
        """The scores of the step by depth: those of the average, where there is one."""
        return self.evaluated.get("ema") or self.evaluated.get("model") or {}

    def _count(self, done: int, total: int) -> None:
        self.observer.stage("evaluation", "evaluating", done, total)
        # The others would wait for this process's counts.
        if self.world.size == 1 and self.observer.stop_requested():
            raise self._stopped()

    def _predictor(self, model: nn.Module, depth: int | None) -> Any:
        return lambda pixels: self.student.predict(model, self.normalise(pixels), depth)

    def _cosine_predictor(self) -> Callable[[nn.Module, int | None], Predictor]:
        """Makes predictors of the cosine with the teacher's features, which is asked once for each batch."""
        teacher, student, seen = self.plan.teacher, self.student, LastFeatures()
        assert teacher is not None
        assert isinstance(student, AuxiliaryStudent)  # What recipes allow.
        return lambda model, depth: (
            lambda pixels: F.cosine_similarity(
                student.embed(model, self.normalise(pixels), depth).float(), seen.of(teacher, pixels), dim=1
            )[:, None]
        )

    # Save

    def _checkpoint_is_due(self) -> bool:
        seconds = time.monotonic() - self.saved_at
        return self.checkpoints is not None and self.intervals.saves(self.step, self.saved_step, seconds)

    def _save(self) -> None:
        """Write a checkpoint of the step, in the main process."""
        step = self.step
        self.saved_at, self.saved_step = time.monotonic(), step
        if self.checkpoints is None or not self.world.is_main or not self.observer.may_write():
            return
        groups, numbers = self.state.contents()
        try:
            saved = self.checkpoints.save(
                step,
                step // self.steps_per_epoch,
                groups,
                milestone=self.intervals.keeps(step),
                score=monitored(self._shown.values()),
                optimizer=numbers,
                scaler=self.state.scaler_state,
                about=self.plan.about,
            )
        except (ExportError, InputError) as error:
            # Earlier ones are still there, and the next attempt may find room.
            self.observer.warn(NO_CHECKPOINT, f"no checkpoint of step {step}: {error}", step)
            return
        self.observer.saved(step, saved.name, saved.seconds, saved.size, saved.best)


@dataclass(frozen=True, slots=True)
class Intervals:
    """At which steps, and after how long, a training of so many steps evaluates and saves, as the recipe's keeping says."""

    keeping: Keeping
    steps: int
    steps_per_epoch: int

    def epoch_ended(self, step: int) -> int | None:
        """The number of the epoch that ends with this step, or None."""
        epoch, rest = divmod(step, self.steps_per_epoch)
        return None if rest else epoch

    def evaluates(self, step: int) -> bool:
        """Whether the step is followed by an evaluation, where there are images for it."""
        epoch, every = self.epoch_ended(step), self.keeping.evaluate_every
        return epoch is not None and every > 0 and (epoch % every == 0 or step == self.steps)

    def keeps(self, step: int) -> bool:
        """Whether the step's checkpoint is kept for good."""
        epoch, every = self.epoch_ended(step), self.keeping.keep_every
        return epoch is not None and every > 0 and epoch % every == 0

    def saves(self, step: int, last: int, seconds: float) -> bool:
        """Whether a checkpoint is due after the step, when the last one is of step `last` and so many seconds old."""
        keeping = self.keeping
        if self.keeps(step):
            return True
        if keeping.checkpoint_steps is not None:
            return step - last >= keeping.checkpoint_steps
        if keeping.checkpoint_minutes == 0:
            return self.epoch_ended(step) is not None
        return seconds / 60 >= keeping.checkpoint_minutes


def batch_norm_warning(model: nn.Module, batch_size: int, parts: int) -> str | None:
    """Say that batch norm sees parts of a step, where it does: that is no mistake, and may surprise."""
    normalisers: Any = nn.modules.batchnorm._BatchNorm
    if parts == 1 or not any(isinstance(module, normalisers) for module in model.modules()):
        return None
    return (
        f"batch norm takes its statistics from each of {parts} parts of a step, {batch_size // parts} images, not from the "
        f"step's {batch_size}: with other devices and accumulate the result is another"
    )
