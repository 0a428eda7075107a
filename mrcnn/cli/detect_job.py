"""`mrcnn detect --job`: pictures in any number, as a table that grows part by part."""

import argparse
import functools
import importlib.metadata
import os
import time
from dataclasses import asdict
from pathlib import Path

from mrcnn import __version__
from mrcnn.cli import synthetic
from mrcnn.cli.arguments import number
from mrcnn.cli.detector import load_detector, weights_and_names
from mrcnn.cli.more import refuse_more
from mrcnn.cli.tiles import tiles_of
from mrcnn.config import Config
from mrcnn.data.scaling import Rule
from mrcnn.detect.card import files_of, format_of, sha256
from mrcnn.detect.files import INTERRUPTED, SOME_FAILED, Detector
from mrcnn.detect.tiled import Tiles, with_tiles
from mrcnn.errors import UsageError
from mrcnn.jobs import local, on_ray, tables
from mrcnn.jobs.folder import PART_SIZE, JobFolder, What, num_parts
from mrcnn.jobs.listing import list_pictures
from mrcnn.progress import Progress, plain_warnings
from mrcnn.signals import interruptible
from mrcnn.words import counted, printable

_PACKAGES = {  # whose versions may change digits, by engine
    "tensorflow": "tensorflow",
    "openvino": "openvino",
    "onnx": "onnxruntime",
    "tflite": "ai-edge-litert",
    "saved_model": "tensorflow",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a job."""
    add = parser.add_argument_group("many pictures (docs/jobs.md)").add_argument
    add(
        "--job",
        metavar="DIR",
        help="write a table (Parquet) into this folder, part by part, in place of --out; the same "
        "command goes on with what is left. PICTURES may then be s3:// and gs:// folders and "
        "patterns, lists (.txt, a picture a line) and tables (.parquet, .csv), too. Needs the "
        "extra [jobs]",
    )
    add(
        "--runner",
        choices=["local", "ray"],
        default="local",
        help="local: this process; ray: Ray Data, with a network in each of --actors processes, "
        "here or on the cluster of RAY_ADDRESS. Both write the same. Needs the extra [ray]",
    )
    add(
        "--actors",
        type=number(int, 1),
        metavar="N",
        help="of --runner ray; default: one for each GPU, else one for two cores",
    )
    add(
        "--part-size",
        type=number(int, 1),
        metavar="N",
        help=f"pictures of a part, which is what a kill costs at most (default: {PART_SIZE})",
    )
    add("--column", metavar="NAME", help="of a table: which one holds the pictures")


def run(args: argparse.Namespace) -> int:
    """Begin a job or go on with it.

    Returns 0, 1 where pictures failed, 130 after Ctrl-C. Raises UsageError, PictureError,
    WeightsError, ConfigError or DownloadError where it can't, OSError where parts can't be written.
    """
    if args.labels:
        raise UsageError(
            f"--labels {args.labels} and --job can't be had at once: mrcnn job convert DIR OUT "
            f"--to {args.labels} makes them of the table."
        )
    refuse_more(args)
    tables.check_installed()
    path, config, names = weights_and_names(args)
    weights = path or synthetic.synthetic_weights()
    engine = format_of(weights) or args.engine
    what = What(
        sources=list(args.pictures),
        weights=sha256(files_of(weights)),
        engine=engine,
        config={**config.hyper_parameters(), "tiles": asdict(tiles_of(args))},
        class_names=names,
    )
    progress = Progress(0)
    with plain_warnings(progress), interruptible():
        pictures = functools.partial(list_pictures, args.pictures, args.column)
        folder = Path(args.job).expanduser()
        try:
            with JobFolder(folder, what, pictures, args.part_size, _versions(engine)) as job:
                return _go_on(args, job, config, weights, progress)
        except KeyboardInterrupt:
            progress.complain(
                f"interrupted: the parts that were done are kept in {printable(folder)}, and the "
                "same command goes on with the others."
            )
            return INTERRUPTED
        finally:
            progress.close()


def _go_on(
    args: argparse.Namespace, job: JobFolder, config: Config, weights: Path, progress: Progress
) -> int:
    left = job.left()
    pictures = sum(map(job.size, left))
    count = num_parts(job.told)
    progress.say(
        f"{printable(job.folder)}: {counted(job.num_pictures, 'picture')} in "
        f"{counted(count, 'part')}, {counted(count - len(left), 'part')} done already"
    )
    if job.changed:
        progress.say(f"NOTE: {job.changed}")
    progress.expect(pictures)
    began = time.monotonic()
    if left:
        _detect(args, job, config, weights, progress)
    seconds = time.monotonic() - began
    failed = job.finish()
    progress.close()
    told = f", {pictures / seconds:.2f} pictures/s" if left else ""
    progress.say(f"{counted(job.num_pictures, 'picture')}, {failed:,} failed{told}")
    progress.say(f"Table in {printable(job.folder / 'parts')} (mrcnn job show, mrcnn job convert)")
    return SOME_FAILED if failed else 0


def _detect(
    args: argparse.Namespace, job: JobFolder, config: Config, weights: Path, progress: Progress
) -> None:
    def advance(number: int) -> None:
        for _ in range(number):
            progress.advance()

    folder, tiles, rule = job.folder, tiles_of(args), Rule.of(config)
    if args.runner == "local":

        def make_here() -> Detector:
            detect = load_detector(config, weights, folder, progress.say, args.engine)
            return with_tiles(detect, tiles, config)

        local.run(job, make_here, advance, rule)
        return
    functions = [n for n in dir(config) if n.isupper() and callable(getattr(config, n))]
    if functions:
        raise UsageError(
            f"--runner ray can't hand {functions[0]} of the Config to its actors, for it is a "
            "function: take --runner local."
        )
    settings = config.hyper_parameters()
    make = functools.partial(
        _in_actor, settings, str(weights.resolve()), str(folder), args.engine, tiles
    )
    if args.engine != "tensorflow" and not format_of(weights):
        load_detector(config, weights, folder, progress.say, args.engine)  # exports, this once
    on_ray.run(job, make, advance, args.actors, progress.say, rule)


def _in_actor(settings: dict, weights: str, folder: str, engine: str, tiles: Tiles) -> Detector:
    """What an actor of Ray detects with. settings: hyper-parameters; a class would not travel."""
    config = type("JobConfig", (Config,), settings)()
    threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    detect = load_detector(config, Path(weights), Path(folder), _silent, engine, threads)
    return with_tiles(detect, tiles, config)


def _silent(text: str) -> None:
    """Nobody reads what actors print."""


def _versions(engine: str) -> dict[str, str]:
    versions = {"mrcnn": __version__}
    for package in (_PACKAGES[engine], "numpy", "pillow", "pyarrow"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu, and the like
            versions[package] = "?"
    return versions
