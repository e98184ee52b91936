"""`tleg-tui`: where the workbench starts."""

import sys


def main() -> None:
    """Say that the workbench is not in this version, name the headless commands, and exit with 2."""
    print(
        "tleg-tui: the workbench comes with the next version. "
        "Until then, `tleg preview` shows every depth and `tleg build` writes it; `tleg --help` lists the rest.",
        file=sys.stderr,
    )
    sys.exit(2)


if __name__ == "__main__":
    main()
