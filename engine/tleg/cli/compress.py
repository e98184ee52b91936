"""`tleg compress`: a learngene in a quarter or a sixth of the bytes."""

from pathlib import Path
from typing import Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, takes_options
from tleg.recipes.compression import CompressOptions
from tleg.terminal import counting_progress, say, write, write_json
from tleg.text import format_bytes, printable


@app.command()
@takes_options
def compress(
    learngene: Annotated[
        str, typer.Argument(metavar="LEARNGENE", help="A learngene file, the name of a shipped one, or a run.")
    ],
    options: CompressOptions,
    as_json: JsonOption = False,
) -> None:
    """Store the matrices of a learngene in 8 bits: a file of a quarter of the size, which every command reads.

    Each output channel of each term has a scale; vectors and small matrices stay in float32. --dtype int4 stores the
    matrices of blocks in 4 bits, with a scale for 64 values: about a sixth of the size. With --data the accuracy of a
    few depths before and after is shown, and a file that loses more than --max-drop points is not written.
    """
    from tleg.errors import concerning
    from tleg.files import check_file

    with concerning("output"):
        check_file(Path(options.output), overwrite=options.force)
    from tleg.api import run_compress
    from tleg.serialize import encode

    with counting_progress("measuring") as progress:
        found = run_compress(learngene, options, progress)
    if as_json:
        write_json(encode(found))
        return
    write(str(found.path))
    if found.accuracies:
        write(f"{'depth':>5}  {'float32':>8}  {options.dtype:>8}")
        for each in found.accuracies:
            write(f"{each.depth or '-':>5}  {each.before:>7.2f}%  {each.after:>7.2f}%")
        say(printable(f"top-1 on {found.images:,} images of {found.data}"))
    before, after = found.bytes
    say(f"{format_bytes(before)} -> {format_bytes(after)}, {after / before:.2f} of the size")
