"""What the file of an export says of itself: texts by name, JSON where a value is no plain text.

They are the metadata_props of an ONNX file and the extra files of an archive of torch.export. An application needs no tleg
to use them:

    preprocessing = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.errors import FileFormatError
from tleg.export.backend import OpenExport, Source
from tleg.export.formats import Format, stored_format
from tleg.export.interface import Interface, check_recorded
from tleg.export.manifest import DescendantRecord, FolderRecord, LearngeneRecord, Lineage
from tleg.export.runners import Runner
from tleg.files import text_only
from tleg.learngene.calibration import calibration_in
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth, format_depth
from tleg.models.output import Output, OutputRecord
from tleg.serialize import decode, encode
from tleg.versions import versions

# Of ONNX files, which have an opset, and of all others.
ONNX_NAME: Final = "tleg.onnx"
OTHER_NAME: Final = "tleg.export"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a model: its size (channels, height, width) and how an image becomes one."""

    size: tuple[int, int, int]
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """What an export says of itself. Its weights are those of a descendant, or of a folder that timm loads.

    kind     the name of its format
    opset    of an ONNX file; None of others
    outputs  what it gives, where that is not the logits of classes
    interface  how its graph is entered and left, where that is not as usual
    """

    kind: str
    opset: int | None
    input: Input
    classes: tuple[str, ...]
    learngene: LearngeneRecord | None
    descendant: DescendantRecord | None
    folder: FolderRecord | None = None
    outputs: tuple[OutputRecord, ...] = ()
    interface: Interface | None = None

    def __post_init__(self) -> None:
        self.lineage.check("metadata")
        check_recorded(self.interface, "metadata")
        if tuple(each.name for each in self.outputs) != (() if self.output.of_classes else self.output.names):
            raise FileFormatError("metadata names other outputs than its model gives")
        if self.format.every_depth and self.descendant is None:
            raise FileFormatError("metadata names no descendant, and an elastic file holds nothing else")

    @property
    def format(self) -> Format:
        """The format that `kind` names. Raises FileFormatError."""
        return stored_format(self.kind, "metadata.kind")

    @property
    def lineage(self) -> Lineage:
        """Where the weights come from."""
        return Lineage(self.learngene, self.descendant, self.folder)

    @property
    def output(self) -> Output:
        """What it gives."""
        return self.lineage.output

    @property
    def model(self) -> DescendantRecord | FolderRecord:
        """What was exported: the record of the descendant or of the folder."""
        return self.lineage.model


def metadata_of(source: Source, entry: Format, depth: Depth | None, opset: int | None = None) -> ExportMetadata:
    """Return what an export of a source in a format says of itself."""
    lineage = source.lineage(depth)
    return ExportMetadata(
        kind=entry.name,
        opset=opset,
        input=Input(source.input_size, source.preprocessing),
        classes=source.classes,
        learngene=lineage.learngene,
        descendant=lineage.descendant,
        folder=lineage.folder,
        outputs=() if source.output.of_classes else source.described[depth].outputs,
        interface=None if source.interface.is_usual else source.interface,
    )


def opened_as(path: Path, metadata: ExportMetadata, runner: Runner) -> OpenExport:
    """Return an export that was opened, as its metadata describes it."""
    model, descendant = metadata.model, metadata.descendant
    return OpenExport(
        path=path,
        format=metadata.format,
        depth=model.depth if descendant is None else descendant.expands_to,
        num_classes=model.num_classes,
        input_size=metadata.input.size,
        preprocessing=metadata.input.preprocessing,
        precision=model.dtype,
        runner=runner,
        classes=metadata.classes,
        lineage=metadata.lineage,
        output=metadata.output,
        interface=metadata.interface or Interface(),
    )


def encode_metadata(metadata: ExportMetadata) -> dict[str, str]:
    """Return the texts that a file holds."""
    preprocessing = {"input_size": list(metadata.input.size), **encode(metadata.input.preprocessing)}
    model = metadata.model
    texts = {
        "format": OTHER_NAME if metadata.opset is None else ONNX_NAME,
        "format_version": str(FORMAT_VERSION),
        "tleg_version": versions("tleg")["tleg"],
        "kind": metadata.kind,
        **({} if metadata.opset is None else {"opset": str(metadata.opset)}),
        "dtype": model.dtype,
        "preprocessing": _json(preprocessing),
    }
    if metadata.output.of_classes:
        texts["classes"] = _json(list(metadata.classes))
    else:
        texts["outputs"] = _json(encode(metadata.outputs))
    if metadata.format.every_depth:
        texts["depth"] = "any"
    elif model.depth is not None:
        texts["depth"] = str(model.depth)
        if metadata.descendant is not None and metadata.descendant.profile is not None:
            texts["profile"] = format_depth(metadata.descendant.profile)
    if metadata.descendant is not None:
        texts["layout"] = metadata.descendant.layout
    if model.temperature is not None:
        texts["temperature_inside"] = _json(model.temperature)
    if (temperature := _temperature(metadata)) is not None:
        texts["temperature"] = _json(temperature)
    if metadata.interface is not None:
        texts["interface"] = _json(encode(metadata.interface))
    lineage = {"learngene": metadata.learngene, "descendant": metadata.descendant, "folder": metadata.folder}
    return texts | {name: _json(encode(record)) for name, record in lineage.items() if record is not None}


def _temperature(metadata: ExportMetadata) -> float | Mapping[str, float] | None:
    """What logits are to be divided by, as the model's record says; by depth where each has its own in an elastic file."""
    found = calibration_in(metadata.lineage.training)
    if found is None or not (metadata.output.of_classes and found.fits(metadata.model.num_classes, metadata.input.size[1:])):
        return None
    if metadata.format.every_depth:
        return found.by_depth or found.temperature
    descendant = metadata.descendant
    return found.at(metadata.model.depth if descendant is None else descendant.expands_to)


def decode_metadata(texts: Mapping[str, str]) -> ExportMetadata:
    """Read the texts of a file, trusting nothing. Raises FileFormatError."""
    if texts.get("format") not in (ONNX_NAME, OTHER_NAME):
        raise FileFormatError("the file was not exported by tleg")
    if texts.get("format_version") != str(FORMAT_VERSION):
        raise FileFormatError(
            f"its metadata has version {texts.get('format_version')!r}; this tleg reads version {FORMAT_VERSION}"
        )
    preprocessing = _parse(texts, "preprocessing")
    if not isinstance(preprocessing, dict):
        raise FileFormatError("the metadata 'preprocessing' is not an object")
    document = {
        "kind": texts.get("kind"),
        "opset": _parse(texts, "opset") if texts["format"] == ONNX_NAME else None,
        "input": {"size": preprocessing.pop("input_size", None), "preprocessing": preprocessing},
        "classes": [] if "outputs" in texts else _parse(texts, "classes"),
        "outputs": _parse(texts, "outputs") if "outputs" in texts else [],
        "interface": _parse(texts, "interface") if "interface" in texts else None,
        **{name: _parse(texts, name) if name in texts else None for name in ("learngene", "descendant", "folder")},
    }
    return decode(ExportMetadata, document, "metadata")


def _json(value: Any) -> str:
    return json.dumps(text_only(value), ensure_ascii=False, allow_nan=False)


def _parse(texts: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(texts[name])
    except (KeyError, ValueError, RecursionError) as error:
        raise FileFormatError(f"the metadata '{name}' is missing or no JSON") from error
