"""Probabilities that can be trusted: temperatures, and cascades that stop where a shallow depth is sure."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from tleg.api.names import ImageSize, Name, text_of
from tleg.learngene.cascade import depths_text
from tleg.learngene.profile import checked

if TYPE_CHECKING:
    from tleg.learngene.profile import Depth
    from tleg.training.calibration import CalibrationResult
    from tleg.training.cascade import CascadeResult


def calibrate(
    path_or_name: Name,
    data: Name,
    depths: "Iterable[Depth] | None" = None,
    *,
    each_depth: bool = False,
    save: bool = False,
    overwrite: bool = False,
    split: Literal["train", "val", "test"] | None = None,
    validation_split: float | None = None,
    seed: int | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "auto",
    precision: str = "float32",
    image_size: ImageSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "CalibrationResult":
    """Fit a temperature to one half of the images, and measure on the other what it does to probabilities.

    depths      of a learngene (default 1 to 16) or an elastic export; nothing else takes them
    each_depth  a temperature for each depth, beside the one for all
    save        write it into the learngene file, or the training.json of a folder that timm loads, where `predict` and
                `build` find it
    overwrite   with `save`: also over another one
    seed        decides which image is in which half (None: 0), and what it decides in `evaluate`

    Other parameters are those of `evaluate`. Returns a `CalibrationResult`: `calibration.temperature`, and for each of
    `depths` the `temperature`, and `ece`, `nll` and `top1` `before` and `after`. Raises InputError, DataError,
    FileFormatError, TlegError where outputs are not finite or no temperature is best.
    """
    from tleg.api.measuring import prepare_evaluation
    from tleg.recipes.evaluation import Evaluation
    from tleg.recipes.images import EvaluatedImages
    from tleg.training.calibration import calibrate as run
    from tleg.training.model_record import save_calibration

    options = Evaluation(
        data=os.fspath(data),
        depths=None if depths is None else depths_text([checked(depth) for depth in depths]),
        calibrate=True,
        each_depth=each_depth,
        save_temperature=save,
        force=overwrite and save,
        images=EvaluatedImages(split=split),
        validation_split=validation_split,
        seed=seed,
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        device=device,
        precision=precision,
        image_size=text_of(image_size),
    )
    result = run(prepare_evaluation(path_or_name, options), progress)
    if save:
        save_calibration(path_or_name, result.calibration, overwrite=overwrite)
    return result


def choose_cascade(
    path_or_name: Name,
    data: Name,
    depths: Sequence[int],
    *,
    max_drop: float = 0.1,
    save: bool = False,
    overwrite: bool = False,
    split: Literal["train", "val", "test"] | None = None,
    validation_split: float | None = None,
    seed: int | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "auto",
    precision: str = "float32",
    image_size: ImageSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "CascadeResult":
    """Choose from which probability on a shallow depth may answer for a deeper one.

    depths     of a learngene or an elastic export, the shallowest first
    max_drop   points of accuracy below the deepest's that are allowed: of the thresholds that keep to it on one half of the
               images the cheapest is chosen, and all are shown on the other half
    save       write the policy into the learngene file, where `predict` finds it
    overwrite  with `save`: also over another one of the same depths
    seed       decides which image is in which half (None: 0), and what it decides in `evaluate`

    Other parameters are those of `evaluate`. Returns a `CascadeResult`: `policy` (with `threshold` and `temperatures`),
    `rows` with `early`, `blocks`, `macs` and `top1` of each threshold, `alone` of each depth. Depths share no computation,
    so an image costs all that it went through. Raises InputError where no threshold keeps to it, DataError, FileFormatError,
    TlegError as `calibrate` does.
    """
    from tleg.api.measuring import prepare_evaluation
    from tleg.recipes.evaluation import Evaluation
    from tleg.recipes.images import EvaluatedImages
    from tleg.training.cascade import choose_cascade as run
    from tleg.training.model_record import save_policy

    options = Evaluation(
        data=os.fspath(data),
        cascade=depths_text(depths),
        max_drop=max_drop,
        save_policy=save,
        force=overwrite and save,
        images=EvaluatedImages(split=split),
        validation_split=validation_split,
        seed=seed,
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        device=device,
        precision=precision,
        image_size=text_of(image_size),
    )
    result = run(prepare_evaluation(path_or_name, options), progress)
    if save:
        save_policy(path_or_name, result.policy, overwrite=overwrite)
    return result
