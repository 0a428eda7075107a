"""What people give: addresses (of a server on this computer), standard input, videos, and more."""

import io
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn.data import sources
from mrcnn.data.pictures import PictureError, read_picture
from mrcnn.data.sources import Source, find_sources

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers by the path of the address."""

    def do_GET(self):
        answers = {"/gone.png": 404, "/moved.png": 301, "/to-ftp.png": 302}
        status = answers.get(self.path, 200)
        body = png()
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/a%20b.png")
        if status == 302:
            self.send_header("Location", "ftp://127.0.0.1/x.png")
        if self.path == "/page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        else:
            self.send_header("Content-Type", "image/png")
        claimed = len(body) + (9 if self.path == "/cut.png" else 0)
        if self.path != "/endless.png":
            self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/endless.png":
            self.wfile.write(bytes(100_000))

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_files_addresses_and_standard_input_each_once_in_order(tmp_path):
    for name in ("a.png", "b.png", "film.mp4"):
        (tmp_path / name).touch()
    other = "https://example.org/x/a.png?size=2"
    given = [
        str(tmp_path / "film.mp4"),
        other,
        "-",
        str(tmp_path),
        other,
        (tmp_path / "a.png").as_uri(),
    ]
    given += ["http://example.org/a.png", "http://example.org/..%2f", "-"]
    found = find_sources(given, tmp_path / "fetched")
    names = {"film.mp4": "", "fetched/a.png": other, "fetched/stdin": "-", "a.png": "", "b.png": ""}
    names |= {"fetched/a_2.png": given[6], "fetched/picture": given[7]}
    assert {s.path.relative_to(tmp_path).as_posix(): s.address for s in found} == names
    assert [s.path.name for s in found if s.is_video] == ["film.mp4"]
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("given", ["ftp://example.org/a.png", "s3://x/a.png"])
def test_other_addresses_say_what_can_be_taken(given, tmp_path):
    with pytest.raises(
        PictureError, match=r"addresses are http or https, and of streams rtsp.*Download"
    ):
        find_sources([given], tmp_path)


@pytest.mark.parametrize("name", ["a.png", "moved.png", "a%20b.png", "細.png?x=1#y"])
def test_a_picture_is_fetched(server, tmp_path, name):
    (source,) = find_sources([f"{server}/{name}"], tmp_path / "fetched")
    source.bring()
    np.testing.assert_array_equal(read_picture(source.path), PIXELS)
    assert os.listdir(tmp_path / "fetched") == [source.path.name]


@pytest.mark.parametrize(
    "name, words",
    [
        ("gone.png", "the server answers 404 Not Found"),
        ("page", "is a web page: give the address of the picture itself"),
        ("cut.png", r"broke off after \d+ of \d+ bytes"),
        ("endless.png", "has more than 0 MB"),
        ("to-ftp.png", "can't be fetched: .*ftp"),
    ],
)
def test_what_cannot_be_fetched_is_told_and_leaves_nothing(
    server, tmp_path, name, words, monkeypatch
):
    monkeypatch.setattr(sources, "MOST_BYTES", 50_000)
    source = Source(tmp_path / "fetched" / "x.png", f"{server}/{name}")
    with pytest.raises(PictureError, match=words) as caught:
        source.bring()
    assert str(caught.value).startswith(f"{server}/{name}")
    assert os.listdir(tmp_path / "fetched") == []


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.png", "http://[::1/a.png", "http://a b/c", "http://\udcff"]
)
def test_no_server_there(tmp_path, address):
    (source,) = find_sources([address], tmp_path)
    with pytest.raises(PictureError, match="can't be fetched"):
        source.bring()


def test_what_takes_too_long_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SECONDS", -1.0)
    with pytest.raises(PictureError, match="takes longer than .* minutes"):
        Source(tmp_path / "x.png", f"{server}/a.png").bring()


def test_standard_input(tmp_path, monkeypatch):
    class Stdin:
        def __init__(self, content: bytes, terminal: bool = False):
            self.buffer, self.isatty = io.BytesIO(content), lambda: terminal

    source = Source(tmp_path / "stdin", "-")
    monkeypatch.setattr("sys.stdin", Stdin(png()))
    source.bring()
    np.testing.assert_array_equal(read_picture(Path(source.path)), PIXELS)
    for stdin, words in (
        (Stdin(b""), "is empty"),
        (Stdin(b"x", True), "nothing comes"),
        (None, "no"),
    ):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(PictureError, match=words):
            source.bring()
