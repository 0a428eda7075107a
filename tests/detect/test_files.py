"""A run over many pictures: whatever one of them costs, the others and what is known of it stay."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_network import SmallConfig

from mrcnn.data.formats import open as open_data
from mrcnn.data.pictures import read_picture
from mrcnn.data.sources import Source, find_sources
from mrcnn.data.video import Video, VideoWriter
from mrcnn.detect import files
from mrcnn.detect.instances import Instances
from mrcnn.detect.overlays import overlay_paths
from mrcnn.errors import UsageError
from mrcnn.progress import Progress

NAMES = ["BG", "cell", "dust"]


def fake(picture, count=1, limited=False):
    """`count` instances in the upper left quarter, as MaskRCNN.detect gives them."""
    height, width = picture.shape[:2]
    masks = np.zeros((height, width, count), bool)
    masks[: height // 2, : width // 2] = True
    box = [0, 0, height // 2, width // 2]
    found = Instances(
        rois=np.tile(np.int32(box), (count, 1)),
        class_ids=np.ones(count, np.int32),
        scores=np.linspace(0.9, 0.8, count, dtype=np.float32),
        masks=masks,
    )
    found.limited = limited
    return found


def job(given, out, **settings) -> files.Job:
    sources = given if isinstance(given[0], Source) else find_sources(given, out / "fetched")
    wishes = dict(labels=None, format="auto", captions="auto", force=False, note="", debug=False)
    wishes |= settings
    overlays = overlay_paths(sources, out, wishes["format"])
    return files.Job(sources, overlays, "w.h5", SmallConfig(), NAMES, out, **wishes)


def run(job: files.Job, detect=fake) -> int:
    return files.run(job, detect, Progress(len(job.sources)))


def listed(out: Path) -> list[dict]:
    return json.loads((out / "images.json").read_text())["images"]


def results(out: Path) -> list[dict]:
    return json.loads((out / "results.json").read_text())


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name, size in (("a.png", (90, 60)), ("b.jpg", (700, 420)), ("c.png", (700, 40))):
        noise = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size).save(folder / name)
    return folder


# -- Names ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
@pytest.mark.parametrize("labels", [name for name in files.WRITERS if name != "cvat"])
def test_names_of_all_kinds_are_worked_on_and_written(photos, tmp_path, labels, monkeypatch):
    names = ["細胞.png", os.fsdecode(b"\xff\xe6.png"), "two\nlines.png", "x" * 250 + ".png"]
    for name in names:
        (photos / "a.png").rename(photos / name)
        os.link(photos / name, photos / "a.png")
    terminal = io.TextIOWrapper(io.BytesIO(), "cp1252", "backslashreplace")
    monkeypatch.setattr(sys, "stdout", terminal)
    out = tmp_path / "out"
    given = job([photos / name for name in [*names, "b.jpg"]], out, labels=labels)
    assert run(given) == 0
    assert [image["file_name"] for image in listed(out)] == [*names, "b.jpg"]
    assert all((out / image["overlay"]).is_file() for image in listed(out))
    terminal.flush()
    said = terminal.buffer.getvalue().decode("cp1252")
    assert all(shown in said for shown in (r"\u7d30\u80de.png", r"\udcff\udce6.png", r"two\nlines"))
    found = open_data(files.labels_path(out, labels))
    assert {Path(info["path"]).name for info in found.image_info} == {*names, "b.jpg"}


def test_an_overlay_whose_name_would_be_too_long_costs_only_itself(photos, tmp_path, capsys):
    long = "x" * 251 + ".png"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        os.link(photos / "a.png", tmp_path / folder / long)
    out = tmp_path / "out"
    given = [tmp_path / "one" / long, tmp_path / "two" / long, photos / "b.jpg"]
    assert run(job(given, out)) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"no overlay: {given[1]}: ") and "too long" in said.err
    assert [image["overlay"] for image in listed(out)] == [long, None, "b.jpg"]
    assert len(results(out)) == 3 and "and 2 overlays\n" in said.out and "0 failed" in said.out


# -- What fails -----------------------------------------------------------------------------


def test_what_cannot_be_drawn_on_keeps_its_results_and_labels(photos, tmp_path, capsys):
    Image.new("L", (70_000, 2)).save(photos / "long.png")
    out = tmp_path / "out"
    assert run(job([photos], out, labels="coco")) == 1
    assert "no overlay: " in capsys.readouterr().err
    assert [image["file_name"] for image in listed(out)][-1] == "long.png"
    assert len(results(out)) == len(json.loads((out / "coco.json").read_text())["images"]) == 4


def test_labels_of_one_picture_that_cannot_be_written_cost_only_themselves(
    photos, tmp_path, capsys, monkeypatch
):
    add = files.WRITERS["labelme"].add

    def fails(self, item):
        if item.file_name.endswith("b.jpg"):
            raise OSError(36, "File name too long")
        add(self, item)

    monkeypatch.setattr(files.WRITERS["labelme"], "add", fails)
    out = tmp_path / "out"
    assert run(job([photos], out, labels="labelme")) == 1
    assert f"no labels: {photos / 'b.jpg'}: File name too long\n" == capsys.readouterr().err
    assert len(results(out)) == 3 and len(list((out / "labelme").iterdir())) == 2


def test_where_all_fail_no_overlay_is_promised(photos, tmp_path, capsys):
    (photos / "a.png").write_text("no picture")
    out = tmp_path / "out"
    assert run(job([photos / "a.png"], out)) == 1
    assert capsys.readouterr().out.endswith(f"Results in {out}: results.json, images.json\n")


def test_a_folder_of_results_that_is_gone_ends_the_run(photos, tmp_path):
    out = tmp_path / "out"

    def detect(picture):
        for path in out.iterdir():
            path.unlink()
        out.rmdir()
        return fake(picture)

    with pytest.raises(FileNotFoundError):
        run(job([photos], out), detect)


def test_an_error_of_tensorflow_is_one_line(photos, tmp_path, capsys):
    def detect(picture):
        raise RuntimeError("Graph execution error:\n\nDetected at node a\nshapes differ\n\t[[a]]")

    assert run(job([photos / "a.png"], tmp_path / "out"), detect) == 1
    assert capsys.readouterr().err == f"failed: {photos / 'a.png'}: RuntimeError shapes differ\n"


def test_no_memory_for_one_picture_is_its_own_sentence(photos, tmp_path, capsys):
    def detect(picture):
        if picture.shape[0] == 420:
            raise MemoryError("picture 1 of 1 (420x700) would take 9 GB: lower IMAGE_MIN_SCALE.")
        return fake(picture)

    assert run(job([photos], tmp_path / "out"), detect) == 1
    sentence = "the picture (420x700) would take 9 GB: lower IMAGE_MIN_SCALE."
    assert capsys.readouterr().err == f"failed: {photos / 'b.jpg'}: {sentence}\n"
    assert len(results(tmp_path / "out")) == 2


# -- What is said ---------------------------------------------------------------------------


def test_a_limit_that_is_reached_is_said_of_the_picture_and_at_the_end(photos, tmp_path, capsys):
    out = tmp_path / "out"
    run(job([photos], out), lambda picture: fake(picture, 20, limited=picture.shape[0] == 420))
    said = capsys.readouterr().out.splitlines()
    assert ["DETECTION_MAX_INSTANCES reached" in line for line in said[:3]] == [False, True, False]
    assert said[-1].startswith("NOTE: 1 picture with 20 instances, which is all that DETECTION_MAX")
    assert "--set DETECTION_MAX_INSTANCES=80" in said[-1]
    assert [image.get("limited", False) for image in listed(out)] == [False, True, False]


def test_enlarged_overlays_are_explained(photos, tmp_path, capsys):
    run(job([photos / "b.jpg"], tmp_path / "large"))
    assert "are enlarged" not in capsys.readouterr().out
    run(job([photos], tmp_path / "small"))
    said = capsys.readouterr().out
    assert "so that labels can be read: 90 x 60 became 720 x 480.\n" in said
    assert "images.json and an overlay for each\n" in said


@pytest.mark.parametrize(
    "format, kinds", [("auto", "PNG JPEG PNG"), ("jpg", "JPEG"), ("png", "PNG")]
)
def test_formats_of_overlays(photos, tmp_path, format, kinds):
    out = tmp_path / "out"
    run(job([photos], out, format=format))
    found = [Image.open(out / image["overlay"]) for image in listed(out)]
    assert [overlay.format for overlay in found] == (kinds.split() * 3)[:3]
    suffixes = [Path(image["overlay"]).suffix for image in listed(out)]
    assert suffixes == [{"PNG": ".png", "JPEG": ".jpg"}[overlay.format] for overlay in found]


def test_captions_of_overlays(photos, tmp_path):
    drawn = {}
    for captions in ("none", "scores", "all", "auto"):
        out = tmp_path / captions
        run(job([photos / "b.jpg"], out, captions=captions, format="png"))
        drawn[captions] = read_picture(out / "b.png").astype(int)
    changed = {name: (array != drawn["none"]).any(axis=2).sum() for name, array in drawn.items()}
    assert 0 == changed["none"] < changed["scores"] < changed["all"] == changed["auto"]
    for captions in ("auto", "scores", "none"):  # of a crowd
        out = tmp_path / f"crowd-{captions}"
        given = job([photos / "b.jpg"], out, captions=captions, format="png")
        run(given, lambda picture: fake(picture, 30))
        drawn[captions] = read_picture(out / "b.png")
    np.testing.assert_array_equal(drawn["auto"], drawn["scores"])
    assert (drawn["auto"] != drawn["none"]).any()


def test_a_picture_is_never_overwritten(photos):
    with pytest.raises(UsageError, match="holds a.png, one of the pictures"):
        overlay_paths(find_sources([photos / "a.png"], photos), photos)
    renamed = overlay_paths(find_sources([photos / "a.png"], photos), photos, "jpg")
    assert renamed == [photos / "a.jpg"]


# -- Videos ---------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path) -> Path:
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    with VideoWriter(path, 10) as video:
        for i in range(12):
            video.write(np.full((48, 64, 3), 20 * i, np.uint8))
    return path


def test_a_video_becomes_a_video_and_a_result_for_each_frame(film, tmp_path, photos, capsys):
    out = tmp_path / "out"
    assert run(job([photos / "b.jpg", film], out), lambda p: fake(p, 2)) == 0
    with Video(out / "film.mp4") as drawn:
        assert (drawn.width, drawn.height, drawn.fps) == (640, 480, 10)  # enlarged for its labels
        assert len(list(drawn)) == 12
    _, *frames = listed(out)
    assert [image["frame"] for image in frames] == list(range(1, 13))
    assert [image["id"] for image in listed(out)] == list(range(1, 14))
    assert frames[3]["time"] == 0.3 and frames[3]["overlay"] == "film.mp4"
    assert len(results(out)) == 26
    said = capsys.readouterr().out
    assert "film.mp4  64 x 48, 12 frames  24 cell  different objects: 2 cell  " in said
    assert "an overlay for each" in said
    assert sorted(path.name for path in out.iterdir()) == [
        "b.jpg",
        "film.counts.json",
        "film.mp4",
        "film.tracks.csv",
        "images.json",
        "results.json",
    ]


def test_the_bar_is_full_at_the_end_of_a_video(film, tmp_path, photos, monkeypatch):
    given = job([film, photos / "a.png"], tmp_path / "out")
    progress = Progress(2)
    files.run(given, fake, progress)
    assert progress._done == progress._total == 1 + 12 + 1


def test_a_video_s_frames_as_pictures(film, tmp_path):
    out = tmp_path / "out"
    assert run(job([film], out, format="jpg")) == 0
    overlays = [image["overlay"] for image in listed(out)]
    assert overlays == [f"film/{i:06}.jpg" for i in range(1, 13)]
    assert Image.open(out / overlays[-1]).format == "JPEG"


def test_an_interrupted_video_plays_as_far_as_it_came(film, tmp_path, capsys):
    seen = []

    def detect(picture):
        seen.append(picture)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return fake(picture)

    out = tmp_path / "out"
    assert run(job([film], out), detect) == 130
    with Video(out / "film.mp4") as drawn:
        assert len(list(drawn)) == 5
    assert len(results(out)) == 5 and "interrupted after 0 of 1 file" in capsys.readouterr().err


def test_a_damaged_video_keeps_what_was_seen_of_it(film, tmp_path, photos, capsys):
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:900])
    out = tmp_path / "out"
    assert run(job([tmp_path / "cut.mp4", photos / "a.png"], out)) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"failed: {tmp_path / 'cut.mp4'} can't be read as a video")
    assert len(results(out)) == 1 and "1 failed" in said.out
