"""Figures of the code's structure, counted in the same way in any checkout of this repository.

    python -m benchmarks.structure [CHECKOUT] [--parameter NAME]

Read from the source:

files        Python files of engine/tleg and tleg_tui, with the median and the most lines of one
function     the lines of the longest function, from `def` to its end
circles      groups of files that import each other in a loop: by what runs when they are imported, and again with imports
             inside functions and under TYPE_CHECKING
floors       how many files stand on top of each other: a file stands one above the highest that it imports in any of these
             ways, and those of a circle on the same

Counted in the trainer of a tiny `tleg learn` with a teacher, a process of its own that imports the checkout:

files run    of which a function is called before the optimiser makes its first step, of all that are imported by then
job          the way of the first value that any function of `tleg` is given for a parameter of that name, and of what the
             fields of this dataclass hold, and theirs, except numbers and text. Each place of the code that hands one of
             them to a function of `tleg` counts once, when it first does so; a method called on one of them does not count.
    stays    the files of these functions in order of time, without the same file twice in a row
    rooms    different files
    climbs   stays on a higher floor than the stay before
    returns  stays in a file that it had been in before and left
"""

import argparse
import ast
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.tracer import Trace, read_trace

PACKAGES = (Path("engine", "tleg"), Path("tleg_tui"))
Graph = Mapping[str, frozenset[str]]
MODEL = ("vit_tiny_patch16_224", *("--model-arg", "img_size=16", "--model-arg", "patch_size=8"))
TRAINING = (
    *("--model-arg", "embed_dim=8", "--model-arg", "num_heads=2", "--data", "images", "--epochs", "4", "--batch-size", "4"),
    *("--lr", "0.01", "--workers", "0", "--device", "cpu", "--auto-augment", "none", "--random-erasing", "0"),
)
DEPTHS = ("--sample-depths", "2,3", "--evaluate-depths", "2,3")


@dataclass(frozen=True, slots=True)
class Source:
    """A file: its name as it is imported, its path, its lines, and its syntax."""

    name: str
    path: Path
    lines: int
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Way:
    """Where a value goes: how many stays, files, climbs and returns."""

    stays: int
    rooms: int
    climbs: int
    returns: int


def read_sources(package: Path) -> list[Source]:
    """Return the files of a package, by name; `__init__.py` has the name of its folder."""
    sources = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text("utf-8")
        sources.append(Source(_name_of(path.relative_to(package.parent)), path, len(text.splitlines()), ast.parse(text)))
    return sources


