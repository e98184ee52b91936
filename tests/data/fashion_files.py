"""Files such as Fashion-MNIST's, with pixels drawn at random: what reads them is tested where the real ones are not."""

import gzip
import struct
from pathlib import Path

import numpy as np


def idx(values: np.ndarray) -> bytes:
    """One array as an IDX file of bytes."""
    magic = 0x800 | values.ndim
    return struct.pack(f">I{values.ndim}I", magic, *values.shape) + values.astype(np.uint8).tobytes()


def fill_fashion_mnist(folder: Path, train: int, validation: int) -> str:
    """Write the four files, the images compressed, and return the data set's name."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("t10k", validation)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    return f"fashion-mnist:{folder}"
