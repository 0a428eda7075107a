"""Writers of annotation files: what the readers get back, and what is never overwritten."""

import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
import skimage.draw
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.data import formats
from mrcnn.data.formats import marks
from mrcnn.data.formats.plain_yaml import read_yaml
from mrcnn.data.writers import (
    WRITERS,
    CocoWriter,
    Labelled,
    LabelmeWriter,
    ViaWriter,
    file_name_from,
    write_coco,
    write_labelme,
    write_via,
)
from mrcnn.data.writing import Instance, polygon_on_edges
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.outlines import mask_iou
from mrcnn.geometry.regions import polygon_mask

NAMES = ["BG", "cell", "large cell, round"]


def _item(name: str, height: int, width: int, seed: int, crowd: bool = False) -> Labelled:
    """A dozen blobs: some cut by the border, one with a hole, one in two parts, one pixel."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((height, width, 12), bool)
    for i in range(10):
        y, x = rng.integers(0, (height, width))
        ellipse = skimage.draw.ellipse(y, x, *rng.uniform(2, 12, 2), (height, width), rotation=i)
        masks[(*ellipse, i)] = True
    masks[5:30, 5:30, 0] = True
    masks[12:20, 10:25, 0] = False
    masks[40:50, 2:9, 1] = True
    masks[:, :, 10] = False
    masks[0, 0, 11] = True  # and instance 10 has no pixel
    class_ids = rng.integers(1, 3, 12)
    if crowd:
        class_ids[2] *= -1
    return Labelled(name, height, width, masks, class_ids, rng.random(12))


@pytest.fixture
def items(tmp_path) -> list[Labelled]:
    made = [_item("photos/a.png", 60, 80, 0), _item("photos/b.png", 70, 51, 1)]
    made.append(Labelled("photos/none.png", 9, 8, np.zeros((9, 8, 0), bool), np.zeros(0, int)))
    (tmp_path / "photos").mkdir()
    for item in made:
        Image.new("RGB", (item.width, item.height)).save(tmp_path / item.file_name)
    return made


def _write(format: str, folder: Path, items: list[Labelled]) -> Path:
    path = folder / f"made{WRITERS[format].suffix}"
    if path.suffix == "":
        # A folder deeper, so the way to the pictures is another one.
        items = [replace(item, file_name=f"../{item.file_name}") for item in items]
    with WRITERS[format](path, NAMES) as writer:
        for item in items:
            writer.add(item)
    return path


@pytest.mark.parametrize("format", WRITERS)
def test_a_round_trip_loses_nothing(format, items, tmp_path):
    dataset = formats.open(_write(format, tmp_path, items), format)
    names = [info["name"] for info in dataset.class_info]
    read = {Path(info["path"]).name: i for i, info in enumerate(dataset.image_info)}
    assert sorted(read) == ["a.png", "b.png", "none.png"]
    for item in items:
        masks, class_ids = dataset.load_mask(read[Path(item.file_name).name])
        assert masks.shape[:2] == (item.height, item.width)
        some = item.masks.any(axis=(0, 1))  # instances without a pixel can't be written
        assert len(class_ids) == np.count_nonzero(some)
        assert [names[i] for i in class_ids] == [NAMES[i] for i in item.class_ids[some]]
        for i, expected in enumerate(np.moveaxis(item.masks[..., some], -1, 0)):
            assert mask_iou(masks[..., i], expected) >= 0.98
    assert not [note for note in dataset.notes if "drop" in note or "cut" in note]


def test_coco_is_what_pycocotools_reads(items, tmp_path):
    crowded = _item("photos/c.png", 60, 80, 3, crowd=True)
    notes = write_coco(tmp_path / "coco.json", [*items, crowded], NAMES, category_ids=[0, 7, 90])
    assert notes == ["Instances without a pixel, left out: 3, the first in photos/a.png."]
    coco = COCO(tmp_path / "coco.json")
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [
        (7, "cell"),
        (90, "large cell, round"),
    ]
    assert [image["file_name"] for image in coco.dataset["images"]] == [
        "photos/a.png",
        "photos/b.png",
        "photos/none.png",
        "photos/c.png",
    ]
    found = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    ring = items[0].masks[..., 0]
    assert isinstance(found[0]["segmentation"], dict)  # COCO's polygons have no holes
    np.testing.assert_array_equal(coco.annToMask(found[0]), ring)
    assert found[0]["area"] == ring.sum()
    assert all(isinstance(a["segmentation"], list) for a in found[2:])
    assert [a["category_id"] for a in found] == [
        [0, 7, 90][i] for i in np.delete(items[0].class_ids, 10)
    ]
    assert found[1]["score"] == pytest.approx(items[0].scores[1], abs=1e-6)  # 6 digits are written
    last = found[-1]  # the pixel in the corner
    assert (last["bbox"], last["area"], last["iscrowd"]) == ([0, 0, 1, 1], 1, 0)
    crowd = coco.loadAnns(coco.getAnnIds(imgIds=[4], iscrowd=True))
    assert len(crowd) == 1 and isinstance(crowd[0]["segmentation"], dict)
    np.testing.assert_array_equal(coco.annToMask(crowd[0]), crowded.masks[..., 2])


def test_via_has_what_its_annotator_asks_for(items, tmp_path):
    crowded = _item("photos/c.png", 60, 80, 3, crowd=True)
    notes = write_via(tmp_path / "via.json", [*items, crowded], NAMES)
    assert "Crowds, which VIA has no word for, left out: 1, the first in photos/c.png." in notes
    project = json.loads((tmp_path / "via.json").read_text())
    assert {"_via_settings", "_via_img_metadata", "_via_attributes"} <= project.keys()
    assert project["_via_image_id_list"] == list(project["_via_img_metadata"])
    dropdown = project["_via_attributes"]["region"]["class"]
    assert dropdown["type"] == "dropdown" and list(dropdown["options"]) == NAMES[1:]
    size = os.path.getsize(tmp_path / "photos/a.png")
    entry = project["_via_img_metadata"][f"a.png{size}"]
    assert entry["size"] == size and entry["filename"] == "a.png"
    assert entry["regions"][1]["region_attributes"] == {
        "class": NAMES[items[0].class_ids[1]],
        "score": str(round(items[0].scores[1], 6)),
    }
    assert project["_via_img_metadata"]["c.png-1"]["size"] == -1  # there is no such file


def shown_by_via(file, page="file:///opt/via/via.html"):
    """{file name: where VIA 2.0.10 takes the picture from} when it opens a project.

    Its page is elsewhere. A project that has a default_filepath gets its pictures from that and
    the file name in one, resolved like any picture of a page.
    """
    project = json.loads(file.read_text())
    settings = project["_via_settings"]
    assert set(settings) <= {"ui", "core", "project", "shape"}  # others break VIA
    base = settings["core"]["default_filepath"]
    names = [entry["filename"] for entry in project["_via_img_metadata"].values()]
    addresses = {name: urljoin(page, (base + name).replace("#", "%23", 1)) for name in names}
    return {name: Path(url2pathname(urlsplit(url).path)) for name, url in addresses.items()}


def test_via_finds_the_pictures_whatever_folder_the_project_is_in(items, tmp_path):
    write_via(tmp_path / "found" / "via.json", [_at(items[0], "../photos/a.png")], NAMES)
    places = shown_by_via(tmp_path / "found" / "via.json")
    # The bare name: that of a file which somebody adds by hand.
    assert places == {"a.png": tmp_path / "photos" / "a.png"}
    (tmp_path / "more #1 ö").mkdir()
    shutil.copy(tmp_path / "photos/a.png", tmp_path / "more #1 ö/c.png")
    both = [_at(items[0], "photos/a.png"), _at(items[0], "more #1 ö/c.png")]
    write_via(tmp_path / "via.json", both, NAMES)
    places = shown_by_via(tmp_path / "via.json")
    assert places["photos/a.png"] == tmp_path / "photos" / "a.png"
    names = [info["path"] for info in formats.open(tmp_path / "via.json").image_info]
    assert [Path(name).name for name in names] == ["a.png", "c.png"]
    write_via(tmp_path / "one.json", [_at(items[0], "more #1 ö/c.png")], NAMES)
    assert shown_by_via(tmp_path / "one.json") == {"c.png": tmp_path / "more #1 ö" / "c.png"}


def test_a_via_project_is_read_after_all_of_it_has_moved(items, tmp_path):
    old = tmp_path / "old"
    (old / "pictures").mkdir(parents=True)
    shutil.copy(tmp_path / "photos/a.png", old / "pictures/a.png")
    write_via(old / "found" / "via.json", [_at(items[0], "../pictures/a.png")], NAMES)
    old.rename(tmp_path / "new")
    dataset = formats.open(tmp_path / "new" / "found" / "via.json")
    assert Path(dataset.image_info[0]["path"]) == tmp_path / "new" / "pictures" / "a.png"
    # Or the project alone, to where VIA's downloads go.
    shutil.move(tmp_path / "new" / "found" / "via.json", tmp_path / "via.json")
    (tmp_path / "new").rename(old)
    assert Path(formats.open(tmp_path / "via.json").image_info[0]["path"]).is_file()


def _at(item, file_name):
    return replace(item, file_name=file_name)


# -- Predictions that nobody has changed ------------------------------------------------------


def _via_saves(content):
    return json.loads(json.dumps(content))  # as it is


def _labelme_saves(content):
    for shape in content["shapes"]:
        shape["points"] = [[float(x), float(y)] for x, y in shape["points"]]
        shape |= {"mask": None}
    return content | {"imageData": None, "version": "5.6.0"}


@pytest.mark.parametrize("odd", [10**400, float("nan"), "half \ud800", {1: [None]}, object])
def test_regions_that_nobody_predicted_have_no_mark(odd):
    assert not marks.is_unchanged("0badcafe", [[odd]]) and not marks.is_unchanged(odd, [])


@pytest.mark.parametrize("format", ["coco", "via", "labelme"])
def test_predictions_are_marked_until_somebody_changes_them(format, items, tmp_path):
    predicted, said = items[0], replace(items[1], scores=None)
    write = {"coco": write_coco, "via": write_via, "labelme": write_labelme}[format]
    place = tmp_path if format == "labelme" else tmp_path / "labels.json"
    write(place, [predicted, said], NAMES)
    file = tmp_path / "a.json" if format == "labelme" else place

    def unchanged():
        dataset = formats.open(place, format)
        told = any("predictions that nobody has changed" in note for note in dataset.notes)
        marked = [bool(info.get("predicted")) for info in dataset.image_info]
        assert told == any(marked)
        return marked

    assert unchanged() == [True, False]
    content = json.loads(file.read_text())
    saved = {"via": _via_saves, "labelme": _labelme_saves}.get(format, _via_saves)(content)
    file.write_text(json.dumps(saved))
    assert unchanged() == [True, False]
    if format == "coco":
        del saved["annotations"][0]
    elif format == "via":
        entry = next(iter(saved["_via_img_metadata"].values()))
        entry["regions"][0]["shape_attributes"]["all_points_x"][0] += 1
    else:
        saved["shapes"][0]["label"] = "dust"
    file.write_text(json.dumps(saved))
    assert unchanged() == [False, False]


def test_labelme_files_have_names_of_their_own(items, tmp_path):
    same = [replace(items[0], file_name=f"../{folder}/a.png") for folder in "xy"]
    write_labelme(tmp_path / "labels", same, NAMES)
    first, second = (
        json.loads((tmp_path / "labels" / f).read_text()) for f in ("a.json", "a_2.json")
    )
    assert (first["imagePath"], second["imagePath"]) == ("../x/a.png", "../y/a.png")
    assert (first["imageHeight"], first["imageWidth"], first["imageData"]) == (60, 80, None)
    shape = first["shapes"][1]
    assert shape["label"] == NAMES[items[0].class_ids[1]] and shape["shape_type"] == "polygon"
    assert shape["description"] == f"score {round(items[0].scores[1], 6)}"


@pytest.mark.parametrize("write", [write_coco, write_via, write_labelme])
def test_work_done_by_hand_is_not_overwritten(write, items, tmp_path):
    place = tmp_path / "labels" if write is write_labelme else tmp_path / "a.json"
    write(place, items[:1], NAMES)
    file = place / "a.json" if place.is_dir() else place
    file.write_text("by hand")
    with pytest.raises(FileExistsError, match="made by hand"):
        write(place, items[:1], NAMES)
    assert file.read_text() == "by hand"
    write(place, items[:1], NAMES, overwrite=True)
    assert json.loads(file.read_text())


@pytest.mark.parametrize("kind", [CocoWriter, ViaWriter])
def test_an_error_leaves_the_old_file_and_no_litter(kind, items, tmp_path):
    (tmp_path / "a.json").write_text("old")
    before = sorted(path.name for path in tmp_path.iterdir())
    with (
        pytest.raises(KeyboardInterrupt),
        kind(tmp_path / "a.json", NAMES, overwrite=True) as writer,
    ):
        writer.add(items[0])
        raise KeyboardInterrupt
    assert (tmp_path / "a.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# -- YOLO, CVAT and Label Studio ----------------------------------------------------------------


def made(format, tmp_path, items, **options):
    path = tmp_path / "out" / f"made{WRITERS[format].suffix}"
    place = path if path.suffix else path.parent
    with WRITERS[format](place, NAMES, **options) as writer:
        for item in items:
            writer.add(_at(item, f"../{item.file_name}"))
    return place, writer.notes


def test_yolo_has_links_to_the_pictures_and_a_yaml(items, tmp_path):
    only = [replace(item, class_ids=np.full_like(item.class_ids, 2)) for item in items]
    folder, notes = made("yolo", tmp_path, only, used=[2])
    assert (folder / "images" / "a.png").is_symlink()
    assert (folder / "images" / "a.png").samefile(tmp_path / "photos" / "a.png")
    assert (folder / "labels" / "none.txt").read_text() == ""
    assert read_yaml(folder / "data.yaml") == {
        **{"train": "images", "val": "images", "nc": "1"},
        "names": {"0": "large cell, round"},
    }
    said = " ".join(notes)
    assert "Scores, which YOLO's labels have no place for, left out: 2" in said
    assert "Instances of several pieces or with holes, each strung together" in said


def test_yolo_keeps_pictures_apart_and_leaves_those_that_lie_there(tmp_path):
    mask = np.ones((9, 8, 1), bool)
    for folder in ("x", "y", "out/images"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (8, 9)).save(tmp_path / folder / "a.png")
    own = (tmp_path / "out" / "images" / "a.png").read_bytes()
    with WRITERS["yolo"](tmp_path / "out", NAMES, overwrite=True) as writer:
        for name in ("images/a.png", "../x/a.png", "../y/a.png"):
            writer.add(Labelled(name, 9, 8, mask, np.array([1])))
    images = tmp_path / "out" / "images"
    assert (images / "a.png").read_bytes() == own and not (images / "a.png").is_symlink()
    assert [(images / n).resolve().parent.name for n in ("a_2.png", "a_3.png")] == ["x", "y"]
    dataset = formats.open(tmp_path / "out")
    assert all(dataset.load_mask(i)[0].all() for i in dataset.image_ids)


def test_cvats_file_is_as_cvat_exports_it(items, tmp_path):
    path, notes = made("cvat", tmp_path, items)
    root = ElementTree.parse(path).getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    assert [e.text for e in root.iterfind("meta/job/labels/label/name")] == NAMES[1:]
    images = root.findall("image")
    assert [image.get("name") for image in images] == ["a.png", "b.png", "none.png"]
    assert images[0].get("width") == "80" and images[0].get("predicted")
    ring, two = images[0][0], images[0][1]
    assert (ring.tag, two.tag, images[0][2].tag) == ("mask", "mask", "polygon")
    height, width = int(ring.get("height")), int(ring.get("width"))
    runs = [int(run) for run in ring.get("rle").split(", ")]
    inside = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
    top, left = int(ring.get("top")), int(ring.get("left"))
    expected = items[0].masks[top : top + height, left : left + width, 0]
    np.testing.assert_array_equal(inside, expected)
    assert float(two.findtext("attribute")) == pytest.approx(items[0].scores[1], abs=1e-6)
    assert "Instances of several pieces or with holes, written as masks: 4" in " ".join(notes)
    assert formats.open(path).image_info[0]["predicted"]


def test_label_studio_has_predictions_an_interface_and_the_way_to_the_pictures(items, tmp_path):
    path, notes = made("labelstudio", tmp_path, [items[0], replace(items[1], scores=None)])
    first, second = json.loads(path.read_text())
    assert first["data"] == {"image": "/data/local-files/?d=photos/a.png"}
    (prediction,) = first["predictions"]
    kinds = [result["type"] for result in prediction["result"]]
    assert kinds[:3] == ["brushlabels", "brushlabels", "polygonlabels"]
    assert prediction["score"] == min(result["score"] for result in prediction["result"])
    assert "predictions" not in second and len(second["annotations"]) == 1
    points = np.array(prediction["result"][2]["value"]["points"])
    assert points.min() >= 0 and points.max() <= 100
    interface = ElementTree.parse(path.with_name("made_interface.xml")).getroot()
    named = {e.get("name"): [label.get("value") for label in e] for e in interface[1:]}
    assert named == {"polygon": NAMES[1:], "brush": NAMES[1:]}
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={tmp_path}" in " ".join(notes)
    # Another computer has the export and the pictures alone.
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "photos").rename(elsewhere)
    shutil.copy(path, elsewhere)
    dataset = formats.open(elsewhere)
    assert Path(dataset.image_info[0]["path"]).parent == elsewhere
    assert [bool(info.get("predicted")) for info in dataset.image_info] == [True, False]


def test_an_outline_that_passes_pixels_survives_rounding():
    """A triangle's slanted side goes through the middles of its pixels, if it has few points."""
    mask = np.tril(np.ones((12, 12), bool))
    instance = Instance(1, False, None, mask, (0, 0, 12, 12))
    for shift in (0, 1e-9, -1e-9, 1e-4, -1e-4):
        points = polygon_on_edges(instance, lambda p, shift=shift: p + shift)
        assert mask_iou(polygon_mask(points + shift - 0.5, mask.shape), mask) >= 0.98


