"""The archive of torch.export, looked at before PyTorch reads it: what it says of itself, and that it holds no code.

torch.export.load unpickles what lies in an archive as a pickle, loads compiled code from it, calls whatever in torch its
graph names, and evaluates texts as sizes. The archive of a model needs none of that, so one that holds it is refused.
Light: the standard library alone.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tleg.errors import FileFormatError
from tleg.learngene.container import open_binary

GRAPH: Final = "models/model.json"
EXTRA: Final = "extra/"
_CONFIGURATIONS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
# Images of the tracing, which are a pickle.
_SAMPLES: Final = "data/sample_inputs/model.pt"
_NAMES: Final = re.compile(
    r"models/model\.json|data/weights/(?:model_weights_config\.json|weight_\d+)|"
    r"data/constants/(?:model_constants_config\.json|tensor_\d+)|data/sample_inputs/model\.pt|extra/\w+|"
    r"archive_format|archive_version|byteorder|\.data/\w+"
)
# Operators of PyTorch, and Python's own of sizes.
_OPERATORS: Final = re.compile(
    r"torch\.ops\.\w+\.\w+(?:\.\w+)?|torch\.sym_\w+|"
    r"_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
# Names of SymPy and numbers: "Symbol('s77', positive=True, integer=True)", "s77", "Max(1, 2*s77)".
_SIZES: Final = re.compile(r"(?:'\w+'|\b[a-z_]+=|\b[A-Z][A-Za-z]*\b|\b[su]?\d+\b|[ ()+*/,-])*")
_LARGEST_TEXT: Final = 64 * 2**20


def read_archive(path: Path) -> dict[str, str]:
    """Return the texts of an archive that is safe to load, by name.

    Raises InputError when there is no such file, FileFormatError for one that is damaged or holds more than a model's graph.
    """
    with open_binary(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _checked(archive)
        except FileFormatError as error:
            raise FileFormatError(f"{path} is not a usable archive of torch.export: {error}") from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error) as error:
            raise FileFormatError(f"{path} is damaged, or not an archive of torch.export") from error


def _checked(archive: zipfile.ZipFile) -> dict[str, str]:
    infos = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if len(infos) != len(archive.infolist()) or len({name.partition("/")[0] for name in archive.namelist()}) != 1:
        raise FileFormatError("it holds two files of one name, or more than one folder")
    if (strange := next((name for name in infos if not _NAMES.fullmatch(name)), None)) is not None:
        raise FileFormatError(f"it holds '{strange}', which no model's graph needs")
    if missing := [name for name in (GRAPH, *_CONFIGURATIONS) if name not in infos]:
        raise FileFormatError(f"it holds no '{missing[0]}'")
    if _SAMPLES in infos and infos[_SAMPLES].file_size:
        raise FileFormatError("it holds pickled inputs, which are not read")
    for name in _CONFIGURATIONS:
        if any(each.get("use_pickle") is not False for each in _objects(_json(archive, infos[name])) if "path_name" in each):
            raise FileFormatError("it holds pickled tensors or objects, which are not read")
    for each in _objects(_json(archive, infos[GRAPH])):
        if "target" in each and "inputs" in each and not _OPERATORS.fullmatch(str(each["target"])):
            raise FileFormatError(f"its graph calls '{each['target']}', which is no operator of PyTorch")
        if "expr_str" in each and not _SIZES.fullmatch(str(each["expr_str"])):
            raise FileFormatError("its graph has a size that is no expression of numbers")
    return {name.removeprefix(EXTRA): _text(archive, info) for name, info in infos.items() if name.startswith(EXTRA)}


def _text(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > _LARGEST_TEXT:
        raise FileFormatError(f"'{info.filename}' has {info.file_size:,} bytes")
    try:
        return archive.read(info).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"'{info.filename}' is no UTF-8") from error


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    try:
        return json.loads(_text(archive, info))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"'{info.filename}' is no JSON") from error


def _objects(document: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in a document, at any depth."""
    waiting = [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
