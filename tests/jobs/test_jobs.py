"""A job over many pictures: each of them once, whatever ends it; only the same job goes on."""

import csv
import functools
import json
import os
import random
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import write_pictures
from fake_job import NAMES, found_in, make_detector, run, what
from killing import done, run_and_kill, started
from patience import PATIENCE
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.cli import main
from mrcnn.data.formats import open as open_data
from mrcnn.data.pictures import PictureError, read_picture
from mrcnn.data.scaling import Rule
from mrcnn.data.seen import see
from mrcnn.detect.configs import config_from_weights
from mrcnn.errors import UsageError
from mrcnn.jobs import local, tables
from mrcnn.jobs.convert import convert, masks_of
from mrcnn.jobs.folder import JobFolder, parts
from mrcnn.jobs.listing import list_pictures
from mrcnn.jobs.show import in_lines, look_at
from mrcnn.jobs.work import Worker
from mrcnn.weights.download import weights_path
from mrcnn.weights.inspection import inspect_weights


def rows(folder: Path) -> list[dict]:
    return tables.read_table(parts(folder)).to_pylist()


def part_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in parts(folder)}


@pytest.fixture
def job(pictures, tmp_path) -> Path:
    run(tmp_path / "job", [str(pictures)])
    return tmp_path / "job"


# -- What is written --------------------------------------------------------------------------


def test_each_picture_is_a_row_in_order_and_broken_ones_say_why(job, pictures):
    found = rows(job)
    assert [row["path"] for row in found] == sorted(map(str, pictures.iterdir()))
    failed = [row for row in found if row["error"]]
    assert [Path(row["path"]).name for row in failed] == ["0000.png", "0016.png", "0032.png"]
    assert "no picture" in failed[0]["error"] and "damaged or cut short" in failed[1]["error"]
    assert failed[0]["masks"] == [] and failed[0]["height"] is None
    assert tables.read_table([job / "errors.parquet"]).to_pylist() == [
        {"path": row["path"], "error": row["error"]} for row in failed
    ]
    assert sorted(path.name for path in job.iterdir() if path.name != ".lock") == (
        ["_SUCCESS", "errors.parquet", "job.json", "parts", "sources.parquet"]
    )


def test_a_row_holds_what_the_detector_gave(job, pictures):
    row = rows(job)[1]
    result = found_in(read_picture(row["path"]))
    assert (row["height"], row["width"]) == (24, 32)
    np.testing.assert_array_equal(row["boxes"], result["rois"])
    assert row["class_ids"] == [1, 2]
    np.testing.assert_array_equal(np.float32(row["scores"]), result["scores"])
    np.testing.assert_array_equal(masks_of(row), result["masks"])


def test_a_part_is_written_whole_and_a_part_that_is_there_is_left_alone(pictures, tmp_path):
    folder, calls = tmp_path / "job", []

    def make(stop_at=None):
        def detect(picture):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return found_in(picture)

        return detect

    def go_on(stop_at):
        given = [str(pictures)]
        with JobFolder(folder, what(given), lambda: list_pictures(given), 20) as job:
            local.run(job, functools.partial(make, stop_at), lambda n: None)
            job.finish()

    with pytest.raises(KeyboardInterrupt):
        go_on(25)
    (first,) = parts(folder)
    before = first.stat().st_mtime_ns
    assert not (folder / "_SUCCESS").exists() and look_at(folder).done == 20
    del calls[:]
    go_on(None)
    assert len(calls) == 29  # 30 pictures were left, one of them broken
    assert first.stat().st_mtime_ns == before and len(rows(folder)) == 50
    del calls[:]
    go_on(None)
    assert not calls


def test_what_comes_later_is_not_in_the_list(job, pictures):
    shutil.copy(pictures / "0001.png", pictures / "0000a.png")
    before = part_bytes(job)
    run(job, [str(pictures)])
    assert part_bytes(job) == before


