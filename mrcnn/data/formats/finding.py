"""What a folder holds: which format, and which parts (train, val, ..).

A file's format shows in its first bytes, so that half a gigabyte of COCO is not read twice.
"""

import os
import re
from pathlib import Path
from typing import NoReturn

from mrcnn.data.formats import cvat, geojson_files, pairing, yolo_files
from mrcnn.data.formats.coco import set_name
from mrcnn.data.formats.files import Folders
from mrcnn.data.formats.notes import FormatError
from mrcnn.data.formats.others import recognised
from mrcnn.data.formats.reading import Part
from mrcnn.data.formats.via_files import is_csv_of_via
from mrcnn.whole import no_file, regular_file

FORMATS = (
    *("coco", "via", "labelme", "voc", "masks", "indexed", "yolo", "cvat", "labelstudio"),
    "geojson",
)
# What `mrcnn detect` says of the images.json beside its results, which lists pictures like COCO.
FOUND_BY_US = "instances found by mrcnn detect"

_HEAD = 1 << 16  # bytes
_JSON = (".json", ".geojson")
_PEEKED = 20  # files of a folder; sets of one JSON file a picture have thousands, all alike
_OTHER_COCO_FILES = ("captions_", "person_keypoints_", "image_info_", "stuff_", "panoptic_")
_OF_LABEL_STUDIO = {
    *(b"from_name", b"to_name", b"annotation_id", b"completions", b"file_upload", b"was_cancelled"),
    *(b"polygonlabels", b"brushlabels", b"rectanglelabels", b"ellipselabels", b"total_annotations"),
}
_GEOJSON = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')
_NAMES_OF_YOLO = "notes.json"  # Label Studio's list of classes beside YOLO's files
_PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "minival")}


def find_parts(path: Path, format: str, folders: Folders) -> dict[str, Part]:
    """The parts of a folder by name; one set alone, or a file, stands under "".

    Raises FormatError if there is no labelled set, or the path doesn't exist.
    """
    if format not in ("auto", *FORMATS):
        raise FormatError(f"format is {format!r}: it must be auto, {', '.join(FORMATS)}.")
    if path.is_file():
        kind = _format_of(path) if format == "auto" else format
        if kind == "yolo":
            return yolo_files.file_parts(path, folders)
        if kind == "cvat":
            return cvat.parts(path, path)
        if kind in (None, "masks", "indexed") or format == "auto":
            other = recognised(path, folders) if kind in (None, "coco", "voc") else ""
            if other and not re.search("keypoints|COCO", other):
                raise FormatError(f"{path}: {other}")
        if kind in (None, "masks", "indexed"):
            raise FormatError(
                f"{path} is no annotation file that is known (COCO, VIA, LabelMe or Label Studio "
                "JSON, GeoJSON, Pascal VOC or CVAT XML, YOLO's data.yaml). If it should be one, "
                "name its format."
            )
        return {"": Part(kind, path, (path,))}
    if what := no_file(path):
        if what == "nothing":
            raise FormatError(f"{path}: there is no such file or folder.")
        if what != "a folder":
            raise FormatError(f"{path} is {what}, neither a file nor a folder.")
    here = _parts_here(path, format, folders)
    if here:
        return here
    found, several = {}, {}
    for name in sorted(folders.names(path)):
        below = _parts_here(path / name, format, folders) if (path / name).is_dir() else {}
        if len(below) == 1:
            found[name] = next(iter(below.values()))
        elif below:
            several[name] = below
    if several:
        _ask(path, several)
    if not found:
        what = "labelled pictures" if format == "auto" else f"{format} annotations"
        odd = [
            f" {path} was passed over: it is {kind}." for path, kind in folders.passed_over.items()
        ]
        raise FormatError(
            f"{path} holds no {what}: neither annotation files (COCO, VIA, LabelMe or Label Studio "
            "JSON, GeoJSON, Pascal VOC or CVAT XML, YOLO's images and labels) nor masks "
            "(<id>/images and <id>/masks, or images and masks of the same names), nor folders that "
            "do." + "".join(odd[:1]) + (f" {other}" if (other := recognised(path, folders)) else "")
        )
    if len({part.format for part in found.values()}) > 1:
        shown = ", ".join(f"{name} ({part.format})" for name, part in found.items())
        raise FormatError(f"{path} holds several formats: {shown}. Name one of the folders.")
    return found


