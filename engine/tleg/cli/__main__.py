"""`python -m tleg.cli` is the same as `tleg`."""

from tleg.cli.app import main

if __name__ == "__main__":
    main()
