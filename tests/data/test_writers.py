"""Writers of annotation files: what the readers get back, and what is never overwritten."""

import json
import os
import shutil
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
from mrcnn.geometry.boxes import extract_bboxes
from mrcnn.geometry.outlines import mask_iou

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
    if format == "labelme":
        # A folder deeper, so the way to the pictures is another one.
        up = [replace(item, file_name=f"../{item.file_name}") for item in items]
        write_labelme(folder / "labels", up, NAMES)
        return folder / "labels"
    path = folder / f"{format}.json"
    {"coco": write_coco, "via": write_via}[format](path, items, NAMES)
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
    place = tmp_path if format == "labelme" else tmp_path / f"{format}.json"
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
