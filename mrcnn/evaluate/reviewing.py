"""The whole of a review: look through labelled and unlabelled pictures, compare, and choose.

found = review(parts, paths, detect, ...)      # Review(suspects, order, previews)
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrcnn.data.dataset import Dataset
from mrcnn.data.pictures import PictureError, find_pictures
from mrcnn.data.scaling import Rule
from mrcnn.data.seen import see
from mrcnn.detect.files import Detector
from mrcnn.evaluate.coco import Collected
from mrcnn.evaluate.detections import Task, detected
from mrcnn.evaluate.label_next import Look, Next, label_next, look
from mrcnn.evaluate.review import Suspect, find_suspects
from mrcnn.evaluate.review_pictures import cut_out, region, small
from mrcnn.progress import Progress
from mrcnn.words import printable

_MADE_OF_PICTURES = ("masks", "indexed")  # formats whose labels are pictures themselves


@dataclass
class Review:
    """What came of it; the rows are those of `mrcnn.evaluate.review_page`."""

    suspects: list[dict[str, Any]] = field(default_factory=list)
    order: list[Next] = field(default_factory=list)
    previews: dict[str, str] = field(default_factory=dict)
    labelled: int = 0  # pictures
    labels: int = 0
    failed: int = 0
    notes: list[str] = field(default_factory=list)


def beside(dataset: Dataset) -> list[Path]:
    """The picture files in the folders of a data set's pictures that it doesn't list.

    None where labels are pictures, for then nobody can tell which is which.
    """
    if getattr(dataset, "format", None) in _MADE_OF_PICTURES:
        return []
    paths = [Path(info["path"]).resolve() for info in dataset.image_info if info.get("path")]
    known, folders = set(paths), dict.fromkeys(path.parent for path in paths)
    found = []
    for folder in folders:
        try:
            found += find_pictures([folder])
        except PictureError:
            continue
    return [path for path in found if path.resolve() not in known]


def review(
    tasks: Sequence[tuple[str, Task]],
    unlabelled: Iterable[Path],
    load: Callable[[], Detector],
    class_names: Sequence[str],
    named: bool,
    progress: Progress,
    most: int = 100,
) -> Review:
    """Detect in all pictures, find suspects and rank the unlabelled ones.

    tasks: (what the part's pictures are called by, its Task). load: builds the network.
    class_names, named: as of `detected`. most: suspects and pictures that get a picture each.
    """
    done, looks, network = Review(), [], _Once(load)
    suspects: list[tuple[str, Task, Collected, Suspect]] = []
    for part, task in tasks:
        collected = detected(task, lambda: _Looking(network(), looks), class_names, named)
        done.labelled += len(collected.pictures)
        done.labels += len(collected.truth)
        done.failed += task.failed
        done.notes += task.notes
        suspects += [(part, task, collected, one) for one in find_suspects(collected)]
    suspects.sort(key=lambda item: -item[3].confidence)
    for number, (part, task, collected, suspect) in enumerate(suspects):
        done.suspects.append(_row(part, task, collected, suspect, drawn=number < most))

    rule = getattr(tasks[0][1].dataset, "rule", Rule()) if tasks else Rule()
    candidates, paths = [], {}
    for path in unlabelled:
        name = printable(path.name if path.name not in paths else path)
        try:
            picture = see(path, rule).picture
            candidates.append(look(name, picture, network()(picture)))
        except (PictureError, OSError, MemoryError) as error:
            done.failed += 1
            progress.complain(f"failed: {name}: {error}")
            continue
        finally:
            progress.advance()
        paths[name] = path
    done.order = label_next(candidates, looks)
    first = done.order[:most]
    done.previews = {one.name: small(see(paths[one.name], rule).picture) for one in first}
    return done


class _Once:
    """The network, built when it is first asked for."""

    def __init__(self, load: Callable[[], Detector]) -> None:
        self.load, self.detect = load, None

    def __call__(self) -> Detector:
        self.detect = self.detect or self.load()
        return self.detect


class _Looking:
    """A detector that keeps a look at what it is shown."""

    def __init__(self, detect: Detector, looks: list[Look]) -> None:
        self.detect, self.looks = detect, looks

    def __call__(self, picture: Any) -> Any:
        found = self.detect(picture)
        self.looks.append(look("", picture, found))
        return found


def _row(
    part: str, task: Task, collected: Collected, suspect: Suspect, drawn: bool
) -> dict[str, Any]:
    labels = [collected.truth[i] for i in suspect.labels]
    found = [collected.found[i] for i in suspect.found]
    y1, x1, y2, x2 = region([*labels, *found])
    names = task.dataset.class_names
    # In the order in which the files have them, crowds and all.
    first = next(
        (i for i, row in enumerate(collected.truth) if row["image_id"] == suspect.image_id), 0
    )
    row = {
        "picture": f"{part}/{task.name(suspect.image_id)}" if part else task.name(suspect.image_id),
        "kind": suspect.kind,
        "confidence": round(suspect.confidence, 4),
        "class": printable(names[suspect.class_id]),
        "better": "" if suspect.better is None else printable(names[suspect.better]),
        **{"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1},
        "labels": [i - first + 1 for i in suspect.labels],
    }
    if drawn:
        row["cut_outs"] = cut_out(task.dataset.load_image(suspect.image_id), labels, found)
    return row
