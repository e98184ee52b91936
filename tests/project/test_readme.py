"""The README says what is true: its commands, options and files exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> dict[str, Any]:
    from tleg.cli.app import app, register_commands

    register_commands()
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def examples() -> list[str]:
    inline = re.findall(r"`(tleg [^`]+)`", README)
    fenced = [
        part.strip().removeprefix(".venv/bin/")
        for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        for part in re.split("&&|;", line)
    ]
    return [text for text in (*inline, *fenced) if text.startswith("tleg ")]


def test_there_are_examples_of_every_command() -> None:
    shown = {text.split()[1] for text in examples()}
    assert set(commands()) <= shown


@pytest.mark.parametrize("text", examples())
def test_every_example_names_existing_commands_and_options(text: str) -> None:
    words = shlex.split(text.replace("[", " ").replace("]", " "), comments=True)[1:]
    if words[0].startswith("--"):
        assert words[0] in {"--install-completion", "--help", "--version"}
        return
    known = commands()
    assert words[0] in known
    options = {option for parameter in known[words[0]].params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options


def test_the_two_commands_are_marked_once_each() -> None:
    for name in ("main", "tests"):
        found = re.findall(rf"<!-- command: {name} -->\n```sh\n([^\n]+)\n```", README)
        assert len(found) == 1
        assert found[0].startswith("python3 -m venv .venv && ")


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_files_that_the_tree_names_exist() -> None:
    tree = README.split("    engine/tleg/ ")[1].split("`engine/`")[0]
    names = re.findall(r"\b([a-z_]+\.py)\b", tree)
    assert len(names) > 8
    assert [name for name in names if not any((ROOT / place / name).exists() for place in ("engine/tleg", "tleg_tui"))] == []
