"""Signals after OpenVINO was used: Cores of its that end in the wrong order leave a stack for signals that is gone."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CommandResult, make_learngene

pytest.importorskip("openvino")
pytest.importorskip("nncf")

CODE = """
import gc, os, signal, sys
from pathlib import Path
import numpy as np
from tests.export.test_quantised import Images
from tleg.export.build import build_exports
from tleg.export.openvino.reading import open_folder
from tleg.export.plan import BuildRequest

file, folder = map(Path, sys.argv[1:])
for precision in ("float32", "int8"):
    judge = Images() if precision == "int8" else None
    build_exports(BuildRequest(file, ("openvino",), (2,), folder / precision, precision=precision), judge=judge)
opened = []
for _ in range(2):
    (path,) = (folder / "float32").glob("*.openvino")
    opened.append(open_folder(path, 1))
    opened[-1].run(np.zeros((1, 3, 32, 32), np.float32))
while opened:
    del opened[0]
    gc.collect()
handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(True))
os.kill(os.getpid(), signal.SIGUSR1)
print("handled", len(handled))
"""


def test_a_signal_is_handled_when_models_have_come_and_gone(tmp_path: Path, run_python: Any) -> None:
    file = tmp_path / "gene.safetensors"
    make_learngene(basis=None).save(file)
    done: CommandResult = run_python(CODE, file, tmp_path)
    assert (done.code, done.stdout) == (0, "handled 1\n"), done.stderr
