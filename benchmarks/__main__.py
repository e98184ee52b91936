"""`python -m benchmarks [NAME …]`: run the benchmarks one after the other, each in a process of its own."""

import subprocess
import sys

NAMES = (
    "expansion",
    "startup",
    "auxiliary",
    "training",
    "threads",
    "export",
    "traced_export",
    "family",
    "workbench",
    "workbench_curve",
)


def main() -> None:
    """Run those that are named, or all."""
    chosen = sys.argv[1:] or NAMES
    unknown = set(chosen) - set(NAMES)
    if unknown:
        sys.exit(f"there is no benchmark '{min(unknown)}'; choose from {', '.join(NAMES)}")
    for name in chosen:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
