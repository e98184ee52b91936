"""Whole processes: what a person waits for."""

import os
import subprocess
import sys
import tempfile

from benchmarks.timing import interleave, report

BUILD = ("build", "--depth", "8", "--export", "onnx", "--no-verify", "--force", "--output")


def main() -> None:
    """Measure and print."""
    # Without byte code every start would compile the sources anew, which no installation does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments: str) -> None:
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=folder, env=environment)

        seconds = interleave(
            {
                "python": lambda: run("-c", "pass"),
                "onnx": lambda: run("-c", "import numpy, onnx"),
                "help": lambda: run("-m", "tleg.cli", "--help"),
                "preview": lambda: run("-m", "tleg.cli", "preview"),
                "build": lambda: run("-m", "tleg.cli", *BUILD, folder),
            },
            rounds=7,
        )
    report("tleg --help", seconds["help"], "an empty interpreter", seconds["python"], "200 ms")
    report("tleg preview", seconds["preview"], "an empty interpreter", seconds["python"], "250 ms")
    report("tleg build --depth 8 --export onnx --no-verify", seconds["build"], "importing onnx", seconds["onnx"], "1000 ms")


if __name__ == "__main__":
    main()
