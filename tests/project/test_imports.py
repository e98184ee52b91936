"""What starts fast stays light: no numpy, no torch where only headers are read. Seen from inside fresh interpreters."""

from pathlib import Path
from typing import Any

import pytest

HEAVY = ("numpy", "torch", "timm", "onnx", "onnxruntime", "safetensors", "PIL", "textual")

LIGHT = {
    "package": "import tleg; dir(tleg); tleg.read_header(path)",
    "floors": (
        "import tleg.learngene.container, tleg.learngene.cost, tleg.learngene.preview, tleg.learngene.structure\n"
        "import tleg.references, tleg.text"
    ),
    "runs": (
        "import tleg.runs.control, tleg.runs.launch, tleg.runs.listing\n"
        "import tleg.runs.slurm, tleg.runs.history\n"
        "assert not {'rich', 'typer', 'asyncio'} & set(sys.modules)"
    ),
    "help": "from tleg.cli.app import run; run(['--help'])",
    "version": "from tleg.cli.app import run; run(['--version'])",
    "nothing": "from tleg.cli.app import run; run([])",
    "mistake": "from tleg.cli.app import run; run(['prevew'])",
    "preview": "from tleg.cli.app import run; assert run(['preview', path]) == 0",
    "plot": "from tleg.cli.app import run; assert run(['preview', path, '--plot', '--svg', path + '.svg']) == 0",
    "tuned": "from tleg.cli.app import run; assert run(['preview', path, '--plot', '--tuned']) == 0",
    "pick": "from tleg.cli.app import run; assert run(['preview', path, '--max-params', '1M', '--pick']) == 0",
    "inspect": "from tleg.cli.app import run; assert run(['inspect', path]) == 0",
}


@pytest.mark.parametrize("name", LIGHT)
def test_light(name: str, learngene_file: Path, run_python: Any) -> None:
    code = (
        f"import sys; path = sys.argv[1]\n{LIGHT[name]}\n"
        f"print('LOADED', *sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = run_python(code, learngene_file)
    assert done.code == 0, done.stderr
    assert done.stderr.splitlines()[-1].strip() == "LOADED"


def test_every_command_has_a_light_module(run_python: Any) -> None:
    code = (
        "import sys; from tleg.cli.app import register_commands; register_commands()\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert run_python(code).stdout.strip() == ""


HELPS = (
    *("preview", "inspect", "doctor", "import", "analyze", "fit", "predict", "benchmark", "compare", "study", "family"),
    "compress",
)


@pytest.mark.parametrize("command", HELPS)
def test_help_of_a_command_is_light(command: str, run_python: Any) -> None:
    code = (
        f"import sys; from tleg.cli.app import run; code = run([{command!r}, '-h'])\n"
        f"print('LOADED', *sorted(set({HEAVY!r}) & set(sys.modules)), code)"
    )
    assert run_python(code).stdout.splitlines()[-1] == "LOADED 0"


def test_expansion_and_learngenes_need_no_torch(learngene_file: Path, run_python: Any) -> None:
    code = "import sys, tleg; tleg.load(sys.argv[1]).expand_tensors(5); print('torch' in sys.modules)"
    assert run_python(code, learngene_file).stdout.strip() == "False"
