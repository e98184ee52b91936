"""`tleg benchmark`: how long a run takes, on this machine or on a device without tleg."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, takes_options
from tleg.recipes.benchmark import Benchmark
from tleg.recipes.fields import option
from tleg.terminal import counting_progress, say, write, write_json
from tleg.text import format_bytes, printable

if TYPE_CHECKING:
    from tleg.learngene.device import DeviceProfile

_NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOutput:
    """What becomes of the figures."""

    save_profile: str | None = option(
        None, help="Write the device profile, for tleg preview --profile FILE.", metavar="FILE"
    )
    bundle: str | None = option(
        None, help="Measure nothing: write what measures it on a device without tleg.", metavar="FOLDER"
    )
    force: bool = option(False, help="Replace the profile or the bundle if it exists.")


@app.command()
@takes_options
def benchmark(
    target: Annotated[
        str,
        typer.Argument(help="Learngene, export, folder that timm loads, TIMM_NAME:FILE, a run.", metavar="TARGET"),
    ],
    options: Benchmark,
    where: BenchmarkOutput,
    as_json: JsonOption = False,
) -> None:
    """Measure latency: median and tails of single runs, all depths in turn, after a warm-up that does not count.

    --dtype is the number type of the exports that are measured; int8 needs images, --calibration DATA, as for tleg build.

    Of a learngene three depths are measured. The others follow from a line through the shallowest and the deepest; the one
    between says how well, and where it is off by more than a tenth two more are measured. Close what else is running.
    """
    from tleg.errors import InputError, concerning
    from tleg.files import check_file
    from tleg.learngene.device import write_profile
    from tleg.serialize import encode
    from tleg.threads import choose_threads, use_threads

    if where.bundle is not None and where.save_profile is not None:
        raise InputError(
            "--bundle measures nothing here, so there is no profile to save",
            field=("bundle", "save-profile"),
            code="conflict",
        )
    if where.force and where.bundle is None and where.save_profile is None:
        raise InputError("--force belongs to --save-profile or --bundle", field="force", code="conflict")
    if where.save_profile is not None:
        with concerning("save-profile"):
            check_file(Path(where.save_profile), overwrite=where.force)
    # Before torch and ONNX Runtime are imported.
    use_threads(choose_threads(options.threads, workers=0).count)
    from tleg.latency.benchmark import measure_latency, write_bundle

    if where.bundle is not None:
        with concerning("bundle"):
            names = write_bundle(target, options, Path(where.bundle), overwrite=where.force)
        if as_json:
            write_json({"bundle": where.bundle, "files": list(names)})
            return
        write(where.bundle)
        say(f"{', '.join(names)}; on the device: python measure.py > profile.json")
        return
    with counting_progress("measuring") as progress:
        profile = measure_latency(target, options, progress and (lambda part: progress(int(100 * part), 100)))
    if where.save_profile is not None:
        with concerning("save-profile"):
            write_profile(profile, Path(where.save_profile), overwrite=where.force)
    if as_json:
        write_json(encode(profile))
        return
    _write_table(profile)
    if where.save_profile is not None:
        say(printable(where.save_profile))


def _write_table(profile: "DeviceProfile") -> None:
    height, width = profile.image_size
    say(printable(f"{profile}: {profile.export}, {height} x {width} pixels"))
    rows: list[tuple[str, ...]] = [("depth", "median ms", "p90", "p95", "jitter", "open ms", "memory", "runs")]
    for each in profile.points:
        milliseconds = (f"{1000 * value:.3f}" for value in (each.median, each.p90, each.p95, each.jitter))
        rows.append(
            (
                _NONE if each.depth is None else str(each.depth),
                *milliseconds,
                _NONE if each.open_seconds is None else f"{1000 * each.open_seconds:.1f}",
                _NONE if each.peak_bytes is None else format_bytes(each.peak_bytes),
                str(each.runs),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        write("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if profile.line is not None:
        say(f"a layer takes {1000 * profile.line.per_layer:.3f} ms, all else {1000 * profile.line.base:.3f} ms")
    if profile.check is not None:
        check = profile.check
        end = "" if profile.affine else ", so depths between are read between those that were measured"
        say(f"foretold for depth {check.depth}: {1000 * check.predicted:.3f} ms, {100 * check.error:.1f} % off{end}")
    say("jitter: p99 - median; memory: by which opening and running it made its process larger")
