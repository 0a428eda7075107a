"""What several commands take: data, settings of the Config, and numbers that have bounds."""

import argparse
from collections.abc import Callable
from typing import Any

from mrcnn.data.formats import FORMATS
from mrcnn.data.formats.reading import PIECES
from mrcnn.detect.engines import ENGINES


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


class _SetsOf(argparse.Action):
    """An option that is `--set NAME=..` by another name."""

    def __init__(self, *args: Any, name: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.name = name

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setting = f"{self.name}={values}"
        namespace.settings = [*(getattr(namespace, "settings", None) or []), setting]


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """--range, --channels and --plane, which come with --set's as `args.settings`."""
    add = parser.add_argument
    add(
        "--range",
        action=_SetsOf,
        name="IMAGE_RANGE",
        type=_range,
        metavar="LOW,HIGH",
        help="of 16-bit and float pictures: the values that become 0 and 255; or type, what the "
        "file's type can hold; auto (default): the 0.1st and 99.9th percentile of each picture",
    )
    add(
        "--channels",
        action=_SetsOf,
        name="IMAGE_CHANNELS",
        type=_numbers,
        metavar="N,N,N",
        help="of the pictures' channels these, counted from 0; one alone is taken as grey "
        "(default: the first ones)",
    )
    add(
        "--plane",
        action=_SetsOf,
        name="IMAGE_PLANE",
        type=number(int, 0),
        metavar="N",
        help="of a stack (depths, times) in a file this plane, counted from 0 (default: the first)",
    )


def _range(text: str) -> Any:
    if text in ("auto", "type"):
        return text
    try:
        low, high = map(float, text.split(","))
        if low < high:
            return low, high
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text} is no range: write LOW,HIGH, auto or type")


def _numbers(text: str) -> tuple[int, ...]:
    if not text.replace(",", "").isdecimal() or not all(text.split(",")):
        raise argparse.ArgumentTypeError(f"{text} is no list of channels: write 0,1,2")
    return tuple(map(int, text.split(",")))


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA and how to read it, the same for every command that takes labelled pictures."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of labelled pictures, or an annotation file (COCO, VIA)",
    )
    parser.add_argument(
        "--format",
        default="auto",
        choices=["auto", *FORMATS],
        help="what labelled them (default: found out from the files)",
    )
    parser.add_argument(
        "--class-name",
        default="object",
        metavar="NAME",
        help="what is labelled, where the files don't name it, as with masks (default: object)",
    )
    parser.add_argument(
        "--class-attribute",
        metavar="NAME",
        help="the attribute of a region that holds its class, where several could (VIA)",
    )
    parser.add_argument(
        "--pieces",
        default="auto",
        choices=PIECES,
        help="of a mask with one value: split makes an instance of each separate piece, whole one "
        "of all (default: split where a folder holds masks in black and white)",
    )


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """How labels are read, beside their format, as `mrcnn.data.parts.open_part` takes it."""
    return {name: getattr(args, name) for name in ("class_name", "class_attribute", "pieces")}


def add_parts_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, --subset and --with, for commands that take all parts one by one."""
    add_data_arguments(parser)
    add = parser.add_argument
    add("--subset", metavar="NAME", help="only this part of DATA (default: all, one by one)")
    add(
        "--with",
        action="append",
        default=[],
        dest="added",
        metavar="DATA",
        help="join this set, of any format; of a picture that both have, its labels are taken, not "
        "those of DATA. Classes of one name are one. May be repeated; a later one counts more",
    )


def add_force_argument(parser: argparse.ArgumentParser) -> None:
    """--force, the same for every command that writes annotation files."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite annotation files; without it they are left alone, since they may have "
        "been corrected by hand",
    )


def add_logs_argument(parser: argparse.ArgumentParser) -> None:
    """--logs, the same for every command that takes --weights last and best."""
    parser.add_argument(
        "--logs",
        default="logs",
        metavar="DIR",
        help="where --weights last and best look for the newest run (default: ./logs)",
    )


def add_engine_argument(parser: argparse.ArgumentParser) -> None:
    """--engine, the same for every command that runs a network."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="tensorflow",
        help="what runs the weights: openvino and onnx export them the first time, and need their "
        "extras",
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
