"""What tleg finds on this machine: Python, libraries, devices, data. Libraries are imported to see whether they work."""

import importlib
import importlib.util
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from tleg.errors import describe_library

State = Literal["found", "missing", "broken"]

# Distribution -> module, of what tleg needs and of what it can use.
REQUIRED: Final[Mapping[str, str]] = {
    "numpy": "numpy",
    "safetensors": "safetensors",
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "fvcore": "fvcore.nn",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "onnxruntime": "onnxruntime",
    "typer": "typer",
    "rich": "rich",
    "textual": "textual",
    "pillow": "PIL",
}
OPTIONAL: Final[Mapping[str, str]] = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "trackio": "trackio",
    "datasets": "datasets",
    "webdataset": "webdataset",
    "nvidia-ml-py": "pynvml",
    "textual-serve": "textual_serve",
    "coremltools": "coremltools",
    "openvino": "openvino",
    "executorch": "executorch.runtime",
    "submitit": "submitit",
}


@dataclass(frozen=True, slots=True)
class Library:
    """A library: its version where it is installed, and the first line of the error where it cannot be imported."""

    name: str
    state: State
    version: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that torch can use. memory is in bytes, None where it is the machine's own."""

    name: str
    description: str
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that `tleg doctor` says. `problems` holds what keeps tleg from working, each with what to do.

    processors, cores  that this process may use: as the system counts them, and physical ones within a cgroup's share
    threads            what torch would take; training_threads is what a training with its one worker takes of the cores
    """

    tleg: str
    python: str
    executable: str
    platform: str
    processors: int
    cores: int
    training_threads: int
    threads: int | None
    cuda: str | None
    devices: tuple[Device, ...]
    required: tuple[Library, ...]
    optional: tuple[Library, ...]
    learngene_folder: str
    learngenes: tuple[str, ...]
    fashion_mnist: str | None
    data_folder: str
    data_folder_writable: bool
    problems: tuple[str, ...]


def examine() -> Report:
    """Look at this machine. Imports every required library, so it takes as long as those take; raises nothing."""
    from tleg.paths import data_folder
    from tleg.references import shipped, shipped_folder
    from tleg.threads import available_cores, choose_threads
    from tleg.versions import __version__

    required = tuple(_try_library(name, module) for name, module in REQUIRED.items())
    works = {library.name for library in required if library.state == "found"}
    threads, cuda, devices = _torch_facts() if "torch" in works else (None, None, ())
    folder = data_folder()
    return Report(
        tleg=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        platform=platform.platform(),
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cores=available_cores(),
        training_threads=choose_threads(workers=1).count,
        threads=threads,
        cuda=cuda,
        devices=devices,
        required=required,
        optional=tuple(_find_library(name, module) for name, module in OPTIONAL.items()),
        learngene_folder=str(shipped_folder()),
        learngenes=tuple(shipped()),
        fashion_mnist=_fashion_mnist() if {"numpy", "pillow"} <= works else None,
        data_folder=str(folder),
        data_folder_writable=_writable(folder),
        problems=tuple(_advice(library) for library in required if library.state != "found"),
    )


def _try_library(name: str, module: str) -> Library:
    """Import a library, because one that is installed may still be broken."""
    found = _find_library(name, module)
    if found.state == "missing":
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:  # Whatever a broken installation raises: OSError for a library, AttributeError, …
        lines = str(error).strip().splitlines()
        return Library(name, "broken", found.version, lines[0] if lines else type(error).__name__)
    return found


def _find_library(name: str, module: str) -> Library:
    """Whether a library is installed, without importing it."""
    try:
        installed = version(name)
    except PackageNotFoundError:
        # Some builds go by another name (onnxruntime-gpu): the module is what counts.
        top = module.partition(".")[0]
        return Library(name, "found" if importlib.util.find_spec(top) is not None else "missing")
    return Library(name, "found", installed)


def _torch_facts() -> tuple[int, str | None, tuple[Device, ...]]:
    """Threads, the CUDA version that torch was built for, and the devices."""
    import torch

    devices = [Device("cpu", platform.processor() or platform.machine())]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts: Any = torch.cuda.get_device_properties(index)
            devices.append(Device(f"cuda:{index}", facts.name, facts.total_memory))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU"))
    return torch.get_num_threads(), torch.version.cuda, tuple(devices)


def _fashion_mnist() -> str | None:
    from tleg.data.fashion_mnist import locate

    folder = locate()
    return None if folder is None else str(folder)


def _writable(folder: Path) -> bool:
    """Whether a file could be made in a folder, or the folder itself in the nearest one above it that exists."""
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def _advice(library: Library) -> str:
    return describe_library(library.name, reason=None if library.state == "missing" else library.reason)
