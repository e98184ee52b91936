"""Pictures, CI and addresses are what the files that they are made from say."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tleg.learngene.basis import parse_basis

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def script(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_idea_is_what_its_script_draws() -> None:
    assert (ROOT / "assets" / "idea.svg").read_text("utf-8") == script("make_idea").draw()


def test_the_picture_of_the_idea_paints_each_layer_as_its_term() -> None:
    idea = script("make_idea")
    for depth in idea.DEPTHS:
        drawn = [re.search(r'fill="(#\w+)"', rectangle) for rectangle in idea.layers(0, 0, depth, 1)]
        terms = [row.index(1) for row in parse_basis(f"piecewise:{idea.TERMS}").coefficients(depth)]
        assert [found and found[1] for found in drawn] == [idea.shade(term) for term in terms]


def test_every_picture_is_shown_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {Path(target).name for page in pages for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())}
    there = [*(ROOT / "assets").glob("*.svg"), *(ROOT / "docs" / "study").glob("*.svg")]
    assert {picture.name for picture in there} == shown


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    if not (ROOT / ".github").exists():
        pytest.skip("a source distribution has no CI")
    yaml: Any = pytest.importorskip("yaml")
    document: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    return document


def test_ci_runs_on_every_python_that_is_promised(workflow: dict[Any, Any]) -> None:
    promised = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", each)]
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_ci_runs_what_anybody_runs(workflow: dict[Any, Any]) -> None:
    commands = [step["run"] for step in workflow["jobs"]["tests"]["steps"] if "run" in step]
    assert commands == [".ci/run"]
    program = (ROOT / ".ci" / "run").read_text()
    assert "for name in main tests; do\n  command=$(readme_command" in program
    made = re.findall(r"^make .*?((?: [a-z]+)+) PYTHON=", program, re.MULTILINE)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made == [" lint types layers"]
    assert set(made[0].split()) <= targets


def test_addresses_are_of_one_repository_and_its_files_exist() -> None:
    urls = PROJECT["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Changelog", "Issues"}
    for url in urls.values():
        assert url.startswith(urls["Homepage"])
        path = re.sub(rf"^{re.escape(urls['Homepage'])}/?((tree|blob)/main/)?", "", url)
        assert path == "issues" or (ROOT / path).exists()
