"""A page to try a model on, and an HTTP interface to it for programs and labelling tools.

mrcnn serve --weights nucleus                 # then open the address that it prints
mrcnn serve --weights last --port 9000
curl -s --data-binary @beach.jpg http://127.0.0.1:8000/v1/detect > found.json
MRCNN_TOKEN=... mrcnn serve --weights coco --host 0.0.0.0    # for others: with a token
mrcnn serve --weights best --label-studio http://localhost:8080    # predictions in Label Studio
"""

import argparse
import os
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.cli import synthetic
from mrcnn.cli.arguments import add_config_arguments, add_logs_argument, fraction, number
from mrcnn.cli.detector import load_model, weights_and_config
from mrcnn.config import Config
from mrcnn.detect import card
from mrcnn.detect.configs import (
    by_class,
    check_fits,
    class_names,
)
from mrcnn.detect.exported import Exported
from mrcnn.detect.instances import LimitWarning
from mrcnn.errors import UsageError
from mrcnn.extras import how_to_install
from mrcnn.progress import Progress, plain_warnings
from mrcnn.serve.guard import is_loopback
from mrcnn.serve.label_studio import LabelStudio
from mrcnn.serve.limits import Limits
from mrcnn.words import listed

if TYPE_CHECKING:
    from mrcnn.serve.service import Service

PORT = 8000
LOWEST = 0.3  # score that the slider of the page goes down to
_LEAST_TOKEN = 8  # characters

