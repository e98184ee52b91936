"""The figures of the code's structure are counted as `benchmarks.structure` says, on a project of a few lines."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks import structure, tracer

FILES = {
    # The engine of a project with one circle that shows when it is imported, and one that does not.
    "tleg/__init__.py": "",
    "tleg/base.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from tleg.data import Data
        def low(data: "Data", size: int = 0) -> object:
            return data
        """,
    "tleg/data/__init__.py": """
        from dataclasses import dataclass
        from . import reader
        @dataclass(frozen=True)
        class Data:
            images: list
            def first(self):
                return reader.read(self.images)
        """,
    "tleg/data/reader.py": """
        from ..base import low
        def read(images):
            from tleg.data import Data
            yield low(images)
        class Unused:
            pass
        """,
    "tleg/unused.py": "def never():\n    pass\n",
    "tleg/training/__init__.py": "",
    "tleg/training/__main__.py": """
        from dataclasses import dataclass
        import tleg.unused
        from tleg.base import low
        from tleg.data import Data
        from torch.optim import sgd
        from tleg.training import late
        @dataclass(frozen=True)
        class Job:
            data: Data
            name: str = "name"
            epochs: int = 3
        def train(job):
            for _ in range(job.epochs):
                low(job.data)
            list(job.data.first())
            low("name", job.epochs)
            sgd.SGD().step()
            late.late(data=job.data)
            low(job)
        train(Job(Data([1])))
        """,
    "tleg/training/late.py": "from tleg import data as _\n\ndef late(*, data):\n    pass\n",
    "torch/__init__.py": "",
    "torch/optim/__init__.py": "",
    "torch/optim/sgd.py": "class SGD:\n    def step(self):\n        pass\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"))
    return tmp_path


def test_files_and_functions(project: Path) -> None:
    sources = structure.read_sources(project / "tleg")
    assert {source.name: source.lines for source in sources} == {
        "tleg": 0,
        "tleg.base": 5,
        "tleg.data": 7,
        "tleg.data.reader": 6,
        "tleg.training": 0,
        "tleg.training.__main__": 20,
        "tleg.training.late": 4,
        "tleg.unused": 2,
    }
    assert structure.longest_function(sources) == (8, "tleg.training.__main__.train")


def test_imports_by_when_they_happen(project: Path) -> None:
    sources = structure.read_sources(project / "tleg")
    now, ever = (structure.import_graph(sources, deferred=deferred) for deferred in (False, True))
    assert now["tleg.base"] == frozenset()
    assert ever["tleg.base"] == {"tleg.data"}
    assert now["tleg.data"] == ever["tleg.data"] == {"tleg.data.reader"}
    assert now["tleg.data.reader"] == {"tleg.base"}
    assert ever["tleg.data.reader"] == {"tleg.base", "tleg.data"}
    assert now["tleg.training.__main__"] == {"tleg.base", "tleg.data", "tleg.training.late", "tleg.unused"}
    assert now["tleg.training.late"] == {"tleg.data"}


def test_circles_and_floors(project: Path) -> None:
    sources = structure.read_sources(project / "tleg")
    now, ever = (structure.import_graph(sources, deferred=deferred) for deferred in (False, True))
    assert all(len(group) == 1 for group in structure.components(now))
    circle = {"tleg.base", "tleg.data", "tleg.data.reader"}
    assert [group for group in structure.components(ever) if len(group) > 1] == [circle]
    assert len(structure.components(ever)) == len(sources) - 2
    assert structure.floors(now) == {
        "tleg": 1,
        "tleg.base": 1,
        "tleg.data.reader": 2,
        "tleg.data": 3,
        "tleg.training": 1,
        "tleg.training.late": 4,
        "tleg.training.__main__": 5,
        "tleg.unused": 1,
    }
    assert structure.floors(ever)["tleg.training.__main__"] == 3


@pytest.mark.parametrize(
    ("rooms", "way"),
    [
        ("", structure.Way(0, 0, 0, 0)),
        ("aaa", structure.Way(1, 1, 0, 0)),
        ("abc", structure.Way(3, 3, 0, 0)),
        # Down, and up again to where it came from; to another room of the floor above it.
        ("aba", structure.Way(3, 2, 1, 1)),
        ("abbabcdb", structure.Way(7, 4, 2, 3)),
        # From one room to another of its floor is no climb.
        ("bdb", structure.Way(3, 2, 0, 1)),
    ],
)
def test_a_way(rooms: str, way: structure.Way) -> None:
    assert structure.way_of(rooms, {"a": 3, "b": 2, "c": 1, "d": 2}) == way


def test_what_a_trainer_runs_and_hands_on(project: Path) -> None:
    site = project / "site"
    site.mkdir()
    shutil.copyfile(tracer.__file__, site / "sitecustomize.py")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (site, project))),
        "TLEG_TRACE": str(project / "trace"),
        "TLEG_TRACE_FOLDER": str(project / "tleg"),
        "TLEG_TRACE_PARAMETER": "job",
    }
    subprocess.run([sys.executable, "-c", "import tleg.unused"], env=environment, check=True)
    assert not (project / "trace").exists(), "another process than the trainer is not looked at"
    subprocess.run([sys.executable, "-m", "tleg.training"], env=environment, check=True)
    trace = tracer.read_trace(project / "trace")
    assert trace.imported == {name.removeprefix("tleg/") for name in FILES if name.startswith("tleg/")}
    assert trace.ran == {"training/__main__.py", "base.py", "data/__init__.py", "data/reader.py"}
    # Not the second and third round of the loop, nor the method `first` of the data, nor equal words and numbers.
    assert trace.passed == (
        "training/__main__.py",
        "base.py",
        "data/reader.py",
        "base.py",
        "training/late.py",
        "base.py",
    )


def test_a_value_and_its_parts(project: Path) -> None:
    images, name = [1, 2], "name"
    data = tracer.Trace(frozenset({name}), frozenset(), (name,))
    assert tracer.parts_of(data) == [data, frozenset({name}), (name,)]
    assert tracer.parts_of(images) == [images]
    assert tracer.parts_of(name) == tracer.parts_of(3) == tracer.parts_of(None) == tracer.parts_of(()) == []
