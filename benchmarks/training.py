"""Training an auxiliary model on this machine's GPU: against the way of the official code, its use of the GPU, what a
teacher costs, and whether images come fast enough.

    python -m benchmarks training

Without a GPU the same code runs on the CPU with a tiny model, which shows that it works and measures nothing of interest.
"""

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import timm
import torch
from timm.layers import set_fused_attn
from torch.func import functional_call
from torch.utils.data import DataLoader

from benchmarks.timing import interleave, report
from tleg.data.fashion_mnist import ArrayImages
from tleg.data.loader import worker_options
from tleg.data.sampler import ShuffledBatches, TrainingImages
from tleg.data.transforms import Normaliser, training_transform
from tleg.learngene.basis import Basis
from tleg.learngene.cost import CostModel
from tleg.learngene.header import Preprocessing
from tleg.models.architecture import build, describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.recipes.distillation import Depths, Distillation
from tleg.recipes.training import Augmentation, Recipe
from tleg.training.device import choose_placement
from tleg.training.losses import Objective
from tleg.training.optim import TrainingState
from tleg.training.students import AuxiliaryStudent
from tleg.training.teacher import Teacher, TeacherReport

# Dense bfloat16 of the data sheets, in operations a second.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
STEPS = 10


def main() -> None:
    """Measure and print."""
    placement = choose_placement()
    on_gpu = placement.device.type == "cuda"
    name, size, depth, batch = ("deit_small_patch16_224", 224, 12, 256) if on_gpu else ("deit_tiny_patch16_224", 64, 2, 8)
    architecture = describe(name, {"img_size": size})
    device = torch.cuda.get_device_name(placement.device) if on_gpu else "CPU"
    print(f"{name}, depth {depth}, {size} px, batch {batch}, {placement}, {device}, torch {torch.__version__}")
    pixels = torch.rand(batch, *architecture.input_size, device=placement.device)
    labels = torch.randint(0, architecture.num_classes, (batch,), device=placement.device)
    depths = Depths(depth)
    wait: Callable[[], None] = torch.cuda.synchronize if on_gpu else (lambda: None)

    def ours(teacher: Teacher | None = None, *, compiled: bool = False, one_depth: int = depth) -> Callable[[], None]:
        student = AuxiliaryStudent(AuxiliaryModel(architecture, Basis()), depths, 0, STEPS).to(placement.device).train()
        recipe = Recipe(epochs=1000, batch_size=batch)
        state = TrainingState(student, recipe, placement, 100, 1.0)
        objective = Objective(recipe, Distillation(), teacher)
        normalise = Normaliser(Preprocessing((0.5,) * 3, (0.2,) * 3)).to(placement.device)
        if compiled:
            student.compile()

        def run() -> None:
            for step in range(STEPS):
                state.optimizer.zero_grad(set_to_none=True)
                for losses in objective.losses(student, normalise, pixels, labels, (one_depth,), placement):
                    losses.total.backward()
                state.update(step)
            wait()

        return run

    def plain() -> Callable[[], None]:
        model = build(architecture, depth).to(placement.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

        def run() -> None:
            for _ in range(STEPS):
                optimizer.zero_grad(set_to_none=True)
                with placement.autocast():
                    logits = model(pixels)
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            wait()

        return run

    levit = timm.create_model("levit_384" if on_gpu else "levit_128s")
    teacher = Teacher(levit, TeacherReport("levit", None)).to(placement.device)
    teacher_costs = _forward(teacher, pixels, placement, wait)
    runs = {
        "plain": plain(),
        "auxiliary": ours(),
        "sampled": ours(one_depth=max(1, depth // 2)),
        "distilled": ours(teacher),
        "teacher": teacher_costs,
        "official": _official(architecture, depth, pixels, labels, wait),
    }
    if on_gpu:
        runs["compiled"] = ours(compiled=True)
    seconds = {key: value / STEPS for key, value in interleave(runs, rounds=5, warmups=2).items()}
    report("auxiliary step", seconds["auxiliary"], "a plain ViT's", seconds["plain"], "at most 1.05")
    report("the way of the official code", seconds["official"], "ours", seconds["auxiliary"], "at least 2.5")
    report(f"depth {max(1, depth // 2)}", seconds["sampled"], f"depth {depth}", seconds["auxiliary"], "about 0.5")
    added = seconds["distilled"] - seconds["auxiliary"]
    report("what distilling adds", added, "the teacher's forward pass", seconds["teacher"], "at most 1.1")
    if on_gpu:
        report("compiled", seconds["compiled"], "eager", seconds["auxiliary"], "less than 1")
    speed = batch / seconds["auxiliary"]
    print(f"images a second: {speed:.0f}, distilled {batch / seconds['distilled']:.0f}")
    _print_utilisation(measure(architecture), depth, speed, device)
    _print_loading(size, speed)


def _forward(teacher: Teacher, pixels: torch.Tensor, placement: Any, wait: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(STEPS):
            with placement.autocast():
                teacher(pixels)
        wait()

    return run


def _official(
    architecture: Any, depth: int, pixels: torch.Tensor, labels: torch.Tensor, wait: Callable[[], None]
) -> Callable[[], None]:
    """Weights made layer by layer, attention that is not fused, float16 with a scaler, a wait at every step."""
    set_fused_attn(False)
    model = AuxiliaryModel(architecture, Basis()).to(pixels.device).train()
    set_fused_attn(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    on_gpu = pixels.device.type == "cuda"
    scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)

    def forward(images: torch.Tensor) -> torch.Tensor:
        vit = model.vit
        x = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
        for layer in range(depth):
            weights = {key.replace("/", "."): terms[0] + (layer / depth) * terms[1] for key, terms in model.terms.items()}
            x = functional_call(model.code.templates[0][0], weights, (x,))
        logits: torch.Tensor = vit.forward_head(vit.norm(x))
        return logits

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.float16) if on_gpu else nullcontext():
                loss = torch.nn.functional.cross_entropy(forward(pixels), labels)
            loss.item()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            wait()

    return run


def _print_utilisation(cost: CostModel, depth: int, speed: float, device: str) -> None:
    """Forward and backward pass are three forward passes, a multiply-accumulate is two operations."""
    operations = 6 * cost.at(depth).macs * speed
    peak = next((value for key, value in PEAKS.items() if key in device), None)
    share = "" if peak is None else f", {100 * operations / peak:.1f} % of {peak / 1e12:.0f}"
    print(f"model operations: {operations / 1e12:.2f} T a second{share}")


def _print_loading(size: int, speed: float) -> None:
    """Random pictures through the whole augmentation, with a worker for each processor."""
    workers = os.cpu_count() or 1
    generator = np.random.default_rng(0)
    images = ArrayImages(generator.integers(0, 256, (512, 256, 256), dtype=np.uint8), np.zeros(512, np.uint8))
    transform = training_transform((3, size, size), Preprocessing((0.5,) * 3, (0.2,) * 3), Augmentation())
    order = ShuffledBatches(512, 64, 4, 0)
    loader: DataLoader[Any] = DataLoader(
        TrainingImages(images, transform, 0), batch_sampler=order, **worker_options(workers)
    )
    batches = iter(loader)
    next(batches)
    began, count = time.perf_counter(), 0
    for pixels, _, _ in batches:
        count += len(pixels)
    loaded = count / (time.perf_counter() - began)
    verdict = "images are ahead of the model" if loaded > speed else "loading is the bottleneck"
    print(f"loading at {size} px with {workers} workers: {loaded:.0f} images/s against {speed:.0f}: {verdict}")


if __name__ == "__main__":
    main()
