"""Expanding a ViT-B of 12 layers: against a copy of its bytes, and against the usual way to make a module.

And models of stages and smaller ones at timm's own depths, into arrays and into modules, against copies of their bytes.
"""

from time import process_time

import timm
import torch

from benchmarks.timing import interleave, report
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.learngene.profile import format_depth
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.learngene import Learngene

DEPTH = 12
SMALLER = ("swin_tiny_patch4_window7_224", "vit_small_patch16_224", "convnextv2_atto")


def make_learngene(name: str = "deit_base_patch16_224") -> Learngene:
    """A learngene of a size that papers use, with random terms."""
    architecture = describe(name)
    model = AuxiliaryModel(architecture, Basis())
    header = LearngeneHeader(
        architecture, Basis(), Auxiliary(12), Preprocessing((0.5,) * 3, (0.5,) * 3), measure(architecture)
    )
    return Learngene(header, model.tensors())


def usual_way(learngene: Learngene) -> torch.nn.Module:
    """Expand tensor by tensor, create the timm model, load the state."""
    architecture = learngene.header.architecture
    state = {}
    for name, values in learngene.tensors.items():
        tensor = torch.from_numpy(values)
        if name.startswith("blocks."):
            for layer in range(DEPTH):
                state[f"blocks.{layer}.{name.removeprefix('blocks.')}"] = tensor[0] + layer / DEPTH * tensor[1]
        else:
            state[name] = tensor
    model = timm.create_model(architecture.name, depth=DEPTH, num_classes=architecture.num_classes, **architecture.arguments)
    model.load_state_dict(state)
    return model


def main() -> None:
    """Measure and print."""
    learngene = make_learngene()
    whole = torch.cat([values.flatten() for values in learngene.expand(DEPTH).state_dict().values()]).numpy()
    # Apart from each other: what making modules does to the allocator would be measured as the copy's and the expansion's.
    seconds = interleave({"copy": whole.copy, "expand": lambda: learngene.expand_tensors(DEPTH)}, rounds=15)
    seconds |= interleave({"module": lambda: learngene.expand(DEPTH), "usual": lambda: usual_way(learngene)}, rounds=7)
    print(f"B/{DEPTH}: {whole.nbytes / 1e6:.0f} MB")
    report("expanding the tensors", seconds["expand"], "a memory copy", seconds["copy"], "at most 3")
    report("expanding into a module", seconds["module"], "the usual way", seconds["usual"], "at most 0.2")
    for name in SMALLER:
        compare(name)


def compare(name: str) -> None:
    """Measure and print what expanding a learngene of an architecture costs, in seconds of the processor."""
    learngene = make_learngene(name)
    depth = learngene.header.architecture.stages or DEPTH
    whole = torch.cat([values.flatten() for values in learngene.expand(depth).state_dict().values()]).numpy()
    seconds = interleave(
        {"copy": whole.copy, "tensors": lambda: learngene.expand_tensors(depth)}, rounds=15, clock=process_time
    )
    seconds |= interleave({"module": lambda: learngene.expand(depth)}, rounds=15, clock=process_time)
    print(f"{name} at {format_depth(depth)}: {whole.nbytes / 1e6:.0f} MB")
    report("expanding the tensors", seconds["tensors"], "a memory copy", seconds["copy"], "at most 3")
    report("expanding into a module", seconds["module"], "a memory copy", seconds["copy"], "at most 3 where it is large")


if __name__ == "__main__":
    main()
