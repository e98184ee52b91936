"""The formats of exports: a registry, read by the command line, the workbench, `tleg build`, `verify` and `evaluate`.

A format is an entry here and a `Backend` (`tleg.export.backend`) that writes and runs its files, named by module and class
and imported when it is used. Light: the standard library alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from tleg.errors import FileFormatError, InputError, did_you_mean
from tleg.export.interface import AXES, PIXELS, RESIZES, Axes, Interface, Pixels, Place
from tleg.learngene.architecture import LAYOUTS, Layout
from tleg.learngene.header import CompressedType
from tleg.learngene.profile import Depth, format_depth
from tleg.models.output import FIELD, OUTPUT_KINDS, Output, OutputKind
from tleg.text import format_image_size

Precision = Literal["float32", "float16", "int8", "int8-dynamic", "int8-terms", "int4-terms"]
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "float16", "int8", "int8-dynamic", "int8-terms", "int4-terms")
# What a graph computes in, whatever its weights are stored as.
Arithmetic = Literal["float32", "float16"]
# What images, weights and activations are, where nothing is rounded to whole numbers.
FLOATING: Final[tuple[Precision, ...]] = ("float32", "float16")
# Products of whole numbers: ranges of activations from images ('int8'), or from each input as it comes ('int8-dynamic').
QUANTISED: Final[tuple[Precision, ...]] = ("int8", "int8-dynamic")
# Terms in 8 or 4 bits, and float32 from there on: by what a learngene's matrices become.
TERMS: Final[Mapping[Precision, CompressedType]] = MappingProxyType({"int8-terms": "int8", "int4-terms": "int4"})
# Of a weight while a file is written: what ONNX Runtime quantises is a float32 file first.
BYTES_OF: Final[Mapping[Precision, int]] = MappingProxyType(
    {"float32": 4, "float16": 2, "int8": 4, "int8-dynamic": 4, "int8-terms": 1, "int4-terms": 1}
)
# Where a temperature that a model keeps goes: into the metadata, for whoever uses the logits, or into the graph.
TemperaturePlace = Literal["beside", "inside"]
TEMPERATURE_PLACES: Final[tuple[TemperaturePlace, ...]] = ("beside", "inside")
# What exports are made from: a learngene's descendants, or the model of a folder that timm loads, as it is.
SourceKind = Literal["learngene", "folder"]
# Of files that are no exports.
_TAKEN: Final = frozenset((".safetensors", ".json"))

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Format:
    """What can be written.

    name         as it is typed and stored: 'onnx-compact'
    suffix       of its files; '' for the one kind of folder that has none
    about        what it is, in one line
    backend      'module:Class', what writes and runs it
    dtypes       number types, by what it is made from; what is left out it cannot be made from
    refusals     why not, by what it would be made from; '{name}' is the format's and '{path}' the source's
    rounding     why it has no number type of whole numbers, or not all of them
    every_depth  whether one export holds every depth, so that it needs none
    plain        why it takes plain ViTs alone, which the graph writer knows; '' where it takes others as well
    is_folder    whether it is a folder, which holds its own manifest but for a package, or a file beside which that lies
    is_package   whether it is a folder that people take for a file, so that its manifest lies beside it
    quantiser    package of its extra that makes whole numbers of it; '' where those of `libraries` and `runtime` do
    outputs      what its models can give
    no_places    why they give no maps of blocks, where that is not to be expected
    graph        whether it is a graph that can be entered and left in other ways than tleg writes it (`Interface`)
    libraries    packages that write it, besides numpy and safetensors
    runtime      packages that run it when it is checked
    extra        of tleg, that installs those of them that do not come with it; '' where all do
    elsewhere    why its own runtime does not run it where it is checked; '' where it does
    opened_by    who opens it, in words
    """

    name: str
    suffix: str
    about: str
    backend: str
    dtypes: Mapping[SourceKind, tuple[Precision, ...]] = field(
        default_factory=lambda: MappingProxyType({"learngene": FLOATING, "folder": FLOATING})
    )
    refusals: Mapping[SourceKind, str] = field(default_factory=lambda: MappingProxyType({}))
    rounding: str = ""
    every_depth: bool = False
    plain: str = ""
    is_folder: bool = False
    is_package: bool = False
    quantiser: str = ""
    outputs: tuple[OutputKind, ...] = ("classes",)
    no_places: str = ""
    graph: bool = False
    libraries: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()
    extra: str = ""
    elsewhere: str = ""
    opened_by: str

    def depths_of(self, depths: tuple[Depth, ...]) -> tuple[Depth | None, ...]:
        """The depth of each export to write, of those that were asked for; None is every depth."""
        return (None,) if self.every_depth else depths

    @property
    def is_timm_folder(self) -> bool:
        """Whether it is a folder that timm loads, as fine-tuning leaves one."""
        return self.is_folder and not self.suffix

    @property
    def is_installed(self) -> bool:
        """Whether the packages that write and run it are there. Imports none of them."""
        return not self.extra or all(find_spec(name) is not None for name in (*self.libraries, *self.runtime))

    def check_installed(self) -> None:
        """Refuse it where a package is missing. Raises InputError saying how to get it."""
        if not self.is_installed:
            raise InputError(
                f"{self.opened_by} is not installed, which the format {self.name} needs: pip install 'tleg[{self.extra}]'",
                field="export",
                code="not-installed",
            )

    def takes(self, source: SourceKind, precision: Precision = "float32") -> bool:
        """Whether it can be made from something in a number type."""
        return precision in self.dtypes.get(source, ())

    def check_source(self, source: SourceKind, precision: Precision, path: object, *, changed: bool = False) -> None:
        """Refuse what it cannot be made from. Raises InputError saying why.

        changed  whether it is for another output, so that a folder is made of a folder
        """
        if source in self.dtypes and precision not in FLOATING and not self.takes(source, precision):
            raise InputError(self._why_not_rounded(source, precision), field=("dtype", "export"), code="unsupported")
        if not self.takes(source, precision) and not (changed and self.is_folder and source in self.dtypes):
            reason = self.refusals.get(source, "--export {name} cannot be made from {path} in " + precision)
            fields = ("export", "dtype") if source in self.dtypes else ("export",)
            raise InputError(reason.format(name=self.name, path=path), field=fields, code="unsupported")

        if precision in QUANTISED and self.quantiser and find_spec(self.quantiser) is None:
            raise InputError(
                f"{self.quantiser} is not installed, which --export {self.name} --dtype {precision} needs: "
                f"pip install 'tleg[{self.extra}]'",
                field=("dtype", "export"),
                code="not-installed",
            )

    def _why_not_rounded(self, source: SourceKind, precision: Precision) -> str:
        """Why it cannot be made in a number type of whole numbers, and which kind or number type can be had."""
        others = [each.name for each in FORMATS.values() if each.takes(source, precision)]
        instead = [f"--export {either(others)} takes it"] if others else []
        if own := [each for each in self.dtypes[source] if each not in FLOATING]:
            instead.append(f"--export {self.name} takes --dtype {either(own)}")
        why = self.rounding or "what opens it computes with fractions alone"
        return f"--export {self.name} has no --dtype {precision}: {why}; {', and '.join(instead) or 'use float32'}"

    def check_output(self, output: Output) -> None:
        """Refuse what its models do not give. Raises InputError saying why."""
        if output.kind not in self.outputs:
            reason = self.no_places if output.places and self.no_places else "what opens it asks for other outputs"
            gives = ", ".join(self.outputs)
            raise InputError(
                f"--export {self.name} has no --output-of {output}: {reason}; it has {gives}",
                field=(FIELD, "export"),
                code="unsupported",
            )

    def file_name(
        self,
        stem: str,
        depth: Depth | None,
        precision: Precision = "float32",
        layout: Layout | None = None,
        image_size: tuple[int, int] | None = None,
        output: Output | None = None,
        interface: Interface | None = None,
    ) -> str:
        """The name of an export: 'fashion-mnist-depth8.onnx', 'fashion-mnist.elastic.onnx'.

        stem   the name of the learngene or the folder
        depth  None for every depth, and for a folder's model as it is
        image_size  height and width of the inputs, where they are others than the learngene's
        output      what was asked for; None and classes are not told
        interface   how its graph is entered and left

        What is not the default is part of the name, so that variants lie side by side.
        """
        parts = [
            stem,
            f"depth{format_depth(depth)}" if depth is not None else "",
            "official" if layout == "official" else "",
            f"{format_image_size(image_size)}px" if image_size is not None else "",
            precision if precision != "float32" else "",
            output.in_file_names if output is not None and not output.of_classes else "",
            interface.in_file_names if interface is not None else "",
        ]
        return "-".join(filter(None, parts)) + self.suffix


FORMATS: Final[dict[str, Format]] = {}


def register(entry: Format) -> None:
    """Add a format. Raises ValueError for a name or a suffix that is taken."""
    if entry.name in FORMATS or entry.suffix in _TAKEN or any(entry.suffix == each.suffix for each in FORMATS.values()):
        raise ValueError(f"the name or the suffix of the format '{entry.name}' is taken")
    FORMATS[entry.name] = entry


_LOADED_ALREADY: Final[Mapping[SourceKind, str]] = MappingProxyType(
    {
        "folder": "{path} is a folder that timm loads already; use --export onnx, or --dtype float16 to get one of half the "
        "size"
    }
)
_NEEDS_TERMS: Final[Mapping[SourceKind, str]] = MappingProxyType(
    {
        "folder": "--export {name} needs a learngene: it holds terms, and the layers in the folder {path} have weights of "
        "their own, which training takes off any rule; use --export onnx"
    }
)
_MADE_IN_THE_GRAPH: Final = "its matrices are made from terms in the graph, where quantisation finds next to none"

register(
    Format(
        name="pytorch",
        suffix="",
        about="a folder that timm loads in one line",
        backend="tleg.export.pytorch:PytorchBackend",
        dtypes=MappingProxyType({"learngene": FLOATING, "folder": ("float16",)}),
        refusals=_LOADED_ALREADY,
        rounding="timm computes with fractions alone",
        is_folder=True,
        outputs=OUTPUT_KINDS,
        runtime=("timm", "torch"),
        opened_by="timm",
    )
)
register(
    Format(
        name="onnx",
        suffix=".onnx",
        about="one file with every layer's weights",
        backend="tleg.export.onnx.backend:PlainBackend",
        dtypes=MappingProxyType({"learngene": (*FLOATING, *QUANTISED), "folder": (*FLOATING, *QUANTISED)}),
        rounding="it holds layers and no terms",
        outputs=OUTPUT_KINDS,
        graph=True,
        libraries=("onnx",),
        runtime=("onnxruntime",),
        opened_by="ONNX Runtime",
    )
)
register(
    Format(
        name="onnx-compact",
        suffix=".compact.onnx",
        about="one file that holds the terms instead, of the learngene's size at any depth",
        backend="tleg.export.onnx.backend:CompactBackend",
        dtypes=MappingProxyType({"learngene": (*FLOATING, *TERMS)}),
        refusals=_NEEDS_TERMS,
        rounding=_MADE_IN_THE_GRAPH,
        outputs=OUTPUT_KINDS,
        graph=True,
        libraries=("onnx",),
        runtime=("onnxruntime",),
        opened_by="ONNX Runtime",
    )
)
register(
    Format(
        name="onnx-elastic",
        suffix=".elastic.onnx",
        about="one file for every depth, which is an input; it needs no --depth",
        backend="tleg.export.onnx.backend:ElasticBackend",
        dtypes=MappingProxyType({"learngene": (*FLOATING, *TERMS)}),
        refusals=_NEEDS_TERMS,
        rounding=_MADE_IN_THE_GRAPH,
        every_depth=True,
        outputs=("classes", "pooled", "tokens"),
        no_places="its layers are turns of one loop, whose number is an input, so that no block has a map of its own",
        plain="it holds one graph for a layer of any depth, where PyTorch traces the layers of others one by one",
        graph=True,
        libraries=("onnx",),
        runtime=("onnxruntime",),
        opened_by="ONNX Runtime",
    )
)
register(
    Format(
        name="torch-export",
        suffix=".pt2",
        about="one file that PyTorch loads without timm",
        backend="tleg.export.torch_export.backend:TorchExportBackend",
        rounding="it computes with fractions alone",
        outputs=OUTPUT_KINDS,
        libraries=("torch", "timm"),
        runtime=("torch",),
        opened_by="PyTorch",
    )
)
register(
    Format(
        name="executorch",
        suffix=".pte",
        about="one file that ExecuTorch runs on a device, with XNNPACK",
        backend="tleg.export.executorch.backend:ExecutorchBackend",
        rounding="ExecuTorch's own quantisers, such as torchao, make whole numbers of a model",
        outputs=OUTPUT_KINDS,
        libraries=("torch", "timm", "executorch"),
        runtime=("executorch",),
        extra="executorch",
        opened_by="ExecuTorch",
    )
)
register(
    Format(
        name="openvino",
        suffix=".openvino",
        about="a folder with OpenVINO's own .xml and .bin of one model",
        backend="tleg.export.openvino.backend:OpenvinoBackend",
        dtypes=MappingProxyType({"learngene": (*FLOATING, "int8"), "folder": (*FLOATING, "int8")}),
        rounding="its whole numbers are those of NNCF, with ranges from images",
        quantiser="nncf",
        is_folder=True,
        outputs=OUTPUT_KINDS,
        graph=True,
        libraries=("onnx", "openvino"),
        runtime=("openvino",),
        extra="openvino",
        opened_by="OpenVINO",
    )
)
register(
    Format(
        name="coreml",
        suffix=".mlpackage",
        about="a package for Apple's CoreML, checked and not run there",
        backend="tleg.export.coreml.backend:CoremlBackend",
        rounding="coremltools makes whole numbers of such a package",
        is_folder=True,
        is_package=True,
        outputs=OUTPUT_KINDS,
        libraries=("torch", "timm", "coremltools"),
        runtime=("torch",),
        extra="coreml",
        elsewhere="CoreML runs on Apple's systems alone",
        opened_by="coremltools",
    )
)


def find_format(text: str) -> Format:
    """Return the format of a name. Raises InputError, with the nearest known name."""
    return FORMATS[_parse(text, FORMATS, "export")]


def either(names: Iterable[str], word: str = "or") -> str:
    """Return names as a sentence has them: 'a, b or c'."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def files_first() -> tuple[Format, ...]:
    """All formats, as a form offers them: single files first."""
    return tuple(sorted(FORMATS.values(), key=lambda each: each.is_folder))


