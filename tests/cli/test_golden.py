"""What commands print, character by character, and which commands and options there are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer


def stable(text: str, path: Path) -> str:
    """Output without the folder of this run."""
    return text.replace(str(path.parent), "FOLDER")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("preview", ["preview"]),
        ("preview-budget", ["preview", "--depths", "1-8,12,96", "--max-size", "900kB", "--max-macs", "4M"]),
        ("preview-batch", ["preview", "--depths", "12", "--batch", "64"]),
        ("preview-json", ["preview", "--depths", "3,12", "--max-memory", "0.5MB", "--json"]),
        ("inspect", ["inspect"]),
        ("inspect-json", ["inspect", "--json"]),
    ],
)
def test_output(run_cli: Any, compare: Any, learngene_file: Path, name: str, arguments: list[str]) -> None:
    command, *options = arguments
    done = run_cli(command, learngene_file, *options)
    assert done.code == 0
    compare(f"{name}.json" if "--json" in options else f"{name}.txt", stable(done.stdout, learngene_file))
    compare(f"{name}.stderr.txt", stable(done.stderr, learngene_file))
    assert "\x1b" not in done.stdout + done.stderr
    if "--json" in options:
        json.loads(done.stdout)


@pytest.mark.parametrize("basis", ["polynomial:3", "cosine:2", "piecewise:4"])
def test_inspect_of_other_bases(run_cli: Any, compare: Any, tiny_learngene: Any, tmp_path: Path, basis: str) -> None:
    from tleg.learngene.basis import parse_basis

    path = tmp_path / "it.safetensors"
    tiny_learngene("vit_small_patch14_reg4_dinov2", {"class_token": True}, basis=parse_basis(basis, ("mlp", "norm"))).save(
        path
    )
    done = run_cli("inspect", path)
    compare(f"inspect-{basis.partition(':')[0]}.txt", stable(done.stdout, path))


def test_commands_and_options_are_frozen(compare: Any) -> None:
    """Scripts rely on them: one that goes or changes its name breaks somebody's."""
    from tleg.cli.app import app, register_commands

    register_commands()
    compare("commands.txt", "\n".join(_describe(typer.main.get_command(app), "tleg")) + "\n")


def _describe(command: Any, path: str) -> Iterator[str]:
    for parameter in command.params:
        names = " ".join([*parameter.opts, *parameter.secondary_opts])
        kind = parameter.param_type_name
        # Typer's own options for shell completion differ from version to version.
        if "completion" not in names:
            yield f"{path}: {kind} {names}{' (required)' if parameter.required else ''}"
    for name, child in getattr(command, "commands", {}).items():
        yield from _describe(child, f"{path} {name}")
