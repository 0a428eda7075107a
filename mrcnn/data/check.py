"""Mistakes in a dataset, found before training starts.

    print(check_dataset(dataset, config))

A mistake stops training, or spoils what is learned; a notice is worth knowing.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset
from mrcnn.data.images import molded_shape
from mrcnn.data.inputs import load_mask, picture_name
from mrcnn.words import printable

_SHOWN = 5  # notices of single pictures that are written out


class DatasetError(ValueError):
    """A dataset can't be trained on; the message lists what is wrong with which pictures."""


@dataclass
class DatasetReport:
    """What `check_dataset` found.

    mistakes, notices: sentences, each with the pictures it is about.
    checked: how many pictures were read, of `total`.
    """

    mistakes: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    checked: int = 0
    total: int = 0

    def __str__(self) -> str:
        count = len(self.mistakes)
        found = "no mistakes" if not count else f"{count} mistake{'s' if count > 1 else ''}"
        heading = f"{found} in {self.checked} of {self.total} pictures checked"
        return "\n  - ".join([heading, *self.mistakes, *(f"(notice) {n}" for n in self.notices)])

    def refuse_mistakes(self, what: str, most: int = 10) -> None:
        """Raise DatasetError where there are mistakes: the first so many, and how many more.

        what: what the dataset is called in the message.
        """
        if not self.mistakes:
            return
        lines = [f"{what} can't be trained on ({self.checked} of {self.total} pictures checked):"]
        lines += self.mistakes[:most]
        if len(self.mistakes) > most:
            lines.append(f"and {len(self.mistakes) - most} more; check_dataset() lists them all.")
        raise DatasetError("\n  - ".join(lines))


def check_dataset(
    dataset: Dataset,
    config: Config | None = None,
    limit: int | None = None,
    seconds: float | None = None,
) -> DatasetReport:
    """Look for mistakes in a dataset by reading its pictures and masks.

    1. The dataset as a whole: prepared, no more classes than config.NUM_CLASSES, every picture of
       a source that has classes. If the first of these fails, nothing is read.
    2. Each picture: it and its masks can be read, are of one size, there are as many masks as
       class ids, the ids are of this dataset.
    3. With a config: what of it the pictures can't be used with.

    Training can live with an id that comes twice, an empty mask, or a COCO box that lies outside;
    they are notices.

    limit, seconds: read at most so many pictures, for about so long (one at least): an evenly
        spread sample. None: all.
    """
    report = DatasetReport()
    report.mistakes += _mistakes_as_a_whole(dataset, config)
    if report.mistakes:
        report.total = len(dataset.image_info)
        return report
    report.mistakes += _mistakes_of_sources(dataset)
    report.notices += _repeated_ids(dataset)
    report.total = len(dataset.image_ids)

    started = time.monotonic()
    counts, shapes, found, notices = {}, Counter(), {}, []
    for i in _evenly_spread(report.total)[:limit]:
        if counts and seconds is not None and time.monotonic() - started > seconds:
            break
        image_id = int(dataset.image_ids[i])
        mistake, counts[image_id], shape = _check_picture(dataset, image_id, config, notices)
        if mistake:
            found[image_id] = mistake
        elif config and shape:
            shapes[shape] += 1
    report.checked = len(counts)
    report.mistakes += [found[image_id] for image_id in sorted(found)]
    report.notices += notices[:_SHOWN]
    if len(notices) > _SHOWN:
        report.notices.append(f"and {len(notices) - _SHOWN} more like these.")
    good = {image_id: count for image_id, count in counts.items() if image_id not in found}
    _judge_counts(report, dataset, good, config)
    if len(shapes) > 1 and config.BATCH_SIZE > 1:
        sizes = ", ".join(f"{height}x{width}" for (height, width), _ in shapes.most_common(3))
        report.mistakes.append(
            f"The pictures end in {len(shapes)} sizes ({sizes}, ..) and can't share a batch: with "
            f"IMAGE_RESIZE_MODE = {config.IMAGE_RESIZE_MODE!r} set IMAGES_PER_GPU = 1, or use "
            '"square" or "crop".'
        )
    return report


def check_for_training(
    train_dataset: Dataset, val_dataset: Dataset | None, config: Config
) -> Iterator[str]:
    """Check what is trained on and validated with, as far as some 20 seconds allow.

    Yields what was found of each. Raises DatasetError where there are mistakes, naming the
    pictures.
    """
    for what, dataset, seconds in (
        ("The training data", train_dataset, 15),
        ("The validation data", val_dataset, 5),
    ):
        if dataset is not None:
            report = check_dataset(dataset, config, seconds=seconds)
            report.refuse_mistakes(what)
            yield f"{what}: {report}"


def _mistakes_as_a_whole(dataset: Dataset, config: Config | None) -> list[str]:
    pictures = len(dataset.image_info)
    if not pictures:
        return ["The dataset holds no pictures: add_image() was never called."]
    if not hasattr(dataset, "num_classes") or not len(dataset.image_ids):
        return ["The dataset isn't prepared: call prepare() once all is added."]
    if (dataset.num_images, dataset.num_classes) != (pictures, len(dataset.class_info)):
        return [
            f"The dataset was prepared with {dataset.num_images} pictures and "
            f"{dataset.num_classes} classes and has {pictures} and {len(dataset.class_info)} now: "
            "call prepare() once more."
        ]
    if config and dataset.num_classes > config.NUM_CLASSES:
        return [
            f"The dataset has {dataset.num_classes} classes ({', '.join(dataset.class_names)}) "
            f"and the config's NUM_CLASSES is {config.NUM_CLASSES}: it must count the background "
            f"and all classes, {dataset.num_classes}."
        ]
    return []


