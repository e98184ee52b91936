"""PyTorch's exporters, kept quiet: what fails in them is raised in one sentence."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from tleg.errors import ExportError, first_line


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep progress, warnings and log of what is called from the user."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


@contextlib.contextmanager
def exporting(exporter: str) -> Iterator[None]:
    """Keep an exporter's progress, warnings and log from the user. What fails is raised as ExportError, which names it."""
    try:
        with quietly():
            yield
    except Exception as error:  # torch's exporters fail in many ways; their own reports are long.
        reason = first_line(error.__cause__ or error)
        raise ExportError(
            f"{exporter} cannot export this architecture: {reason}", field="export", code="unsupported"
        ) from error
