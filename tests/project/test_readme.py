"""README.md, CONTRIBUTING.md and docs/ say what is true: commands, options, links and pictures exist."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


def commands() -> dict[str, Any]:
    from tleg.cli.app import app, register_commands

    register_commands()
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def workbench_options() -> set[str]:
    from tleg_tui.__main__ import _parser

    return {option for action in _parser()._actions for option in action.option_strings}


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def examples_in(text: str) -> list[str]:
    """The command lines of `tleg` and `tleg-tui` in a page: inline code, and the lines of its shell blocks."""
    inline = re.findall(r"`(tleg(?:-tui)? [^`]+)`", without_fences(text))
    fenced = [
        part.strip().removeprefix(".venv/bin/")
        for language, block in FENCE.findall(text)
        if language == "sh"
        for line in block.replace("\\\n", " ").splitlines()
        for part in re.split(r"&&|;|\|", line)
    ]
    return [text for text in (*inline, *fenced) if text.startswith(("tleg ", "tleg-tui "))]


EXAMPLES = [(page, text) for page in PAGES for text in examples_in(page.read_text())]


def test_there_are_examples_of_every_command() -> None:
    shown = {text.split()[1] for _, text in EXAMPLES}
    assert set(commands()) <= shown


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[f"{name_of(page)}: {text}" for page, text in EXAMPLES])
def test_every_example_names_existing_commands_and_options(page: Path, text: str) -> None:
    program, *words = shlex.split(text.replace("[", " ").replace("]", " "), comments=True)
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    if program == "tleg-tui":
        assert options <= workbench_options()
    elif words[0].startswith("--"):
        assert options <= {"--install-completion", "--help", "--version", "--debug"}
    elif words[0] != "COMMAND":
        assert words[0] in commands()
        assert options <= options_of(commands()[words[0]]) | {"--help", "--debug"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_that_stand_alone_belong_to_some_command(page: Path) -> None:
    known = {option for command in commands().values() for option in options_of(command)}
    known |= workbench_options() | {"--debug", "--help"}
    named = set(re.findall(r"`(--[a-z][a-z-]*)", without_fences(page.read_text())))
    assert named <= known


def test_the_two_commands_are_marked_once_each() -> None:
    for name in ("main", "tests"):
        found = re.findall(rf"<!-- command: {name} -->\n```sh\n([^\n]+)\n```", README.read_text())
        assert len(found) == 1
        assert found[0].startswith("python3 -m venv .venv && ")


def slug(heading: str) -> str:
    """The anchor that a heading has on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-")


def anchors_of(page: Path) -> set[str]:
    return {slug(line) for line in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_and_pictures_exist(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_fences(page.read_text())):
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not place.exists() or (anchor and anchor not in anchors_of(place)):
            broken.append(target)
    assert broken == []


def test_the_index_names_every_page_once() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    assert sorted(listed) == [page.name for page in PAGES if page.parent == ROOT / "docs" and page.name != "README.md"]


def test_the_readme_can_be_read_in_five_minutes() -> None:
    text = README.read_text()
    prose = [line for line in without_fences(text).splitlines() if not line.startswith(("|", "<!--"))]
    assert 800 <= len(" ".join(prose).split()) <= 1000
    assert len(text.split()) < 1200


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_of_python_are_python(page: Path) -> None:
    for language, block in FENCE.findall(page.read_text()):
        if language == "python":
            ast.parse(block)
