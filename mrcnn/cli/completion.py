"""Completion of `mrcnn` in a shell: a script that is written once, so that a key costs no start.

mrcnn --print-completion bash > ~/.local/share/bash-completion/completions/mrcnn
"""

import argparse
from typing import Any

from mrcnn.extras import how_to_install

SHELLS = ("bash", "zsh", "fish")


class PrintCompletion(argparse.Action):
    """Print the script that lets a shell complete this parser's words, and end."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, shell: Any, option: Any = None
    ) -> None:
        try:
            import shtab
        except ImportError:
            how = how_to_install("completion")
            parser.exit(2, f"{parser.prog}: {option} needs shtab: {how}\n")
        print(shtab.complete(parser, shell))
        parser.exit()
