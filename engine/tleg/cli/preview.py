"""`tleg preview`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tleg.cli.app import app
from tleg.cli.frontier import PlotOptions, check_options, frontier_of, save_picture, write_plot
from tleg.cli.options import takes_options
from tleg.learngene.profile import format_depth, plain_depth
from tleg.recipes.fields import PROFILES, PROFILES_HELP, option
from tleg.references import DEFAULT_LEARNGENE
from tleg.serialize import encode
from tleg.terminal import BOLD, DIM, say, styled, write, write_json
from tleg.text import format_bytes, format_count, format_image_size, format_latency, join_words, printable, without_zeros

if TYPE_CHECKING:
    from tleg.learngene.container import LearngeneFile
    from tleg.learngene.device import DeviceProfile
    from tleg.learngene.frontier import Frontier
    from tleg.learngene.header import LearngeneHeader
    from tleg.learngene.preview import Preview, PreviewRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """Which depths, judged by which budget."""

    depths: str = option("1-24", help="Which depths: 8, 1-24 or 4,6,8-12; of several stages also 2-2-6-2.")
    profiles: str = option("elastic", help=PROFILES_HELP, choices=PROFILES)
    max_params: str | None = option(None, help="Most parameters, such as 20M.", metavar="COUNT")
    max_macs: str | None = option(None, help='Most MACs for one image, such as 3G (papers say "FLOPs").', metavar="COUNT")
    max_size: str | None = option(None, help="Largest float32 weights, such as 50MB.", metavar="SIZE")
    max_memory: str | None = option(None, help="Most memory to run a batch, such as 1.5GiB (estimate).", metavar="SIZE")
    max_training_memory: str | None = option(
        None, help="Most memory to fine-tune on a batch, such as 8GB (estimate).", metavar="SIZE"
    )
    max_latency: str | None = option(
        None, help="Most time for a batch on the device of --profile, such as 20ms.", metavar="TIME"
    )
    profile: str | None = option(
        None, help="A device that tleg benchmark measured: shows the latency of every depth.", metavar="FILE"
    )
    batch: int = option(
        1,
        help="Images in a batch, for the memory estimates.",
        least=1,
        most=1_000_000,
        rule="a batch has at least 1 image and at most 1,000,000",
    )
    image_size: str | None = option(
        None, help="Pixels of the inputs; several with commas, as in 128,160,192x256.", metavar="N|HxW"
    )
    pick: bool = option(
        False, help="Print only the deepest depth that fits, of several sizes the best and its size; fail if none does."
    )


@app.command()
@takes_options
def preview(
    learngene: Annotated[
        str, typer.Argument(help="A learngene file, the name of a shipped one, or a run.")
    ] = DEFAULT_LEARNGENE,
    *,
    options: PreviewOptions,
    picture: PlotOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what every depth costs and reaches, before anything is built.

    GMACs are billions of multiply-accumulates for one image, attention and LayerNorm counted: what papers on ViTs print as
    "FLOPs". Size is that of the float32 weights. Memory is an estimate for a batch: weights and activations, and for
    fine-tuning (training) gradients and AdamW's two moments; frameworks and drivers add their own. Top-1 is the accuracy
    without any fine-tuning, where it was measured.

    With --image-size costs are those of inputs of that size. Of several sizes the budget picks the most accurate depth and
    size that was measured (tleg evaluate --image-size N --record), and the largest where none was.

    --plot draws the measured depths: filled where the learngene was trained at a depth, and dim where it is over the budget.
    --tuned also draws the best accuracies that runs reached by fine-tuning descendants of this file, on each data set.
    """
    from tleg.api import path_of
    from tleg.errors import InputError, TlegError, concerning
    from tleg.learngene.container import read_file
    from tleg.learngene.device import read_profile
    from tleg.learngene.limits import LIMITS, read_budget, why_none_fits
    from tleg.learngene.preview import measured_for
    from tleg.learngene.preview import preview as make_preview
    from tleg.learngene.profile import parse_profiles
    from tleg.models.headers import headers_at

    budget = read_budget({limit.name: getattr(options, limit.name.replace("-", "_")) for limit in LIMITS.values()})
    with concerning("depths"):
        chosen = parse_profiles(options.depths)
    if options.pick and not budget.limited:
        raise InputError(
            f"--pick needs a budget: add {', '.join(f'--{limit.name}' for limit in LIMITS.values())}",
            field="pick",
            code="missing",
        )
    if options.max_latency is not None and options.profile is None:
        raise InputError(
            "--max-latency needs a device: --profile FILE, as tleg benchmark --save-profile writes it",
            field=("profile", "max-latency"),
            code="missing",
        )
    check_options(picture, profile=options.profile, in_place_of="json" if as_json else "pick" if options.pick else None)
    device = None
    if options.profile is not None:
        with concerning("profile"):
            device = read_profile(Path(options.profile))
    with concerning("learngene"):
        file = read_file(path_of(learngene, "learngene"))
        headers = headers_at(file.header, () if options.image_size is None else options.image_size.split(","))
        if options.profiles == "all":
            chosen = tuple(map(file.header.scaled, chosen))
    result = make_preview(headers, chosen, budget, options.batch, device)
    frontier = frontier_of(picture, result, file)
    if options.pick:
        if result.choice is None:
            over = (LIMITS[name].name for name in result.rows[0].exceeds)
            raise TlegError(why_none_fits(result), field=tuple(over), code="out-of-range")
        sized = f" {format_image_size(result.choice.image_size)}" if result.sized else ""
        write(f"{format_depth(result.choice.depth)}{sized}")
    elif as_json:
        write_json(_document(file, headers, result, device))
    else:
        _print_about(file, headers)
        if picture.plot and frontier is not None:
            write_plot(frontier, _limit_of(frontier, result))
        else:
            _print_table(result)
        _print_notes(headers, result, device)
    if picture.svg is not None and frontier is not None:
        reached = measured_for(headers)
        save_picture(
            picture.svg,
            frontier,
            title=file.path.name,
            note="" if reached is None else str(reached),
            limit=_limit_of(frontier, result),
            overwrite=picture.force,
        )