def _name_of(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def longest_function(sources: Iterable[Source]) -> tuple[int, str]:
    """Return the lines and the name of the longest function. Raises ValueError where there is none."""
    return max(
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{source.name}.{node.name}")
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def import_graph(sources: Sequence[Source], *, deferred: bool) -> Graph:
    """Return for each file those that it imports, among these. The packages above an imported file are not counted.

    deferred  with imports inside functions and under TYPE_CHECKING
    """
    known = {source.name for source in sources}
    graph = {}
    for source in sources:
        package = source.name if source.path.name == "__init__.py" else source.name.rpartition(".")[0]
        found = (name for node in _imports(source.tree, deferred) for name in _imported(node, package, known))
        graph[source.name] = frozenset(name for name in found if name in known and name != source.name)
    return graph


def _imports(node: ast.AST, deferred: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif deferred or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if not deferred and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from _imports(ast.Module(child.orelse, []), deferred)
            else:
                yield from _imports(child, deferred)


def _imported(node: ast.Import | ast.ImportFrom, package: str, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in known else base


def components(graph: Graph) -> list[frozenset[str]]:
    """Return the groups of files that reach each other, those of one file among them, in the order of the graph."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {name: frozenset({name, *(other for other in reached[name] if name in reached[other])}) for name in graph}
    return list(dict.fromkeys(groups.values()))


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting.extend(new)
    return seen


def floors(graph: Graph) -> dict[str, int]:
    """Return the floor of each file; 1 for those that import none of the others."""
    group_of = {name: group for group in components(graph) for name in group}
    found: dict[frozenset[str], int] = {}

    def floor(group: frozenset[str]) -> int:
        if group not in found:
            below = {group_of[other] for name in group for other in graph[name]} - {group}
            found[group] = 1 + max((floor(each) for each in below), default=0)
        return found[group]

    return {name: floor(group_of[name]) for name in graph}


def way_of(rooms: Sequence[str], floor_of: Mapping[str, int]) -> Way:
    """Return the figures of a way through these files, in order of time."""
    stays = [room for index, room in enumerate(rooms) if index == 0 or rooms[index - 1] != room]
    climbs = sum(floor_of[now] > floor_of[before] for before, now in pairwise(stays))
    return Way(len(stays), len(set(stays)), climbs, len(stays) - len(set(stays)))


def trace_training(checkout: Path, parameter: str) -> Trace:
    """Train with a checkout, and follow the value of a parameter.

    Raises CalledProcessError, once it has shown why, where a training fails.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _write_images(place / "images")
        # The trainer is started by the command, so what is to happen in it has to come by the environment.
        (place / "sitecustomize.py").write_bytes(Path(__file__).with_name("tracer.py").read_bytes())
        tracing = {
            "TLEG_TRACE": str(place / "trace"),
            "TLEG_TRACE_FOLDER": str(checkout / PACKAGES[0]),
            "TLEG_TRACE_PARAMETER": parameter,
        }
        _tleg(checkout, place, {}, "finetune", "--model", *MODEL, *TRAINING, "--output", "teacher")
        _tleg(checkout, place, tracing, "learn", "--architecture", *MODEL, *TRAINING, *DEPTHS, "--teacher", "teacher")
        return read_trace(place / "trace")


def _tleg(checkout: Path, place: Path, tracing: Mapping[str, str], *words: str) -> None:
    path = os.pathsep.join(map(str, (place, checkout / "engine", checkout)))
    own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TLEG_RUNS": str(place / "runs"), **tracing}
    command = [sys.executable, "-m", "tleg.cli", *words]
    done = subprocess.run(command, cwd=place, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    done.check_returncode()


def _write_images(folder: Path) -> None:
    """Two classes that a teacher tells apart at once: dark, and bright."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 8)):
        for label, level in (("dark", 0), ("bright", 192)):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = level + random.integers(0, 64, (16, 16), np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structure", description="Figures of the code's structure.")
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--parameter", default="job", help="whose value is followed; default: %(default)s")
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    packages = [read_sources(checkout / package) for package in PACKAGES]
    every = [source for package in packages for source in package]
    for label, sources in (("tleg", packages[0]), ("tleg_tui", packages[1]), ("both", every)):
        lines = [source.lines for source in sources]
        length, function = longest_function(sources)
        print(
            f"{label}: {len(lines)} files, {sum(lines)} lines; a file has {statistics.median(lines):g}, at most {max(lines)}"
        )
        print(f"{label}: the longest function has {length} lines: {function}")
    for label, deferred in (("when imported", False), ("with functions and TYPE_CHECKING", True)):
        circles = [group for group in components(import_graph(every, deferred=deferred)) if len(group) > 1]
        print(f"circles, {label}: {len(circles)}" + "".join(f"\n    {len(each)} files: {_some(each)}" for each in circles))
    floor_of = floors(import_graph(every, deferred=True))
    print(f"floors: {max(floor_of.values())}")
    trace = trace_training(checkout, options.parameter)
    print(f"files run before the first step: {len(trace.ran)}, of {len(trace.imported)} that are imported")
    way = way_of([_name_of(Path(PACKAGES[0].name, file)) for file in trace.passed], floor_of)
    print(f"`{options.parameter}`: {way.stays} stays in {way.rooms} rooms, {way.climbs} climbs, {way.returns} returns")


def _some(names: Iterable[str], most: int = 4) -> str:
    first, *more = sorted(names)
    return ", ".join([first, *more[: most - 1]]) + (", …" if len(more) >= most else "")


if __name__ == "__main__":
    main()
