"""The PyTorch format: a folder that timm loads in one line."""

from pathlib import Path

from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.formats import Precision
from tleg.export.runners import ModelSource, Runner, Watch, model_runner, one_by_one, torch_runner
from tleg.learngene.header import Layout, LearngeneHeader
from tleg.learngene.profile import Depth
from tleg.models.timm_folder import load_timm_folder, read_timm_folder, timm_config, weights_file


class PytorchBackend(Backend):
    """A folder with config.json and model.safetensors, as timm writes it. It names no learngene; its manifest does."""

    def check_descendant(
        self, header: LearngeneHeader, depth: Depth | None, *, layout: Layout, num_classes: int, precision: Precision
    ) -> None:
        """Refuse what timm's config.json cannot say. Raises ArchitectureError."""
        timm_config(header.architecture, depth, preprocessing=header.preprocessing, layout=layout, num_classes=num_classes)

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write into a folder. Raises ExportError, OSError."""
        source.write_folder(path, depth)

    def recognise(self, path: Path) -> None:
        """Refuse a folder that holds no model of timm. Raises InputError, FileFormatError."""
        read_timm_folder(path)

    def open(self, path: Path) -> OpenExport:
        """Open a folder. Raises InputError, FileFormatError."""
        from tleg.models.pretrained import open_folder

        opened = open_folder(path)
        model = opened.model.float()
        return OpenExport(
            path=path,
            format=self.format,
            depth=opened.depth,
            num_classes=opened.num_classes,
            input_size=opened.input_size,
            preprocessing=opened.preprocessing,
            precision="float16" if _holds_float16(path) else "float32",
            runner=model_runner(lambda depth: model),
            classes=opened.classes,
        )

    def note(self, path: Path) -> str | None:
        """Why timm alone does not open a folder, where it does not. Raises InputError, FileFormatError."""
        return read_timm_folder(path).note

    def float16_runner(self, path: Path, watch: Watch, models: ModelSource | None) -> tuple[Runner, str] | None:
        """Return the folder's own model in PyTorch."""
        model = load_timm_folder(path)
        return one_by_one(torch_runner(lambda depth: model, watch), watch), "torch"


def _holds_float16(folder: Path) -> bool:
    """Whether a folder's weights are float16."""
    from safetensors import safe_open

    weights = weights_file(folder)
    if weights.suffix != ".safetensors":
        return False
    with safe_open(weights, framework="numpy") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118, it is no mapping
