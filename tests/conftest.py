"""What every test may use: small learngenes made on the spot, and the command line, in this process or as a real one."""

import contextlib
import gc
import io
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

# Before numpy and torch are imported: with more threads than free processors everything takes many times longer.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Output is plain unless a test wants it otherwise.
os.environ.pop("FORCE_COLOR", None)

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.forks import ForkServer, forking
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis
from tleg.learngene.cost import CostModel
from tleg.learngene.families import family_of
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing, Reached
from tleg.models.learngene import Learngene

settings.register_profile(
    "tleg", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("tleg")


def pytest_collection_finish() -> None:
    """Take what is imported by now out of every later collection of garbage: half a million objects that stay anyway."""
    gc.collect()
    gc.freeze()


TINY_ARGUMENTS: Mapping[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}


def deterministic_values(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 values in [-1, 1) that depend on name, place and seed alone: the same on any machine, for any numpy."""
    count = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        mixed = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) + (seed << 32) + 1)
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15)  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)).reshape(shape)


@cache
def _measured(name: str, arguments: tuple[tuple[str, Any], ...], num_classes: int, eps: float | None) -> tuple[Any, ...]:
    from tleg.models.architecture import build, describe
    from tleg.models.flops import measure

    architecture = describe(name, dict(arguments), num_classes)
    if eps is not None:
        structure = replace(architecture.structure, eps=eps) if architecture.structure else None
        architecture = replace(architecture, eps=eps, structure=structure)
    shapes = {key: tuple(value.shape) for key, value in build(architecture, 1, device="meta").state_dict().items()}
    return architecture, measure(architecture), shapes


def make_learngene(
    name: str = "deit_tiny_patch16_224",
    arguments: Mapping[str, Any] | None = None,
    *,
    basis: Basis | None = None,
    num_classes: int = 7,
    auxiliary_depth: int = 12,
    sampled_depths: tuple[int, ...] = (),
    eps: float | None = None,
    seed: int = 0,
    classes: tuple[str, ...] = (),
    learned: Mapping[str, Any] | None = None,
    reached: Reached | None = None,
) -> Learngene:
    """A learngene whose every value differs from its neighbours': terms, norms, biases, stem and head.

    The default is a ViT of width 48 with 3 heads on images of 32 by 32. `arguments` are added to that architecture's.
    """
    basis = basis or Basis()
    given = {**TINY_ARGUMENTS, **(arguments or {})}
    architecture: Architecture
    cost: CostModel
    architecture, cost, shapes = _measured(name, tuple(sorted(given.items())), num_classes, eps)
    tensors = {}
    family = family_of(architecture)
    for key, shape in shapes.items():
        name = family.learngene_name(key)
        part = family.part(name)
        if part is None:
            tensors[key] = _initial(key, shape, 0, seed)
        else:
            terms = [_initial(f"{key}#{term}", shape, term, seed) for term in range(basis.terms_of(part))]
            tensors[name] = np.stack(terms)
    channels = architecture.input_size[0]
    header = LearngeneHeader(
        architecture=architecture,
        basis=basis,
        auxiliary=Auxiliary(auxiliary_depth, sampled_depths),
        preprocessing=Preprocessing((0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]),
        cost=cost,
        classes=classes,
        learned=learned or {},
        reached=reached,
    )
    return Learngene(header, tensors)


def _initial(name: str, shape: tuple[int, ...], term: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = deterministic_values(name, shape, seed)
    if len(shape) > 1:
        return values * np.float32(2 / max(shape[-1], 1) ** 0.5)
    scale = "norm" in name and "weight" in name and term == 0
    return (np.float32(1) if scale else np.float32(0)) + values * np.float32(0.3)


class LearngeneFactory(Protocol):
    """The signature of `make_learngene`."""

    def __call__(
        self,
        name: str = ...,
        arguments: Mapping[str, Any] | None = ...,
        *,
        basis: Basis | None = ...,
        num_classes: int = ...,
        auxiliary_depth: int = ...,
        sampled_depths: tuple[int, ...] = ...,
        eps: float | None = ...,
        seed: int = ...,
        classes: tuple[str, ...] = ...,
        learned: Mapping[str, Any] | None = ...,
        reached: Reached | None = ...,
    ) -> Learngene: ...


@pytest.fixture(scope="session")
def tiny_learngene() -> LearngeneFactory:
    """A factory of small deterministic learngenes; see `make_learngene` for its options."""
    return make_learngene


@pytest.fixture(scope="session")
def learngene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the default tiny learngene, with everything in its header that a header may hold. Do not change it."""
    path = tmp_path_factory.mktemp("learngene") / "tiny.safetensors"
    make_learngene(
        sampled_depths=(4, 6, 8, 12),
        classes=("shirt", "shoe", "bag", "coat", "dress", "boot", "hat"),
        learned={
            "method": "distillation",
            "ancestry": {"model": "deit_tiny_patch16_224", "top1": 91.5},
            "data": "fashion-mnist",
            "epochs": 3,
            "distillation": {"temperature": 2.0, "weight": 0.5, "normalisation": "batchmean"},
        },
        reached=Reached("fashion-mnist test", 10_000, {4: 80.25, 6: 81.0, 8: 81.5, 12: 81.75}),
    ).save(path)
    return path


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run_cli() -> Callable[..., CommandResult]:
    """Run `tleg ARGUMENTS` in this process, without a terminal: run_cli("preview", path, "--json")."""

    def run(*arguments: object) -> CommandResult:
        from tleg.cli.app import run as run_command

        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = run_command([str(argument) for argument in arguments])
        return CommandResult(int(code), stdout.getvalue(), stderr.getvalue())

    return run


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment of a child process: this one's, with one thread and the source tree importable."""
    engine = str(Path(__file__).resolve().parent.parent / "engine")
    path = os.pathsep.join(filter(None, (engine, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PYTHONWARNINGS": "default", **changes}


@pytest.fixture
def child_environment() -> Callable[..., dict[str, str]]:
    """`clean_environment`, for tests that start processes of their own."""
    return clean_environment


@pytest.fixture
def run_tleg() -> Callable[..., CommandResult]:
    """Run `python -m tleg.cli ARGUMENTS` as a process; keyword arguments: cwd, environment, timeout, preexec."""

    def run(
        *arguments: object,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
        preexec: Callable[[], None] | None = None,
    ) -> CommandResult:
        done = subprocess.run(
            [sys.executable, "-m", "tleg.cli", *map(str, arguments)],
            cwd=cwd,
            env=clean_environment(**(environment or {})),
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=preexec,
            stdin=subprocess.DEVNULL,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def run_python() -> Callable[..., CommandResult]:
    """Run a piece of Python in a fresh interpreter, as `python -c`."""

    def run(code: str, *arguments: object, **options: Any) -> CommandResult:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=options.pop("timeout", 120),
            **options,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer | None]:
    """Where processes are forked; None where the system has not what that takes."""
    if sys.platform != "linux":
        yield None
        return
    server = ForkServer(clean_environment(PYTHONSAFEPATH="1", PYTHONWARNINGS=""))
    yield server
    server.close()


@pytest.fixture(scope="module")
def forks(fork_server: ForkServer | None) -> Iterator[None]:
    """Processes of tleg that a test starts, or that tleg starts in it, are forks: they need not import torch and timm."""
    with forking(fork_server):
        yield


@pytest.fixture
def interpreters(fork_server: ForkServer | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of tleg are interpreters after all: for what a fork is too fast for, or what it does not prove."""
    if fork_server is not None:
        monkeypatch.setattr(fork_server, "paused", True)
