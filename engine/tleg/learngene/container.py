"""Reading the safetensors container without numpy or torch, trusting nothing.

Layout (the safetensors format, github.com/huggingface/safetensors): 8 bytes with the length of a JSON header, the header,
then the bytes of the tensors without gaps. Whatever is in the file, the result is a valid `LearngeneHeader` or a
FileFormatError in one line.
"""

import json
import math
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from tleg.errors import FileFormatError, InputError, describe_os_error
from tleg.learngene.header import FORMAT_NAME, FORMAT_VERSIONS, LearngeneHeader
from tleg.serialize import decode, encode

MAX_HEADER_BYTES: Final = 16 * 2**20
ITEM_BYTES: Final = {"F32": 4, "I8": 1, "U8": 1}
# Whole numbers in 8 bits, and in 4: two of the last axis a byte.
WHOLE: Final = ("I8", "U8")
# Ends the name of the scales of a tensor of whole numbers.
SCALE_SUFFIX: Final = ".scale"
METADATA_FIELDS: Final = tuple(item.name for item in fields(LearngeneHeader))


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where a tensor lies: its shape, and its first byte and the one after its last, counted from the start of the file.

    scales  of whole numbers, by which they are multiplied; None of float32. They have as many axes, of lengths that part
            those of the tensor into blocks which share a scale
    packed  whether they have 4 bits, two a byte
    """

    shape: tuple[int, ...]
    start: int
    stop: int
    scales: "TensorEntry | None" = None
    packed: bool = False


@dataclass(frozen=True, slots=True)
class LearngeneFile:
    """A learngene file whose header was read and checked, and whose tensors were located but not read."""

    path: Path
    header: LearngeneHeader
    tensors: Mapping[str, TensorEntry]
    size: int

    @property
    def parameters(self) -> int:
        """The number of values in all tensors."""
        return sum(math.prod(entry.shape) for entry in self.tensors.values())


def read_header(path: str | os.PathLike[str]) -> LearngeneHeader:
    """Return the header of a learngene file. Reads no tensor. Raises InputError or FileFormatError."""
    return read_file(path).header


def read_file(path: str | os.PathLike[str]) -> LearngeneFile:
    """Read and check the header of a learngene file, and the place of every tensor.

    Raises InputError when the path cannot be read, FileFormatError when the file is no learngene of this version.
    """
    path = Path(path)
    with open_binary(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            document, data_start = _read_json(file, size)
            metadata = document.pop("__metadata__", None)
            located = _locate(document, data_start, size)
            header = _decode_metadata(metadata)
            whole = {name: entry["dtype"] for name, entry in document.items() if entry["dtype"] in WHOLE}
            tensors = _with_scales(located, whole, header)
        except FileFormatError as error:
            raise FileFormatError(f"{path} is not a usable learngene: {error}") from error
    return LearngeneFile(path, header, tensors, size)


def is_foreign(path: Path) -> bool:
    """Whether a file is a safetensors file of somebody else's: weights that are no learngene. Raises InputError."""
    with open_binary(path) as file:
        try:
            document, _ = _read_json(file, os.fstat(file.fileno()).st_size)
        except FileFormatError:
            return False
    metadata = document.get("__metadata__")
    return not isinstance(metadata, dict) or metadata.get("format") != FORMAT_NAME


def count_values(path: Path) -> int:
    """Return the number of values in any safetensors file, by its header alone. Raises InputError or FileFormatError."""
    with open_binary(path) as file:
        document, _ = _read_json(file, os.fstat(file.fileno()).st_size)
    document.pop("__metadata__", None)
    shapes = [entry.get("shape") if isinstance(entry, dict) else None for entry in document.values()]
    if not all(map(_whole_numbers, shapes)):
        raise FileFormatError(f"{path} is no safetensors file: a tensor has no shape")
    return sum(math.prod(shape) for shape in shapes if shape is not None)


def open_binary(path: Path) -> BinaryIO:
    """Open a regular file for reading, or raise InputError with the reason in words."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder; name a file", code="wrong-kind")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is not a regular file", code="wrong-kind")
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot read {path}: {reason}", code="system") from error


def _read_json(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    if size < 8:
        raise FileFormatError("it is empty" if size == 0 else f"it holds only {size} bytes")
    start = file.read(8)
    (length,) = struct.unpack("<Q", start)
    if length > size - 8:
        # Only now: the length of a safetensors header may begin with the same bytes.
        if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
            raise FileFormatError("it is a PyTorch checkpoint; `tleg import` reads the official ones")
        raise FileFormatError("it is truncated, or not a safetensors file")
    if length > MAX_HEADER_BYTES:
        raise FileFormatError(f"its header of {length:,} bytes is larger than {MAX_HEADER_BYTES:,}")
    text = file.read(length)
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_pairs)
    except (ValueError, RecursionError) as error:
        raise FileFormatError("its header is not JSON") from error
    if not isinstance(document, dict):
        raise FileFormatError("its header is not a JSON object")
    return document, 8 + length


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """A number; 1e999 would be infinity, which JSON has not."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document


def _locate(document: Mapping[str, Any], data_start: int, size: int) -> dict[str, TensorEntry]:
    tensors: dict[str, TensorEntry] = {}
    for name, entry in document.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise FileFormatError(f"the entry of tensor '{name}' is malformed")
        shape, offsets = entry["shape"], entry["data_offsets"]
        well_formed = _whole_numbers(shape) and _whole_numbers(offsets) and len(offsets) == 2
        if not well_formed or not isinstance(entry["dtype"], str):
            raise FileFormatError(f"the entry of tensor '{name}' is malformed")
        if entry["dtype"] not in ITEM_BYTES:
            raise FileFormatError(f"tensor '{name}' is of type {entry['dtype']}; a learngene holds {', '.join(ITEM_BYTES)}")
        if len(shape) > 8 or offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[entry["dtype"]]:
            raise FileFormatError(f"tensor '{name}' does not fill its bytes")
        tensors[name] = TensorEntry(tuple(shape), data_start + offsets[0], data_start + offsets[1])
    position = data_start
    for entry in sorted(tensors.values(), key=lambda entry: (entry.start, entry.stop)):
        if entry.start != position:
            raise FileFormatError("its tensors overlap or leave gaps")
        position = entry.stop
    if position != size:
        raise FileFormatError(f"it has {size:,} bytes where its header promises {position:,}")
    return tensors