def _limit_of(frontier: "Frontier", result: "Preview") -> str:
    """The limit on a cost that is drawn, as it is typed."""
    from tleg.learngene.limits import LIMITS

    limit = LIMITS[frontier.axis.limit]
    value = getattr(result.budget, frontier.axis.limit)
    return "" if value is None else f"--{limit.name} {without_zeros(limit.form(value)).replace(' ', '')}"


def _document(
    file: "LearngeneFile", headers: "Sequence[LearngeneHeader]", result: "Preview", device: "DeviceProfile | None"
) -> dict[str, Any]:
    from tleg.learngene.limits import LIMITS
    from tleg.learngene.preview import measured_for

    header, reached, choice = file.header, measured_for(headers), result.choice
    limits = {name: getattr(result.budget, name) for name in LIMITS if getattr(result.budget, name) is not None}
    return {
        "learngene": str(file.path),
        "architecture": header.architecture.name,
        "basis": header.basis.name,
        "auxiliary_depth": header.auxiliary.depth,
        "top1_on": None
        if reached is None
        else {"data": reached.data, "images": reached.images, "precision": reached.precision},
        "batch": result.batch,
        "device": None if device is None else str(device),
        "budget": limits or None,
        "deepest": plain_depth(result.deepest.depth) if result.deepest else None,
        "sizes": [
            {"image_size": list(each.image_size), "architecture": encode(each.architecture), "cost": encode(each.cost)}
            for each in headers
        ],
        "choice": None if choice is None else {"depth": plain_depth(choice.depth), "image_size": list(choice.image_size)},
        "depths": [
            {
                "depth": plain_depth(row.depth),
                "image_size": list(row.image_size),
                "parameters": row.cost.parameters,
                "macs": row.cost.macs,
                "size": row.cost.size,
                "inference_memory": row.cost.inference_memory,
                "training_memory": row.cost.training_memory,
                "latency": row.latency,
                "top1": row.top1,
                "cosine": row.cosine,
                "auxiliary": row.auxiliary,
                "trained": row.trained,
                "fits": row.fits,
                "exceeds": list(row.exceeds),
            }
            for row in result.rows
        ],
    }


