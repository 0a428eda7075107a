"""Small labelled sets in every format, drawn here: two pictures of 40x60, a cat and a dog.

The cat is the polygon of rows 5..14 and columns 10..29 in a.png; the dog lies in b.png.
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60
SIZE = (HEIGHT, WIDTH)
CAT = np.s_[5:15, 10:30]
DOG = np.s_[20:31, 30:51]


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH, **options) -> Path:
    """A picture file whose upper left pixel is red and whose others are grey."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[0, 0] = 255, 0, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def mask_of(*regions: tuple, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    for region in regions:
        mask[region] = True
    return mask


def save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette([(i * 37) % 256 for i in range(768)])
    image.save(path)


def png(array: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def corners(region: tuple, edge: int = 0) -> tuple[list[int], list[int]]:
    """(xs, ys) of a rectangle's corners; edge=1: outer edges of the pixels, as in COCO."""
    rows, columns = region
    y1, y2, x1, x2 = rows.start, rows.stop - 1 + edge, columns.start, columns.stop - 1 + edge
    return [x1, x2, x2, x1], [y1, y1, y2, y2]


def coco_content() -> dict:
    def annotation(number, image_id, category_id, region, **more):
        xs, ys = corners(region, edge=1)
        outline = [[float(side) for point in zip(xs, ys) for side in point]]
        box = [xs[0], ys[0], xs[1] - xs[0], ys[2] - ys[0]]
        return {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "iscrowd": 0,
            "bbox": box,
            "area": box[2] * box[3],
            "segmentation": outline,
            **more,
        }

    crowd = mask_of(DOG).T.reshape(-1)  # column by column
    edges = np.flatnonzero(np.diff(crowd)) + 1
    runs = np.diff([0, *edges, crowd.size]).tolist()
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 9, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [
            annotation(1, 7, 17, CAT),
            annotation(2, 9, 18, DOG),
            annotation(
                3, 9, 18, DOG, iscrowd=1, segmentation={"size": [HEIGHT, WIDTH], "counts": runs}
            ),
        ],
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 17, "name": "cat", "supercategory": "animal"},
        ],
    }


def via_content() -> dict:
    def entry(name, region, label):
        xs, ys = corners(region)
        shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
        region = {"shape_attributes": shape, "region_attributes": {"name": label}}
        return {"filename": name, "size": 1, "regions": [region], "file_attributes": {}}

    return {"a.png1": entry("a.png", CAT, "cat"), "b.png1": entry("b.png", DOG, "dog")}


def labelme_content(name: str, region: tuple, label: str) -> dict:
    xs, ys = corners(region)
    points = [[float(x), float(y)] for x, y in zip(xs, ys)]
    shape = {"label": label, "points": points, "group_id": None, "shape_type": "polygon"}
    return {
        "version": "5.0.1",
        "flags": {},
        "shapes": [{**shape, "flags": {}}],
        "imagePath": name,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def voc_xml(name: str, region: tuple, label: str) -> str:
    xs, ys = corners(region)
    box = f"<xmin>{xs[0] + 1}</xmin><ymin>{ys[0] + 1}</ymin>"
    box += f"<xmax>{xs[1] + 1}</xmax><ymax>{ys[2] + 1}</ymax>"
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    thing = f"<object><name>{label}</name><bndbox>{box}</bndbox></object>"
    return f"<annotation><filename>{name}</filename>{size}{thing}</annotation>"


def yolo_rows(region: tuple, number: int) -> str:
    xs, ys = corners(region, edge=1)
    return f"{number} " + " ".join(f"{x / WIDTH:.8f} {y / HEIGHT:.8f}" for x, y in zip(xs, ys))


def cvat_xml(*images: tuple[str, str]) -> str:
    """CVAT's file of pictures: (name, what is in its element)."""
    inside = "".join(
        f'<image id="{number}" name="{name}" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
        for number, (name, shapes) in enumerate(images)
    )
    return f"<annotations><version>1.1</version>{inside}</annotations>"


def cvat_polygon(region: tuple, label: str) -> str:
    points = ";".join(f"{x}.00,{y}.00" for x, y in zip(*corners(region, edge=1)))
    return f'<polygon label="{label}" source="manual" points="{points}" z_order="0"></polygon>'


def labelstudio_task(name: str, *results: dict) -> dict:
    return {"id": 1, "data": {"image": name}, "annotations": [{"id": 1, "result": list(results)}]}


def labelstudio_polygon(region: tuple, label: str) -> dict:
    points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in zip(*corners(region, edge=1))]
    return labelstudio_result("polygonlabels", label, points=points)


def labelstudio_result(kind: str, label: str, **value) -> dict:
    return {
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": {**value, kind: [label]},
    }


def labelstudio_content() -> list[dict]:
    return [
        labelstudio_task(f"/data/upload/1/0badcafe-{name}.png", labelstudio_polygon(region, label))
        for name, region, label in (("a", CAT, "cat"), ("b", DOG, "dog"))
    ]


def geojson_feature(region: tuple, label: str, *holes: tuple, **properties) -> dict:
    rings = [list(map(list, zip(*corners(one, edge=1)))) for one in (region, *holes)]
    return {
        "type": "Feature",
        "id": "7d0e3f5a-0000-4000-8000-000000000000",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in rings]},
        "properties": {"objectType": "annotation", "classification": {"name": label}, **properties},
    }


def geojson_content(*features: dict) -> dict:
    return {"type": "FeatureCollection", "features": list(features)}


def make(format: str, folder: Path) -> Path:
    """Write the set in a format; returns the file that holds its annotations."""
    things = (("a", CAT, "cat"), ("b", DOG, "dog"))
    pictures = {"voc": "JPEGImages", "indexed": "images", "yolo": "images"}.get(format, "")
    if format != "masks":
        for name, _, _ in things:
            picture(folder / pictures / f"{name}.png")
    if format == "coco":
        return write_json(folder / "instances.json", coco_content())
    if format == "via":
        return write_json(folder / "via_region_data.json", via_content())
    if format == "cvat":
        file = folder / "annotations.xml"
        shapes = [(f"{name}.png", cvat_polygon(region, label)) for name, region, label in things]
        file.write_text(cvat_xml(*shapes))
        return file
    if format == "labelstudio":
        return write_json(folder / "project-1.json", labelstudio_content())
    for number, (name, region, label) in enumerate(things, 1):
        mask = mask_of(region)
        if format == "labelme":
            file = write_json(
                folder / f"{name}.json", labelme_content(f"{name}.png", region, label)
            )
        elif format == "geojson":
            content = geojson_content(geojson_feature(region, label))
            file = write_json(folder / f"{name}.geojson", content)
        elif format == "voc":
            file = folder / "Annotations" / f"{name}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(voc_xml(f"{name}.png", region, label))
        elif format == "yolo":
            file = folder / "labels" / f"{name}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text(yolo_rows(region, number - 1) + "\n")
            (folder / "classes.txt").write_text("cat\ndog\n")
        elif format == "indexed":
            file = folder / "masks" / f"{name}.png"
            save(file, mask.astype(np.uint8) * number)
        else:
            picture(folder / name / "images" / f"{name}.png")
            file = folder / name / "masks" / "1.png"
            save(file, mask.astype(np.uint8) * 255)
    return file