def _with_scales(
    located: Mapping[str, TensorEntry], whole: Mapping[str, str], header: LearngeneHeader
) -> dict[str, TensorEntry]:
    """Return the tensors, those of whole numbers with their scales, which are none of the learngene's own."""
    if whole and header.compression is None:
        raise FileFormatError(f"tensor '{min(whole)}' is of type {whole[min(whole)]}, and its header says nothing of it")
    if header.compression is not None and not whole:
        raise FileFormatError(f"its header says that matrices are in {header.compression.dtype}, and none is")
    tensors = dict(located)
    for name in sorted(whole):
        entry, scales = located[name], tensors.pop(f"{name}{SCALE_SUFFIX}", None)
        if scales is None or f"{name}{SCALE_SUFFIX}" in whole:
            raise FileFormatError(f"tensor '{name}' is of type {whole[name]} and has no scales")
        if packed := whole[name] == "U8":
            if header.compression is None or header.compression.dtype != "int4" or not entry.shape:
                raise FileFormatError(f"tensor '{name}' is of type U8, and its header says nothing of it")
            entry = replace(entry, shape=(*entry.shape[:-1], 2 * entry.shape[-1]))
        if len(scales.shape) != len(entry.shape) or not all(
            mine > 0 and own % mine == 0 for mine, own in zip(scales.shape, entry.shape, strict=True)
        ):
            raise FileFormatError(f"the scales of tensor '{name}' are none for its shape")
        tensors[name] = replace(entry, scales=scales, packed=packed)
    return tensors


def _whole_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _decode_metadata(metadata: object) -> LearngeneHeader:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT_NAME:
        raise FileFormatError("it is a safetensors file without a learngene's header")
    version = metadata.get("version")
    if version not in [str(each) for each in FORMAT_VERSIONS]:
        if isinstance(version, str) and version.isascii() and version.isdigit() and len(version) < 9:
            raise FileFormatError(
                f"it has format version {version}; this tleg reads versions {FORMAT_VERSIONS[0]} to {FORMAT_VERSIONS[-1]}. "
                "A newer tleg may read it"
            )
        raise FileFormatError("it states no format version")
    document: dict[str, Any] = {}
    for name, text in metadata.items():
        if name in ("format", "version"):
            continue
        if not isinstance(text, str):
            raise FileFormatError(f"the header field '{name}' is not a text")
        try:
            document[name] = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"the header field '{name}' is not JSON") from error
    try:
        return decode(LearngeneHeader, document, "header")
    except FileFormatError:
        raise
    except InputError as error:
        raise FileFormatError(f"header: {error}") from error


def encode_metadata(header: LearngeneHeader) -> dict[str, str]:
    """Return the metadata of a learngene file: `read_header` gives back the same header.

    Raises FileFormatError when free-form fields hold what JSON has not, such as NaN.
    """
    document = {}
    for name, value in header_values(header).items():
        try:
            document[name] = json.dumps(value, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise FileFormatError(f"the header field '{name}' cannot be written as JSON: {error}") from error
    return {"format": FORMAT_NAME, "version": str(header.version), **document}


def header_values(header: LearngeneHeader) -> dict[str, Any]:
    """Return a header's fields as JSON values, as a file has them."""
    values = {name: encode(getattr(header, name)) for name in METADATA_FIELDS}
    # What goes without saying is left out: a tleg that knows one set of figures, in float32, reads the file as well.
    if not header.further:
        del values["further"]
    if header.compression is None:
        del values["compression"]
    if not header.architecture.stages:
        del values["architecture"]["stages"], values["architecture"]["elastic"]
    for reached in (values["reached"], *values.get("further", ())):
        if reached is not None and reached["precision"] == "float32":
            del reached["precision"]
    return values


def encode_start(
    header: LearngeneHeader, shapes: Mapping[str, tuple[int, ...]], whole: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Return all of a learngene file that precedes its tensors, which follow in the order of `shapes`, scales among them.

    whole  the types of those that are whole numbers, as `WHOLE` has them; the others are float32

    The same header and shapes give the same bytes, so equal learngenes are equal files.
    """
    document: dict[str, Any] = {"__metadata__": encode_metadata(header)}
    position = 0
    for name, shape in shapes.items():
        dtype = whole.get(name, "F32")
        stop = position + math.prod(shape) * ITEM_BYTES[dtype]
        document[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, stop]}
        position = stop
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # The format aligns tensors to 8 bytes.
    if len(text) > MAX_HEADER_BYTES:
        raise FileFormatError(f"a header of {len(text):,} bytes is larger than {MAX_HEADER_BYTES:,}")
    return struct.pack("<Q", len(text)) + text


def hash_tensors(tensors: Iterable[tuple[str, tuple[int, ...], bytes | memoryview]]) -> str:
    """Return the SHA-256 of float32 tensors as hexadecimal text: over names, shapes and little-endian bytes, by name."""
    import hashlib  # Here, because previews hash nothing and must start fast.

    digest = hashlib.sha256()
    for name, shape, data in sorted(tensors, key=lambda tensor: tensor[0]):
        digest.update(f"{name} F32 {list(shape)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
