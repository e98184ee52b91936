"""`tleg models`: the names that timm knows, and which of them have layers that can follow a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from tleg.cli.app import app
from tleg.terminal import write, write_json


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model of timm, by name; `expandable` where `tleg learn --architecture` takes it."""

    name: str
    expandable: bool


@app.command()
def models(
    pattern: Annotated[
        str | None, typer.Argument(help="Part of a name, or a pattern such as 'deit*'.", show_default=False)
    ] = None,
    expandable: Annotated[
        bool, typer.Option("--expandable", help="Only the models that `tleg learn --architecture` takes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List timm's models: architectures for `tleg learn`, ancestry models for `tleg train --model`.

    Nothing is built and nothing is downloaded. Fails when no name matches.
    """
    found = [each for each in known_models(pattern) if each.expandable or not expandable]
    if not found:
        raise _no_match(pattern or "", expandable)
    if as_json:
        from tleg.serialize import encode

        write_json(encode(found))
    else:
        for each in found:
            write(each.name)


def known_models(pattern: str | None = None) -> Iterator[ModelName]:
    """Yield the models whose names match, in timm's order; a pattern without a star is a part of a name."""
    import timm

    from tleg.learngene.families import families

    if pattern and not set("*?[") & set(pattern):
        pattern = f"*{pattern}*"
    # A test builds every model and compares.
    places = [(family, module) for family in families() for module in family.modules]
    expandable = {name for family, module in places for name in timm.list_models(module=module) if family.lists(name)}
    for name in timm.list_models(pattern or ""):
        yield ModelName(name, name in expandable)


def _no_match(pattern: str, expandable: bool) -> Exception:
    from tleg.errors import InputError, did_you_mean

    kind = "expandable model" if expandable else "model"
    known = [each.name for each in known_models() if each.expandable or not expandable]
    return InputError(
        f"timm has no {kind} '{pattern}'.{did_you_mean(pattern.strip('*'), known)}", field="pattern", code="unknown-name"
    )
