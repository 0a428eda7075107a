"""Labels of tools that are not read: recognised, and answered with the export to choose."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mrcnn.data.formats.files import Folders
from mrcnn.data.formats.notes import shortened
from mrcnn.whole import no_file

_HEAD = 1 << 14  # bytes of a file
_MOST = 40  # files that are looked into
_DEEP = 3  # folders below the one that was named

# What a file is called, what stands in its head (either may be ""), whose it is, what to do.
_KINDS = (
    (
        r"person_keypoints_.*\.json",
        "",
        "COCO's keypoints",
        "give that file itself: its outlines are read, and without them its boxes",
    ),
    (r"captions_.*\.json", "", "COCO's captions", "get instances_*.json of the same pictures"),
    (
        r"image_info_.*\.json",
        "",
        "a list of COCO's pictures without labels",
        "get instances_*.json",
    ),
    (
        r"(stuff|panoptic)_.*\.json",
        "",
        "COCO's stuff or panoptic labels",
        "get instances_*.json of the same pictures",
    ),
    (
        r"panoptic.*\.json",
        r'"segments_info"',
        "panoptic labels",
        "export instance segmentation as COCO",
    ),
    (
        r".*_gtFine_.*|.*_instanceIds\.png",
        "",
        "Cityscapes' labels",
        "make COCO of them (a converter of Cityscapes to COCO writes instances_*.json)",
    ),
    (
        r".*\.roi|RoiSet.*\.zip",
        "",
        "ImageJ's ROIs",
        "in Fiji make a label image of them (each ROI a value) and save it as masks/NAME.tif "
        "beside images/NAME.tif",
    ),
    (
        r".*_seg\.npy",
        "",
        "cellpose's own file by itself",
        "give the folder in which it lies beside its picture, or in cellpose save the masks there "
        "as PNG or TIFF (File, Save masks)",
    ),
    (
        r".*\.json",
        r'"classTitle"|"objectType"|"geometryType"',
        "Supervisely's labels",
        "export the project as COCO instances",
    ),
    (
        r".*\.json",
        r'"imgHeight"\s*:.*"objects"',
        "Cityscapes' polygons",
        "make COCO of them with a converter",
    ),
    (
        r".*\.(nd)?json",
        r'"Labeled Data"|"data_row"',
        "Labelbox' export",
        "convert it to COCO with Labelbox' own tool",
    ),
    (
        r".*\.json",
        r'"___|"lastAction"|"instances"\s*:.*"pointLabels"',
        "SuperAnnotate's labels",
        "export them as COCO",
    ),
    (
        r".*\.json",
        r'"darwin|"dataset_management"|"bounding_box".*"polygon".*"paths"',
        "V7 Darwin's labels",
        "export them as COCO",
    ),
    (r".*\.json", r'"poly2d"|"box2d"', "BDD100K's labels", "convert them to COCO"),
    (
        r".*\.json",
        r'^\s*\[\s*\{[^}]*"(image_id|category_id)"',
        "a list of results, without pictures and names of classes",
        "give the COCO file with images, annotations and categories",
    ),
    (
        r".*\.json",
        r'^\s*\[\s*\{[^}]*"image"\s*:.*"coordinates"',
        "CreateML's boxes",
        "export outlines, as COCO",
    ),
    (r".*\.xml", r"<ASAP_Annotations", "ASAP's labels", "write masks or COCO of them"),
    (
        r".*\.xml",
        r"<Annotations[^>]*MicronsPerPixel",
        "Aperio's labels",
        "write masks or COCO of them",
    ),
    (
        r".*\.csv",
        r"EncodedPixels",
        "run-lengths of Kaggle in CSV",
        "write a mask for each row, as ID/masks/1.png beside ID/images/ID.png",
    ),
    (
        r".*\.csv",
        r"(?i)xmin.*ymin|bbox_x",
        "boxes in CSV",
        "export outlines, as COCO; boxes alone teach no outlines",
    ),
    (
        r".*\.csv",
        r"MaskPath|LabelName",
        "Open Images' lists",
        "convert them to COCO, with the masks",
    ),
    (r".*\.(tfrecords?|record)(-.*)?", "", "TFRecords", "give the files that they were made of"),
    (r".*\.(nii|nii\.gz|nrrd|mha|dcm)", "", "volumes", "write pictures and label images of slices"),
    (r".*\.mat", "", "MATLAB's labels", "write masks or COCO of them"),
    (r".*\.(psd|xcf|ora)", "", "pictures in layers", "save each layer of labels as a PNG mask"),
)


def recognised(path: Path, folders: Folders) -> str:
    """A sentence about the labels in a folder, or in a file, that no reader knows; "" for none."""
    looked = 0
    for file in _files(path, folders):
        name, head = file.name, None
        for pattern, inside, whose, instead in _KINDS:
            if not re.fullmatch(pattern, name, re.IGNORECASE):
                continue
            if inside and head is None:
                if looked >= _MOST:
                    continue
                head, looked = _head(file), looked + 1
            if not inside or re.search(inside, head or "", re.DOTALL):
                return f"{shortened(name)} looks like {whose}, which can't be read: {instead}."
    return ""


def _files(path: Path, folders: Folders) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    waiting = [(path, 0)]
    seen = 0
    while waiting and seen < 2000:
        folder, depth = waiting.pop(0)
        for name in sorted(folders.names(folder)):
            seen += 1
            if depth < _DEEP and (folder / name).is_dir():
                waiting.append((folder / name, depth + 1))
            elif not no_file(os.path.join(folder, name)):
                yield folder / name


def _head(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return ""
