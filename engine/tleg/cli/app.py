"""`tleg`: the application, its commands and its way to fail.

Commands import what they need when they run, so that `tleg --help` and `tleg preview` need neither numpy nor torch.
"""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Final

import typer
from typer.models import CommandInfo

from tleg.ending import raising_received, run_to_end
from tleg.errors import ExitCode, TlegError, exit_code_of
from tleg.paths import check_working_folder
from tleg.terminal import explain_error
from tleg.versions import __version__

# Newer versions of Typer bring their own copy of click, older ones use the package: the error class of whichever it is.
UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]

INTERRUPTED: Final = TlegError("interrupted", code="interrupted")

app = typer.Typer(
    name="tleg",
    help="A family of Vision Transformers from one learngene: preview, build, export, train.",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tleg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the job failed, 2 usage or bad input, 130 interrupted.

    SIGTERM and SIGHUP end it, after what it has half written is removed.
    """
    sys.exit(run_to_end(lambda: run(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: Sequence[str]) -> ExitCode:
    """Run one command and return its exit code. An error is one line on stderr; its traceback only with --debug."""
    debug = "--debug" in arguments
    # Wanted after a command as often as before it.
    words = [word for word in arguments if word != "--debug"]
    # A name that the terminal's encoding lacks is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with raising_received():
            return _call(words)
    except UsageProblem as error:
        explain_error(
            TlegError(f"{_sentence(error)}{_hint(error)}", field=_parameter(error), code=_usage_code(error)), debug
        )
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        explain_error(INTERRUPTED)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has gone (`tleg preview | head`). Keep the interpreter's last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except TlegError as error:
        explain_error(error, debug)
        return exit_code_of(error)
    except Exception as error:
        explain_error(_of_others(error), debug)
        return ExitCode.FAILED


def _call(words: Sequence[str]) -> ExitCode:
    command = _command_of(words)
    if command is not None:
        check_working_folder()
    register_commands(command)
    status = app(args=words or ["--help"], prog_name="tleg", standalone_mode=False)
    sys.stdout.flush()
    if not words:
        return ExitCode.USAGE
    if status == ExitCode.INTERRUPTED:  # Newer versions of Typer turn an interrupt into this; older ones raise Abort.
        explain_error(INTERRUPTED)
    return ExitCode(status) if isinstance(status, int) else ExitCode.DONE


def _of_others(error: Exception) -> TlegError:
    """What an error that tleg did not raise itself means, as one of tleg's."""
    from tleg.errors import explain, last_words, not_loaded

    if type(error).__name__ == "OutOfMemoryError":
        known: str | None = "out of memory on the GPU; give a smaller --batch-size or depth, or --device cpu"
    else:
        known = explain(error)
    if known is None:
        unknown = f"unexpected {type(error).__name__}: {last_words(error)}. Run again with --debug for the place"
        return TlegError(unknown, code="unexpected")
    return TlegError(known, code="not-installed" if not_loaded(error) else "system")


def _usage_code(error: Exception) -> str:
    if type(error).__name__ == "MissingParameter":
        return "missing"
    return "malformed" if isinstance(error, typer.BadParameter) else "usage"


def _parameter(error: Exception) -> str | None:
    """The option or argument that a usage error is about, without dashes."""
    parameter = getattr(error, "param", None)
    names = [
        getattr(error, "option_name", None) or "",
        *getattr(parameter, "opts", ()),
        getattr(parameter, "name", None) or "",
    ]
    return next((name.lstrip("-") for name in sorted(names, key=lambda name: not name.startswith("--")) if name), None)


def _sentence(error: Exception) -> str:
    text = " ".join(str(getattr(error, "format_message", error.__str__)()).split()).rstrip(".")
    return f"{text}." if text[-1:].isalnum() or text[-1:] in "'\")" else text


def _hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f" See `{context.command_path} --help`." if context is not None else ""


# Each command and the module of `tleg.cli` that adds it, in the order in which they are used, which is that of
# `tleg --help`. Modules are light; engines load when a command runs.
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "preview": "preview",
        "inspect": "learngene",
        "build": "build",
        "verify": "build",
        "import": "imports",
        "train": "train",
        "learn": "train",
        "finetune": "train",
        "evaluate": "evaluate",
        "predict": "predict",
        "benchmark": "benchmark",
        "analyze": "analyze",
        "fit": "fit",
        "compress": "compress",
        "study": "study",
        "family": "family",
        "runs": "runs",
        "compare": "compare",
        "attach": "runs",
        "logs": "runs",
        "stop": "control",
        "resume": "control",
        "rm": "control",
        "track": "runs",
        "models": "models",
        "doctor": "machine",
    }
)


def register_commands(only: str | None = None) -> None:
    """Load the modules that add their commands to the application; one alone when that is all that a run needs."""
    for module in dict.fromkeys(COMMANDS.values() if only is None else [COMMANDS[only]]):
        import_module(f"tleg.cli.{module}")
    places = {name: place for place, name in enumerate(COMMANDS)}
    app.registered_commands.sort(key=lambda command: places.get(_name_of(command), len(places)))


def _name_of(command: CommandInfo) -> str:
    # Without a name of its own a command is called as its function is.
    return str(command.name or getattr(command.callback, "__name__", ""))


def _command_of(words: Sequence[str]) -> str | None:
    """The command that the first word names; None when it names none, as in `tleg --help`."""
    return words[0] if words and words[0] in COMMANDS else None
