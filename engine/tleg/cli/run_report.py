"""The result of a finished run, as data on stdout."""

import json
from pathlib import Path
from typing import Any

from tleg.cli.output import write, write_json
from tleg.runs.folder import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import recall_state


def report_result(folder: RunFolder, *, as_json: bool) -> None:
    """Print where a run's result is, and what it reached."""
    state = recall_state(folder)
    result = Path(state.result or folder.exports)
    output = _relative(result, read_spec(folder).output)
    reached = _learned(result) if read_spec(folder).kind == "learn" else _tuned(result)
    if as_json:
        write_json({"run": folder.id, "output": output, **reached})
        return
    if "top1" not in reached:
        write(output)
    elif isinstance(reached["top1"], dict):
        write(output)
        for depth, value in reached["top1"].items():
            write(f"depth {depth:>3}  top-1 {value:.2f} %")
    else:
        write(f"{output}  top-1 {reached['top1']:.2f} %  loss {reached['loss']:.4f}  on {reached['images']} images")


def _relative(result: Path, output: str | None) -> str:
    """As the user wrote it, where they did."""
    return output if output is not None and Path(output).absolute() == result else str(result)


def _learned(result: Path) -> dict[str, Any]:
    from tleg.container import read_header

    reached = read_header(result).reached
    return {"top1": {} if reached is None else dict(sorted(reached.top1.items()))}


def _tuned(result: Path) -> dict[str, Any]:
    record = json.loads((result / "training.json").read_text())
    reached = record.get("reached") or {}
    return {
        "data": record.get("data"),
        **{key: reached[key] for key in ("top1", "top5", "loss", "images") if key in reached},
    }
