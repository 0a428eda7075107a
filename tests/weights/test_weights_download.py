"""Fetching from a server on this machine that behaves well, badly, or not at all."""

import hashlib
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from small_model import small_layout

from mrcnn.weights import download, transfer
from mrcnn.weights.download import DownloadError, KnownFile, fetch, published_info, weights_path
from mrcnn.weights.inspection import PARTS, config_attributes
from mrcnn.weights.names import layer_names
from mrcnn.weights.recognise import HDF5_SIGNATURE
from mrcnn.weights.synthetic import write_synthetic
from mrcnn.weights.writing import write_weights


def weights_of(value: float) -> bytes:
    """A weight file of 1 MB."""
    kernel = np.full((1, 1, 500, 500), value, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.h5"
        write_weights(path, [("conv1", [("conv1/kernel:0", kernel)])])
        return path.read_bytes()


CONTENT, OTHER = weights_of(1.0), weights_of(2.0)
SIZE = len(CONTENT)
PIECE = 300_000
assert len(OTHER) == SIZE > 3 * PIECE


class Server(ThreadingHTTPServer):
    """Serves `content`; `mode` says how. `requests` holds the Range of each request.

    etag: True for one, "weak" for a weak one, False for none. length: "known", "chunked" or None.
    after: what the server does from the second request on, a function of it.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.requests, self.content = "ranges", [], CONTENT
        self.etag, self.length, self.honours_if_range, self.after = True, "known", True, None
        self.url = f"http://127.0.0.1:{self.server_port}/weights.h5"

    def tag(self):
        tag = f'"{hashlib.md5(self.content).hexdigest()}"'
        return f"W/{tag}" if self.etag == "weak" else tag


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.after and len(server.requests) == 2:
            server.after(server)
        mode, content = server.mode, server.content
        self.close_connection = True
        if mode in ("404", "503"):
            return self.send_error(int(mode))
        start = int(re.findall(r"\d+", asked)[0]) if asked and mode != "no ranges" else 0
        if server.honours_if_range and self.headers.get("If-Range", server.tag()) != server.tag():
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if server.etag:
            self.send_header("ETag", server.tag())
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.length == "known":
            self.send_header("Content-Length", str(len(content) - start))
        elif server.length == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = content[start : start + PIECE if mode == "breaks" else None]
        if server.length == "chunked":
            end = b"" if mode == "breaks" else b"0\r\n\r\n"
            body = b"%x\r\n%s\r\n%s" % (len(body), body, end)
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(transfer, "TIMEOUT", 5.0)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "weights.h5"


def part(target):
    return target.with_name("weights.h5.part")


def begun(server, target, content=CONTENT[:PIECE]):
    """What an earlier call leaves that broke off."""
    target.parent.mkdir(exist_ok=True)
    part(target).write_bytes(content)
    transfer._write(part(target), transfer.Version(server.url, server.tag(), SIZE))


def know(monkeypatch, server, **facts) -> str:
    monkeypatch.setitem(download.KNOWN_FILES, "known", KnownFile(server.url, **facts))
    return "known"


def left(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_whole_file_then_no_request_at_all(server, target, capsys):
    assert fetch(server.url, target) == str(target)
    assert target.read_bytes() == CONTENT and left(target) == ["weights.h5"]
    shown = capsys.readouterr()
    assert shown.out == "" and server.url in shown.err and "100%" in shown.err
    fetch(server.url, target, verbose=0)
    assert server.requests == [None]
    assert capsys.readouterr().err == ""


def test_goes_on_where_the_last_call_stopped(server, target):
    begun(server, target)
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT
    assert server.requests == [f"bytes={PIECE}-"]


def test_bytes_of_unknown_origin_are_not_gone_on_with(server, target):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:PIECE])
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT and server.requests == [None]


def test_starts_anew_where_the_server_ignores_ranges(server, target):
    server.mode = "no ranges"
    begun(server, target, b"something else")
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT


def test_part_that_is_complete_or_too_long(server, target):
    begun(server, target, CONTENT)
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT and len(server.requests) == 1
    target.unlink()
    begun(server, target, CONTENT + b"more")
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT


def test_broken_connections_are_resumed(server, target):
    server.mode = "breaks"
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, *(f"bytes={i * PIECE}-" for i in (1, 2, 3))]


@pytest.mark.parametrize("etag", [True, "weak", False])
@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_is_never_put_together_from_two(etag, honours_if_range, server, target):
    """The server's file changes between two connections; a half of each would be read as weights"""

    def change(server):
        server.content, server.mode = OTHER, "ranges"

    server.etag, server.honours_if_range = etag, honours_if_range
    server.mode, server.after = "breaks", change
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == OTHER and left(target) == ["weights.h5"]
    if etag is not True:  # nobody could tell the two apart
        assert server.requests == [None, None]


def test_a_file_that_changed_since_the_last_call(server, target):
    begun(server, target)
    server.content = OTHER
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == OTHER


@pytest.mark.parametrize("length", ["chunked", None])
def test_a_body_of_unknown_length(length, server, target):
    server.length = length
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT
    target.unlink()
    server.mode = "breaks"
    server.etag = False
    with pytest.raises(DownloadError, match="IncompleteRead|what came is no sound weight file"):
        fetch(server.url, target, verbose=0)
    assert not target.exists()


def test_tensors_that_are_no_numbers_and_files_without_any(server, target):
    server.content = weights_of(float("nan"))
    with pytest.raises(DownloadError, match="what came is no sound .* conv1/kernel holds no numbe"):
        fetch(server.url, target, verbose=0)
    server.content = HDF5_SIGNATURE + bytes(range(256)) * 4000
    with pytest.raises(DownloadError, match="what came is no sound weight file"):
        fetch(server.url, target, verbose=0)
    assert left(target) == []


def test_a_published_network_has_its_layers(server, target, tmp_path, monkeypatch):
    small = tmp_path / "small.h5"
    write_synthetic(small, small_layout(), seed=1)
    server.content = small.read_bytes()
    attributes = {"BACKBONE": "resnet50", "NUM_CLASSES": 81}
    name = know(monkeypatch, server, attributes=attributes)
    with pytest.raises(DownloadError, match=r"is another network \(BACKBONE unknown instead of r"):
        fetch(name, target, verbose=0)


def test_two_processes_fetch_once(server, target):
    others = [threading.Thread(target=fetch, args=(server.url, target, 0)) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join(30)
    assert target.read_bytes() == CONTENT and left(target) == ["weights.h5"]
    assert server.requests == [None]


def test_gives_up_and_keeps_what_came(server, target, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.mode = "breaks"
    with pytest.raises(DownloadError, match=f"broke off after 600,000 of {SIZE:,} bytes") as error:
        fetch(server.url, target, verbose=0)
    assert server.url in str(error.value) and str(target) in str(error.value)
    assert part(target).stat().st_size == 600_000 and not target.exists()


def test_size_and_checksum_are_verified(server, target, monkeypatch):
    with pytest.raises(DownloadError, match=f"has {SIZE:,} bytes and not 7"):
        fetch(know(monkeypatch, server, size=7), target, verbose=0)
    with pytest.raises(DownloadError, match="has the md5 .* and not 0"):
        fetch(know(monkeypatch, server, md5="0"), target, verbose=0)
    assert left(target) == []
    facts = {"size": len(CONTENT), "md5": hashlib.md5(CONTENT).hexdigest()}
    fetch(know(monkeypatch, server, **facts), target, verbose=0)
    assert target.read_bytes() == CONTENT


def test_web_page_is_not_kept(server, target):
    server.content = b"<!DOCTYPE html><title>Sign in</title>" * 10
    with pytest.raises(DownloadError, match="what came is a web page"):
        fetch(server.url, target, verbose=0)
    assert left(target) == [] and len(server.requests) == 1


def test_http_errors(server, target):
    server.mode = "404"
    with pytest.raises(DownloadError, match="answers 404"):
        fetch(server.url, target, verbose=0)
    assert len(server.requests) == 1
    server.mode = "503"  # may pass, so it is tried again
    with pytest.raises(DownloadError, match="answers 503"):
        fetch(server.url, target, verbose=0)
    assert len(server.requests) == 1 + download.ATTEMPTS


def test_offline(server, target):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="no connection.*put it at") as error:
        fetch(server.url, target, verbose=0)
    assert server.url in str(error.value) and str(target.absolute()) in str(error.value)


def test_another_file_in_its_place_is_never_overwritten(server, target):
    target.parent.mkdir()
    target.write_bytes(b"my own notes")
    with pytest.raises(DownloadError, match="is there already but is something"):
        fetch(server.url, target, verbose=0)
    assert target.read_bytes() == b"my own notes" and server.requests == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x.h5", "cocoo"])
def test_only_known_names_and_http(url, target):
    with pytest.raises(DownloadError, match="neither one of coco, balloon"):
        fetch(url, target)


def test_names_of_the_command_line(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MRCNN_HOME", str(tmp_path))
    for name in ("coco", "imagenet-resnet50"):
        monkeypatch.setitem(
            download.KNOWN_FILES, name, KnownFile(server.url.replace("weights", name))
        )
    assert weights_path("coco", verbose=0) == str(tmp_path / "coco.h5")
    path = weights_path("imagenet", backbone="resnet50", verbose=0)
    assert path == str(tmp_path / "imagenet-resnet50.h5")
    assert weights_path("./coco") == "./coco"
    with pytest.raises(ValueError, match="no published ImageNet weights for BACKBONE 'vgg'"):
        weights_path("imagenet", backbone="vgg")


def test_urls_and_sizes_of_the_published_files():
    coco = download.KNOWN_FILES["coco"]
    releases = "https://github.com/matterport/Mask_RCNN/releases/download"
    assert coco.url == download.COCO_MODEL_URL == f"{releases}/v2.0/mask_rcnn_coco.h5"
    assert coco.size == 257_557_808
    resnet = pytest.importorskip("keras.src.applications.resnet")
    known = download.KNOWN_FILES["imagenet-resnet101"]
    assert known.url.startswith(resnet.BASE_WEIGHTS_PATH)
    assert known.md5 == resnet.WEIGHTS_HASHES["resnet101"][1]


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_layers_of_a_published_network_are_those_of_the_original(backbone, layouts):
    layout = layouts[f"{backbone}_c81_inference"]
    weights = [name for _, tensors in layout for name, _ in tensors]
    assert {name.split("/")[0] for name in weights} == set(layer_names(backbone))
    if backbone == "resnet101":
        shapes = {tuple(n[:-2].split("/")): s for _, tensors in layout for n, s in tensors}
        info = published_info("coco", Path("x"))
        assert info.attributes == config_attributes(shapes) and info.parts == list(PARTS)
