"""Writing the model of a folder that timm loads, with its weights as they are: a fine-tuned descendant, or any other.

Plain ViTs go through the graph writer, everything else through torch.onnx.export.
"""

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from tleg.errors import FileFormatError, InputError
from tleg.export.formats import ExportKind
from tleg.export.manifest import FolderRecord
from tleg.export.plan import TRAINING_RECORD, FolderPlan, Lineage, PlannedExport
from tleg.learngene.header import Layout, Preprocessing, Structure
from tleg.learngene.structure import auxiliary_layout_name, inner_name, is_block, layer_name, parameter_shapes
from tleg.models.architecture import plain_structure
from tleg.models.float16 import check_range, to_float16
from tleg.models.pretrained import open_folder
from tleg.models.timm_folder import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from tleg.export.comparison import Reference


@dataclass(frozen=True, slots=True, eq=False)
class FolderSource:
    """A folder's model, loaded in float32 and eval mode.

    plain       what it computes and in which layout, when it is a plain ViT; None when only torch knows
    input_size  (channels, height, width) of an image
    classes     names in the order of the logits; empty when unknown
    """

    plan: FolderPlan
    model: Any
    plain: tuple[Structure, Layout] | None
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    classes: tuple[str, ...]

    @classmethod
    def load(cls, plan: FolderPlan) -> "FolderSource":
        """Load and check a folder's model. Raises InputError or FileFormatError."""
        opened = open_folder(plan.path)
        model = opened.model.float()
        if opened.num_classes < 1:
            raise InputError(
                f"the model in {plan.path} has no head, so it gives no logits; train it on classes first", code="unsupported"
            )
        for name, value in model.state_dict().items():
            if not value.isfinite().all():
                raise FileFormatError(f"{opened.file} holds values in '{name}' that are not finite", code="not-finite")
        plain = plain_vit(model)
        return cls(plan, model, plain, _input_size(opened.input_size, plain), opened.preprocessing, opened.classes)

    def lineage(self, export: PlannedExport) -> Lineage:
        """Where an export's weights come from."""
        return Lineage(self.plan.learngene, folder=self.record())

    def record(self) -> FolderRecord:
        """The folder, as manifests name it."""
        return FolderRecord(
            name=self.plan.name,
            architecture=self.plan.folder.architecture,
            depth=self.plan.folder.depth if self.plain is None else len(self.model.blocks),
            dtype=self.plan.request.precision,
            num_classes=self.model.num_classes,
            sha256=self.plan.sha256,
            training=self.plan.training,
        )

    def libraries(self, kind: ExportKind, *, verified: bool) -> tuple[str, ...]:
        """The libraries that had a part in an export."""
        onnx = () if kind == "pytorch" else ("onnx", "onnxruntime") if verified else ("onnx",)
        return ("tleg", "numpy", "safetensors", *onnx, "torch", "timm")

    def reference(self, export: PlannedExport) -> "Reference":
        """What an export must compute."""
        from tleg.export.comparison import model_reference

        return model_reference(self.model, self.input_size, self.record())

    def write(self, path: Path, export: PlannedExport) -> None:
        """Write an export's file, or into its folder. Raises ExportError, OSError."""
        if export.kind == "pytorch":
            self._write_folder(path)
        elif self.plain is not None:
            self._write_graph(path, *self.plain)
        else:
            self._write_traced(path)

    def _write_folder(self, path: Path) -> None:
        """Write the folder again with its weights in float16; counters, such as those of batch norm, stay integers."""
        from safetensors.numpy import save_file

        state = {
            name: to_float16(name, values) if values.dtype == np.float32 else values
            for name, values in _state(self.model).items()
        }
        save_file(state, path / WEIGHTS, metadata={"format": "pt"})
        (path / CONFIG).write_text(json.dumps(self.plan.folder.config, indent=2) + "\n")
        if self.plan.training is not None:
            shutil.copyfile(self.plan.path / TRAINING_RECORD, path / TRAINING_RECORD)

    def _write_graph(self, path: Path, structure: Structure, layout: Layout) -> None:
        from tleg.export.onnx.plain import write_layers

        write_layers(
            path,
            structure,
            {auxiliary_layout_name(name): values for name, values in _state(self.model).items()},
            len(self.model.blocks),
            layout=layout,
            precision=self.plan.request.precision,
            metadata=self._metadata(),
        )

    def _write_traced(self, path: Path) -> None:
        from tleg.export.onnx.traced import write_torch

        model = self.model
        if self.plan.request.precision == "float16":
            for name, values in model.state_dict().items():
                if values.is_floating_point() and values.numel():
                    check_range(name, float(values.abs().max()))
            model = copy.deepcopy(model).half()  # A copy, because the model itself stays the float32 reference.
        write_torch(path, model, self.input_size, metadata=self._metadata())

    def _metadata(self) -> dict[str, str]:
        from tleg.export.onnx.file import OPSET
        from tleg.export.onnx.metadata import Input, OnnxMetadata, encode_metadata

        return encode_metadata(
            OnnxMetadata(
                kind="onnx",
                opset=OPSET,
                input=Input(self.input_size, self.preprocessing),
                classes=self.classes,
                learngene=self.plan.learngene,
                descendant=None,
                folder=self.record(),
            )
        )


def folder_reference(path: Path, record: FolderRecord) -> "Reference":
    """What an export of a folder must compute. Raises InputError or FileFormatError."""
    from tleg.export.comparison import model_reference

    opened = open_folder(path)
    model = opened.model.float()
    return model_reference(model, _input_size(opened.input_size, plain_vit(model)), record)


def plain_vit(model: nn.Module) -> tuple[Structure, Layout] | None:
    """Return what a loaded model computes and its layout, when it is a plain ViT that the graph writer knows."""
    if type(model) is not VisionTransformer or not len(model.blocks):
        return None
    layout: Layout = "auxiliary" if isinstance(model.fc_norm, nn.Identity) else "official"
    try:
        structure, _ = plain_structure(model, layout)
    except FileFormatError:  # Sizes that timm takes and the graph writer does not, such as images that it pads.
        return None
    if structure is None:
        return None
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in parameter_shapes(structure, model.num_classes).items():
        layers = range(len(model.blocks)) if is_block(name) else ()
        expected |= {layer_name(layer, inner_name(name)): shape for layer in layers} if layers else {name: shape}
    found = {auxiliary_layout_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    return (structure, layout) if found == expected else None


def _state(model: Any) -> dict[str, NDArray[Any]]:
    """A model's state as arrays, by timm's names."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in model.state_dict().items()}


def _input_size(known: tuple[int, int, int], plain: tuple[Structure, Layout] | None) -> tuple[int, int, int]:
    """(channels, height, width) of an image: the only one that a plain ViT takes, or the folder's."""
    return known if plain is None else (plain[0].channels, *plain[0].image_size)
