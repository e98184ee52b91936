"""What the weights of a checkpoint are, so that a run that is not finished can be exported, and started from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tleg.errors import FileFormatError, InputError
from tleg.files import new_folder
from tleg.learngene.header import Architecture, LearngeneHeader, Preprocessing
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.learngene import Learngene
from tleg.models.timm_folder import save_timm_folder
from tleg.serialize import decode
from tleg.training.checkpoint import Checkpoint, Checkpoints, read_checkpoint

LEARNGENE = "learngene"
MODEL = "model"


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A model of one depth: what it takes to save it as a timm folder, and the record of its training."""

    architecture: Architecture
    depth: int | None
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    record: Mapping[str, Any]


def learngene_of_checkpoint(run: Path, which: str = "last") -> Learngene:
    """Return the learngene in the last (or best) checkpoint of a run of `tleg learn`: the average, where there is one.

    Raises InputError when the run has no checkpoint or learns no learngene, FileFormatError when it is damaged.
    """
    checkpoint = _open(run, which)
    about = checkpoint.progress.about
    if LEARNGENE not in about:
        raise InputError(f"the run {run.name} trains one model, not a learngene", code="wrong-kind")
    header = decode(LearngeneHeader, about[LEARNGENE], str(checkpoint.path))
    model = AuxiliaryModel(header.architecture, header.basis)
    _load(model, checkpoint)
    learned = {**header.learned, "steps": checkpoint.progress.step}
    return Learngene(replace(header, learned=learned), model.tensors())


def model_folder_of_checkpoint(run: Path, which: str, target: Path) -> Path:
    """Write the model in the last (or best) checkpoint of a run of `tleg finetune` to `target`, a folder that timm loads.

    Raises InputError when the run has no checkpoint or learns a learngene, FileFormatError when it is damaged.
    """
    checkpoint = _open(run, which)
    about = checkpoint.progress.about
    if MODEL not in about:
        raise InputError(
            f"the run {run.name} learns a learngene; give its depth, with --learngene {run.name} --depth N",
            code="wrong-kind",
        )
    kept = decode(KeptModel, about[MODEL], str(checkpoint.path))
    tensors = {name: value.numpy() for name, value in kept_state(checkpoint).items()}
    with new_folder(target, overwrite=True) as folder:
        save_timm_folder(
            folder, tensors, kept.architecture, kept.depth, preprocessing=kept.preprocessing, classes=kept.classes
        )
    return target


def _open(run: Path, which: str) -> Checkpoint:
    checkpoints = Checkpoints(run / "checkpoints")
    if which == "best":
        if (path := checkpoints.best()) is None:
            raise InputError(
                f"no checkpoint of the run {run.name} has an accuracy, so none is known to be the best", code="not-found"
            )
        return read_checkpoint(path)
    checkpoint, problems = checkpoints.latest()
    if checkpoint is None:
        reason = f": {problems[0]}" if problems else " yet"
        raise InputError(f"the run {run.name} has no checkpoint that can be used{reason}", code="not-found")
    return checkpoint


def kept_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The model's state: its average's, where there is one."""
    if "ema" in checkpoint.tensors:
        return dict(checkpoint.tensors["ema"])
    own = checkpoint.tensors["model"].items()
    return {name.removeprefix("model."): value for name, value in own if name.startswith("model.")}


def _load(model: AuxiliaryModel, checkpoint: Checkpoint) -> None:
    try:
        model.load_state_dict(kept_state(checkpoint), strict=True)
    except RuntimeError as error:
        raise FileFormatError(f"{checkpoint.path} does not fit its own description: {error}") from error