# -- Only the same job ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(weights="1" * 64), "was begun with other weights"),
        (dict(config={"NAME": "y"}), "was begun with NAME = x, and y is asked for"),
        (dict(class_names=["BG", "a"]), "other names of the classes"),
        (dict(engine="onnx"), "the engine none"),
        (dict(sources=["elsewhere"]), "is over .*, and elsewhere is asked for"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(job, pictures, change, words):
    with pytest.raises(UsageError, match=f"{words}.*another folder to --job"):
        JobFolder(job, what(**{"sources": [str(pictures)], **change}), list)
    with pytest.raises(UsageError, match="--part-size 20, which can't change"):
        JobFolder(job, what([str(pictures)]), list, 30)


def test_a_folder_of_others_and_a_job_that_goes_on_are_refused(job, pictures):
    with pytest.raises(UsageError, match=r"holds other files \(0000\.png"):
        JobFolder(pictures, what(["x"]), list)
    given = [str(pictures)]
    with (
        JobFolder(job, what(given), list),
        pytest.raises(UsageError, match="another run is writing.*--job"),
    ):
        JobFolder(job, what(given), list)
    with pytest.raises(UsageError, match="holds no job"):
        look_at(pictures)


def test_another_version_of_a_package_is_told(job, pictures):
    for version in ("1", "2"):
        with JobFolder(job, what([str(pictures)]), list, None, {"numpy": version}) as again:
            said = again.changed
    assert "another version of numpy" in said


# -- Killed -----------------------------------------------------------------------------------


def test_killed_and_begun_again_it_is_the_same_table(pictures, tmp_path):
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    run(plain, [str(pictures)])
    counts = []
    for calls in (25, 5, 0):
        process = started(killed, pictures, "local", DIES_AT=str(calls))
        said = process.communicate(timeout=PATIENCE)[1].decode()
        assert process.returncode == (-9 if calls else 0), said
        counts.append(len(done(killed)))
    assert counts == [1, 1, 3]
    assert part_bytes(killed) == part_bytes(plain)
    assert not (killed / "begun").exists()


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["local", "ray"])
def test_two_thousand_pictures_killed_five_times(tmp_path, runner):
    pytest.importorskip(runner) if runner == "ray" else None
    pictures = write_pictures(tmp_path / "pictures", 2000, broken=10)
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    assert run(plain, [str(pictures)]) == 10
    run_and_kill(killed, pictures, 5, random.Random(1), runner, 0.003, 2)
    assert part_bytes(killed) == part_bytes(plain)
    found = rows(killed)
    assert [row["path"] for row in found] == sorted(map(str, pictures.iterdir()))
    assert sum(row["error"] is not None for row in found) == 10