@pytest.mark.parametrize("format", ["yolo", "labelstudio"])
def test_slanted_outlines_come_back_wherever_they_lie(format, tmp_path):
    rng = np.random.default_rng(0)
    masks = np.zeros((487, 641, 40), bool)
    for i in range(40):
        side = rng.integers(8, 20)
        y, x = rng.integers(0, (487 - side, 641 - side))
        masks[y : y + side, x : x + side, i] = np.tril(np.ones((side, side), bool))
    (tmp_path / "photos").mkdir()
    Image.new("L", (641, 487)).save(tmp_path / "photos" / "a.png")
    item = Labelled("photos/a.png", 487, 641, masks, np.ones(40, int))
    found, _ = formats.open(made(format, tmp_path, [item])[0]).load_mask(0)
    assert min(mask_iou(found[..., i], masks[..., i]) for i in range(40)) >= 0.98


@pytest.mark.parametrize("format", ["yolo", "cvat", "labelstudio"])
def test_crowds_are_left_out_and_work_by_hand_is_kept(format, items, tmp_path):
    crowded = _item("photos/a.png", 60, 80, 3, crowd=True)
    place, notes = made(format, tmp_path, [crowded])
    assert any(re.match("Crowds, which .* has no word for, left out: 1", note) for note in notes)
    with pytest.raises(FileExistsError, match="made by hand"):
        made(format, tmp_path, [crowded])
    made(format, tmp_path, [crowded], overwrite=True)
    assert len(formats.open(place).image_ids) == 1


