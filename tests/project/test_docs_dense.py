"""docs/dense.md: its examples run, one after the other, and its figures are those that were measured."""

import importlib.util
import itertools
import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dense.md"
SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")
EXAMPLES = [
    block for section in SECTIONS for block in re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
]
SEGMENTATION, ANOMALIES = "segmentation_models_pytorch", "anomalib"
OTHERS = (SEGMENTATION, ANOMALIES)


def examples(*packages: str) -> str:
    """The page's examples that need no other package than these."""
    return "\n".join(each for each in EXAMPLES if all(name in packages or name not in each for name in OTHERS))


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def test_examples_run(run_python: Any, tmp_path: Path) -> None:
    assert len(EXAMPLES) == 6
    done = run_python(examples(), cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "[(2, 64, 4, 4), (2, 64, 4, 4), (2, 64, 4, 4)]" in done.stdout
    assert "[(16, 16), (8, 8), (4, 4), (2, 2)]" in done.stdout


@needs(SEGMENTATION)
def test_decoders_of_another_package(run_python: Any, tmp_path: Path) -> None:
    done = run_python(examples(SEGMENTATION), cwd=tmp_path)
    assert done.code == 0, done.stderr
    decoder, same_maps, head = done.stdout.splitlines()[-3:]
    assert (decoder, same_maps, head) == ("(2, 3, 28, 28)", "True", "(2, 3, 64, 64)")


@needs(ANOMALIES)
def test_anomalies_are_found(run_python: Any, tmp_path: Path) -> None:
    done = run_python("import torch\ntorch.manual_seed(0)\n" + examples(ANOMALIES), cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["(128, 128) (1, 1, 28, 28)", "True", "True"]


def test_the_table_is_what_was_measured() -> None:
    document = json.loads((PAGE.parents[1] / "examples" / "segmentation" / "results.json").read_text())
    depths = (4, 8)
    assert f"{document['steps']} steps of {document['batch']} pictures" in " ".join(PAGE.read_text().split())
    for arm, figure in itertools.product(("learngene", "scratch", "share", "prune"), ("miou", "things")):
        cells = []
        for depth in depths:
            found = [each[figure] for each in document["results"] if (each["arm"], each["depth"]) == (arm, depth)]
            assert len(found) == 3
            cells.append(f"{mean(found):.2f} ({min(found):.2f} to {max(found):.2f})")
        assert f"| {arm} | {' | '.join(cells)} |" in PAGE.read_text()
