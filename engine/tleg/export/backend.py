"""What a format brings: how its files are written, opened and run. One class for each; all else is the same for all.

A new format is an entry in `tleg.export.formats` and a `Backend` of its own with two methods, `write` and `open`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tleg.errors import InputError
from tleg.export.example import RuntimeLines, example
from tleg.export.formats import Arithmetic, Format, Precision
from tleg.export.interface import Interface
from tleg.export.manifest import Lineage, manifest_path, read_manifest
from tleg.export.precision_cost import Calibration
from tleg.export.runners import ModelSource, PictureRunner, Runner, Watch, one_by_one, torch_runner
from tleg.learngene.architecture import Architecture, Layout, Structure
from tleg.learngene.basis import Basis
from tleg.learngene.header import LearngeneHeader, Preprocessing
from tleg.learngene.profile import Depth
from tleg.models.output import Output, OutputCost, OutputRecord

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Described:
    """Features that an export gives, and what computing them takes; that is None where it is for every depth."""

    outputs: tuple[OutputRecord, ...]
    cost: OutputCost | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Source(ABC):
    """What is exported, loaded: a learngene, whose descendants have the depths asked for, or one model of a folder.

    structure      what a plain ViT computes; None when only PyTorch knows
    layout         of the final norm and the pooling
    precision      of the exports
    num_classes    of the exports
    input_size     (channels, height, width) of an image
    preprocessing  how an image becomes an input
    classes        names in the order of the logits; empty when unknown
    basis          by which `tensors` make the layers of any depth; None for a model whose layers have weights of their own
    libraries      packages that had a part in loading it
    architecture   whose family says where the terms belong; None for a model whose layers have weights of their own
    output         what the exports give
    described      of features, by depth: the tensors, and what computing them takes; nothing of logits
    interface      how the graphs of the exports are entered and left
    calibration    images from which the ranges of activations are taken, where whole numbers need them
    """

    structure: Structure | None
    layout: Layout
    precision: Precision
    num_classes: int
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    basis: Basis | None
    libraries: tuple[str, ...]
    architecture: Architecture | None = None
    output: Output = field(default_factory=Output)
    described: Mapping[Depth | None, Described] = field(default_factory=dict)
    interface: Interface = field(default_factory=Interface)
    calibration: Calibration | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        """What a graph computes in."""
        return "float16" if self.precision == "float16" else "float32"

    @abstractmethod
    def in_float32(self) -> Self:
        """The same in float32."""

    def doubt(self, depth: Depth | None) -> str | None:
        """What to know of a depth before it is used; None where there is nothing."""
        return None

    @abstractmethod
    def lineage(self, depth: Depth | None) -> Lineage:
        """Where an export's weights come from."""

    @abstractmethod
    def tensors(self) -> Mapping[str, Array]:
        """Weights in float32, in the auxiliary layout: stem, head and stacks of terms (K, *parameter), or a model's own."""

    @abstractmethod
    def state(self, depth: Depth | None) -> Mapping[str, Array]:
        """All weights of the model of a depth by timm's names, in the number type of the exports. Raises ExportError."""

    @abstractmethod
    def model(self, depth: Depth | None) -> Any:
        """The model of a depth in PyTorch, in eval mode and the arithmetic of the exports, with weights rounded as theirs
        are, which gives their output and has nothing that this does not need. Raises ExportError."""

    @abstractmethod
    def write_folder(self, path: Path, depth: Depth | None) -> None:
        """Write the model of a depth into a folder that timm loads. Raises ExportError, OSError."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OpenExport:
    """An export that was opened.

    format         that it says it is of, or that its name does
    depth          of its model; None when it holds every depth, or its model has none
    num_classes    logits of an image
    input_size     (channels, height, width) of an image
    preprocessing  how an image becomes an input
    precision      of its weights
    runner         gives its outputs
    classes        names in the order of the logits; empty when unknown
    lineage        where its weights come from, as the file itself says; None when its manifest alone does
    output         what its runner gives
    interface      how its graph is entered and left; the runner sees to it
    pictures       runs the whole of a graph that resizes pictures; None of others
    """

    path: Path
    format: Format
    depth: Depth | None
    num_classes: int
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    precision: Precision
    runner: Runner
    classes: tuple[str, ...] = ()
    lineage: Lineage | None = None
    output: Output = field(default_factory=Output)
    interface: Interface = field(default_factory=Interface)
    pictures: PictureRunner | None = None

    def run(self, images: Array, depth: Depth | None = None) -> NDArray[np.float32]:
        """Return the logits of normalised images: (batch, C, H, W) -> (batch, classes), float32.

        depth  of an export that holds every depth; others have one of their own

        Raises DepthError, VerificationError when they cannot be computed, and InputError when it gives no logits.
        """
        self.require_classes()
        (logits,) = self.runner(depth, images)
        return logits

    def require_classes(self) -> None:
        """Refuse an export of features where logits are needed. Raises InputError."""
        if not self.output.of_classes:
            raise InputError(
                f"{self.path} gives {self.output} features and no classes, so it has no accuracy; build it with a head",
                field="path",
                code="unsupported",
            )

    @property
    def known_lineage(self) -> Lineage | None:
        """Where its weights come from, as itself or the manifest beside it says. Raises FileFormatError."""
        place = manifest_path(self.path, self.format)
        return self.lineage or (read_manifest(place).lineage if place.is_file() else None)


class Backend(ABC):
    """Writes and runs the exports of one format.

    needs_model  why a float16 export cannot be run in float16 arithmetic, when what it was made from is not at hand
    """

    needs_model: ClassVar[str] = "it runs in float16 arithmetic only with the model that it was made from"

    def __init__(self, entry: Format) -> None:
        self.format = entry

    @abstractmethod
    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write an export's file, or into its folder; depth None is every depth, or a model as it is.

        Raises ExportError, OSError.
        """

    @abstractmethod
    def open(self, path: Path) -> OpenExport:
        """Open an export. Raises InputError, FileFormatError."""

    def open_for(self, path: Path, output: Output) -> OpenExport:
        """Open an export that gives a certain output, which the files of some formats do not say. See `open`."""
        return self.open(path)

    def open_comparable(self, path: Path, output: Output) -> OpenExport:
        """Open an export to run images of any kind, as those are that it is compared on. See `open`."""
        return self.open_for(path, output)

    def open_to_time(self, path: Path, threads: int) -> OpenExport:
        """Open an export to be run by so many threads. See `open`."""
        import torch

        torch.set_num_threads(threads)
        return self.open(path)

    def usage(self, path: Path, output: Output) -> str | None:
        """The line of Python that gives the features of an export, where its file alone does not say it."""
        return None

    def example(self, path: Path, source: Source) -> str | None:
        """A few lines of Python that use an export of a source without tleg; None where its format has none."""
        return None

    def lines(
        self, path: Path, source: Source, runtime: RuntimeLines, *, name: str | None = None, depth: int | None = None
    ) -> str:
        """The lines that look at one picture with an export of a source in a runtime.

        name   of the file as the lines open it; None is that of the path
        depth  to run an export at that holds every depth
        """
        return example(
            name or path.name,
            source.preprocessing,
            source.interface,
            source.output,
            source.input_size,
            source.precision,
            depth=depth,
            runtime=runtime,
        )

    def check_interface(
        self,
        interface: Interface,
        output: Output,
        num_classes: int | None = None,
        *,
        traced: bool = False,
    ) -> None:
        """Refuse an interface that the format's exports cannot have, before anything is written. Raises InputError.

        num_classes  of the model; None where it is not known yet
        traced       whether the model is known to be one of which PyTorch makes the graph
        """
        if not interface.is_usual:
            given = interface.options
            raise InputError(
                f"--{given[0]} is for a graph of ONNX or OpenVINO, which --export {self.format.name} does not write; choose "
                "--export onnx or openvino, or leave it out",
                field=(*given, "export"),
                code="unsupported",
            )

    def check_descendant(  # noqa: B027  # Most formats hold any.
        self, header: LearngeneHeader, depth: Depth | None, *, layout: Layout, num_classes: int, precision: Precision
    ) -> None:
        """Refuse a descendant that the format cannot hold, before anything is read or written. Raises TlegError."""

    def libraries(self, source: Source) -> tuple[str, ...]:
        """Packages that had a part in writing an export of a source."""
        return (*source.libraries, *self.format.libraries)

    def recognise(self, path: Path) -> None:  # noqa: B027  # A suffix says enough.
        """Refuse what is nothing of this format at all, such as any folder. Raises InputError."""

    def check_file(self, path: Path) -> str | None:
        """Check a file by the rules of its format and say who accepts it; None: nobody checks it. VerificationError."""
        return None

    def note(self, path: Path) -> str | None:
        """What is not true of an export that its format's name promises, in one sentence; None where all is.

        Raises FileFormatError.
        """
        return None

    def float16_runner(
        self, path: Path, watch: Watch, models: ModelSource | None, output: Output
    ) -> tuple[Runner, str] | None:
        """Return what runs a float16 export in float16 arithmetic and tells the watch, and the package that computes.

        models  what the export was made from, when it is at hand, giving what the export does
        output  what that is

        None when it cannot be run so without them. As it stands, PyTorch runs the models that the export was made from.
        """
        return None if models is None else (one_by_one(torch_runner(models, watch), watch), "torch")


@cache
def backend_of(entry: Format) -> Backend:
    """Return what writes and runs a format, imported now. Raises InputError where a package that it needs is missing."""
    entry.check_installed()
    module, _, name = entry.backend.partition(":")
    backend = getattr(import_module(module), name)(entry)
    assert isinstance(backend, Backend), f"{entry.backend} is no Backend"
    return backend