def _mistakes_of_sources(dataset: Dataset) -> list[str]:
    mistakes = []
    sources = Counter(info["source"] for info in dataset.image_info)
    for source in sources.keys() - dataset.source_class_ids.keys():
        known = ", ".join(map(repr, filter(None, dataset.source_class_ids)))
        mistakes.append(
            f"{sources[source]} pictures are of the source {source!r}, which has no classes; "
            f"those that have are: {known or 'none'}. Give add_image and add_class one source."
        )
    return mistakes


def _repeated_ids(dataset: Dataset) -> list[str]:
    names = Counter((info["source"], str(info["id"])) for info in dataset.image_info)
    repeated = {name: count for name, count in names.items() if count > 1}
    if not repeated:
        return []
    (source, image_id), count = max(repeated.items(), key=lambda item: item[1])
    return [
        f"{len(repeated)} picture ids were added more than once, {source}.{image_id} {count} times."
    ]


def _check_picture(
    dataset: Dataset, image_id: int, config: Config | None, notices: list[str]
) -> tuple[str | None, int, tuple[int, int] | None]:
    """(what is wrong or None, number of instances, (height, width) in the network or None)."""
    name = picture_name(dataset, image_id)
    try:
        image = np.asarray(dataset.load_image(image_id))
    except Exception as error:
        failed = printable(f"{type(error).__name__}: {error}")
        return f"{name}: load_image failed: {failed}", 0, None
    if image.ndim != 3 or not image.size:
        return f"{name}: load_image returned an array of shape {image.shape}.", 0, None
    if config and image.shape[2] != config.IMAGE_CHANNEL_COUNT:
        wanted = config.IMAGE_CHANNEL_COUNT
        return f"{name}: it has {image.shape[2]} channels, and the config {wanted}.", 0, None
    try:
        mask, _ = load_mask(dataset, image_id, image.shape)
        shape = molded_shape(image.shape, config) if config else None
    except ValueError as error:
        message = printable(error)
        return message if name in message else f"{name}: {message}", 0, None
    except Exception as error:
        hint = " (does a shape reach outside the picture?)" if type(error) is IndexError else ""
        failed = printable(f"{type(error).__name__}: {error}")
        return f"{name}: load_mask failed: {failed}{hint}", 0, None
    empty = np.flatnonzero(~mask.any(axis=(0, 1)))
    if len(empty):
        which = ", ".join(map(str, empty[:5])) + (", .." if len(empty) > 5 else "")
        notices.append(f"{name}: {len(empty)} of {mask.shape[-1]} masks are empty ({which}).")
    outside = _box_outside(dataset.image_info[image_id].get("annotations"), image.shape)
    if outside is not None:
        height, width = image.shape[:2]
        told = f"the box {outside} (x, y, width, height) reaches outside of {width}x{height}"
        notices.append(f"{name}: {told} (width x height).")
    return None, mask.shape[-1] - len(empty), shape


def _box_outside(annotations: object, image_shape: tuple) -> list | None:
    """The first box of COCO's annotations that leaves the picture by more than rounding."""
    for annotation in annotations if isinstance(annotations, list) else []:
        box = annotation.get("bbox") if isinstance(annotation, dict) else None
        if isinstance(box, list) and len(box) == 4:
            x, y, width, height = box
            bottom, right = image_shape[0] + 1, image_shape[1] + 1
            if min(x, y) < -1 or x + width > right or y + height > bottom:
                return box
    return None


def _judge_counts(
    report: DatasetReport, dataset: Dataset, counts: dict[int, int], config: Config | None
) -> None:
    """What the numbers of instances say. counts: {image_id: instances} of the good pictures."""
    empty = sorted(image_id for image_id, count in counts.items() if not count)
    keeps_empty = bool(config and config.TRAIN_ON_EMPTY_IMAGES)
    if empty and len(empty) == report.total and not keeps_empty:
        # Of files a person knows where they come from; of a program what it calls.
        root = getattr(dataset, "root", None)
        cure = f"label some in {root}." if root else "what does load_mask() return?"
        report.mistakes.append(f"No picture has an instance: {cure}")
    elif empty:
        fate = "count as background" if keeps_empty else "are left out of training"
        report.notices.append(
            f"{len(empty)} pictures have no instances and {fate}, "
            f"{picture_name(dataset, empty[0])} for one."
        )
    most = config.MAX_GT_INSTANCES if config else None
    crowded = {image_id: count for image_id, count in counts.items() if most and count > most}
    if crowded:
        densest = max(crowded, key=crowded.get)
        report.notices.append(
            f"{len(crowded)} pictures have more instances than MAX_GT_INSTANCES, {most}, and only "
            f"so many are used at a time; {picture_name(dataset, densest)} has the most, "
            f"{crowded[densest]}."
        )


def _evenly_spread(count: int) -> list[int]:
    """0 .. count - 1 in an order whose every beginning is spread evenly: by reversed bits."""
    bits = max(count - 1, 1).bit_length()
    return sorted(range(count), key=lambda i: f"{i:0{bits}b}"[::-1])
