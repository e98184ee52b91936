"""Architectures drawn at random from all that timm has: one step of training, three depths, an export of each."""

import random
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from tleg.cli.models import known_models
from tleg.errors import ArchitectureError
from tleg.export.build import build_exports
from tleg.export.plan import BuildRequest
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import build, describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import count_macs, measure
from tleg.models.learngene import Learngene, load

# What two cores and 16 GB can train and trace.
MOST_PARAMETERS, MOST_PIXELS = 60_000_000, 256
DEPTHS = (1, 2, 3)
SEED = random.SystemRandom().randrange(2**32)


def affordable(name: str) -> bool:
    """Whether an architecture is small enough at its deepest of these depths."""
    try:
        architecture = describe(name, num_classes=10)
    except ArchitectureError as error:  # 384 pixels by patches of 14: another size is taken.
        if "does not divide into patches" not in str(error):
            raise
        return False
    model = build(architecture, max(DEPTHS), device="meta")
    return (
        sum(value.numel() for value in model.parameters()) <= MOST_PARAMETERS
        and max(architecture.input_size[1:]) <= MOST_PIXELS
    )


def drawn(count: int, seed: int) -> list[str]:
    """So many expandable names, of which this machine can train each."""
    names = [each.name for each in known_models() if each.expandable]
    random.Random(seed).shuffle(names)
    chosen: list[str] = []
    for name in names:
        if len(chosen) < count and affordable(name):
            chosen.append(name)
    return chosen


def check(name: str, folder: Path) -> None:
    """Train one step, then expand, count, write, read and export at every depth."""
    architecture = describe(name, num_classes=10)
    model = AuxiliaryModel(architecture, Basis()).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.randn(2, *architecture.input_size)
    before = model.tensors()
    loss = torch.nn.functional.cross_entropy(model(images, model.coefficients(2), model.profile(2)), torch.tensor([3, 7]))
    loss.backward()
    optimizer.step()
    after = model.tensors()
    assert any(not np.array_equal(before[key], values) for key, values in after.items()), "nothing was learned"
    channels = architecture.input_size[0]
    header = LearngeneHeader(
        architecture, Basis(), Auxiliary(2), Preprocessing((0.5,) * channels, (0.5,) * channels), measure(architecture)
    )
    path = folder / f"{name}.safetensors"
    Learngene(header, after).save(path)
    learngene, elastic = load(path), model.eval()
    for depth in DEPTHS:
        descendant = learngene.expand(depth)
        with torch.inference_mode():
            logits = descendant(images)
            again = elastic(images, elastic.coefficients(depth), elastic.profile(depth))
        assert torch.equal(logits, again), depth
        cost = header.cost.at(depth)
        assert cost.parameters == sum(value.numel() for value in descendant.parameters())
        assert cost.macs == count_macs(descendant, images[:1])[""]
    depths = random.Random(name).sample(DEPTHS, 2)
    requests = (("pytorch", "onnx"), depths[:1]), (("onnx-compact",), depths[1:])
    built = [
        item
        for kinds, depth in requests
        for item in build_exports(BuildRequest(str(path), kinds, tuple(depth), folder / "exports"))
    ]
    assert len(built) == 3
    for item in built:
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5


def checked(name: str, folder: Path) -> str:
    """What is wrong with an architecture, or ''."""
    folder.mkdir()
    try:
        check(name, folder)
    except Exception as error:  # All thirty are looked at, and all that fail are named.
        return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        shutil.rmtree(folder)
    return ""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_architectures_at_random(tmp_path: Path) -> None:
    print("seed", SEED)
    names = drawn(30, SEED)
    assert len(names) == 30
    # A process for each: torch keeps much of what it traced.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        found = dict(zip(names, pool.map(checked, names, [tmp_path / name for name in names]), strict=True))
    failed = {name: reason for name, reason in found.items() if reason}
    assert not failed, f"seed {SEED}: {failed}"