def _ask(path: Path, several: dict[str, dict[str, Part]]) -> NoReturn:
    """Refuse folders that hold several sets each, where one was to be found."""
    name, parts = next(iter(several.items()))
    files = [str(file) for part in parts.values() for file in part.files]
    if len(set(files)) < len(parts) or any(_is_called(part, "val") for part in parts):
        raise FormatError(
            f"{path / name} is a set by itself, of the parts {', '.join(parts)}: give its path in "
            f"place of {path}."
        )
    shown = ", ".join(os.path.basename(file) for file in files[:6])
    raise FormatError(
        f"{path / name} holds {len(files)} annotation files, {shown}: which one is meant? Give the "
        f"file in place of the folder ({files[0]}; with mrcnn train another as --val), or move "
        "the others away."
    )


def choose(parts: dict[str, Part], subset: str | None, path: Path) -> Part:
    """The part that is asked for. Raises FormatError, with those there are."""
    if subset is None and len(parts) == 1:
        return next(iter(parts.values()))
    shown = ", ".join(parts)
    if subset is None:
        raise FormatError(f"{path} has several parts, {shown}: name one of them (subset=).")
    if subset in parts:
        return parts[subset]
    if list(parts) == [""]:
        part = parts[""]
        if len(part.files) == 1 and _is_called(set_name(part.files[0]), subset):
            return part
        raise FormatError(f"{path} is one set without parts, so that there is no {subset!r} in it.")
    like = [name for name in parts if _is_called(name, subset)]
    if len(like) == 1:
        return parts[like[0]]
    raise FormatError(
        f"{path} has {'several parts' if like else 'no part'} {subset!r}: it has {shown}."
    )


def _is_called(name: str, subset: str) -> bool:
    # COCO puts the year behind: train2017.
    return name == subset or re.sub(r"[\d_-]+$", "", name.lower()) in _PARTS.get(subset, ())


# -- One folder -------------------------------------------------------------------------------


def _parts_here(folder: Path, format: str, folders: Folders) -> dict[str, Part]:
    wanted = FORMATS if format == "auto" else (format,)
    if {"coco", "via", "labelme", "labelstudio", "geojson"} & set(wanted):
        for place in (folder, folder / "annotations", folder / "Annotations"):
            parts = _json_parts(folder, place, wanted, folders)
            if parts:
                return parts
    for place in (folder / name for name in geojson_files.PLACES if "geojson" in wanted):
        files = [place / name for name in folders.with_suffix(place, _JSON)]
        if any(_format_of(file) == "geojson" for file in files[:_PEEKED]):
            return geojson_files.parts(folder, files, folders)
    for kind, find in (
        ("cvat", _cvat_parts),
        ("voc", _voc_parts),
        ("masks", _mask_folders),
        ("indexed", _indexed),
        ("yolo", yolo_files.find),
    ):
        parts = find(folder, folders) if kind in wanted else {}
        if parts:
            return parts
    return {}


def _json_parts(
    folder: Path, place: Path, wanted: tuple[str, ...], folders: Folders
) -> dict[str, Part]:
    names = [
        name
        for name in folders.with_suffix(place, _JSON)
        if not name.startswith(_OTHER_COCO_FILES) and name != _NAMES_OF_YOLO
    ]
    files = [place / name for name in names]
    kinds = {file: _format_of(file) for file in files[:_PEEKED]}
    if len(wanted) == 1:  # the user knows better than a look at the first bytes
        kinds = {file: kind or wanted[0] for file, kind in kinds.items()}
    _refuse_several(place, kinds, wanted)
    for kind in ("coco", "via", "labelstudio"):
        found = [file for file, its_kind in kinds.items() if its_kind == kind and kind in wanted]
        if len(found) == 1:
            return {"": Part(kind, folder, (found[0],))}
        if found:
            return {set_name(file): Part(kind, file, (file,)) for file in found}
    if "labelme" in wanted and "labelme" in kinds.values():
        return {"": Part("labelme", folder, tuple(files))}
    if "geojson" in wanted and "geojson" in kinds.values():
        files = [file for file in files if kinds.get(file, "geojson") == "geojson"]
        return geojson_files.parts(folder, files, folders)
    # Behind JSON, since who exports both means the same labels.
    tables = [place / name for name in folders.with_suffix(place, (".csv",))]
    tables = [file for file in tables[:_PEEKED] if "via" in wanted and _format_of(file) == "via"]
    if len(tables) == 1:
        return {"": Part("via", folder, (tables[0],))}
    return {set_name(file): Part("via", file, (file,)) for file in tables}


def _refuse_several(place: Path, kinds: dict[Path, str | None], wanted: tuple[str, ...]) -> None:
    """Refuse annotation files of several tools in one folder: nobody knows which is meant."""
    there = {kind: file.name for file, kind in kinds.items() if kind in wanted}
    if len(there) > 1:
        shown = ", ".join(f"{kind} ({name})" for kind, name in there.items())
        raise FormatError(
            f"{place} holds annotations of several tools, {shown}: which are meant? --format says "
            "it (format= in Python), or give the file in place of the folder."
        )


