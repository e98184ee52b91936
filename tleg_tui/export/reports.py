"""What `tleg build --jsonl` tells while it builds: stages, and figures of what is done."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tleg_tui.export.cost import Cost, read_cost


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of an export that is done; error and agreement are None when it was not verified.

    note    what must be known before it is used elsewhere
    cost    what its number type costs and saves; None where nothing was measured
    manifest  where its manifest is, if that has lines of Python that use the export; else None
    """

    path: Path
    bytes: int
    error: float | None
    agreement: float | None
    note: str | None = None
    cost: Cost | None = None
    manifest: Path | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A line of `tleg build --jsonl`: a stage of the export at a place among `count`.

    figures  once it is done
    images   that were looked at, and all, where it calibrates or measures
    """

    stage: str
    index: int
    count: int
    figures: Figures | None = None
    images: tuple[int, int] | None = None


def read_report(line: str) -> Report | None:
    """Return what a line of `tleg build --jsonl` says; None when it is no such line."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    stage, index, count = (document.get(name) for name in ("stage", "index", "count"))
    if not isinstance(stage, str) or type(index) is not int or type(count) is not int:
        return None
    return Report(stage, index, count, _figures(document.get("built")), _images(document.get("images")))


def _figures(document: Any) -> Figures | None:
    if not isinstance(document, dict) or not isinstance(document.get("path"), str) or type(document.get("bytes")) is not int:
        return None
    verification = document.get("verification")
    found = verification if isinstance(verification, dict) else {}
    error, agreement = (_number(found.get(name)) for name in ("max_abs_error", "argmax_agreement"))
    note, manifest = document.get("note"), document.get("manifest")
    return Figures(
        Path(document["path"]),
        document["bytes"],
        error,
        agreement,
        note if isinstance(note, str) else None,
        read_cost(document.get("beside_float32")),
        Path(manifest) if isinstance(manifest, str) and isinstance(document.get("example"), str) else None,
    )


def _images(value: Any) -> tuple[int, int] | None:
    match value:
        case [int(done), int(whole)]:
            return done, whole
    return None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None
