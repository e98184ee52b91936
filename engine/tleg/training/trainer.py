"""The training loop: steps over augmented batches, the same for auxiliary models, descendants and ancestry models.

Step s depends on the parameters before it, the recipe and s alone: everything random is seeded by its place. So a run that
goes on from a checkpoint equals one that was never interrupted, and so does one on more processes, within rounding where no
batch norm, dropout or drop-path sees how a step is cut.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tleg.data.loader import Batch, Prefetcher, worker_options
from tleg.data.sampler import ShuffledBatches, TrainingImages, seed_everything
from tleg.data.transforms import Normaliser, training_transform
from tleg.errors import DataError, ExportError, InputError, TlegError
from tleg.recipes.training import Recipe
from tleg.runs.events import NO_CHECKPOINT
from tleg.training.accuracy import Score, describe_nonfinite, evaluate, mean_top1
from tleg.training.checkpoint import Checkpoints
from tleg.training.distributed import average_gradients
from tleg.training.losses import Losses, Objective, mean_losses
from tleg.training.observer import QUIET, Observer, StepReport
from tleg.training.occasions import Occasions
from tleg.training.optim import TrainingState
from tleg.training.passed_over import PassedOver
from tleg.training.plan import Outcome, Plan, check_enough
from tleg.training.ready import make_ready
from tleg.training.remarks import remarks
from tleg.training.resume import restore
from tleg.training.students import compile_student
from tleg.training.watch import Watch

_SECONDS_BETWEEN_REPORTS = 0.5


class _LeftError(Exception):
    """An evaluation was left, because the run is to stop."""


def train(plan: Plan, observer: Observer = QUIET, checkpoints: Checkpoints | None = None) -> Outcome:
    """Train a student in place, from its checkpoint where there is one.

    Raises DataError when there are too few images for a batch, TlegError when the loss is not finite.
    """
    check_enough(len(plan.images), plan.recipe, plan.world.size)
    return _Loop(plan, observer, checkpoints).run()


class _Loop:
    """One training, from its first step to its last."""

    def __init__(self, plan: Plan, observer: Observer, checkpoints: Checkpoints | None) -> None:
        self.plan, self.observer, self.checkpoints = plan, observer, checkpoints
        recipe, device = plan.recipe, plan.placement.device
        self.student = plan.student.to(device)
        self.steps_per_epoch = (plan.epoch_images or len(plan.images)) // recipe.batch_size
        self.steps = self.steps_per_epoch * recipe.epochs
        self.occasions = Occasions(plan.keeping, self.steps, self.steps_per_epoch)
        self.state = TrainingState(plan.student, recipe, plan.placement, self.steps_per_epoch, plan.layer_decay)
        self.mixup = _mixup(recipe, plan.num_classes)
        self.objective = Objective(recipe, plan.distillation, plan.teacher)
        self.normalise = Normaliser(plan.preprocessing).to(device)
        self.passed_over = PassedOver(plan.images, plan.world, observer)
        self.watch = Watch()
        # On the device, so that looking for what is not finite makes no GPU wait.
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.losses: Losses | None = None
        self.evaluated: dict[str, Mapping[int | None, Score]] = {}
        self.saved_at = self.reported_at = time.monotonic()
        self.step = self.saved_step = self.reported_step = 0
        self.waited = 0.0

    def run(self) -> Outcome:
        """Do the steps that are left."""
        self._restore()
        self.observer.started(self.step, self.steps, self.plan.recipe.epochs)
        for code, text in remarks(self.plan):
            self.observer.warn(code, text)
        if self.plan.recipe.compile:
            compile_student(self.student)
        self.saved_step = self.reported_step = self.step
        if self._is_evaluation_due():
            self._evaluate()  # It was stopped, or killed, before it could be.
            self._save()
        if not self._is_evaluation_due():
            self._do_steps()
        self.student.eval()
        complete = self.step == self.steps and not self._is_evaluation_due()
        return Outcome(self.step, self.steps, self.state.result, complete)

    def _do_steps(self) -> None:
        """Do the steps that are left, or those until it is asked to stop."""
        device = self.plan.placement.device
        batches = Prefetcher(self._loader(), device, channels_last=device.type == "cuda")
        self.student.train()
        self.reported_at = time.monotonic()
        for pixels, labels, unreadable in self._until_stopped(batches):
            self.passed_over.note(unreadable, self.step + 1)
            self._step(pixels, labels)
            self.step += 1
            self.evaluated = {}
            stop, save, report, first = self.plan.world.any(
                self.observer.stop_requested(),
                self._is_saved_now(),
                self._is_reported_now(),
                self.occasions.saves_first(time.monotonic() - self.saved_at),
            )
            evaluate = self._is_evaluated_now() and not stop
            save = save or stop or evaluate or self.step == self.steps
            if report or save:
                self._check_finite()
            if report or stop:
                self._report(batches.waited)
            if evaluate:
                if first:
                    self._save()
                self._evaluate()
            if save:
                self._save()
            left = self._is_evaluation_due()
            if left and not (report or stop):
                self._report(batches.waited)  # The last step is told, also when the request came during its evaluation.
            if stop or left:
                break

    def _until_stopped(self, batches: Prefetcher) -> Iterator[Batch]:
        """A signal to the whole process group ends the workers as well: then what is done is saved, as for any other."""
        try:
            yield from batches
        except DataError:
            if self.plan.world.size > 1 or not self.observer.stop_requested():
                raise
            self._save()

    # What a step does

    def _step(self, pixels: Tensor, labels: Tensor) -> None:
        plan, recipe, step = self.plan, self.plan.recipe, self.step
        seed_everything(recipe.seed, "step", step)
        if self.mixup is not None:
            pixels, labels = self.mixup(pixels, labels)
        depths = plan.student.depths(step)
        self.state.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part, (some_pixels, some_labels) in enumerate(
            zip(pixels.chunk(recipe.accumulate), labels.chunk(recipe.accumulate), strict=True)
        ):
            place = plan.world.rank * recipe.accumulate + part
            if place:
                seed_everything(recipe.seed, "step", step, "part", place)
            for each in self.objective.losses(
                self.student, self.normalise, some_pixels, some_labels, depths, plan.placement
            ):
                share = each.total / (recipe.accumulate * len(depths))
                self.state.scaled(share).backward()
                losses.append(each)
        self.losses = mean_losses(losses)
        self.finite &= torch.isfinite(self.losses.total)
        average_gradients(self.state.trained, plan.world)
        self.state.update(step)

    def _loader(self) -> DataLoader[Any]:
        plan, recipe = self.plan, self.plan.recipe
        order = ShuffledBatches(
            len(plan.images),
            recipe.batch_size,
            recipe.epochs,
            recipe.seed,
            start=self.step,
            repeats=recipe.repeats,
            rank=plan.world.rank,
            size=plan.world.size,
            epoch_images=plan.epoch_images,
        )
        transform = training_transform(plan.input_size, plan.preprocessing, recipe.augmentation)
        return DataLoader(
            TrainingImages(plan.images, transform, recipe.seed),
            batch_sampler=order,
            pin_memory=plan.placement.device.type == "cuda",
            **worker_options(recipe.workers),
        )

    # What is told

    def _is_reported_now(self) -> bool:
        return self.step in (1, self.steps) or time.monotonic() - self.reported_at >= _SECONDS_BETWEEN_REPORTS

    def _report(self, waited: float) -> None:
        assert self.losses is not None
        step = self.step
        now = time.monotonic()
        elapsed = max(now - self.reported_at, 1e-9)
        world, distilled = self.plan.world, self.losses.distillation
        parts = (self.losses.total, self.losses.task, *([] if distilled is None else [distilled]))
        total, task, *rest = (world.sum(torch.stack(parts).double().cpu()) / world.size).tolist()
        depth = self.student.depths(step - 1)[0]
        report = StepReport(
            step=step,
            steps=self.steps,
            epoch=(step - 1) // self.steps_per_epoch + 1,
            epochs=self.plan.recipe.epochs,
            loss=total,
            task_loss=task,
            distillation_loss=rest[0] if rest else None,
            learning_rate=self.state.rate,
            gradient_norm=float(self.state.norm),
            images_per_second=(step - self.reported_step) * self.plan.recipe.batch_size / elapsed,
            data_wait=min(1.0, (waited - self.waited) / elapsed),
            depth=depth,
            scale=self.state.scale,
        )
        self.reported_at, self.reported_step, self.waited = now, step, waited
        self.observer.stepped(report)
        self.passed_over.share(step)
        for code, text in self.watch.look(report):
            self.observer.warn(code, text, step)

    def _check_finite(self) -> None:
        # A step may leave weights that are not finite after a loss that was.
        weights = torch.stack([value.detach().isfinite().all() for value in self.state.trained]).all()
        (broken,) = self.plan.world.any(not bool(self.finite & weights))
        if broken:
            value = "not finite" if self.losses is None or self.finite else f"{float(self.losses.total):g}"
            kept = "" if self.checkpoints is None else f"; the last checkpoint is of step {self.saved_step}"
            raise TlegError(
                f"the loss became {value} by step {self.step}; try a lower --lr or a longer warm-up{kept}",
                field="lr",
                code="not-finite",
            )

    # Evaluation

    def _is_evaluated_now(self) -> bool:
        return self.plan.validation is not None and self.occasions.evaluates(self.step)

    def _is_evaluation_due(self) -> bool:
        """Whether an evaluation was left, or not begun, because it was asked to stop: it comes first when it goes on."""
        return self.step > 0 and self._is_evaluated_now() and not self.evaluated

    def _evaluate(self) -> None:
        plan, step = self.plan, self.step
        assert plan.validation is not None
        began = time.monotonic()
        self.student.eval()
        models = {name: make_ready(model, plan.world) for name, model in self.state.models.items()}
        depths = plan.student.shown_depths()
        predictors = {(name, depth): self._predictor(model, depth) for name, model in models.items() for depth in depths}
        try:
            scores = evaluate(
                predictors,
                plan.validation,
                plan.placement,
                input_size=plan.input_size,
                preprocessing=plan.preprocessing,
                workers=plan.recipe.workers,
                world=plan.world,
                progress=self._count,
            )
        except _LeftError:
            return
        finally:
            self.student.train()
        self.evaluated = {name: {depth: scores[name, depth] for depth in depths} for name in models}
        for name, some in self.evaluated.items():
            self.observer.evaluated(step, step // self.steps_per_epoch, name, some)
            if text := describe_nonfinite(some, "the average of the weights" if name == "ema" else "the model"):
                self.observer.warn("nonfinite", f"{text}; this evaluation does not count", step)
        self.reported_at += time.monotonic() - began  # It is no part of the speed of steps.

    def _predictor(self, model: nn.Module, depth: int | None) -> Any:
        return lambda pixels: self.plan.student.predict(model, self.normalise(pixels), depth)

    def _count(self, done: int, total: int) -> None:
        self.observer.stage("evaluation", "evaluating", done, total)
        # The others would wait for this process's counts.
        if self.plan.world.size == 1 and self.observer.stop_requested():
            raise _LeftError

    # Checkpoints

    def _is_saved_now(self) -> bool:
        seconds = time.monotonic() - self.saved_at
        return self.checkpoints is not None and self.occasions.saves(self.step, self.saved_step, seconds)

    def _save(self) -> None:
        step = self.step
        self.saved_at, self.saved_step = time.monotonic(), step
        if self.checkpoints is None or not self.plan.world.is_main or not self.observer.may_write():
            return
        groups, numbers = self.state.contents()
        shown = self.evaluated.get("ema") or self.evaluated.get("model") or {}
        try:
            saved = self.checkpoints.save(
                step,
                step // self.steps_per_epoch,
                groups,
                milestone=self.occasions.keeps(step),
                score=mean_top1(shown.values()),
                optimizer=numbers,
                scaler=self.state.scaler_state,
                about=self.plan.about,
            )
        except (ExportError, InputError) as error:
            # What was kept before is still there, and the next attempt may find room.
            self.observer.warn(NO_CHECKPOINT, f"no checkpoint of step {step}: {error}", step)
            return
        self.observer.saved(step, saved.name, saved.seconds, saved.size, saved.best)

    def _restore(self) -> None:
        """Continue from the latest checkpoint that is whole."""
        progress = restore(self.state, self.checkpoints, self.steps, self.plan.world, self.observer)
        if progress is None:
            return
        self.step = progress.step
        if progress.score is not None:
            self.evaluated = {"model": {}}


def _mixup(recipe: Recipe, num_classes: int) -> Any | None:
    if not recipe.mixing:
        return None
    from timm.data import Mixup

    return Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=num_classes)