def _cvat_parts(folder: Path, folders: Folders) -> dict[str, Part]:
    for place in (folder, folder / "annotations", folder / "Annotations"):
        files = [place / name for name in folders.with_suffix(place, (".xml",))[:_PEEKED]]
        files = [file for file in files if _format_of(file) == "cvat"]
        if len(files) == 1:
            return cvat.parts(folder, files[0])
        if files:
            return {file.stem: Part("cvat", file, (file,)) for file in files}
    return {}


def _voc_parts(folder: Path, folders: Folders) -> dict[str, Part]:
    for place in (folder / "Annotations", folder / "annotations", folder):
        names = folders.with_suffix(place, (".xml",))
        if not names and place != folder:
            place = _only_folder(place, folders)
            names = folders.with_suffix(place, (".xml",))
        if not names:
            continue
        files = tuple(place / name for name in names)
        if folders.names(folder / "SegmentationObject"):
            lists = folder / "ImageSets" / "Segmentation"
        else:
            lists = folder / "ImageSets" / "Main"
        parts = {
            name[:-4]: Part("voc", folder, files, _members(lists / name))
            for name in folders.with_suffix(lists, (".txt",))
            if name in ("train.txt", "val.txt", "test.txt")
        }
        return parts or {"": Part("voc", folder, files)}
    if folders.names(folder / "SegmentationObject") and folders.names(folder / "JPEGImages"):
        return {"": Part("voc", folder)}
    return {}


def _only_folder(place: Path, folders: Folders) -> Path:
    """The folder that is alone in one, some levels deep, as LabelMe of MIT has them."""
    for _ in range(4):
        below = [name for name in folders.names(place) if (place / name).is_dir()]
        if len(below) != 1:
            break
        place = place / below[0]
    return place


def _members(file: Path) -> frozenset[str]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file} can't be read: {error}.") from None
    return frozenset(line.split()[0] for line in lines if line.split())


def _mask_folders(folder: Path, folders: Folders) -> dict[str, Part]:
    for name in folders.names(folder):
        below = folders.names(folder / name)
        if "images" in below and "masks" in below and not _indexed(folder / name, folders):
            return {"": Part("masks", folder)}
    for pictures, masks in pairing.folder_pairs(folder, folders):
        names, files = (
            pairing.picture_names(pictures, folders),
            pairing.mask_names(masks, folders),
        )
        found = pairing.instance_files(names, files)
        if 2 * len(found) > len(files) and not pairing.pairs(names, files):
            return {"": Part("masks", folder, (pictures, masks))}
    return {}


def _indexed(folder: Path, folders: Folders) -> dict[str, Part]:
    """Folders of pictures and of masks whose names belong together, or one folder of both."""
    for pictures, masks in pairing.folder_pairs(folder, folders):
        names = pairing.picture_names(pictures, folders)
        if pairing.pairs(names, pairing.mask_names(masks, folders)):
            return {"": Part("indexed", folder, (pictures, masks))}
    names = {*pairing.picture_names(folder, folders), *pairing.mask_names(folder, folders)}
    if pairing.one_folder(names):
        return {"": Part("indexed", folder, (folder, folder))}
    return {}


# -- One file ---------------------------------------------------------------------------------


def _format_of(file: Path) -> str | None:
    """The format of an annotation file, by the names in its first bytes; None if it is none."""
    try:
        with open(regular_file(file), "rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return None
    if file.suffix.lower() in (".yaml", ".yml"):
        return "yolo"
    if file.suffix.lower() == ".xml":
        return "cvat" if re.search(rb"<annotations[\s>]", head) else "voc"
    if b"\0" in head[:4] or FOUND_BY_US.encode() in head:
        return None
    if file.suffix.lower() == ".csv":
        return "via" if is_csv_of_via(head) else None
    if file.suffix.lower() == ".geojson" or _GEOJSON.search(head):
        return "geojson"
    keys = set(re.findall(rb'"(\w+)"\s*:', head))
    if {b"pid", b"config"} <= keys:  # VIA 3
        return "via"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" and keys & _OF_LABEL_STUDIO:
        return "labelstudio"
    if keys & {b"_via_settings", b"_via_img_metadata", b"_via_data_format_version"}:
        return "via"
    if keys & {b"imagePath", b"imageData"} or {b"shapes", b"version"} <= keys:
        return "labelme"
    if (
        keys & {b"shape_attributes", b"file_attributes", b"fileref"}
        or {
            b"filename",
            b"regions",
        }
        <= keys
    ):
        return "via"
    if keys & {b"images", b"annotations", b"categories"}:
        return "coco"
    return None
