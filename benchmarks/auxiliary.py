"""A training step of the auxiliary model against one of a plain timm ViT of the same size and depth."""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.timing import interleave, report
from tleg.learngene.basis import Basis
from tleg.models.architecture import build, describe
from tleg.models.auxiliary import AuxiliaryModel

DEPTH, BATCH = 12, 16


def main() -> None:
    """Measure and print."""
    architecture = describe("deit_small_patch16_224")
    plain = build(architecture, DEPTH).train()
    auxiliary = AuxiliaryModel(architecture, Basis()).train()
    coefficients = {depth: auxiliary.coefficients(depth) for depth in (4, 8, DEPTH)}
    images = torch.randn(BATCH, *architecture.input_size)

    def step(model: torch.nn.Module, forward: Callable[[], torch.Tensor]) -> None:
        optimizers[model].zero_grad()
        forward().square().mean().backward()
        optimizers[model].step()

    optimizers: dict[torch.nn.Module, torch.optim.Optimizer] = {
        model: torch.optim.AdamW(model.parameters(), lr=1e-9) for model in (plain, auxiliary)
    }
    functions: dict[str, Callable[[], None]] = {"plain": lambda: step(plain, lambda: plain(images))}
    for depth, values in coefficients.items():
        functions[f"auxiliary {depth}"] = partial(step, auxiliary, partial(auxiliary, images, values))
    seconds = interleave(functions, rounds=5)
    print(f"S, batch {BATCH}, 224 px, float32, AdamW, on the CPU with {torch.get_num_threads()} threads")
    report(
        f"auxiliary step, depth {DEPTH}",
        seconds[f"auxiliary {DEPTH}"],
        f"a plain S/{DEPTH}",
        seconds["plain"],
        "at most 1.05",
    )
    for depth in (4, 8):
        goal = f"about {depth / DEPTH:.2f}"
        report(
            f"auxiliary step, depth {depth}",
            seconds[f"auxiliary {depth}"],
            f"depth {DEPTH}",
            seconds[f"auxiliary {DEPTH}"],
            goal,
        )


if __name__ == "__main__":
    main()
