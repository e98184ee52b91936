"""The format of OpenVINO: its intermediate representation (IR), a graph in .xml and its weights in .bin, in one folder.

Two files that belong together lie in a folder of their own, so that both appear at once or not at all. They are called as
Optimum calls them. The graph is the one that tleg writes as ONNX, read by OpenVINO; what an ONNX file says in its metadata
lies in the graph's runtime information, under 'tleg'.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tleg.errors import InputError
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.example import OPENVINO
from tleg.export.exporting import exporting
from tleg.export.interface import OPSET, Interface
from tleg.export.metadata import encode_metadata, metadata_of
from tleg.export.onnx.backend import write_whole
from tleg.export.openvino.core import openvino_core
from tleg.export.openvino.quantised import quantise
from tleg.export.openvino.reading import GRAPH, TEXTS, WEIGHTS, open_folder
from tleg.learngene.profile import Depth
from tleg.models.output import Output


class OpenvinoBackend(Backend):
    """One folder: the graph with its metadata, and the weights."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write into a folder. Raises ExportError, OSError."""
        import openvino

        # Beside the files, because a folder for what is temporary may be smaller than a model.
        with TemporaryDirectory(dir=path) as folder:
            whole = Path(folder) / "model.onnx"
            calibration = source.calibration if source.precision == "int8" else None
            write_whole(whole, source if calibration is None else source.in_float32(), depth, {})
            with exporting("OpenVINO"):
                model = openvino_core().read_model(str(whole))
            if calibration is not None:
                model = quantise(model, calibration)
            with exporting("OpenVINO"):
                for name, text in encode_metadata(metadata_of(source, self.format, depth)).items():
                    model.set_rt_info(text, [TEXTS, name])
                openvino.serialize(model, str(path / GRAPH), str(path / WEIGHTS))
                del model  # It may still read weights from the file that is removed now.

    def open(self, path: Path) -> OpenExport:
        """Open a folder. Raises InputError, FileFormatError."""
        return open_folder(path, _threads())

    def open_comparable(self, path: Path, output: Output) -> OpenExport:
        """Open a folder whose ranges were calibrated without these: noise is beyond what images need."""
        return open_folder(path, _threads(), ranges=False)

    def open_to_time(self, path: Path, threads: int) -> OpenExport:
        """Open a folder to be run by so many threads. Raises InputError, FileFormatError."""
        return open_folder(path, threads)

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
        interface.check_model(output, num_classes, every_depth=False, traced=traced)

    def libraries(self, source: Source) -> tuple[str, ...]:
        """Packages that had a part in writing a folder."""
        own = [self.format.quantiser] if source.precision == "int8" else []
        return (*super().libraries(source), *own, *(("torch", "timm") if source.structure is None else ()))

    def example(self, path: Path, source: Source) -> str | None:
        """The lines that look at one picture with OpenVINO."""
        return self.lines(path, source, OPENVINO, name=f"{path.name}/{GRAPH}")


def _threads() -> int | None:
    """Those of OMP_NUM_THREADS, at which OpenVINO does not look."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return int(threads) if threads.isdigit() else None
