"""Which mask file belongs to which picture, where their names are not the same.

img1.png     img1_mask.png, img1_seg_mask.png, mask1.png      one that numbers the instances
1000.jpg     1000_square_0.png, 1000_square_1.png             one for each instance, with its class
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mrcnn.data.formats.files import MASK_SUFFIXES, Folders
from mrcnn.data.pictures import SUFFIXES

PICTURE_FOLDERS = (
    *("images", "JPEGImages", "PNGImages", "image", "imgs", "img", "pictures", "input", "inputs"),
)
MASK_FOLDERS = (
    *("SegmentationObject", "masks", "mask", "labels", "label", "annotations", "instances"),
    *("PedMasks", "gt", "ground_truth", "groundtruth", "segmentations", "segmentation", "seg"),
)
_OF_MASKS = {
    *("mask", "masks", "seg", "segm", "segmentation", "label", "labels", "gt", "groundtruth"),
    *("instance", "instances", "annotation", "cp", "matte"),
}
_OF_PICTURES = {"image", "images", "img", "picture", "photo", "rgb", "raw"}
_NUMBERED = re.compile(r"(?:(.+?)[-_])?(\d+)")


def pairs(pictures: Iterable[str], masks: Iterable[str]) -> dict[str, str]:
    """{name of a mask file: that of its picture}, by equal names, else by what they share.

    Words such as mask and image are passed over, where that leaves no two pictures alike.
    """
    by_stem = {os.path.splitext(name)[0]: name for name in pictures}
    by_key: dict[str, list[str]] = {}
    for stem, name in by_stem.items():
        by_key.setdefault(_key(stem), []).append(name)
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for mask in masks:
        stem = os.path.splitext(mask)[0]
        alike = by_key.get(_key(stem), [])
        picture = by_stem.get(stem) or (alike[0] if len(alike) == 1 else None)
        if picture is not None and picture not in taken:
            found[mask] = taken[picture] = picture
    return found


def instance_files(pictures: Iterable[str], masks: Iterable[str]) -> dict[str, tuple[str, str]]:
    """{name of a mask file: (its picture's, class or "")} of files with one instance each."""
    by_stem = {os.path.splitext(name)[0]: name for name in pictures}
    found = {}
    for mask in masks:
        stem = os.path.splitext(mask)[0]
        # The longest name that it begins with: 10_2 and 10 may both be pictures.
        for match in reversed(list(re.finditer("[-_]", stem))):
            rest = _NUMBERED.fullmatch(stem[match.end() :])
            if rest and stem[: match.start()] in by_stem:
                label = "" if (rest[1] or "").lower() in _OF_MASKS else rest[1] or ""
                found[mask] = by_stem[stem[: match.start()]], label
                break
    return found


def one_folder(names: Iterable[str]) -> dict[str, str]:
    """`pairs` of files in one folder, where those of masks end so: cell.tif, cell_masks.tif."""
    names = sorted(names)
    masks = [name for name in names if _is_mask(name) and name.lower().endswith(MASK_SUFFIXES)]
    return pairs([name for name in names if name not in masks], masks) if masks else {}


def folder_pairs(folder: Path, folders: Folders) -> Iterator[tuple[Path, Path]]:
    """Folders of pictures, each with one of masks, the likeliest first."""
    there = {name.lower(): name for name in folders.names(folder)}
    pictures = [there[name.lower()] for name in PICTURE_FOLDERS if name.lower() in there]
    masks = [there[name.lower()] for name in MASK_FOLDERS if name.lower() in there]
    yield from ((folder / picture, folder / mask) for picture in pictures for mask in masks)
    called = sorted(name for low, name in there.items() if "mask" in low and name not in masks)
    for mask in called:
        wanted = re.sub("_?masks?", "", mask.lower())
        for low, name in sorted(there.items()):
            if name != mask and low in (wanted, f"{wanted}_images", f"{wanted}_imgs"):
                yield folder / name, folder / mask


def picture_names(folder: Path, folders: Folders) -> list[str]:
    """Names of the picture files in a folder."""
    return folders.with_suffix(folder, SUFFIXES)


def mask_names(folder: Path, folders: Folders) -> list[str]:
    """Names of the files in a folder that can be masks."""
    return folders.with_suffix(folder, MASK_SUFFIXES)


def _is_mask(name: str) -> bool:
    words = re.split(r"[-_. ]+", os.path.splitext(name)[0].lower())
    return len(words) > 1 and words[-1] in _OF_MASKS


def _key(stem: str) -> str:
    kept = []
    for word in re.split(r"[-_. ]+", stem.lower()):
        letters, digits = re.fullmatch(r"(\D*)(.*)", word).groups()
        if letters in _OF_MASKS or letters in _OF_PICTURES:
            word = digits
        if word:
            kept.append(word)
    return "_".join(kept) or stem.lower()
