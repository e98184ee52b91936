"""Paths for what a command line names, with the last checkpoint of a run that is not finished made a file."""

from pathlib import Path

from tleg.references import Kind, expect, resolve


def path_of(text: str, *kinds: Kind) -> Path:
    """Return the path of what a text names, of some kinds; for a run that is not finished, of its last checkpoint.

    torch is loaded for such a run alone. Raises InputError and FileFormatError.
    """
    reference = resolve(text)
    if reference.kind == "run":
        from tleg.training.references import materialise

        reference = materialise(reference, kinds)
    return expect(reference, *kinds).place
