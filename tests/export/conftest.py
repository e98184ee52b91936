"""What the export tests share: variants of ViTs, and runners for PyTorch and ONNX Runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tleg.learngene.architecture import Layout
from tleg.learngene.basis import Basis
from tleg.models.learngene import Learngene

Logits = Callable[..., np.ndarray[Any, Any]]

# By what each is: arguments on top of the tiny architecture.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "class token": {"class_token": True},
    "averaged beside a class token": {"class_token": True, "global_pool": "avg"},
    "dinov2": {"class_token": True, "reg_tokens": 2, "init_values": 0.5, "no_embed_class": True},
    "registers averaged": {"reg_tokens": 3, "class_token": False},
    "clip": {"class_token": True, "pre_norm": True},
    "no query bias": {"qkv_bias": False},
    "no position": {"pos_embed": "none"},
    "oblong, one channel": {"img_size": (16, 32), "in_chans": 1},
    "narrow hidden layer": {"mlp_ratio": 1.5},
}

BASES: Mapping[str, Basis] = {
    "linear": Basis(),
    "polynomial": Basis("polynomial", degree=3),
    "cosine": Basis("cosine", degree=2),
    "piecewise": Basis("piecewise", boundaries=(1 / 3, 0.5)),
    "mlp alone": Basis(expanded=("mlp",)),
    "attention and norm": Basis("polynomial", degree=2, expanded=("attention", "norm")),
}


@pytest.fixture(scope="session")
def torch_logits() -> Logits:
    """The logits of the descendant that timm builds: (learngene, depth, images, layout=…)."""

    def run(
        learngene: Learngene, depth: int, images: np.ndarray[Any, Any], layout: Layout = "auxiliary", **options: Any
    ) -> np.ndarray[Any, Any]:
        import torch

        from tleg.models.descendant import expand

        model = expand(learngene, depth, layout=layout, **options)
        with torch.inference_mode():
            logits: np.ndarray[Any, Any] = model(torch.from_numpy(images)).numpy()
        return logits

    return run


@pytest.fixture(scope="session")
def onnx_logits() -> Logits:
    """The logits of an ONNX file in ONNX Runtime: (path, images, depth=None, optimise=True)."""

    def run(
        path: Path, images: np.ndarray[Any, Any], depth: int | None = None, *, optimise: bool = True
    ) -> np.ndarray[Any, Any]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {"images": images} | ({} if depth is None else {"depth": np.array(depth, np.int64)})
        logits: np.ndarray[Any, Any] = session.run(["logits"], feed)[0]
        return logits

    return run


def noise(learngene: Learngene, batch: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images for a learngene's descendants."""
    return np.random.default_rng(batch).standard_normal((batch, *learngene.header.architecture.input_size), dtype=np.float32)


def relative_error(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """The largest difference over the largest expected value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def optimised_nodes(path: Path, folder: Path) -> list[Any]:
    """The nodes that are left when ONNX Runtime has opened a file."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(onnx.load(folder / "optimised.onnx").graph.node)
