"""Fashion-MNIST: 60,000 + 10,000 greyscale images of 28 x 28 pixels in ten classes (Xiao et al., arXiv 1708.07747, MIT)."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tleg.data.datasets import Data
from tleg.errors import DataError, describe_os_error
from tleg.paths import data_folder

NAME: Final = "fashion-mnist"
CLASSES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Of the training images, over pixel values in 0..1.
MEAN: Final = (0.2860,)
STD: Final = (0.3530,)
FILES: Final = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# Where Debian's package dataset-fashion-mnist puts the files.
SYSTEM_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
_IMAGES, _LABELS = 0x803, 0x801


class ArrayImages:
    """Images in memory: uint8 arrays of shape (N, H, W) and labels of shape (N,)."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image.Image:
        """The image in mode 'L'."""
        return Image.fromarray(self.images[index])

    def label(self, index: int) -> int:
        """The index of its class."""
        return int(self.labels[index])

    def name(self, index: int) -> str:
        """'image 17'."""
        return f"image {index}"


def locate() -> Path | None:
    """Return the folder that holds the four files, or None: the system's package, then tleg's own download."""
    for folder in (SYSTEM_FOLDER, _download_folder()):
        if all(_file(folder, name) is not None for name in FILES):
            return folder
    return None


def open_fashion_mnist(folder: Path | None = None) -> Data:
    """Open the data set from a folder, the system's package or an earlier download; else download it.

    Raises DataError when a file is missing or damaged, or nothing can be downloaded.
    """
    place = folder or locate() or _download()
    arrays = [_read(place, name) for name in FILES]
    for images, labels in (arrays[:2], arrays[2:]):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
            raise DataError(f"the images and labels of Fashion-MNIST in {place} do not belong together")
        if labels.max() >= len(CLASSES):
            raise DataError(f"the labels of Fashion-MNIST in {place} are not of ten classes")
    size = (arrays[0].shape[1], arrays[0].shape[2])
    return Data(NAME, CLASSES, ArrayImages(*arrays[:2]), ArrayImages(*arrays[2:]), 1, size, MEAN, STD)


def _download_folder() -> Path:
    # As torchvision lays it out.
    return data_folder() / "FashionMNIST" / "raw"


def _download() -> Path:
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(data_folder()), download=True)
    except Exception as error:  # URLError, HTTPError, RuntimeError, OSError: all mean that the files did not come.
        raise DataError(
            f"Fashion-MNIST is not on this machine and cannot be downloaded ({' '.join(str(error).split())}). "
            "Install Debian's package dataset-fashion-mnist, or give --data fashion-mnist:FOLDER with its four files",
            code="not-found",
        ) from error
    return _download_folder()


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _read(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one file of the IDX format: magic number, sizes of the axes (big-endian), bytes."""
    path = _file(folder, name)
    if path is None:
        raise DataError(f"{folder} lacks {name}.gz, one of the four files of Fashion-MNIST", code="not-found")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        raise DataError(f"cannot read {path}: {reason}", code="system") from error
    axes = 3 if "images" in name else 1
    if len(content) < 4 + 4 * axes or struct.unpack(">I", content[:4])[0] != (_IMAGES if axes == 3 else _LABELS):
        raise DataError(f"{path} is not an IDX file of {'images' if axes == 3 else 'labels'}")
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{path} is truncated")
    return values.reshape(shape)
