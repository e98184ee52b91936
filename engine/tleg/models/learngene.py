"""Learngene: terms, stem and head, with the header that says what they are."""

import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tleg.errors import FileFormatError, VerificationError
from tleg.files import new_file
from tleg.learngene import container
from tleg.learngene.architecture import Layout
from tleg.learngene.container import LearngeneFile, TensorEntry, encode_start, hash_tensors, open_binary
from tleg.learngene.expansion import Array, expand_tensors
from tleg.learngene.families import family_of
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth
from tleg.models.int4 import pack, unpack
from tleg.models.quantised import QuantisedTensor
from tleg.models.rounding import quantise_tensors
from tleg.references import find

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from tleg.models.auxiliary import ElasticViT

# The types of tensors of whole numbers in a file.
_WHOLE: Final = {"int8": "I8", "uint8": "U8"}


@dataclass(frozen=True, slots=True, eq=False)
class Learngene:
    """A learngene in memory.

    header   what the file says of itself
    tensors  float32 arrays. 'blocks.attn.qkv.weight' and the like are stacks of terms, shape (K, *parameter), with theta_B
             as term 0 and theta_A as term 1 in the paper's basis, or (1, *parameter) for parts that all layers share;
             the stem ('patch_embed.proj.weight', 'pos_embed', …) and head ('norm.weight', 'head.weight', …) keep their names
    """

    header: LearngeneHeader
    tensors: Mapping[str, Array]

    @property
    def parameters(self) -> int:
        """The number of values stored: terms, stem and head."""
        return sum(values.size for values in self.tensors.values())

    @property
    def terms(self) -> dict[str, Array]:
        """The stacks of terms by parameter name inside a block: 'attn.qkv.weight' -> shape (K, 3 * width, width)."""
        family = family_of(self.header.architecture)
        return {name.removeprefix(family.prefix): values for name, values in self.tensors.items() if family.is_block(name)}

    def coefficients(self, depth: int) -> tuple[tuple[float, ...], ...]:
        """The coefficient matrix of a depth, shape (depth, K). Raises DepthError."""
        return self.header.basis.coefficients(depth)

    def expand_tensors(self, depth: Depth) -> dict[str, Array]:
        """A descendant's parameters as arrays, by timm's names (auxiliary layout). Raises DepthError."""
        return expand_tensors(self.tensors, self.header, depth)

    def expand(
        self,
        depth: Depth,
        layout: Layout = "auxiliary",
        num_classes: int | None = None,
        dtype: Literal["float32", "float16"] | None = None,
    ) -> "VisionTransformer":
        """Return the descendant of a depth or a profile: a plain timm model in eval mode, ready to run, train or save.

        layout       'auxiliary' normalises, then pools, as the auxiliary model did; 'official' pools, then normalises
        num_classes  None keeps the head. Another number than the learngene's gives a new head: weights normal with
                     std 0.01, bias zero, the same ones every time. The same number keeps the head.
        dtype        None is float32

        Raises DepthError, ArchitectureError, ExportError for values beyond the range of float16.
        """
        from tleg.models.descendant import expand

        return expand(self, depth, layout=layout, num_classes=num_classes, dtype=dtype)

    def elastic(self) -> "ElasticViT":
        """Return one module for all depths: `elastic(images, depth)` equals `expand(depth)(images)`."""
        from tleg.models.auxiliary import ElasticViT

        return ElasticViT.from_learngene(self)

    def at_image_size(self, image_size: tuple[int, int]) -> "Learngene":
        """Return the learngene with inputs of another height and width, as timm resamples what depends on them.

        The header says what descendants cost there. Raises ArchitectureError for a size that patches do not divide, or that
        timm cannot resample to.
        """
        from tleg.models.image_size import resize

        return resize(self, image_size)

    def with_header(self, **changes: object) -> "Learngene":
        """Return the same tensors under a header with some fields replaced."""
        return Learngene(replace(self.header, **changes), self.tensors)  # type: ignore[arg-type]

    def verify(self) -> None:
        """Check names, shapes, types and finiteness against the header. Raises FileFormatError with every difference."""
        problems = [*_shape_problems(self.header, {name: values.shape for name, values in self.tensors.items()})]
        problems += [
            f"'{name}' is {values.dtype}, not float32" for name, values in self.tensors.items() if values.dtype != np.float32
        ]
        # One NaN or infinity makes the sum so, and the sum is a single pass without a temporary array. Infinities of both
        # signs, and sums of finite values past the end of float64, are told apart by looking at each value.
        problems += [
            f"'{name}' holds values that are not finite"
            for name, values in self.tensors.items()
            if not np.isfinite(values.sum(dtype=np.float64)) and not np.isfinite(values).all()
        ]
        if problems:
            raise FileFormatError("; ".join(problems))

    def hash(self) -> str:
        """The SHA-256 of the tensors (see `tleg.learngene.container.hash_tensors`)."""
        return hash_tensors((name, values.shape, _bytes(values)) for name, values in self.tensors.items())

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the learngene file, whole or not at all.

        The header gets the hash of the tensors. Raises InputError when the file exists and `overwrite` is false,
        FileFormatError when the tensors do not fit the header, ExportError when the disk refuses.
        """
        self.verify()
        header, stored = replace(self.header, sha256=self.hash()), self._stored()
        whole = {name: _WHOLE[values.dtype.name] for name, values in stored.items() if values.dtype.name in _WHOLE}
        if not whole:
            header = replace(header, compression=None)
        # Bytes last: float32 is aligned then.
        names = sorted(stored, key=lambda name: (name in whole, name))
        start = encode_start(header, {name: stored[name].shape for name in names}, whole)
        with new_file(Path(path), overwrite=overwrite) as temporary, temporary.open("wb") as file:
            file.write(start)
            for name in names:
                values = stored[name]
                file.write(values.reshape(-1).view(np.uint8).data if name in whole else _bytes(values))

    def _stored(self) -> dict[str, NDArray[Any]]:
        """The tensors as a file has them: float32, or whole numbers and their scales where these say the same."""
        if self.header.compression is None:
            return dict(self.tensors)
        stored: dict[str, NDArray[Any]] = {}
        for name, each in quantise_tensors(self.header.architecture, self.tensors, self.header.compression.dtype).items():
            if isinstance(each, QuantisedTensor) and _bytes(each.floats()) == _bytes(self.tensors[name]):
                stored[name] = pack(each.values) if each.bits == 4 else each.values
                stored[f"{name}{container.SCALE_SUFFIX}"] = each.scales
            else:  # A tensor that was changed since it was read, such as position embeddings of another size.
                stored[name] = self.tensors[name]
        return stored


def load(path_or_name: str | os.PathLike[str]) -> Learngene:
    """Load a learngene from a file, or one that ships with tleg by name ('fashion-mnist').

    Everything is checked: container, header, names, shapes, finiteness, hash. Raises InputError, FileFormatError, or
    VerificationError when the tensors are not those that were written.
    """
    file = container.read_file(find(path_or_name, "learngene"))
    return read_tensors(file)


def read_tensors(file: LearngeneFile) -> Learngene:
    """Read and check the tensors of a learngene file. Raises FileFormatError or VerificationError."""
    problems = list(_shape_problems(file.header, {name: entry.shape for name, entry in file.tensors.items()}))
    if problems:
        raise FileFormatError(f"{file.path} is not a usable learngene: {'; '.join(problems)}")
    with open_binary(file.path) as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if len(content) != file.size:
            raise FileFormatError(f"{file.path} changed while it was read")
        tensors = {name: _values(content, entry) for name, entry in file.tensors.items()}
    learngene = Learngene(file.header, tensors)
    try:
        learngene.verify()
    except FileFormatError as error:
        raise FileFormatError(f"{file.path} is not a usable learngene: {error}") from error
    if learngene.hash() != file.header.sha256:
        raise VerificationError(f"the tensors of {file.path} are not those that were written: their hash differs")
    return learngene


def _values(content: mmap.mmap, entry: TensorEntry) -> Array:
    """A tensor's values, whole numbers times their scales."""
    if entry.scales is not None:
        stored = np.frombuffer(content, np.uint8, entry.stop - entry.start, entry.start)
        whole = (unpack(stored) if entry.packed else stored.view(np.int8)).reshape(entry.shape)
        return QuantisedTensor(whole, _values(content, entry.scales), bits=4 if entry.packed else 8).floats()
    flat = np.frombuffer(content, "<f4", (entry.stop - entry.start) // 4, entry.start)
    return flat.astype(np.float32).reshape(entry.shape)


def _bytes(values: Array) -> memoryview:
    """The values as little-endian float32, in C order, without a copy where they lie so already."""
    flat = np.ascontiguousarray(values).reshape(-1).astype("<f4", copy=False)
    return flat.view(np.uint8).data


def _shape_problems(header: LearngeneHeader, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Name every difference between the tensors present and those that the header promises."""
    family = family_of(header.architecture)
    parts = {name: part for name in shapes if (part := family.part(name)) is not None}
    problems = [] if parts else ["there are no terms"]
    for name, part in sorted(parts.items()):
        expected = header.basis.terms_of(part)
        found = shapes[name][0] if shapes[name] else 0
        if found != expected:
            problems.append(f"'{name}' ({part}) has {found} terms instead of {expected}")
    promised = family.parameter_shapes(header.architecture)
    if promised is not None:
        problems += [f"'{name}' is missing" for name in sorted(promised.keys() - shapes.keys())]
        problems += [f"'{name}' is unexpected" for name in sorted(shapes.keys() - promised.keys())]
        for name in sorted(promised.keys() & shapes.keys()):
            found_shape = shapes[name][1:] if name in parts else shapes[name]
            if found_shape != promised[name]:
                problems.append(f"'{name}' has shape {list(found_shape)} instead of {list(promised[name])}")
        blocks = header.architecture.profile(1)
        places = {name: family.place(name) for name in promised}
        counted = sum(
            math.prod(shape) * (1 if (place := places[name]) is None else blocks[place.stage])
            for name, shape in promised.items()
        )
        if header.cost.parameters.at(1) != counted:
            problems.append(
                f"its cost model counts {header.cost.parameters.at(1)} parameters in one layer and the rest, not {counted}"
            )
    return problems
