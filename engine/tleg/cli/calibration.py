"""What `tleg evaluate --calibrate` and `--cascade` show."""

import os
from typing import TYPE_CHECKING, Any

from tleg.learngene.cascade import depths_text
from tleg.learngene.profile import format_depth, plain_depth
from tleg.serialize import encode
from tleg.terminal import counting_progress, say, write, write_json
from tleg.text import printable

if TYPE_CHECKING:
    from tleg.recipes.evaluation import Evaluation
    from tleg.training.calibration import CalibrationResult
    from tleg.training.cascade import CascadeResult
    from tleg.training.prepared import PreparedEvaluation


def show_calibration(path: str, prepared: "PreparedEvaluation", options: "Evaluation", *, as_json: bool) -> None:
    """Fit temperatures, show what they do by depth, and keep them where that is asked for."""
    from tleg.training.calibration import calibrate
    from tleg.training.model_record import save_calibration

    with counting_progress("evaluating") as progress:
        result = calibrate(prepared, progress)
    if as_json:
        rows = [{"depth": plain_depth(depth), **encode(each)} for depth, each in result.depths.items()]
        write_json({**_about(path, prepared), **_counts(result), "calibration": encode(result.calibration), "results": rows})
    else:
        _write_calibration(result)
    if options.save_temperature:
        save_calibration(path, result.calibration, overwrite=options.force)
        say(f"saved in {printable(os.fspath(path))}")


def show_cascade(path: str, prepared: "PreparedEvaluation", options: "Evaluation", *, as_json: bool) -> None:
    """Choose the threshold of a cascade, show what each comes to, and keep the policy where that is asked for."""
    from tleg.training.cascade import choose_cascade
    from tleg.training.model_record import save_policy

    with counting_progress("evaluating") as progress:
        result = choose_cascade(prepared, progress)
    if as_json:
        about = {**_about(path, prepared), **_counts(result), "policy": encode(result.policy)}
        write_json({**about, "alone": encode(result.alone), "results": encode(result.rows)})
    else:
        _write_cascade(result)
    if options.save_policy:
        save_policy(path, result.policy, overwrite=options.force)
        say(f"saved in {printable(os.fspath(path))}")


def _about(path: str, prepared: "PreparedEvaluation") -> dict[str, Any]:
    return {
        "path": path,
        "kind": prepared.subject.kind,
        "data": prepared.data.name,
        "part": prepared.data.part,
        "precision": prepared.placement.precision,
        "image_size": list(prepared.subject.input_size[1:]),
        "notes": list(prepared.notes),
    }


def _counts(result: "CalibrationResult | CascadeResult") -> dict[str, int]:
    return {"images": result.images, "unreadable": result.unreadable}


def _write_calibration(result: "CalibrationResult") -> None:
    texts = {depth: "-" if depth is None else format_depth(depth) for depth in result.depths}
    width = max(5, *map(len, texts.values()))
    write(f"{'depth':<{width}} temperature   top-1 %   ECE %   after       NLL    after")
    for depth, each in result.depths.items():
        before, after = each.before, each.after
        write(
            f"{texts[depth]:>{width}} {each.temperature:>11.4f} {before.top1:>9.2f} {before.ece:>7.2f} {after.ece:>7.2f} "
            f"{before.nll:>9.4f} {after.nll:>8.4f}"
        )
    fitted = result.calibration
    say(
        printable(
            f"fitted to {fitted.images:,} images of {fitted.data}, drawn with seed {fitted.seed}; measured on the other "
            f"{result.images:,}{_missing(result)}"
        )
    )


def _write_cascade(result: "CascadeResult") -> None:
    policy, depths = result.policy, result.policy.depths
    write("threshold   early %   blocks   GMACs   top-1 %")
    for row in result.rows:
        mark = " chosen" if row.threshold == policy.threshold else ""
        write(
            f"{row.threshold:>9g} {100 * row.early:>9.2f} {row.blocks:>8.2f} {_billions(row.macs):>7} {row.top1:>9.2f}{mark}"
        )
    for single in result.alone:
        write(f"{f'depth {single.depth}':>9} {'-':>9} {single.depth:>8} {_billions(single.macs):>7} {single.top1:>9.2f}")
    say(
        printable(
            f"{policy.threshold:g} is the cheapest that was at most {policy.max_drop:g} points below depth {depths[-1]} on "
            f"{policy.images:,} images of {policy.data}, drawn with seed {policy.seed}; the table is of the other "
            f"{result.images:,}{_missing(result)}"
        )
    )
    say(f"an image that does not stop costs the sum of all depths that it went through ({depths_text(depths)})")


def _billions(macs: float | None) -> str:
    return "-" if macs is None else f"{macs / 1e9:.4f}"


def _missing(result: "CalibrationResult | CascadeResult") -> str:
    return f"; {result.unreadable} images could not be read" if result.unreadable else ""
