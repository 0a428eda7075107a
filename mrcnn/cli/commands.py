"""The table of commands, and what becomes of their errors."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from mrcnn import __version__
from mrcnn.cli import data, detect, evaluate, export, inspect, serve, train
from mrcnn.cli.completion import SHELLS, PrintCompletion
from mrcnn.config import ConfigError
from mrcnn.data.check import DatasetError
from mrcnn.data.formats import FormatError
from mrcnn.data.pictures import PictureError
from mrcnn.errors import UsageError
from mrcnn.weights.download import DownloadError
from mrcnn.weights.errors import WeightsError

# Each is a module with HELP, add_arguments(parser) and run(args) -> exit code.
COMMANDS = {
    "data": data,
    "train": train,
    "evaluate": evaluate,
    "detect": detect,
    "export": export,
    "serve": serve,
    "inspect": inspect,
}

# What these say is written for the user and stands for itself.
_EXPLAINED = (
    *(UsageError, PictureError, FormatError, DatasetError),
    *(WeightsError, ConfigError, DownloadError),
)

FAILED, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    argv: the words after `mrcnn`; those of the terminal if None.
    Returns 0 if all went well, 1 if some pictures failed, 2 if the command could not be carried
    out (one sentence on stderr says why), 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # names that the terminal can't show
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # after --help, --version and wrong arguments
        return int(end.code or 0)
    if args.command is None:
        parser.print_help()
        return FAILED
    try:
        code = COMMANDS[args.command].run(args)
        sys.stdout.flush()  # a closed pipe shows here, and not at Python's exit
        return code
    except KeyboardInterrupt:
        print("\nmrcnn: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our lines (`| head`) has gone; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        print(f"mrcnn {args.command}: {_sentence(error)}", file=sys.stderr)
        return FAILED


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="mrcnn",
        description="Mask R-CNN: find things in pictures, each with its class, box and mask.",
        epilog="`mrcnn COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"mrcnn {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        help="print a script that lets the shell complete commands and options (docs/faq.md)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.HELP,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.add_argument(
            "--debug", action="store_true", help="show where in the program an error came up"
        )
    return parser


def _sentence(error: Exception) -> str:
    if isinstance(error, _EXPLAINED):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}."
    return f"unexpected {type(error).__name__}: {error} (--debug shows where it came up)"
