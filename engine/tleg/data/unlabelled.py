"""Images without classes: every image in a folder and below it, whatever its folders are called."""

from pathlib import Path

from tleg.data.datasets import PARTS, Data, Wanted
from tleg.data.deep_images import given_ranges
from tleg.data.image_files import LeftOut, walk_images
from tleg.data.image_folder import FolderImages
from tleg.data.splits import held_out
from tleg.errors import DataError, describe_os_error
from tleg.files import readable_name, readable_path


def open_unlabelled(folder: Path, wanted: Wanted) -> Data:
    """Open a tree of images. It has no classes, and every image the label 0, which means nothing.

    A fixed share of the images, by their paths in the tree, is held out for validation; with a validation split that takes
    its part instead. Values of deep images are those of all images, as no other split states them.

    Raises DataError when there is no such folder, or it holds fewer than two images.
    """
    left_out = LeftOut()
    try:
        if not folder.is_dir():
            raise DataError(f"there is no folder {readable_path(folder)}", code="not-found")
        paths = sorted(walk_images(folder, left_out))
    except OSError as error:
        raise DataError(f"cannot read {readable_path(folder)}: {describe_os_error(error)}", code="system") from error
    if len(paths) < 2:
        told = f"; left out there: {left_out}" if left_out.counts() else ""
        raise DataError(f"{readable_path(folder)} must hold two images or more; it has {len(paths)}{told}")
    # Where each lies in the tree, so that a tree that is moved is divided as before.
    places = [path.relative_to(folder).as_posix() for path in paths]
    kept = frozenset[str]() if wanted.validation_split is not None else held_out(places)
    validation = [path for path, place in zip(paths, places, strict=True) if place in kept]
    train = [path for path, place in zip(paths, places, strict=True) if place not in kept]
    every = FolderImages(paths, [0] * len(paths), given_ranges(wanted.images), wanted.images.max_pixels)
    ranges = every.ranges
    ranges.check()
    notes = [] if ranges.note is None else [ranges.note]
    if left_out.counts():
        notes.append(f"left out of {readable_path(folder)}: {left_out}")
    images, others = (FolderImages(some, [0] * len(some), ranges, wanted.images.max_pixels) for some in (train, validation))
    training = wanted.split == "train"
    return Data(
        readable_name(folder.resolve().name),
        (),
        images,
        images if training else others,
        part=PARTS["train" if training else "val"],
        notes=tuple(notes),
        pixel_range=ranges.bounds,
        left_out=left_out.counts(),
    )
