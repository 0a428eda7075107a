"""The table of commands, and what becomes of their errors."""

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from mrcnn import __version__
from mrcnn.cli.completion import SHELLS, PrintCompletion

# Each is a module of this folder with add_arguments(parser) and run(args) -> exit code. It is
# imported when it is asked for: what one command needs, the others needn't wait for.
COMMANDS = {
    "data": "look at labelled pictures: their numbers and mistakes, or a page of them; or convert "
    "them",
    "train": "train on a folder of labelled pictures",
    "evaluate": "measure weights, or a file of results, against labelled pictures",
    "detect": "find instances in pictures and videos: overlays and COCO JSON",
    "job": "look at a job over many pictures (detect --job), or convert what it found",
    "export": "write weights for OpenVINO, ONNX Runtime or TensorFlow Serving, and prove the file",
    "serve": "a web page and an HTTP interface to a model",
    "inspect": "say what a weight file holds, and which Config fits it; or what this machine is",
}

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
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(_needed(words))
    try:
        args = parser.parse_args(words)
    except SystemExit as end:  # after --help, --version and wrong arguments
        return int(end.code or 0)
    if args.command is None:
        parser.print_help()
        return FAILED
    try:
        code = _module(args.command).run(args)
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


def build_parser(needed: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser of all commands. needed: those that are imported; of others only the names."""
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
    for name, about in COMMANDS.items():
        if name not in needed:
            commands.add_parser(name, help=about)
            continue
        command = _module(name)
        subparser = commands.add_parser(
            name,
            help=about,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.add_argument(
            "--debug", action="store_true", help="show where in the program an error came up"
        )
    return parser


def _needed(words: Sequence[str]) -> Sequence[str]:
    """The commands whose arguments the words of a command line may have to do with."""
    if not words or words[0] in ("-h", "--help", "--version"):
        return ()
    return words[:1] if words[0] in COMMANDS else tuple(COMMANDS)


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"mrcnn.cli.{command}")


def _sentence(error: Exception) -> str:
    if isinstance(error, _explained()):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}."
    return f"unexpected {type(error).__name__}: {error} (--debug shows where it came up)"


def _explained() -> tuple[type[Exception], ...]:
    """What these say is written for the user and stands for itself."""
    from mrcnn.config import ConfigError
    from mrcnn.data.check import DatasetError
    from mrcnn.data.formats import FormatError
    from mrcnn.data.pictures import PictureError
    from mrcnn.errors import UsageError
    from mrcnn.weights.download import DownloadError
    from mrcnn.weights.errors import WeightsError

    return (
        *(UsageError, PictureError, FormatError, DatasetError),
        *(WeightsError, ConfigError, DownloadError),
    )
