"""Documents of studies for tests."""

from pathlib import Path
from typing import Any

MODEL = {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2}


def document(data: Path | str = "digits", **changes: Any) -> dict[str, Any]:
    """A study of a learngene with two rates to choose from, and of descendants that are trained further."""
    values: dict[str, Any] = {
        "title": "A small one",
        "seeds": [0],
        "depths": [2, 3],
        "epochs": 2,
        "data": {"digits": {"data": str(data), "flip": 0.0}},
        "common": {
            "batch-size": 50,
            "workers": 0,
            "auto-augment": "none",
            "random-erasing": 0.0,
            "learn": {
                "architecture": "vit_tiny_patch16_224",
                "model-arg": MODEL,
                "sample-depths": [2, 3],
                "initial-matrices": "timm",
                "depth-warmup": 0.0,
            },
            "train": {"model": "vit_tiny_patch16_224", "model-arg": MODEL},
        },
        "arms": {
            "gene": {"kind": "learn", "about": "a learngene", "tune": {"lr": [1e-9, 3e-3]}},
            "further": {"kind": "finetune", "start": "gene", "lr": 1e-3, "epochs": 1},
        },
    }
    return {**values, **changes}
