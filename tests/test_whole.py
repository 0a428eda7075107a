"""Files that are written whole or not at all."""

import errno
import os
import subprocess
import sys
import time

import pytest

from mrcnn.whole import WholeFile, no_file, regular_file, sweep, unfinished_name, whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_takes_its_place_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole(path, lasting=True) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_nothing_is_left_of_one_that_was_begun(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), whole(path) as unfinished:
        unfinished.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (None, "the disk is full"),
        (2_500_000, "the disk is full: 2.5 MB are needed, 1.0 kB are free, so 2.5 MB are missing"),
        (999, "the disk is full: 1.0 kB are needed"),  # another program has made room by now
    ],
)
def test_a_full_disk_is_told_what_is_missing(tmp_path, monkeypatch, size, told):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("mrcnn.whole.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError) as caught, whole(tmp_path / "a.txt", size=size):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.filename, caught.value.strerror) == (str(tmp_path / "a.txt"), told)


def test_growing_files(tmp_path):
    kept, dropped = WholeFile(tmp_path / "new" / "a.txt"), WholeFile(tmp_path / "new" / "b.txt")
    for file in (kept, dropped):
        file.write("one ")
    kept.close(["two"])
    dropped.close(None)
    assert names(tmp_path / "new") == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "one two"


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "\u7d30" * 83 + ".png"])
def test_the_longest_names_that_a_file_may_have(tmp_path, name):
    with whole(tmp_path / name) as unfinished:
        unfinished.write_text("all")
    assert names(tmp_path) == [name]


def test_long_names_that_begin_alike_differ_while_they_are_written(tmp_path):
    one, other = (unfinished_name(tmp_path / f"{'x' * 200}{i}.png") for i in (1, 2))
    assert one != other


@pytest.mark.parametrize("lost", ["disk", "folder"])
def test_an_error_names_the_file_that_was_asked_for(tmp_path, lost):
    path = tmp_path / "gone" / "a.txt" if lost == "folder" else tmp_path / "a.txt"
    with pytest.raises(OSError) as caught, whole(path) as unfinished:
        if lost == "disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        unfinished.write_text("text")
    assert caught.value.filename == str(path)


@pytest.fixture
def dead_process():
    """The number of a process that is no more."""
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    return process.stdout.strip()


def test_sweeping_spares_writers_that_live_and_other_files(tmp_path, dead_process):
    dead = tmp_path / f".a.h5.{dead_process}.tmp"
    alive = tmp_path / f".a.h5.{os.getpid()}.tmp"
    other = tmp_path / ".mine.tmp"
    for path in (dead, alive, other):
        path.write_text("")
    assert sweep(tmp_path) == [dead]
    assert names(tmp_path) == sorted([alive.name, other.name])
    os.utime(alive, (1, 1))  # from before this process, which has the number of a dead one
    assert sweep(tmp_path) == [alive]


def test_sweeping_where_another_machine_may_write(tmp_path, dead_process):
    path = tmp_path / f".a.h5.{dead_process}.tmp"
    path.write_text("")
    assert sweep(tmp_path, untouched=3600) == []
    old = time.time() - 3601
    os.utime(path, (old, old))
    assert sweep(tmp_path, untouched=3600) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_never_ends_is_told_from_files(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for link, target in {"good": "file", "nowhere": "gone", "circle": "circle"}.items():
        (tmp_path / link).symlink_to(target)
    expected = {"file": "", "good": "", "pipe": "a pipe", ".": "a folder", "gone": "nothing"}
    expected |= {"nowhere": "a link to nothing", "circle": "a link in a circle"}
    assert {name: no_file(tmp_path / name) for name in expected} == expected
    assert no_file("/dev/null") == "a device" and no_file("a\0b") == "nothing"
    assert regular_file(tmp_path / "good") == tmp_path / "good"
    with pytest.raises(OSError, match="It is a pipe, not a file") as caught:
        regular_file(tmp_path / "pipe")
    assert caught.value.filename == str(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="There is no such file"):
        regular_file(tmp_path / "gone")


def test_names_that_are_no_text_are_written_as_escapes(tmp_path):
    WholeFile(tmp_path / "a.txt").close(["細 ", os.fsdecode(b"\xff")])
    assert (tmp_path / "a.txt").read_text("utf-8") == "細 \\udcff"
