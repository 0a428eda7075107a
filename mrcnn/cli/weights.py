"""The weight file that --weights means, where a network is only run; and what names there are."""

import difflib
from pathlib import Path

from mrcnn.errors import UsageError
from mrcnn.train import finding
from mrcnn.words import printable

NAMES = {
    "start": "knows what a thing is, to train from; comes with the package",
    "nucleus": "nuclei of cells; comes with the package",
    "coco": "80 everyday classes, fetched once (246 MB) and kept",
    "balloon": "fetched once and kept",
    "imagenet": "an encoder alone, fetched once and kept",
    "last": "the newest checkpoint under --logs",
    "best": "the best one of that run",
    "none": "random numbers",
    "synthetic": "made-up weights that find nothing real",
}
RUN = ("nucleus", "coco", "balloon", "last", "best")  # what a network can be run with
BEGIN = ("start", *RUN, "imagenet", "none")  # what training can begin with


def find_weights(name: str | None, logs: str, more: tuple[str, ...] = ()) -> Path:
    """The path of the file; which one "last" or "best" is, is printed.

    name: as `mrcnn.train.finding.find_weights` takes it. None: nobody said.
    more: names beyond `RUN` that the command takes itself.
    Raises UsageError where there is none, WeightsError or DownloadError for other names.
    """
    check_name(name, (*RUN, *more))
    path = finding.find_weights(name, logs)
    if name in finding.OF_RUNS:
        which = "the newest" if name == "last" else "the newest run's best"
        print(f"Weights: {path}, {which} checkpoint under {logs}", flush=True)
    return path


def check_name(name: str | None, names: tuple[str, ...]) -> None:
    """Refuse what is neither a file nor one of `names`, with the name that was meant and them all.

    Raises UsageError.
    """
    *most, other = [f"{known} ({NAMES[known]})" for known in names]
    listed = f"Names are {', '.join(most)} and {other}; anything else is the path of an .h5 file."
    if name is None:
        raise UsageError(f"which weights? --weights is missing. {listed}")
    if name in names or Path(name).exists():
        return
    path = Path(name)
    # mask_rcnn_coco.h5 is what everybody has called the file of "coco".
    bare = path.stem.removeprefix("mask_rcnn_") if path.suffix == ".h5" else path.name
    if path.suffix != ".h5" and len(path.parts) > 1:
        return  # a path, of which the reader of weights has more to say
    near = difflib.get_close_matches(bare.lower(), names, n=1, cutoff=0.7)
    beside = [file.name for file in sorted(path.parent.glob("*.h5"))]
    near = near or [str(path.parent / f) for f in difflib.get_close_matches(path.name, beside, n=1)]
    hint = f"Did you mean {printable(near[0])}? " if near else ""
    raise UsageError(
        f"there is no weight file {printable(name)}, and no weights of that name. {hint}{listed}"
    )
