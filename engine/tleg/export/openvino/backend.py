"""The format of OpenVINO: its intermediate representation (IR), a graph in .xml and its weights in .bin, in one folder.

Two files that belong together lie in a folder of their own, so that both appear at once or not at all. They are called as
Optimum calls them. The graph is the one that tleg writes as ONNX, read by OpenVINO; what an ONNX file says in its metadata
lies in the graph's runtime information, under 'tleg'.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tleg.errors import FileFormatError, InputError, last_words
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.exporting import exporting
from tleg.export.interface import LOGITS_INSIDE, OPSET, Interface
from tleg.export.metadata import decode_metadata, encode_metadata, metadata_of, opened_as
from tleg.export.onnx.backend import write_whole
from tleg.export.onnx.example import OPENVINO, example
from tleg.export.onnx.runtime import graph_runner
from tleg.files import require_utf8
from tleg.learngene.profile import Depth
from tleg.models.output import Output

GRAPH: Final = "openvino_model.xml"
WEIGHTS: Final = "openvino_model.bin"
TEXTS: Final = "tleg"  # Of the runtime information, what is tleg's.
_TYPES: Final = ("float32", "float16")
# By default it computes in bfloat16 on a processor that has that, 0.4 % off and more.
_IN_FLOAT32: Final = {"INFERENCE_PRECISION_HINT": "f32"}


class OpenvinoBackend(Backend):
    """One folder: the graph with its metadata, and the weights."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write into a folder. Raises ExportError, OSError."""
        import openvino

        # Beside the files, because a folder for what is temporary may be smaller than a model.
        with TemporaryDirectory(dir=path) as folder:
            whole = Path(folder) / "model.onnx"
            write_whole(whole, source, depth, {})
            with exporting("OpenVINO"):
                model = openvino.Core().read_model(str(whole))
                for name, text in encode_metadata(metadata_of(source, self.format, depth)).items():
                    model.set_rt_info(text, [TEXTS, name])
                openvino.serialize(model, str(path / GRAPH), str(path / WEIGHTS))
                del model  # It may still read weights from the file that is removed now.

    def open(self, path: Path) -> OpenExport:
        """Open a folder. Raises InputError, FileFormatError."""
        threads = os.environ.get("OMP_NUM_THREADS", "")  # OpenVINO does not look at it.
        return _open(path, int(threads) if threads.isdigit() else None)

    def open_to_time(self, path: Path, threads: int) -> OpenExport:
        """Open a folder to be run by so many threads. Raises InputError, FileFormatError."""
        return _open(path, threads)

    def recognise(self, path: Path) -> None:
        """Refuse a folder that holds no graph. Raises InputError."""
        missing = [name for name in (GRAPH, WEIGHTS) if not (path / name).is_file()]
        if missing:
            raise InputError(f"{path} holds no {missing[0]}, as OpenVINO's folders do", field="path", code="wrong-kind")

    def check_interface(
        self, interface: Interface, output: Output, num_classes: int | None = None, *, traced: bool = False
    ) -> None:
        """Refuse what a graph cannot have, and an opset of ONNX. Raises InputError."""
        if interface.opset != OPSET:
            raise InputError(
                f"--opset is for ONNX files, and --export {self.format.name} has OpenVINO's own operators; leave it out",
                field=("opset", "export"),
                code="unsupported",
            )
        if interface.resize == "inside":
            raise InputError(
                f"--resize inside is for ONNX files, and --export {self.format.name} writes none; leave it out",
                field=("resize", "export"),
                code="unsupported",
            )
        interface.check_model(output, num_classes, every_depth=False, traced=traced)

    def libraries(self, source: Source) -> tuple[str, ...]:
        """Packages that had a part in writing a folder."""
        return (*super().libraries(source), *(("torch", "timm") if source.structure is None else ()))

    def example(self, path: Path, source: Source) -> str | None:
        """The lines that look at one picture with OpenVINO."""
        name = f"{path.name}/{GRAPH}"
        shape, precision = source.input_size, source.precision
        return example(name, source.preprocessing, source.interface, source.output, shape, precision, runtime=OPENVINO)


def _open(path: Path, threads: int | None) -> OpenExport:
    import openvino

    for name in (GRAPH, WEIGHTS):
        if not (path / name).is_file():
            raise FileFormatError(f"{path} is not a usable export: it holds no {name}")
    require_utf8(path, "OpenVINO")
    core = openvino.Core()
    try:
        model = core.read_model(str(path / GRAPH), str(path / WEIGHTS))
    except Exception as error:  # OpenVINO raises RuntimeError for all that it does not take.
        raise FileFormatError(f"OpenVINO cannot open {path}: {last_words(error)}") from error
    try:
        metadata = decode_metadata(_texts(model))
        if metadata.opset is not None or metadata.kind != "openvino" or metadata.model.dtype not in _TYPES:
            raise FileFormatError(f"it says that it is of the format '{metadata.kind}', in {metadata.model.dtype}")
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not a usable export: {error}") from error
    interface = metadata.interface or Interface()
    outputs: tuple[str, ...] = interface.names_of(metadata.output)
    options = _IN_FLOAT32 | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
    try:
        if interface.changes_output:
            model.add_outputs(LOGITS_INSIDE)
            outputs = (LOGITS_INSIDE, *outputs)
        compiled = core.compile_model(model, "CPU", options)
    except Exception as error:
        raise FileFormatError(f"OpenVINO cannot open {path}: {last_words(error)}") from error

    def compute(names: list[str], feed: dict[str, Any]) -> Sequence[Any]:
        found = compiled(feed)
        return [found[name] for name in names]

    return opened_as(path, metadata, graph_runner(compute, path.name, metadata, outputs, "OpenVINO"))


def _texts(model: Any) -> dict[str, str]:
    """What a graph says of itself, as texts by name; nothing where it says nothing."""
    found = model.get_rt_info([TEXTS]).value if model.has_rt_info([TEXTS]) else {}
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}
