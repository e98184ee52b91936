"""How the modules of the workbench import one another, with imports under TYPE_CHECKING and inside functions counted."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tleg_tui"
Graph = Mapping[str, frozenset[str]]


def test_no_module_is_in_a_circle() -> None:
    graph = imports_of(ROOT / PACKAGE)
    assert len(graph) > 40
    assert circles(graph) == []


def test_the_application_is_known_to_its_start_alone() -> None:
    graph = imports_of(ROOT / PACKAGE)
    assert [name for name, imported in graph.items() if f"{PACKAGE}.app" in imported] == [f"{PACKAGE}.__main__"]


def test_no_screen_knows_the_folder_of_another() -> None:
    graph = imports_of(ROOT / PACKAGE)
    folders = {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")} - {"common"}
    assert folders == {"workbench", "run", "runs", "train", "export", "family"}
    known = {
        (own, other)
        for name, imported in graph.items()
        for each in imported
        if (own := name.split(".")[1]) in folders and (other := each.split(".")[1]) in folders and own != other
    }
    assert known == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import tleg_tui.b", {"b"}),
        ("from tleg_tui import b, thing", {"b"}),
        ("from tleg_tui.b import thing", {"b"}),
        ("from tleg_tui.folder import c", {"folder.c"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tleg_tui.b import thing", {"b"}),
        ("def late():\n    from tleg_tui.folder.c import thing", {"folder.c"}),
        ("import tleg.b\nfrom tleg import b", set()),
    ],
)
def test_every_kind_of_import_is_seen(tmp_path: Path, text: str, found: set[str]) -> None:
    package = tmp_path / PACKAGE
    (package / "folder").mkdir(parents=True)
    for name, content in (("a", text), ("b", ""), ("__init__", ""), ("folder/__init__", ""), ("folder/c", "")):
        (package / f"{name}.py").write_text(content)
    assert imports_of(package)[f"{PACKAGE}.a"] == {f"{PACKAGE}.{name}" for name in found}


def test_circles_are_found() -> None:
    graph = {"a": frozenset("b"), "b": frozenset("cd"), "c": frozenset("a"), "d": frozenset("e"), "e": frozenset[str]()}
    assert circles(graph) == [{"a", "b", "c"}]


def imports_of(package: Path) -> Graph:
    """Module -> those of the package that it imports anywhere in its text. Folders' own files are empty and left out."""
    files = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    modules = {name: path for name, path in files.items() if not name.endswith("__init__")}
    return {
        name: frozenset(each for each in _imported(ast.parse(path.read_text("utf-8"))) if each in modules and each != name)
        for name, path in modules.items()
    }


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules: of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{each.name}" for each in node.names)


def circles(graph: Graph) -> list[set[str]]:
    """The sets of modules that reach one another."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        left = list(graph[start])
        while left:
            if (name := left.pop()) not in found:
                found.add(name)
                left += graph[name]
        return found

    reach = {name: reached(name) for name in graph}
    together = {frozenset(each for each in graph if each in reach[name] and name in reach[each]) for name in graph}
    return sorted((set(each) for each in together if each), key=sorted)