@pytest.mark.parametrize("runner", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_picture_that_kills_the_program_is_given_up_after_three_times(tmp_path, runner):
    pytest.importorskip(runner) if runner == "ray" else None
    pictures = write_pictures(tmp_path / "pictures", 5, broken=1)
    read = read_picture(pictures / "0003.png")
    Image.fromarray(read[:13]).save(pictures / "0003.png")
    folder = tmp_path / "job"
    codes = []
    for _ in range(4 if runner == "local" else 1):  # Ray starts its actors again by itself
        process = started(folder, pictures, runner, KILLER="1")
        said = process.communicate(timeout=PATIENCE)[1].decode()
        codes.append(process.returncode)
    assert codes == ([-9, -9, -9, 0] if runner == "local" else [0]), said
    errors = [row["error"] for row in rows(folder)]
    assert errors[3] == "the program died 3 times while it was at this picture"
    assert errors[1:3] == [None, None]


def test_where_the_network_fails_in_all_pictures_the_job_stops(pictures, tmp_path):
    def lost(picture):
        raise RuntimeError("the device is lost")

    with pytest.raises(UsageError, match=r"fails in all of 18 pictures: .*the device is lost"):
        given = [str(pictures)]
        with JobFolder(tmp_path / "job", what(given), lambda: list_pictures(given), 20) as job:
            local.run(job, lambda: lost, lambda n: None)
    assert not done(tmp_path / "job")


def test_one_picture_in_which_the_network_fails_is_a_row(pictures):
    def now_and_then(picture, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no memory for it")
        return found_in(picture)

    paths = [str(path) for path in sorted(pictures.iterdir())[:15]]
    data = Worker(now_and_then).part(paths, None, {})
    found = tables.read_table([_as_file(data, pictures.parent)]).to_pylist()
    assert [row["error"] for row in found[1:4]] == [
        *(None, f"{paths[2]}: RuntimeError no memory for it", None),
    ]
    assert found[2]["height"] == 24


def _as_file(data: bytes, folder: Path) -> Path:
    (folder / "part.parquet").write_bytes(data)
    return folder / "part.parquet"


# -- Ray --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ray_gives_the_same_bytes(job, pictures, tmp_path):
    pytest.importorskip("ray")
    assert run(tmp_path / "ray", [str(pictures)], "ray") == 3
    assert part_bytes(tmp_path / "ray") == part_bytes(job)


# -- Lists ------------------------------------------------------------------------------------


def test_folders_patterns_lists_and_tables(pictures, tmp_path):
    all_of_them = sorted(map(str, pictures.iterdir()))
    assert list_pictures([str(pictures), str(pictures / "*.png")]) == all_of_them
    (tmp_path / "list.txt").write_text("pictures/0002.png\n\n" + all_of_them[1] + "\n")
    assert list_pictures([str(tmp_path / "list.txt")]) == all_of_them[1:3]
    (tmp_path / "t.csv").write_text("id,url\n1,http://x.org/a.png\n2,pictures/0001.png\n")
    expected = [all_of_them[1], "http://x.org/a.png"]
    assert list_pictures([str(tmp_path / "t.csv")]) == expected
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"a": all_of_them[:2], "b": all_of_them[2:4], "n": [1, 2]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert list_pictures([str(tmp_path / "t.parquet")], "b") == all_of_them[2:4]
    for column, words in (
        (None, "Name it with --column"),
        ("n", "holds int64"),
        ("c", "no column"),
    ):
        with pytest.raises(UsageError, match=words):
            list_pictures([str(tmp_path / "t.parquet")], column)
    with pytest.raises(UsageError, match="is a video"):
        list_pictures(["film.mp4"])
    with pytest.raises(PictureError, match="no file or folder"):
        list_pictures(["nowhere"])


def test_what_lies_in_a_storage(pictures, tmp_path):
    """memory:// is one of fsspec's, as s3:// and gs:// are."""
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(pictures), "/bucket/scans", recursive=True)
    store.pipe("/bucket/scans/notes.md", b"x")
    store.pipe("/bucket/list.txt", b"scans/0001.png\nscans/none.png\n")
    names = [f"memory:///bucket/scans/{i:04}.png" for i in range(50)]
    assert [_plain(p) for p in list_pictures(["memory://bucket/scans"])] == list(map(_plain, names))
    assert len(list_pictures(["memory://bucket/scans/000*.png"])) == 10
    run(tmp_path / "job", ["memory://bucket/list.txt"])
    there, absent = rows(tmp_path / "job")
    assert there["error"] is None and len(there["masks"]) == 2
    assert "none.png" in absent["error"]
    with pytest.raises(PictureError, match="no file or folder memory://nowhere"):
        list_pictures(["memory://nowhere"])
    with pytest.raises(UsageError, match="no kind of storage"):
        list_pictures(["cloud9://bucket"])


def _plain(address: str) -> str:
    return address.replace("///", "//")


def test_addresses(pictures, tmp_path):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(pictures))
    handler.log_message = lambda *_: None
    SimpleHTTPRequestHandler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        run(tmp_path / "job", [f"{host}/0001.png", f"{host}/none.png"])
        server.shutdown()
    there, absent = rows(tmp_path / "job")
    assert there["error"] is None and "the server answers 404" in absent["error"]


def test_pictures_are_seen_as_detect_sees_them(tmp_path):
    """Of 16 bits, in a storage and on this machine; what is a program is not run."""
    fsspec = pytest.importorskip("fsspec")
    deep = np.tile(np.linspace(100, 3000, 32).astype(np.uint16), (24, 1))
    Image.fromarray(deep).save(tmp_path / "deep.png")
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "deep.png"), "/deep/deep.png")
    store.pipe("/deep/program.png", b"%!PS-Adobe-3.0 EPSF-3.0")
    seen = []

    def detect(picture):
        seen.append(picture)
        return found_in(picture)

    config = config_from_weights(inspect_weights(weights_path("nucleus")))
    paths = [str(tmp_path / "deep.png"), "memory://deep/deep.png", "memory://deep/program.png"]
    data = Worker(detect, Rule.of(config)).part(paths, None, {})
    expected = see(tmp_path / "deep.png", Rule.of(config)).picture
    assert expected.max() == 255 and len(seen) == 2
    for picture in seen:
        np.testing.assert_array_equal(picture, expected)
    errors = [row["error"] for row in tables.read_table([_as_file(data, tmp_path)]).to_pylist()]
    assert errors == [None, None, "memory://deep/program.png is a program in PostScript, and no "
                      "picture."]  # fmt: skip


# -- Looking at it, and converting ------------------------------------------------------------


def test_what_a_job_has_come_to(job):
    said = "\n".join(in_lines(look_at(job)))
    assert "50 of 50 pictures, 3 of 3 parts, finished, 1 run" in said
    assert "found     47 bright, 47 dark" in said
    assert "failed    3 pictures" in said and "0016.png is damaged or cut short" in said
    (parts(job)[1]).unlink()
    (job / "_SUCCESS").unlink()
    assert "30 of 50 pictures, 2 of 3 parts, not finished" in in_lines(look_at(job))[0]