def test_labels_that_do_not_fit_are_refused(items, tmp_path):
    item = items[0]
    with LabelmeWriter(tmp_path / "labels", NAMES[:2]) as writer:
        with pytest.raises(ValueError, match="photos/a.png: class id 2 has no name"):
            writer.add(item)
        with pytest.raises(ValueError, match=r"photos/a.png: masks of shape \(60, 80, 12\)"):
            writer.add(replace(item, height=80, width=60))
    assert list((tmp_path / "labels").iterdir()) == []


@pytest.fixture(scope="module")
def nuclei() -> list[Labelled]:
    """Forty pictures with 1,979 nuclei, their paths absolute."""
    dataset = formats.open(Path(os.environ["MRCNN_DATA"]) / "nucleus" / "val", "masks")
    items = []
    for i in dataset.image_ids:
        masks, class_ids = dataset.load_mask(i)
        path = os.path.realpath(dataset.image_info[i]["path"])
        items.append(Labelled(path, *masks.shape[:2], masks, class_ids))
    return items


@pytest.mark.skipif("MRCNN_DATA" not in os.environ, reason="MRCNN_DATA names no folder of data")
@pytest.mark.parametrize("format", WRITERS)
def test_round_trip_of_real_nuclei(format, nuclei, tmp_path):
    suffix = WRITERS[format].suffix
    place = tmp_path / f"{format}{suffix}" if suffix else tmp_path
    with WRITERS[format](place, ["BG", "nucleus"]) as writer:
        for item in nuclei:
            writer.add(replace(item, file_name=file_name_from(tmp_path, item.file_name)))
    assert writer.num_instances == sum(len(item.class_ids) for item in nuclei)
    back = formats.open(place, format)
    places = {os.path.realpath(info["path"]): i for i, info in enumerate(back.image_info)}
    assert places.keys() == {item.file_name for item in nuclei}
    for item in nuclei:
        masks, class_ids = back.load_mask(places[item.file_name])
        assert len(class_ids) == len(item.class_ids)
        boxes = extract_bboxes(item.masks | masks)
        for i, (y1, x1, y2, x2) in enumerate(boxes):
            before, after = item.masks[y1:y2, x1:x2, i], masks[y1:y2, x1:x2, i]
            assert mask_iou(before, after) >= 0.98
