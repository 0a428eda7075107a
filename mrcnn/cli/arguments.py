"""What several commands take: settings of the Config, and numbers that have bounds."""

import argparse
from collections.abc import Callable
from typing import Any


def add_config_arguments(parser: argparse.ArgumentParser, config_is: str) -> None:
    """--config and --set. config_is: the end of --config's help, what that Config is for."""
    parser.add_argument("--config", metavar="FILE.py:CLASS", help=f"or MODULE:CLASS: {config_is}")
    add_set_argument(parser)


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    """--set, as `args.settings`; `mrcnn.cli.configs.apply_setting` takes each of them."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NAME=VALUE",
        help="set one attribute of the Config, such as IMAGE_MAX_DIM=512; may be repeated",
    )


def number(
    kind: type, least: float, most: float = float("inf"), open_below: bool = False
) -> Callable[[str], Any]:
    """An argparse type: a number of a kind (int or float) from `least` to `most`.

    open_below: `least` itself is too small.
    """
    what = {int: "whole number", float: "number"}[kind]
    bounds = f"above {least}" if open_below else f"from {least} on"
    bounds = f"between {least} and {most}" if most < float("inf") else bounds

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most or (open_below and value == least):
            raise argparse.ArgumentTypeError(f"{text} is no {what} {bounds}")
        return value

    return parse


fraction = number(float, 0, 1)
