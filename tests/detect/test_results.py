"""Results on disk: COCO's format, and nothing lost whenever a run ends."""

import json

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.detect.results import ResultsWriter, coco_results

NAMES = ["BG", "cat", "dog"]


def _result(count: int = 2, height: int = 20, width: int = 30) -> dict:
    rng = np.random.default_rng(count)
    corners = rng.integers(0, 8, (count, 2))
    return {
        "rois": np.hstack([corners, corners + [[10, 20]]]).astype(np.int32),
        "class_ids": np.arange(count, dtype=np.int32) % 2 + 1,
        "scores": np.linspace(1, 0.5, count, dtype=np.float32),
        "masks": rng.random((height, width, count)) > 0.5,
    }


def _entry(image_id: int) -> dict:
    return {"id": image_id, "file_name": f"{image_id}.jpg", "height": 20, "width": 30}


def test_instances_are_written_as_coco_wants_them():
    result = _result(3)
    records = json.loads(json.dumps(coco_results(7, result)))
    assert len(records) == 3
    for i, record in enumerate(records):
        y1, x1, y2, x2 = result["rois"][i].tolist()
        assert record["image_id"] == 7
        assert record["category_id"] == result["class_ids"][i]
        assert record["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert record["score"] == pytest.approx(float(result["scores"][i]), abs=1e-6)  # 6 digits
        decoded = rle.decode(record["segmentation"]).astype(bool)
        np.testing.assert_array_equal(decoded, result["masks"][..., i])


def test_no_instance_is_no_record():
    assert coco_results(1, _result(0)) == []


def test_pycocotools_loads_both_files_as_they_are(tmp_path):
    with ResultsWriter(tmp_path, NAMES, {"weights": "w.h5"}) as writer:
        writer.add(_entry(1), coco_results(1, _result(2)))
        writer.add(_entry(2), [])
        writer.fail("bad.jpg", "is no picture")
        writer.add(_entry(4), coco_results(4, _result(3)))
    truth = COCO(tmp_path / "images.json")
    found = truth.loadRes(str(tmp_path / "results.json"))
    assert sorted(truth.getImgIds()) == [1, 2, 4]
    assert [cat["name"] for cat in truth.loadCats(truth.getCatIds())] == NAMES[1:]
    assert [len(found.getAnnIds(imgIds=[i])) for i in (1, 2, 4)] == [2, 0, 3]
    mask = found.annToMask(found.loadAnns(found.getAnnIds(imgIds=[4]))[1])
    np.testing.assert_array_equal(mask.astype(bool), _result(3)["masks"][..., 1])
    assert truth.dataset["failures"] == [{"file_name": "bad.jpg", "reason": "is no picture"}]
    assert truth.dataset["info"] == {"weights": "w.h5"}


def test_the_files_are_whole_after_each_picture(tmp_path):
    (tmp_path / "results.json").write_text('["an earlier run"]')
    writer = ResultsWriter(tmp_path, NAMES, {})
    for image_id in (1, 2, 3):
        writer.add(_entry(image_id), coco_results(image_id, _result(image_id)))
        writer.fail("x" * (50 // image_id), "a tail that gets longer and then")
        results = json.loads((tmp_path / "results.json.part").read_text())
        images = json.loads((tmp_path / "images.json.part").read_text())
        assert len(results) == sum(range(image_id + 1))
        assert [image["id"] for image in images["images"]] == list(range(1, image_id + 1))
    assert json.loads((tmp_path / "results.json").read_text()) == ["an earlier run"]


def test_an_interruption_keeps_what_is_there(tmp_path):
    class Torn(dict):
        def items(self):  # json.dumps asks for them in the middle of writing
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ResultsWriter(tmp_path, NAMES, {}) as writer:
        writer.add(_entry(1), coco_results(1, _result(2)))
        writer.add(_entry(2), [*coco_results(2, _result(1)), Torn(a=1)])
    assert len(json.loads((tmp_path / "results.json").read_text())) == 2
    assert len(json.loads((tmp_path / "images.json").read_text())["images"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.json", "results.json"]