def _print_about(file: "LearngeneFile", headers: "Sequence[LearngeneHeader]") -> None:
    header = file.header
    stages = f", stages of {text} blocks" if (text := header.architecture.stages_text) else ""
    pixels = join_words([f"{height} x {width}" for height, width in (each.image_size for each in headers)])
    about = f"{header.architecture.name} on {pixels} pixels{stages}, {header.basis.name} basis"
    say(printable(f"{file.path.name}: {about}"))


def _print_table(result: "Preview") -> None:
    sized = ("pixels",) if result.sized else ()
    timed = ("latency",) if any(row.latency is not None for row in result.rows) else ()
    rows: list[tuple[str, ...]] = [
        (*sized, "depth", "params", "GMACs", "size", "inference", "training", *timed, _reached_title(result), "")
    ]
    rows += [_cells(row, result, timed=bool(timed)) for row in result.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, cells in enumerate(rows):
        chosen = index > 0 and result.rows[index - 1] is result.choice
        over = index > 0 and not result.rows[index - 1].fits
        write(styled(_line(cells, widths), BOLD if index == 0 or chosen else DIM if over else ""))
    images = "1 image" if result.batch == 1 else f"{result.batch} images"
    say(f"inference and training: memory for a batch of {images}, estimated")


def _print_notes(headers: "Sequence[LearngeneHeader]", result: "Preview", device: "DeviceProfile | None") -> None:
    from tleg.learngene.feature_cosine import feature_cosine_in
    from tleg.learngene.preview import measured_for

    if any(row.top1 is not None for row in result.rows):
        say(printable(f"top-1: on {measured_for(headers)}"))
    elif any(row.cosine is not None for row in result.rows):
        say(printable(f"cosine: {feature_cosine_in(headers[0].learned)}"))
    if result.budget.limited:
        say(_chosen(result))
        if result.choice is not None and (doubt := headers[0].auxiliary.doubt(result.choice.depth)):
            say(doubt)
    if device is not None:
        say(printable(f"latency: median of a batch on {device}"))
        if device.dtype != "float32":
            say(f"latency is that of {device.export} in {device.dtype}; all else is of float32")


def _chosen(result: "Preview") -> str:
    """What the budget picks, and why of several sizes."""
    from tleg.learngene.limits import place_of, why_none_fits

    choice = result.choice
    if choice is None:
        return why_none_fits(result)
    if not result.sized:
        return f"deepest that fits: {format_depth(choice.depth)}"
    why = "the largest, because no accuracy is known" if choice.top1 is None else f"{choice.top1:.2f} %"
    return f"best that fits: {place_of(choice, result)} ({why})"


def _cells(row: "PreviewRow", result: "Preview", *, timed: bool) -> tuple[str, ...]:
    notes = ["auxiliary"] if row.auxiliary else []
    if result.budget.limited:
        best = "best" if result.sized else "deepest"
        notes.append("over" if not row.fits else best if row is result.choice else "fits")
    cost = row.cost
    return (
        *((format_image_size(row.image_size),) if result.sized else ()),
        format_depth(row.profile if result.profiled else row.depth),
        format_count(cost.parameters),
        f"{cost.macs / 1e9:.{result.gmacs_decimals}f}",
        format_bytes(cost.size),
        format_bytes(cost.inference_memory),
        format_bytes(cost.training_memory),
        *(("-" if row.latency is None else format_latency(row.latency),) if timed else ()),
        _reached(row, cosines=_reached_title(result) == "cosine"),
        ", ".join(notes),
    )


def _reached_title(result: "Preview") -> str:
    """What stands in the column of what was reached: a cosine where features were learned, and nobody measured a top-1."""
    cosines = any(row.cosine is not None for row in result.rows) and all(row.top1 is None for row in result.rows)
    return "cosine" if cosines else "top-1"


def _reached(row: "PreviewRow", *, cosines: bool) -> str:
    value = row.cosine if cosines else row.top1
    return "-" if value is None else f"{value:.3f}" if cosines else f"{value:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    *numbers, notes = cells
    columns = [cell.rjust(width) for cell, width in zip(numbers, widths, strict=False)]
    return "  ".join([*columns, notes]).rstrip()
