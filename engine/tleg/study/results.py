"""What a study measured: one JSON document, which reports and tests read.

Standard library only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tleg.errors import FileFormatError
from tleg.files import new_file
from tleg.serialize import LEFT_OUT_WHEN_NONE, decode, encode

RESULTS_FORMAT: Final = "tleg-study"
RESULTS_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Accuracies after some of a training.

    epoch   epochs done
    macs    multiply-accumulates of training until then (forward and backward)
    seconds of training until then, or None where they are not known
    top1    percent, by depth
    """

    epoch: float
    macs: int | None
    seconds: float | None
    top1: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One training of a study that ended.

    task        its name in the study, as in 'chebyshev/glyphs/seed-0' or 'free/glyphs/seed-0/depth-3'
    arm, data   of the study's file
    seed, depth depth is None for a learngene, which has them all
    kind        'learn', 'train' or 'finetune'
    values      the fields in which the arm differs, those that were tuned among them
    run         the id of the run
    epochs      trained
    images      seen in training
    macs        multiply-accumulates of training: three times the forward pass, and the teacher's; None where a model's are
                not known
    seconds     of wall time in training, restarts left out
    parameters  of the result that is stored: a learngene's terms, or the model
    bytes       of its file in float32
    top1        percent, by depth, when training ended
    curve       the evaluations on the way
    cosine      with the teacher's features by depth, where those are what is learned
    """

    task: str
    arm: str
    data: str
    seed: int
    depth: int | None
    kind: str
    values: Mapping[str, Any]
    run: str
    epochs: int
    images: int
    macs: int | None
    seconds: float | None
    parameters: int | None
    bytes: int | None
    top1: Mapping[int, float]
    curve: tuple[CurvePoint, ...] = ()
    cosine: Mapping[int, float] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One value of a field that was tuned.

    values  the fields tuned
    top1    percent, the mean over depths and over the seeds it was tried with; None where training failed
    chosen  whether the arm's trainings have it
    """

    arm: str
    data: str
    values: Mapping[str, Any]
    top1: float | None
    seeds: tuple[int, ...]
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A training of a study that did not end well."""

    task: str
    run: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    """All of a study.

    study     the text of its file
    arms      name -> what it is, in words
    budget    {"epochs": {ARM: N}}, or {"images": 360000, "of": "family", "own": {ARM: N}}, of arms with epochs of their own
    versions  of tleg and its libraries
    machine   processors, accelerators, slots: in words
    complete  whether every training of the grid is among `trained`
    """

    format: str = RESULTS_FORMAT
    version: int = RESULTS_VERSION
    title: str
    study: str
    arms: Mapping[str, str]
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    budget: Mapping[str, Any]
    versions: Mapping[str, str]
    machine: str
    complete: bool
    trained: tuple[Trained, ...] = ()
    tried: tuple[Tried, ...] = ()
    failed: tuple[Failed, ...] = ()


def read_results(path: Path) -> StudyResults:
    """Read what `write_results` wrote. Raises FileFormatError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} holds no results of a study: {error}") from error
    if not isinstance(document, dict) or document.get("format") != RESULTS_FORMAT:
        raise FileFormatError(f"{path} holds no results of a study")
    if document.get("version") != RESULTS_VERSION:
        raise FileFormatError(f"{path} holds results of version {document.get('version')!r}, not {RESULTS_VERSION}")
    return decode(StudyResults, document, str(path))


def write_results(path: Path, results: StudyResults, *, overwrite: bool = True) -> None:
    """Write them as JSON, whole or not at all."""
    with new_file(path, overwrite=overwrite) as target:
        target.write_text(json.dumps(encode(results), indent=1) + "\n", encoding="utf-8")
