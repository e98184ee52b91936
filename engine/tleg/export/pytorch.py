"""The PyTorch format: a folder that timm loads in one line."""

from pathlib import Path
from typing import Any

from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.formats import Precision
from tleg.export.manifest import manifest_path, read_manifest
from tleg.export.runners import ModelSource, Runner, Watch, model_runner, one_by_one, torch_runner
from tleg.learngene.architecture import Layout
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth
from tleg.models.output import Output, output_of
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
        """Open a folder. What it was built to give its manifest says; else it is its classes, or the pooled vector.

        Raises InputError, FileFormatError.
        """
        place = manifest_path(path, self.format)
        named = read_manifest(place).lineage.output if place.is_file() else Output()
        return self.open_for(path, named)

    def open_for(self, path: Path, output: Output) -> OpenExport:
        """Open a folder to give an output. Raises InputError, FileFormatError."""
        from tleg.models.pretrained import open_folder

        opened = open_folder(path)
        model = opened.model.float()
        if not opened.num_classes and output.of_classes:
            output = output_of(None, 0)
        elif opened.num_classes:
            output = Output()  # The manifest is of other weights: a head was trained since.
        gives = _as_timm_gives_it(path, model, output)
        return OpenExport(
            path=path,
            format=self.format,
            depth=opened.depth,
            num_classes=opened.num_classes,
            input_size=opened.input_size,
            preprocessing=opened.preprocessing,
            precision="float16" if _holds_float16(path) else "float32",
            runner=model_runner(lambda depth: gives),
            classes=opened.classes,
            output=output,
        )

    def note(self, path: Path) -> str | None:
        """Why timm alone does not open a folder, where it does not. Raises InputError, FileFormatError."""
        return read_timm_folder(path).note

    def usage(self, path: Path, output: Output) -> str | None:
        """The line that gives features by timm alone; that for pooled vectors is that for logits."""
        if output.kind not in ("tokens", "blocks", "stages"):
            return None
        model = f'timm.create_model("local-dir:{path.name}", pretrained=True'
        if output.kind == "tokens":
            return f"{model}).forward_features(images)"
        arguments = ", ".join(f"{name}={value!r}" for name, value in _features_only(output).items())
        return f"{model}, {arguments})(images)"

    def float16_runner(
        self, path: Path, watch: Watch, models: ModelSource | None, output: Output
    ) -> tuple[Runner, str] | None:
        """Return the folder's own model in PyTorch."""
        from tleg.models.features import giving

        model = giving(load_timm_folder(path), output)
        return one_by_one(torch_runner(lambda depth: model, watch), watch), "torch"


def _features_only(output: Output) -> dict[str, Any]:
    """The arguments with which timm makes a network of maps; by its 'getter' they are NCHW in every family."""
    return {"features_only": True, "feature_cls": "getter", "out_indices": [place - 1 for place in output.places]}


def _as_timm_gives_it(path: Path, model: Any, output: Output) -> Any:
    """What gives an output of a folder's model, as `usage` says it to those who have timm alone."""
    from tleg.models.features import giving

    if output.places:
        return load_timm_folder(path, _features_only(output)).float()
    return giving(model, output) if output.kind == "tokens" else model


def _holds_float16(folder: Path) -> bool:
    """Whether a folder's weights are float16."""
    from safetensors import safe_open

    weights = weights_file(folder)
    if weights.suffix != ".safetensors":
        return False
    with safe_open(weights, framework="numpy") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118, it is no mapping