def stored_format(name: str, where: str) -> Format:
    """Return the format that a file says it is of. `where` names the place. Raises FileFormatError."""
    if name not in FORMATS:
        raise FileFormatError(f"{where} must be one of {', '.join(FORMATS)}, not {name!r}")
    return FORMATS[name]


def format_of_path(name: str, *, is_folder: bool) -> Format | None:
    """Return the format that a file or folder of this name is of, by the longest suffix that fits; None where none does."""
    fitting = [each for each in FORMATS.values() if each.is_folder == is_folder and name.endswith(each.suffix)]
    return max(fitting, key=lambda each: len(each.suffix), default=None)


def parse_precision(text: str) -> Precision:
    """Read the name of a number type. Raises InputError, with the nearest known name."""
    return _parse(text, PRECISIONS, "dtype")


def parse_layout(text: str) -> Layout:
    """Read the name of a layout. Raises InputError, with the nearest known name."""
    return _parse(text, LAYOUTS, "layout")


def parse_temperature_place(text: str) -> TemperaturePlace:
    """Read where a temperature goes. Raises InputError."""
    return _parse(text, TEMPERATURE_PLACES, "temperature")


def parse_pixels(text: str) -> Pixels:
    """Read what the input of an ONNX file holds. Raises InputError, with the nearest known name."""
    return _parse(text, PIXELS, "input")


def parse_axes(text: str) -> Axes:
    """Read the order of an input's axes. Raises InputError, with the nearest known name."""
    return _parse(text, AXES, "input-layout")


def parse_resize(text: str) -> Place:
    """Read where pictures are resized. Raises InputError, with the nearest known name."""
    return _parse(text, RESIZES, "resize")


def _parse(text: str, known: Iterable[Name], what: str) -> Name:
    names = tuple(known)
    if text not in names:
        raise InputError(
            f"unknown {what} '{text}': choose one of {', '.join(names)}.{did_you_mean(text, names)}",
            field=what,
            code="unknown-name",
        )
    return next(name for name in names if name == text)