_Plan = tuple[Config, Path | None, list[str], float, dict[str, float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mrcnn serve`."""
    add, limits = parser.add_argument, Limits()
    add(
        "--weights",
        metavar="W",
        help="an .h5 file, or one that mrcnn export wrote; or nucleus, coco, balloon, last, best, "
        "synthetic: as in mrcnn detect",
    )
    add_logs_argument(parser)
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to listen on; 0.0.0.0 is all that this computer has, for others in the network, and "
        "needs a token (default: 127.0.0.1, for programs of this computer alone)",
    )
    add(
        "--port",
        type=number(int, 0, 65535),
        default=PORT,
        help=f"default: {PORT}; 0 takes one that is free",
    )
    add(
        "--token",
        metavar="TEXT",
        help="what a request must know: Authorization: Bearer TEXT. The variable MRCNN_TOKEN does "
        "the same, and doesn't show in the list of processes",
    )
    add_config_arguments(parser, "as in mrcnn detect")
    add("--classes", metavar="NAMES", help="names of the weights' classes, as in mrcnn detect")
    add(
        "--min-confidence",
        type=fraction,
        metavar="X",
        help="leave out instances with a score below X where a request doesn't say otherwise; the "
        "page's slider begins there (default: the Config's, mostly 0.7)",
    )
    add(
        "--lowest",
        type=fraction,
        default=LOWEST,
        metavar="X",
        help=f"the least score that can be asked for (default: {LOWEST}); a lower one takes time "
        "and memory, for more is found",
    )
    for name, kind, about in (
        ("megabytes", float, "of a request"),
        ("megapixels", float, "of a picture"),
        ("queue", int, "pictures that wait or are worked on; more are refused with 503"),
        ("seconds", float, "that a picture may take, waiting included"),
        ("batch", int, "pictures of one size that go through the network together"),
    ):
        default = getattr(limits, name)
        add(
            f"--max-{name}" if name != "batch" else "--batch",
            dest=name,
            type=number(kind, 1 if kind is int else 0, open_below=kind is float),
            default=default,
            metavar="N",
            help=f"{about} (default: {default})",
        )
    add(
        "--label-studio",
        default=os.environ.get("LABEL_STUDIO_URL", ""),
        metavar="ADDRESS",
        help="of a Label Studio whose pictures may be fetched, with the key in the variable "
        "LABEL_STUDIO_API_KEY",
    )
    add(
        "--fetch-from",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="another address that Label Studio's tasks may have pictures at, such as that of a "
        "store (https://bucket.example.org); may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Check what can be checked, load the network, answer until Ctrl-C or SIGTERM; returns 0.

    Raises UsageError, WeightsError, ConfigError or DownloadError where it can't begin.
    """
    _check_installed()
    token = _token(args)
    limits = Limits(args.megabytes, args.megapixels, args.queue, args.seconds, batch=args.batch)
    studio = _label_studio(args)
    progress = Progress(0)
    with plain_warnings(progress):
        warnings.simplefilter("ignore", LimitWarning)  # each answer says so itself
        config, path, names, least, of_classes = plan(args)
        weights = path or synthetic.synthetic_weights()
        if card.format_of(weights):
            model = Exported(weights, config)
            progress.say(f"Runtime: {model.runtime}")
        else:
            model = load_model(config, weights, Path(args.logs), progress.say)
        model.class_names = names
        model.detect([np.zeros((64, 64, 3), np.uint8)])  # the first call takes long

        from mrcnn.serve.running import Server
        from mrcnn.serve.service import Service

        note = "" if path else synthetic.NOTE
        least_of_all = config.DETECTION_MIN_CONFIDENCE
        service = Service(
            model,
            args.weights,
            least,
            limits,
            token,
            note,
            studio,
            lowest=least_of_all,
            of_classes=of_classes,
        )
        ready = partial(_greet, service, progress)
        Server(service, args.host, args.port, ready).run_until_stopped()
    progress.say("Stopped.")
    return 0


def _greet(service: "Service", progress: Progress, address: str) -> None:
    names = service.class_names[1:]
    progress.say(f"Classes: {listed(names)}")
    if service.note:
        progress.say(f"NOTE: {service.note}")
    shown = address.replace("//0.0.0.0", "//localhost").replace("//[::]", "//localhost")
    progress.say(f"Open {shown}/{f'#token={service.token}' if service.token else ''}")
    progress.say(f"For programs: POST {shown}/v1/detect; {shown}/docs lists all. Ctrl-C ends it.")


def plan(args: argparse.Namespace) -> _Plan:
    """Check the arguments against the weight file; imports no TensorFlow.

    Returns the Config, the weight file (None for synthetic weights), the class names with the
    background first, and the least score where a request says none, for all and by class.
    """
    path, info, config = weights_and_config(args)
    if not (path and card.format_of(path)):  # an exported file takes one at a time
        config.IMAGES_PER_GPU, config.GPU_COUNT = args.batch, 1
    if info:
        check_fits(config, info)
    config.validate("inference")
    told = info.class_names if info else synthetic.CLASS_NAMES
    names = class_names(args.classes, config.NUM_CLASSES, args.weights, told)
    least, of_classes = config.DETECTION_MIN_CONFIDENCE, by_class(config, names)
    config.DETECTION_CLASS_CONFIDENCE = None  # each answer leaves out what is below
    config.DETECTION_MIN_CONFIDENCE = min(args.lowest, least, *of_classes.values())
    return config, path, names, least, of_classes


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"a server needs the package {error.name}: {how_to_install('serve')}."
        ) from None


def _token(args: argparse.Namespace) -> str | None:
    token = args.token if args.token is not None else os.environ.get("MRCNN_TOKEN")
    if token is None:
        if not is_loopback(args.host):
            raise UsageError(
                f"others can reach {args.host}: give a token that they must know, by --token TEXT "
                'or in the variable MRCNN_TOKEN. A random one: python -c "import secrets; '
                'print(secrets.token_urlsafe())"'
            )
        return None
    if len(token) < _LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise UsageError(
            f"the token must have {_LEAST_TOKEN} characters or more, letters, digits and signs."
        )
    return token


def _label_studio(args: argparse.Namespace) -> LabelStudio:
    for address in filter(None, (args.label_studio, *args.fetch_from)):
        if not address.startswith(("http://", "https://")):
            raise UsageError(f"{address} is no address: it begins with http:// or https://.")
    key = os.environ.get("LABEL_STUDIO_API_KEY", "")
    return LabelStudio(args.label_studio, key, args.fetch_from)
