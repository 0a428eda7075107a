"""Sound sets of kinds that people have: other files of VIA, masks by name, habits of tools."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.labelled_sets import CAT, DOG, SIZE, make, mask_of, picture, save


def _via_csv(folder: Path) -> None:
    make("via", folder)
    (file,) = folder.glob("*.json")
    columns = "filename,file_size,file_attributes,region_count,region_id"
    with (folder / "via.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow([*columns.split(","), "region_shape_attributes", "region_attributes"])
        for entry in json.loads(file.read_text()).values():
            for region in entry["regions"]:
                cells = [json.dumps(cell) for cell in region.values()]
                rows.writerow([entry["filename"], 1, "{}", 1, 0, *cells])
    file.unlink()


def _via_3(folder: Path) -> None:
    picture(folder / "a.png")
    rows = [[7, 10, 5, 29, 5, 29, 14], [2, 3, 3, 9, 9], [8, 4, 30, 10, 28, 16, 35, 9, 39]]
    rows += [[3, 20, 20, 5], [4, 20, 20, 5, 9], [9, 25, 20, 15, 20, 20, 25], [6, 1, 1, 9, 1, 9, 9]]
    attribute = {"aname": "kind", "type": 4, "options": {"0": "cat", "1": "dog"}}
    content = {
        "project": {"pid": "x", "pname": "x", "vid_list": ["1"]},
        "config": {"file": {}},
        "attribute": {"1": attribute},
        "file": {"7": {"fid": "7", "fname": "a.png", "type": 2, "loc": 1, "src": "a.png"}},
        "metadata": {
            f"1_{i}": {"vid": "1", "z": [], "xy": row, "av": {"1": str(i % 2)}}
            for i, row in enumerate(rows)
        },
        "view": {"1": {"fid_list": ["7"]}},
    }
    (folder / "project.json").write_text(json.dumps(content))


def _xml_polygons(folder: Path) -> None:
    make("voc", folder)
    for file in (folder / "Annotations").glob("*.xml"):
        points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((9, 5), (29, 5), (9, 14)))
        numbers = "<x1>9</x1><y1>5</y1><x2>29</x2><y2>5</y2><x3>9</x3><y3>14</y3>"
        outline = points if file.stem == "a" else numbers
        text = file.read_text().replace("</object>", f"<polygon>{outline}</polygon></object>")
        file.write_text(text)


def _masks_by_name(folder: Path) -> None:
    for name, region in (("a", CAT), ("b", DOG)):
        picture(folder / "images" / f"{name}.png")
        for number, label in enumerate(("cat", "dog")):
            plane = mask_of(region).astype(np.uint8) * 255
            save(folder / "annotations" / f"{name}_{label}_{number}.png", plane)


def _masks_beside(folder: Path) -> None:
    """In one folder; one of them with alpha, one in black and white."""
    for name, region in (("a", CAT), ("b", DOG)):
        picture(folder / f"{name}.png")
        plane = mask_of(region, np.s_[36:39, 2:9]).astype(np.uint8) * 255
        if name == "a":
            plane = np.dstack([np.full((*SIZE, 3), 255, np.uint8), plane])
        save(folder / f"{name}_masks.png", plane)


def _habits(folder: Path) -> None:
    """COCO with crowds alone, a hole, a box without outline, and a row twice."""
    make("coco", folder)
    (file,) = folder.glob("*.json")
    content = json.loads(file.read_text())
    content["categories"].append({"id": 3, "name": "_background_"})
    first = content["annotations"][0]
    content["annotations"] += [first, {**first, "category_id": 3}]
    content["annotations"].append({**first, "segmentation": [], "attributes": {"rotation": 9.5}})
    for row in content["annotations"]:
        row["iscrowd"] = 1
    file.write_text(json.dumps(content))


HABITS: dict[str, Callable[[Path], Any]] = {
    "via csv": _via_csv,
    "via 3": _via_3,
    "xml with polygons": _xml_polygons,
    "masks by name": _masks_by_name,
    "masks beside": _masks_beside,
    "habits of coco": _habits,
}