def test_coco_has_the_exact_masks(job, tmp_path):
    path = convert(job, "coco", tmp_path / "found.json")
    coco = COCO(str(path))
    assert len(coco.imgs) == 47 and [c["name"] for c in coco.cats.values()] == NAMES[1:]
    image = next(iter(coco.imgs.values()))
    expected = found_in(read_picture(image["file_name"]))["masks"]
    annotations = coco.imgToAnns[image["id"]]
    for annotation, mask in zip(annotations, np.moveaxis(expected, -1, 0)):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
    with pytest.raises(FileExistsError):
        convert(job, "coco", path)


@pytest.mark.parametrize("to, place", [("geojson", "found.geojson"), ("labelme", "corrected")])
def test_other_formats_are_read_again(job, pictures, tmp_path, to, place):
    path = convert(job, to, pictures / place)
    dataset = open_data(path)
    first = next(i for i in dataset.image_ids if "0001.png" in dataset.image_info[i]["path"])
    masks, class_ids = dataset.load_mask(first)
    expected = found_in(read_picture(pictures / "0001.png"))["masks"]
    assert [dataset.class_names[i] for i in class_ids] == ["bright", "dark"]
    shared = (masks & expected).sum((0, 1)) / (masks | expected).sum((0, 1))
    assert shared.min() >= 0.98


def test_measures(job, tmp_path):
    with convert(job, "csv", tmp_path).open(newline="") as file:
        measured = list(csv.DictReader(file))
    assert len(measured) == 94 and measured[0]["class"] == "bright"
    mask = found_in(read_picture(measured[0]["picture"]))["masks"][..., 0]
    y, x = np.nonzero(mask)
    assert int(measured[0]["area"]) == mask.sum()
    assert float(measured[0]["center_y"]) == pytest.approx(y.mean(), abs=0.01)
    assert float(measured[0]["center_x"]) == pytest.approx(x.mean(), abs=0.01)
    assert measured[0]["touches_border"] == "1"


# -- The command ------------------------------------------------------------------------------


@pytest.fixture
def fake_network(monkeypatch):
    monkeypatch.setattr("mrcnn.cli.detect_job.load_detector", lambda *_: make_detector())


def test_the_command(pictures, tmp_path, capsys, fake_network):
    words = ["detect", str(pictures), "--weights", "nucleus", "--job", str(tmp_path / "job")]
    assert main(words) == 1
    assert "50 pictures in 1 part, 0 parts done already" in capsys.readouterr().out
    assert main(words) == 1
    assert "1 part done already" in capsys.readouterr().out
    told = json.loads((tmp_path / "job" / "job.json").read_text())
    assert len(told["runs"]) == 2 and {"mrcnn", "tensorflow"} <= told["runs"][0]["versions"].keys()
    assert told["config"]["NUM_CLASSES"] == 2 and len(told["weights"]) == 64
    assert main([*words, "--set", "DETECTION_MAX_INSTANCES=7"]) == 2
    assert "DETECTION_MAX_INSTANCES = " in capsys.readouterr().err
    assert main([*words, "--labels", "via"]) == 2
    assert "mrcnn job convert" in capsys.readouterr().err
    assert main(["job", "show", str(tmp_path / "job")]) == 0
    assert "47 nucleus" in capsys.readouterr().out
    assert main(["job", "convert", str(tmp_path / "job"), str(tmp_path), "--to", "coco"]) == 0
    assert (tmp_path / "coco.json").is_file()


def test_ctrl_c_leaves_what_is_done(pictures, tmp_path, capsys, monkeypatch):
    def make(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mrcnn.cli.detect_job.load_detector", make)
    job = str(tmp_path / "job")
    assert main(["detect", str(pictures), "--weights", "nucleus", "--job", job]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_names_that_are_no_text_fail_alone(pictures, tmp_path):
    if os.name == "nt" or not os.supports_bytes_environ:
        pytest.skip("other systems refuse such names themselves")
    try:
        os.link(pictures / "0001.png", os.fsencode(str(pictures)) + b"/\xff.png")
    except OSError:
        pytest.skip("this disk refuses such names itself")
    run(tmp_path / "job", [str(pictures)])
    assert sum(row["error"] is not None for row in rows(tmp_path / "job")) == 4
