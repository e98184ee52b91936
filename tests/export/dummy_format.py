"""Two formats that tests register, the weights of a model as a .npz file and as one in a folder, run by what timm builds."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tleg.errors import FileFormatError
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.formats import FLOATING, Format
from tleg.export.runners import model_runner
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth
from tleg.serialize import decode, encode

NPZ = Format(
    name="npz",
    suffix=".npz",
    about="the arrays of one model",
    backend="tests.export.dummy_format:NpzBackend",
    dtypes=MappingProxyType({"learngene": FLOATING, "folder": ("float32",)}),
    runtime=("timm", "torch"),
    opened_by="numpy",
)
NPZ_FOLDER = Format(
    name="npz-folder",
    suffix=".npzs",
    about="the same in a folder",
    backend="tests.export.dummy_format:NpzBackend",
    dtypes=MappingProxyType({"learngene": ("float32",)}),
    is_folder=True,
    runtime=("timm", "torch"),
    opened_by="numpy",
)


class NpzBackend(Backend):
    """One .npz file, or one in a folder: the weights, and in 'about' what its model is."""

    def _file(self, path: Path) -> Path:
        return path / "weights.npz" if self.format.is_folder else path

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        model = source.lineage(depth).model
        about = {
            "depth": model.depth,
            "dtype": model.dtype,
            "num_classes": model.num_classes,
            "classes": list(source.classes),
            "heads": None if source.structure is None else source.structure.heads,
            "patch": None if source.structure is None else list(source.structure.patch_size),
            "official": source.layout == "official",
            "input_size": list(source.input_size),
            "preprocessing": encode(source.preprocessing),
        }
        with self._file(path).open("wb") as file:
            state: Mapping[str, Any] = source.state(depth)
            np.savez(file, about=np.array(json.dumps(about)), **state)

    def open(self, path: Path) -> OpenExport:
        import torch
        from timm.models.vision_transformer import VisionTransformer

        try:
            with np.load(self._file(path)) as file:
                state = {name: file[name] for name in file.files}
            about: dict[str, Any] = json.loads(str(state.pop("about")))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise FileFormatError(f"{path} is no .npz of a model") from error
        model = VisionTransformer(
            img_size=about["input_size"][1:],
            patch_size=about["patch"],
            in_chans=about["input_size"][0],
            num_classes=about["num_classes"],
            embed_dim=len(state["norm.bias" if "norm.bias" in state else "fc_norm.bias"]),
            depth=about["depth"],
            num_heads=about["heads"],
            class_token=False,
            global_pool="avg",
            fc_norm=about["official"],
        )
        model.load_state_dict({name: torch.from_numpy(values.astype(np.float32)) for name, values in state.items()})
        model.eval()
        return OpenExport(
            path=path,
            format=self.format,
            depth=about["depth"],
            num_classes=about["num_classes"],
            input_size=tuple(about["input_size"]),
            preprocessing=decode(Preprocessing, about["preprocessing"], str(path)),
            precision=about["dtype"],
            runner=model_runner(lambda depth: model),
            classes=tuple(about["classes"]),
        )
