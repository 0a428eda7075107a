"""Films as a whole: numbers in every result, a table by frame, who passes a line."""

import csv
import json

import numpy as np
import pytest
from small_network import SmallConfig

from mrcnn.cli import main
from mrcnn.data.sources import Source, find_sources
from mrcnn.data.video import Video, VideoWriter
from mrcnn.detect import files
from mrcnn.detect.counting import FORGET, Area, Line
from mrcnn.detect.films import Counting, Film
from mrcnn.detect.instances import Instances
from mrcnn.detect.overlays import overlay_paths
from mrcnn.progress import Progress

NAMES = ["BG", "cell", "dust"]


def bright(picture):
    """Two squares, red and green, as the network would find them."""
    masks = np.stack([picture[..., 0] > 128, picture[..., 1] > 128], axis=2)
    masks = masks[..., masks.any((0, 1))]
    boxes = []
    for mask in np.moveaxis(masks, -1, 0):
        y, x = np.nonzero(mask)
        boxes.append([y.min(), x.min(), y.max() + 1, x.max() + 1])
    ids = np.arange(1, len(boxes) + 1, dtype=np.int32)
    return Instances(
        rois=np.int32(boxes).reshape(-1, 4),
        class_ids=ids,
        scores=np.full(len(boxes), 0.9, np.float32),
        masks=masks,
    )


@pytest.fixture
def film(tmp_path):
    """A red square goes down by 4 pixels a frame, a green one to the left; 20 frames."""
    pytest.importorskip("imageio_ffmpeg")
    with VideoWriter(tmp_path / "film.mp4", 10) as video:
        for i in range(20):
            frame = np.zeros((120, 160, 3), np.uint8)
            frame[4 + 4 * i : 16 + 4 * i, 20:40, 0] = 255
            frame[60:72, 130 - 4 * i : 150 - 4 * i, 1] = 255
            video.write(frame)
    return tmp_path / "film.mp4"


def run(film, out, **settings):
    sources = find_sources([film], out / "fetched")
    overlays = overlay_paths(sources, out)
    options = (None, "auto", "auto", False, "", False)
    job = files.Job(sources, overlays, "w.h5", SmallConfig(), NAMES, out, *options, **settings)
    return files.run(job, bright, Progress(1))


def test_numbers_table_and_counts(film, tmp_path, capsys):
    counting = Counting(line=(0, 50, 160, 50), area=(60, 50, 110, 100))
    assert run(film, tmp_path / "out", counting=counting) == 0
    out = tmp_path / "out"
    with (out / "film.tracks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 and {(row["class"], row["id"]) for row in rows} == {
        ("cell", "1"),
        ("dust", "2"),
    }
    assert rows[2] | {"area": 0, "score": 0} == {
        **dict(frame="2", time="0.1", id="1", score=0, y1="8", x1="20", y2="20", x2="40"),
        **{"class": "cell", "center_y": "13.50", "center_x": "29.50", "area": 0},
    }
    told = json.loads((out / "film.counts.json").read_text())
    assert told["objects"] == {"cell": 1, "dust": 1} and told["frames"] == 20
    # Along the line to the right, what comes from above goes to the right hand.
    assert told["line"] == {"left_to_right": {"cell": 1}, "right_to_left": {}}
    assert told["area"] == {"entered": {"dust": 1}, "most_at_once": 1}
    found = json.loads((out / "results.json").read_text())
    assert {(row["category_id"], row["track_id"]) for row in found} == {(1, 1), (2, 2)}
    said = capsys.readouterr().out
    assert "different objects: 1 cell, 1 dust; 1 to the right, 0 to the left; 1 were in" in said


def test_so_many_frames(film, tmp_path):
    assert run(film, tmp_path / "out", frames=7) == 0
    with Video(tmp_path / "out" / "film.mp4") as drawn:
        assert len(list(drawn)) == 7


def test_a_camera_is_watched_and_plays_as_fast_as_what_was_seen(film, tmp_path, monkeypatch):
    class Camera(Video):
        def __init__(self, path):
            assert path == "7"
            super().__init__(film)

        def numbered(self):
            yield from (pair for pair in super().numbered() if pair[0] in (3, 4, 9, 15))

    monkeypatch.setattr(files, "Video", Camera)
    monkeypatch.chdir(tmp_path)
    (source,) = find_sources(["7"], tmp_path / "out" / "fetched")
    assert (source.is_live, source.is_video, str(source)) == (True, True, "camera 7")
    assert run("7", tmp_path / "out", frames=4) == 0
    with Video(tmp_path / "out" / "camera7.mp4") as drawn:
        assert len(list(drawn)) == 1 + 1 + 5 + 6
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [image["frame"] for image in images] == [3, 4, 9, 15]


@pytest.mark.parametrize(
    "address, name",
    [("rtsp://10.0.0.2:554/live/1?x=2", "1.mp4"), ("http://x.org/a/live.m3u8", "live.mp4")],
)
def test_streams_are_not_fetched(address, name, tmp_path):
    (source,) = find_sources([address], tmp_path / "fetched")
    source.bring()
    assert (source.path.name, source.is_live) == (name, True) and not source.path.exists()
    assert not Source(tmp_path / "a.mp4", "http://x.org/a.mp4").is_live


def test_a_line_counts_who_passes_between_its_ends():
    line = Line((10, 50, 90, 50))
    ways = [((40, 20), (60, 20)), ((60, 30), (40, 30)), ((40, 95), (60, 95)), ((10, 50), (20, 50))]
    for k in (0, 1):
        line.see([1, 2, 3, 4], ["car"] * 4, [np.array(way[k], float) for way in ways])
    assert line.told() == {"left_to_right": {"car": 1}, "right_to_left": {"car": 1}}


def test_an_area_counts_each_once():
    area = Area((0, 0, 100, 0, 0, 100))  # a triangle
    for y in (10, 90, 10):  # in, out, and in again
        area.see([1, 2], ["car", "bus"], [np.array([y, 30.0]), np.array([90.0, 90.0])])
    assert area.told() == {"entered": {"car": 1}, "most_at_once": 1}


def test_memory_does_not_grow_with_the_film(tmp_path):
    film = Film(tmp_path / "x", NAMES, 5, Counting((0, 10, 30, 10), (0, 0, 20, 20)))
    sizes = []
    for i in range(1, 1301):
        mask = np.zeros((24, 32, 1), bool)
        mask[(7 * i) % 18 : (7 * i) % 18 + 5, (11 * i) % 26 : (11 * i) % 26 + 5] = True
        result = {
            "masks": mask,
            "class_ids": np.int32([1]),
            "rois": np.int32([[0, 0, 5, 5]]),
            "scores": np.float32([0.9]),
        }
        film.add(result, [{}], {"frame": i, "time": i / 5})
        sizes.append(
            len(film._tracker._objects) + sum(len(c._seen) for c in film._counters.values())
        )
    film.close()
    # A new object in each frame: both counters know no more than twice FORGET of them.
    assert max(sizes) <= 4 * FORGET + 40 < 2 * 1300


def test_the_command_refuses_what_cannot_be_counted(film, tmp_path, capsys):
    words = ["detect", str(film), "--weights", "nucleus", "--count-line"]
    assert main([*words, "1,2,3"]) == 2
    assert "1,2,3 is no list of numbers x1,y1,x2,y2" in capsys.readouterr().err
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ["detect", str(tmp_path / "a.png"), "--weights", "nucleus", "--frames", "3"]
    assert main(words) == 2
    assert "--frames is of videos, and none is given" in capsys.readouterr().err
