"""What is known of a model's probabilities, in the record that it carries: looked up, and written.

A learngene carries it in what it says of how it was learned, a folder that timm loads in its training.json, and an export in
what it says of these. All three are free-form, so that earlier versions of tleg read them as before.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tleg.errors import ExportError, InputError, concerning
from tleg.export.manifest import FOLDER_MANIFEST
from tleg.export.origin import TRAINING_RECORD, read_training
from tleg.files import check_file, new_file
from tleg.learngene.calibration import CALIBRATION, Calibration, calibration_in
from tleg.learngene.cascade import CASCADES, CascadePolicy, depths_text, policies_in, policy_for
from tleg.models.learngene import Learngene, load
from tleg.models.timm_folder import is_timm_folder
from tleg.serialize import encode
from tleg.training.subjects import Subject

Record = Mapping[str, Any]


def calibration_of(subject: Subject) -> Calibration | None:
    """The calibration of a model, if it has one that is of its head and its size of inputs. Raises FileFormatError."""
    found = calibration_in(subject.trained)
    return found if found is not None and found.fits(subject.num_classes, subject.input_size[1:]) else None


def policy_of(subject: Subject, depths: Sequence[int]) -> CascadePolicy | None:
    """The policy of a cascade of these depths, if there is one that is of this head and size. Raises FileFormatError."""
    found = policy_for(subject.trained, depths)
    return found if found is not None and found.fits(subject.num_classes, subject.input_size[1:]) else None


def check_record(path: str | os.PathLike[str], subject: Subject, option: str) -> None:
    """Refuse a model whose record cannot be written, before anything is computed. Raises InputError.

    option  what asks for it: 'save-temperature' takes learngenes and folders, 'save-policy' learngenes
    """
    place = Path(path)
    folders = option == "save-temperature"
    if subject.kind == "folder" and folders and is_timm_folder(place):
        if (place / FOLDER_MANIFEST).exists():
            raise InputError(
                f"{place} was built, and its manifest holds the hash of every file; save the temperature with the learngene "
                "or folder that it was built from, and build again",
                field=(option, "path"),
                code="wrong-kind",
            )
        place = place / TRAINING_RECORD
    elif subject.kind != "learngene" or not place.is_file():
        kinds = "a learngene file or a folder that timm loads" if folders else "a learngene file"
        raise InputError(f"--{option} writes into {kinds}; name one by its path", field=(option, "path"), code="wrong-kind")
    with concerning("path"):
        check_file(place, overwrite=True)


def save_calibration(path: str | os.PathLike[str], calibration: Calibration, *, overwrite: bool = False) -> None:
    """Write a calibration into the record of a learngene file or a folder.

    Raises InputError where it holds another one and `overwrite` is false, ExportError when the file cannot be written.
    """

    def add(record: Record) -> Record:
        earlier = calibration_in(record)
        if earlier is not None and earlier != calibration and not overwrite:
            raise _kept(path, f"the temperature {earlier.temperature:g} of {earlier.data}", "save-temperature")
        return {**record, CALIBRATION: encode(calibration)}

    if not Path(path).is_dir():
        _change_learngene(path, add)
        return
    place = Path(path) / TRAINING_RECORD
    changed = add(read_training(Path(path)) or {})
    with new_file(place, overwrite=True) as file:
        try:
            file.write_text(json.dumps(changed, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        except ValueError as error:
            raise ExportError(f"cannot write {place}: {error}") from error


def save_policy(path: str | os.PathLike[str], policy: CascadePolicy, *, overwrite: bool = False) -> None:
    """Write the policy of a cascade into a learngene file, beside those of other depths.

    Raises InputError where it holds another one of the same depths and `overwrite` is false, ExportError.
    """

    def add(record: Record) -> Record:
        earlier = policy_for(record, policy.depths)
        if earlier is not None and earlier != policy and not overwrite:
            what = f"the threshold {earlier.threshold:g} of the cascade {depths_text(policy.depths)} on {earlier.data}"
            raise _kept(path, what, "save-policy")
        others = [each for each in policies_in(record) if each.depths != policy.depths]
        return {**record, CASCADES: encode(sorted([*others, policy], key=lambda each: each.depths))}

    _change_learngene(path, add)


def _change_learngene(path: str | os.PathLike[str], add: Callable[[Record], Record]) -> None:
    learngene = load(path)
    header = replace(learngene.header, learned=add(learngene.header.learned))
    Learngene(header, learngene.tensors).save(path, overwrite=True)


def _kept(path: str | os.PathLike[str], what: str, option: str) -> InputError:
    return InputError(f"{os.fspath(path)} keeps {what}", field=option, code="exists", advice="--force replaces it")
