"""The command `mrcnn`, and `python -m mrcnn`."""

import sys

from mrcnn.errors import plain_interrupts


def main() -> int:
    """Run one command and return its exit code; see `mrcnn.cli.main`."""
    plain_interrupts("mrcnn")  # importing the rest takes a moment
    from mrcnn.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
