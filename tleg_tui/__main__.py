"""`tleg-tui`: reads its options, refuses what cannot be shown, and opens the workbench."""

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from tleg.runs.run import RunFolder

HEADLESS = "`tleg preview`, `tleg runs`, `tleg build` and `tleg --help` need none"


def why_not(
    stdin: TextIO = sys.stdin,
    stdout: TextIO = sys.stdout,
    stderr: TextIO = sys.stderr,
    environment: Mapping[str, str] = os.environ,
) -> str | None:
    """Return why the workbench cannot be shown here, as a sentence with what to do instead; None when it can."""
    for name, stream in (("standard input", stdin), ("standard output", stdout), ("standard error", stderr)):
        if stream is None or stream.closed or not stream.isatty():
            return f"{name} is not a terminal, and the workbench needs one; {HEADLESS}"
    if environment.get("TERM", "") in ("", "dumb"):
        kind = environment.get("TERM") or "of an unknown kind (TERM is not set)"
        return f"this terminal is {kind} and cannot place text; {HEADLESS}"
    return None


def is_remote(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the screen travels over SSH, where every byte counts."""
    return "SSH_CONNECTION" in environment or "SSH_TTY" in environment


LEAST_REFRESH: Final = 0.1
_LAST_PORT: Final = 65535


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the workbench and exit: 0 left, 1 it failed, 2 usage or a terminal that cannot show it."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the workbench and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    from tleg.errors import InputError
    from tleg.paths import check_working_folder

    try:
        check_working_folder()
        if options.refresh is not None and not 0 < options.refresh < math.inf:
            raise InputError(f"--refresh {options.refresh} is no time: give seconds, such as --refresh 0.5")
        if not 1 <= options.port <= _LAST_PORT:
            raise InputError(f"--port must be from 1 to {_LAST_PORT}, not {options.port}")
        if options.serve:
            from tleg_tui.serve import serve

            serve(_words_without_serving(arguments), options.port)
            return 0
        reason = None if os.environ.get("TEXTUAL_DRIVER") else why_not(sys.stdin, sys.stdout, sys.stderr)
        if reason is not None:
            raise InputError(reason)
        return _show(options)
    except InputError as error:
        print(f"tleg-tui: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _show(options: argparse.Namespace) -> int:
    if not os.environ.get("TEXTUAL_DRIVER"):  # A browser's terminal has its first size from there, and from nowhere else.
        for name in ("COLUMNS", "LINES"):  # Exported, they would hold the size for ever, whatever the terminal becomes.
            os.environ.pop(name, None)
    remote = is_remote()
    if remote:
        os.environ.setdefault("TEXTUAL_FPS", "15")  # Before Textual is imported, which reads it then.
    from tleg.errors import InputError
    from tleg.paths import runs_folder

    runs_dir = runs_folder() if options.runs_dir is None else Path(options.runs_dir)
    opened, run_folder = _open(options.path, runs_dir)

    from tleg_tui.app import Workbench

    refresh = (1.0 if remote else 0.25) if options.refresh is None else max(LEAST_REFRESH, options.refresh)
    app = Workbench(
        runs_dir,
        opened=opened,
        run=run_folder,
        refresh=refresh,
        ascii=options.ascii,
        theme=options.theme,
    )
    if options.theme is not None and options.theme not in app.available_themes:
        from tleg.errors import did_you_mean

        known = sorted(app.available_themes)
        hint = did_you_mean(options.theme, known)
        raise InputError(f"there is no theme '{options.theme}': choose one of {', '.join(known)}.{hint}")
    app.run()
    if app.last_words is not None:  # Not by Textual, which would break long lines.
        print(app.last_words, file=sys.stderr)
    return app.return_code or 0


def _open(text: str | None, runs_dir: Path) -> "tuple[Path | None, RunFolder | None]":
    """A learngene or a run to begin with. Raises InputError for what is neither."""
    if text is None:
        return None, None
    from tleg.errors import InputError
    from tleg.learngene.container import read_file
    from tleg.references import resolve

    reference = resolve(text, runs_dir)
    if reference.run is not None:
        return None, reference.run
    if reference.kind == "learngene":
        read_file(reference.place)
    elif reference.kind != "checkpoint":
        raise InputError(f"{text} is neither a learngene nor a run; `tleg build` and `tleg evaluate` take it")
    return reference.path, None


def _words_without_serving(arguments: Sequence[str]) -> list[str]:
    words, skip = [], False
    for word in arguments:
        if skip:
            skip = False
        elif word == "--port":
            skip = True
        elif word != "--serve" and not word.startswith("--port="):
            words.append(word)
    return words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tleg-tui",
        description="The workbench: preview descendants of a learngene, train, watch runs, export. "
        "Everything that it does, `tleg` does without a terminal.",
    )
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="a learngene, a run, or a run's id; without it, the workbench"
    )
    parser.add_argument("--runs-dir", metavar="DIR", help="folder of the runs (default: TLEG_RUNS, else tleg's data folder)")
    parser.add_argument("--ascii", action="store_true", help="paint ASCII alone")
    parser.add_argument(
        "--refresh",
        type=float,
        metavar="SECONDS",
        help=f"between two looks at a run, at least {LEAST_REFRESH} (default: 0.25, over SSH 1)",
    )
    parser.add_argument("--theme", metavar="NAME", help="colours: tleg-dark, tleg-light, tleg-colour-blind, ansi-dark, …")
    parser.add_argument("--serve", action="store_true", help="serve the workbench to a browser on this machine")
    parser.add_argument("--port", type=int, default=8000, metavar="P", help="port of --serve (default: 8000)")
    parser.add_argument("--version", action="version", version=_version())
    return parser


def _version() -> str:
    from tleg.versions import __version__

    return f"tleg-tui {__version__}"


if __name__ == "__main__":
    main()
