"""Results on disk: COCO's format, and nothing lost whenever a run ends."""

import errno
import json
import os
import shutil
import signal

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mrcnn.detect.results import ResultsWriter, coco_results, finish
from mrcnn.errors import UsageError

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


def test_many_large_masks_are_encoded_some_at_a_time(monkeypatch):
    result = _result(5)
    expected = coco_results(1, result)
    monkeypatch.setattr("mrcnn.geometry.rle._AT_ONCE", 2 * 20 * 30)
    assert coco_results(1, result) == expected


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


def _run(folder, count: int = 3, each: int = 100) -> None:
    with ResultsWriter(folder, NAMES, {"weights": "w.h5"}) as writer:
        for image_id in range(1, count + 1):
            writer.add(_entry(image_id), coco_results(image_id, _result(each)))
            writer.fail(f"{image_id}.txt", "is no picture")


def _read(folder) -> tuple[list, dict]:
    return (
        json.loads((folder / "results.json").read_text()),
        json.loads((folder / "images.json").read_text()),
    )


def test_those_of_an_earlier_run_stay_until_the_end(tmp_path):
    (tmp_path / "results.json").write_text('["an earlier run"]')
    with ResultsWriter(tmp_path, NAMES, {}) as writer:
        writer.add(_entry(1), coco_results(1, _result(2)))
        assert json.loads((tmp_path / "results.json").read_text()) == ["an earlier run"]
    assert len(_read(tmp_path)[0]) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows ends processes in another way")
def test_a_run_that_is_killed_at_any_write_loses_nothing(tmp_path):
    """Half of the bytes of a write are on the disk, and then the process is no more."""
    complete, calls = tmp_path / "complete", []
    write, replace = os.write, os.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda *args: (calls.append(0), write(*args))[1])
        patch.setattr(os, "replace", lambda *args: (calls.append(0), replace(*args))[1])
        _run(complete)
    whole_results, whole_images = _read(complete)
    assert len(calls) == 9  # the head, two for each picture, two names
    for last in range(len(calls)):
        for torn in (0.0, 0.5, 1.0):
            folder = tmp_path / f"{last}_{torn}"
            if (child := os.fork()) == 0:
                _die_at(last, torn)
                _run(folder)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            records = min(max(last - 1 + (torn == 1), 0), 6)  # the head is none
            assert finish(folder) == (records + 1) // 2
            results, images = _read(folder)
            assert results == whole_results[: 100 * len(images["images"])]
            assert images["images"] == whole_images["images"][: (records + 1) // 2]
            assert images["failures"] == whole_images["failures"][: records // 2]


def _die_at(last: int, torn: float) -> None:
    """Kill this process in the call of that number, when a part of its bytes are written."""
    write, replace, calls = os.write, os.replace, iter(range(1000))

    def write_or_die(file, data):
        if next(calls) == last:
            write(file, data[: int(len(data) * torn)])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(file, data)

    def replace_or_die(*paths):
        if next(calls) == last:
            if torn == 1:
                replace(*paths)
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    os.write, os.replace = write_or_die, replace_or_die


def test_the_next_run_finishes_what_a_killed_one_left(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrcnn.detect.results.finish", lambda folder: 0)  # as if killed before it
        _run(tmp_path, count=2, each=3)
    assert not (tmp_path / "results.json").exists()
    writer = ResultsWriter(tmp_path, NAMES, {})
    assert writer.recovered == 2 and len(_read(tmp_path)[0]) == 6
    with writer:
        writer.add(_entry(9), [])
    assert [image["id"] for image in _read(tmp_path)[1]["images"]] == [9]
    assert ResultsWriter(tmp_path, NAMES, {}).recovered is None


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    with ResultsWriter(tmp_path, NAMES, {}) as writer:
        with pytest.raises(UsageError, match=r"another run is writing to .*--out"):
            ResultsWriter(tmp_path, NAMES, {})
        writer.add(_entry(1), coco_results(1, _result(2)))
    assert len(_read(tmp_path)[0]) == 2


def test_a_full_disk_keeps_what_was_found(tmp_path, monkeypatch):
    write, room = os.write, [2500]

    def full(file, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(file, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", full)
    with (
        pytest.raises(OSError, match="No space left"),
        ResultsWriter(tmp_path, NAMES, {}) as writer,
    ):
        for image_id in (1, 2, 3):
            writer.add(_entry(image_id), coco_results(image_id, _result(4)))
    results, images = _read(tmp_path)
    assert [image["id"] for image in images["images"]] == [1] and len(results) == 4


def test_a_disk_that_is_too_full_for_the_files_says_where_the_results_are(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = ResultsWriter(tmp_path, NAMES, {})
    writer.add(_entry(1), coco_results(1, _result(2)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(
            OSError, match=r"; what was found so far is kept in .*unfinished\.jsonl"
        ):
            writer.__exit__(None, None, None)
    assert finish(tmp_path) == 1 and len(_read(tmp_path)[0]) == 2


def test_a_folder_that_somebody_removes_is_told(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="There is no such file"),
        ResultsWriter(tmp_path / "out", NAMES, {}),
    ):
        shutil.rmtree(tmp_path / "out")


def test_an_interruption_keeps_what_is_there(tmp_path):
    class Torn(dict):
        def items(self):  # json.dumps asks for them in the middle of writing
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ResultsWriter(tmp_path, NAMES, {}) as writer:
        writer.add(_entry(1), coco_results(1, _result(2)))
        writer.add(_entry(2), [*coco_results(2, _result(1)), Torn(a=1)])
    results, images = _read(tmp_path)
    assert len(results) == 2 and len(images["images"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.json", "results.json"]


def test_names_that_are_no_text_come_back_as_they_are(tmp_path):
    name = os.fsdecode(b"\xff\xe6.png")
    with ResultsWriter(tmp_path, ["BG", "\udcff"], {}) as writer:
        writer.add({**_entry(1), "file_name": name}, [])
    images = _read(tmp_path)[1]
    assert images["images"][0]["file_name"] == name and images["categories"][0]["name"] == "\udcff"
