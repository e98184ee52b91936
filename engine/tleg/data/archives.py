"""Opening archives of images as a data set: which of their images train, and which are evaluated."""

from pathlib import Path

from tleg.data.dataset import PARTS, Data, Wanted
from tleg.data.deep_images import given_ranges
from tleg.data.splits import Split, split_of
from tleg.data.tar_images import TarImages
from tleg.data.tar_index import Archive, Member, archive_of, classes_of, read_archive
from tleg.errors import DataError
from tleg.file_names import readable_name, readable_path

_Some = tuple[Archive, tuple[Member, ...]]


def open_archives(path: Path, wanted: Wanted) -> Data:
    """Open train.tar and val.tar in a folder, one archive that holds train/ and val/, or one whose images will be split.

    Raises DataError naming what is missing, empty or different between the splits.
    """
    if not path.exists():
        raise DataError(f"there is no {readable_path(path)}")
    splitting = wanted.validation_split is not None
    if path.is_dir():
        files = {split: archive_of(path, split) for split in PARTS}
        archives = {split: read_archive(file) for split, file in files.items() if file is not None}
        found = {split: (archive, archive.members) for split, archive in archives.items()}
        if "train" not in found and not (wanted.evaluation and found and not splitting):
            raise DataError(
                f"{readable_path(path)} must hold train.tar and val.tar; --validation-split 0.1 does without the latter"
            )
    else:
        archive = read_archive(path)
        found = {split: (archive, members) for split, members in archive.splits().items()}
        if not found:
            alone: Split = "train" if splitting or not wanted.evaluation else split_of(path.stem) or "val"
            found = {alone: (archive, archive.members)}
    train = found.get("train")
    chosen: Split | None = wanted.split or next((split for split in ("val", "test") if split in found), None)
    if chosen is None and wanted.evaluation and list(found) == ["train"] and train is not None and not splitting:
        chosen = "train" if split_of(path.stem) == "train" else None
    held_out = None if splitting or chosen is None else found.get(chosen)
    if not splitting and held_out is None:
        if wanted.split is not None:
            raise DataError(f"{readable_path(path)} has no {wanted.split} images by that name; leave --split out")
        raise DataError(
            f"{readable_path(path)} is one archive: give --validation-split 0.1, a folder with train.tar and val.tar, or an "
            "archive that holds train/ and val/"
            if not path.is_dir()
            else f"{readable_path(path)} must hold train.tar and val.tar; --validation-split 0.1 does without the latter"
        )
    return _of_archives(path, train, held_out, wanted, PARTS[chosen or "val"])


def _of_archives(path: Path, train: _Some | None, held_out: _Some | None, wanted: Wanted, part: str) -> Data:
    first = train or held_out
    assert first is not None
    if not first[1]:
        raise DataError(f"{readable_path(first[0].path)} holds no images in folders; left out there: {first[0].left_out}")
    classes = spelled = classes_of(first[1])
    known = tuple(map(readable_name, wanted.classes))
    if train is None and set(classes) <= set(known):
        classes, spelled = known, wanted.classes
    if train is not None and len(classes) < 2:
        raise DataError(f"{readable_path(path)} must hold a folder of images for each of two or more classes; it has 1")
    notes, left_out = list[str](), dict[str, int]()
    for archive in {id(some[0]): some[0] for some in (train, held_out) if some is not None}.values():
        if archive.left_out.counts():
            notes.append(f"left out of {readable_path(archive.path)}: {archive.left_out}")
            for reason, count in archive.left_out.counts().items():
                left_out[reason] = left_out.get(reason, 0) + count
    if train is not None and (places := {"/".join(member.folders[:-1]) for member in train[1]}) and len(places) > 1:
        some = ", ".join(f"{place or '.'}/" for place in sorted(places)[:3])
        notes.append(
            f"the classes of {readable_path(train[0].path)} are its innermost folders, found in {len(places)} places: {some}"
        )
    if held_out is not None:
        own = set(classes_of(held_out[1])) if held_out[1] else set()
        if extra := sorted(own - set(classes)):
            raise DataError(f"{readable_path(held_out[0].path)} has other classes than the training images: '{extra[0]}'")
        if missing := [name for name in classes if name not in own]:
            notes.append(
                f"{readable_path(held_out[0].path)} has no images of {len(missing)} of the {len(classes)} classes: "
                + ", ".join(missing[:5])
            )
    most, given = wanted.images.max_pixels, given_ranges(wanted.images)
    images = TarImages(first[0].path, train[1] if train is not None else (), classes, given, most)
    evaluated = TarImages(first[0].path, (), classes, given, most)
    if held_out is not None:
        shared = given if train is None or wanted.evaluation else images.ranges
        evaluated = TarImages(held_out[0].path, held_out[1], classes, shared, most)
    ranges = evaluated.ranges if wanted.evaluation and held_out is not None else images.ranges
    ranges.check()
    notes += [] if ranges.note is None else [ranges.note]
    return Data(
        readable_name(path.stem),
        spelled,
        images,
        evaluated,
        notes=tuple(notes),
        part=part,
        pixel_range=ranges.bounds,
        left_out=left_out,
    )
