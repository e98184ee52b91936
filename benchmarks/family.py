"""Writing a family: `python -m benchmarks.family`, of a learngene as small as the shipped one.

Twelve depths in two formats, written and verified by one `tleg.build`, against the same files built one at a time. Whatever
is shared, such as reading the learngene, may only make the family cheaper; what it costs beside its parts is the ratio.
"""

import tempfile
from pathlib import Path
from time import process_time

import tleg
from benchmarks.timing import interleave, report
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.learngene import Learngene

DEPTHS = tuple(range(3, 15))
FORMATS = ("onnx", "pytorch")
ROUNDS = 3


def small_learngene() -> Learngene:
    """A learngene of small images and 64 channels, with random values."""
    arguments = {"img_size": 28, "patch_size": 7, "embed_dim": 64, "num_heads": 2}
    architecture = describe("vit_tiny_patch16_224", arguments, 10)
    preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    header = LearngeneHeader(architecture, Basis(), Auxiliary(12), preprocessing, measure(architecture))
    return Learngene(header, AuxiliaryModel(architecture, Basis()).tensors())


def main() -> None:
    """Print the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "gene.safetensors"
        small_learngene().save(file)

        def whole() -> None:
            tleg.build(file, DEPTHS, FORMATS, folder / "whole", overwrite=True)

        def parts() -> None:
            for depth in DEPTHS:
                for kind in FORMATS:
                    tleg.build(file, [depth], [kind], folder / "parts", overwrite=True)

        seconds = interleave({"whole": whole, "parts": parts}, ROUNDS, clock=process_time)
    report(f"{len(DEPTHS)} depths x {len(FORMATS)} formats", seconds["whole"], "its parts", seconds["parts"], "at most 1.5")


if __name__ == "__main__":
    main()
