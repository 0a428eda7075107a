"""Small sound sets of every format, with all that it can hold: for the attack on the readers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.formats import FORMATS
from mrcnn.data.formats.brush import pack_brush
from tests.data.labelled_sets import (
    CAT,
    DOG,
    geojson_content,
    geojson_feature,
    labelme_content,
    labelstudio_polygon,
    labelstudio_result,
    labelstudio_task,
    make,
    mask_of,
    picture,
    png,
    save,
    yolo_rows,
)
from tests.faults.habits import HABITS


def _labelme_with_masks(folder: Path) -> None:
    make("labelme", folder)
    content = labelme_content("a.png", CAT, "cat")
    content["shapes"] += [
        {
            "label": "cat",
            "shape_type": "mask",
            "points": [[10, 5], [29, 14]],
            "mask": png(np.ones((10, 20), np.uint8) * 255),
        },
        {"label": "dog", "shape_type": "circle", "points": [[20, 20], [23, 24]], "group_id": 3},
        {"label": "dog", "shape_type": "rectangle", "points": [[2, 2], [9, 9]], "group_id": 3},
    ]
    (folder / "a.json").write_text(json.dumps(content))
    content = labelme_content("gone.png", DOG, "dog")
    content["imageData"] = png(np.full((40, 60, 3), 99, np.uint8))
    (folder / "b.json").write_text(json.dumps(content))


def _via_project(folder: Path) -> None:
    make("via", folder)
    (file,) = folder.glob("*.json")
    content = json.loads(file.read_text())
    first = next(iter(content.values()))
    shapes: list[dict] = [
        {"name": "circle", "cx": 20, "cy": 20, "r": 5},
        {"name": "ellipse", "cx": 20, "cy": 20, "rx": 5, "ry": 9, "theta": 0.5},
        {"name": "rect", "x": 3, "y": 3, "width": 9, "height": 9},
        {"name": "polyline", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]},
    ]
    first["regions"] += [
        {"shape_attributes": shape, "region_attributes": {"name": "cat"}} for shape in shapes
    ]
    first["file_attributes"] = {"predicted": "0badcafe"}
    core = {"default_filepath": folder.as_uri() + "/", "filepath": {}}
    settings = {"core": core, "project": {"name": "x", "pictures": "."}, "ui": {}}
    project = {"_via_settings": settings, "_via_img_metadata": content, "_via_attributes": {}}
    file.write_text(json.dumps(project))


def _voc_masks(folder: Path) -> None:
    for name, region in (("a", CAT), ("b", DOG)):
        picture(folder / "JPEGImages" / f"{name}.png")
        mask = mask_of(region).astype(np.uint8)
        save(folder / "SegmentationObject" / f"{name}.png", mask, palette=True)
        save(folder / "SegmentationClass" / f"{name}.png", mask * 8, palette=True)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")


def _named_masks(folder: Path) -> None:
    make("indexed", folder)
    for name, region in (("a", CAT), ("b", DOG)):
        mask = mask_of(region).astype(np.uint8)
        save(folder / "SegmentationClass" / f"{name}.png", mask)
    (folder / "labelmap.txt").write_text("background:0,0,0::\ncat:128,0,0::\n")


def _yolo_by_yaml(folder: Path) -> None:
    for part, region in (("train", CAT), ("val", DOG)):
        picture(folder / part / "images" / f"{part}.png")
        text = f"{yolo_rows(region, 1)}\n0 0.5 0.5 0.2 0.2\n1 .1 .1 .4 .1 .4 .4 0.9\n"
        (folder / part / "labels").mkdir()
        (folder / part / "labels" / f"{part}.txt").write_text(text)
    (folder / "list.txt").write_text("./train/images/train.png\n")
    names = "names: {0: cat, 1: 'dog'}\nkpt_shape: [2, 3] # none\n"
    (folder / "data.yaml").write_text(f"path: .\ntrain: list.txt\nval: ../val/images\n{names}")


def _cvat_shapes(folder: Path) -> None:
    make("cvat", folder)
    shapes = (
        '<mask label="dog" rle="2, 3, 1, 4" left="30" top="20" width="5" height="2"/>'
        '<box label="cat" xtl="10.5" ytl="5.0" xbr="30" ybr="15" rotation="30" group_id="2"/>'
        '<ellipse label="cat" cx="20.5" cy="20.5" rx="10" ry="5" rotation="90" group_id="2"/>'
        '<points label="cat" points="1,1"/><tag label="dog"/>'
    )
    subsets = [f'<image subset="{name}"' for name in ("train", "val")]
    text = (folder / "annotations.xml").read_text().replace("</image>", f"{shapes}</image>", 1)
    for subset in subsets:
        text = text.replace("<image id", f"{subset} id", 1)
    meta = "<meta><pictures>.</pictures><labels><label><name>dog</name></label></labels></meta>"
    track = '<track id="0" label="cat"/>'
    text = text.replace("<version>", f"{meta}<version>").replace("</annotations>", track)
    (folder / "annotations.xml").write_text(f"{text}</annotations>")


def _labelstudio_shapes(folder: Path) -> None:
    make("labelstudio", folder)
    box = {"x": 10.0, "y": 10.0, "width": 30.0, "height": 20.0, "rotation": 30}
    oval = {"x": 50.0, "y": 50.0, "radiusX": 9.0, "radiusY": 20.0, "rotation": 10}
    address = f"data:image/png;base64,{png(mask_of(DOG).astype(np.uint8) * 255)}"
    results = [
        labelstudio_result("brushlabels", "dog", format="rle", rle=pack_brush(mask_of(DOG))),
        labelstudio_result("rectanglelabels", "cat", **box),
        labelstudio_result("ellipselabels", "cat", **oval),
        labelstudio_result("bitmasklabels", "cat", imageDataURL=address),
        labelstudio_result("keypointlabels", "cat", x=1, y=1, width=1),
        {"id": "x", "type": "polygon", "value": {"points": [[1, 1], [9, 1], [9, 9]]}},
        {"id": "x", "type": "labels", "value": {"labels": ["cat"]}},
    ]
    first = labelstudio_task("/data/local-files/?d=scans/a.png", *results)
    first["meta"] = {"file": "a.png"}
    second = labelstudio_task("s3://bucket/b.png", results[0])
    second["predictions"] = [{"result": results, "score": 0.5}]
    (folder / "project-1.json").write_text(json.dumps([first, second]))


def _labelstudio_min(folder: Path) -> None:
    make("labelstudio", folder)
    task = {"id": 1, "image": "/data/upload/1/0badcafe-a.png", "annotator": 1, "annotation_id": 1}
    value = labelstudio_polygon(CAT, "cat")["value"]
    task["label"] = [{**value, "original_width": 60, "original_height": 40}]
    (folder / "project-1.json").write_text(json.dumps([task]))


def _geojson_of_qupath(folder: Path) -> None:
    """One file for two pictures: holes, pieces, cells where QuPath searched, and a tile."""
    make("geojson", folder)
    for file in folder.glob("*.geojson"):
        file.unlink()
    hole = np.s_[8:11, 15:20]
    cat = geojson_feature(CAT, "cat", hole, image="a.png")
    several = geojson_feature(DOG, "dog", image="b.png", objectType="cell", name="Cell 1")
    rings = several["geometry"]["coordinates"]
    several["geometry"] = {
        "type": "MultiPolygon",
        "coordinates": [rings, [[[1, 1], [9, 1], [9, 9]]]],
    }
    searched = geojson_feature(np.s_[0:40, 0:60], "", image="b.png")
    tile = {**searched, "properties": {"objectType": "tile", "file_name": "b"}}
    line = {**tile, "geometry": {"type": "LineString", "coordinates": [[1, 1], [2, 2]]}}
    content = geojson_content(cat, several, searched, tile, line)
    content["crs"] = {"type": "name", "properties": {"name": "pixels"}}
    (folder / "all.json").write_text(json.dumps(content))


def _of_cellpose(folder: Path) -> None:
    picture(folder / "a.png")
    masks = (mask_of(CAT) * 1 + mask_of(DOG) * 2).astype(np.uint16)
    whole = {"outlines": masks[:1], "masks": masks, "filename": "a.png", "flows": [masks[:1], []]}
    np.save(folder / "a_seg.npy", np.array(whole, object), allow_pickle=True)


def _parts_of(format: str) -> Callable[[Path], None]:
    def make_parts(folder: Path) -> None:
        for part in ("train", "val"):
            make(format, folder / part)

    return make_parts


SETS: dict[str, Callable[[Path], Any]] = {
    **{format: lambda folder, format=format: make(format, folder) for format in FORMATS},
    "labelme with masks": _labelme_with_masks,
    "via project": _via_project,
    "voc with masks": _voc_masks,
    "indexed with classes": _named_masks,
    "yolo by yaml": _yolo_by_yaml,
    "cvat with all shapes": _cvat_shapes,
    "labelstudio with all shapes": _labelstudio_shapes,
    "labelstudio, JSON-MIN": _labelstudio_min,
    "masks of cellpose": _of_cellpose,
    "geojson of QuPath": _geojson_of_qupath,
    **{f"{format} in parts": _parts_of(format) for format in ("coco", "via", "masks", "yolo")},
    **HABITS,
}
