"""A training step of the auxiliary model against one of timm's model of the same size and depth: a plain ViT, and Swin."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.timing import interleave, report
from tleg.learngene.basis import Basis
from tleg.models.architecture import build, describe
from tleg.models.auxiliary import AuxiliaryModel


def measure(name: str, depths: tuple[int, ...], batch: int, goal: str) -> None:
    """Measure and print.

    depths  of the auxiliary model; the last is also that of timm's
    """
    architecture = describe(name)
    *others, deepest = depths
    plain = build(architecture, deepest).train()
    auxiliary = AuxiliaryModel(architecture, Basis()).train()
    images = torch.randn(batch, *architecture.input_size)

    def step(model: torch.nn.Module, forward: Callable[[], torch.Tensor]) -> None:
        optimizers[model].zero_grad()
        forward().square().mean().backward()
        optimizers[model].step()

    optimizers: dict[torch.nn.Module, torch.optim.Optimizer] = {
        model: torch.optim.AdamW(model.parameters(), lr=1e-9) for model in (plain, auxiliary)
    }
    functions: dict[str, Callable[[], None]] = {"plain": lambda: step(plain, lambda: plain(images))}
    for depth in depths:
        given = auxiliary.coefficients(depth), auxiliary.profile(depth)
        functions[f"auxiliary {depth}"] = partial(step, auxiliary, partial(auxiliary, images, *given))
    seconds = interleave(functions, rounds=5)
    height, width = architecture.input_size[1:]
    print(f"{name}, batch {batch}, {height} x {width}, float32, AdamW, on the CPU with {torch.get_num_threads()} threads")
    ours = seconds[f"auxiliary {deepest}"]
    report(f"auxiliary step, depth {deepest}", ours, "timm's", seconds["plain"], goal)
    for depth in others:
        expected = f"about {depth / deepest:.2f}"
        report(f"auxiliary step, depth {depth}", seconds[f"auxiliary {depth}"], f"depth {deepest}", ours, expected)


def main() -> None:
    """Measure both."""
    measure("deit_small_patch16_224", (4, 8, 12), 16, "at most 1.05")
    measure("swin_tiny_patch4_window7_224", (6,), 8, "at most 1.1")


if __name__ == "__main__":
    main()
