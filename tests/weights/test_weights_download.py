"""Fetching from a server on this machine that behaves well, badly, or not at all."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mrcnn.weights import download
from mrcnn.weights.download import DownloadError, KnownFile, fetch, weights_path
from mrcnn.weights.recognise import HDF5_SIGNATURE

CONTENT = HDF5_SIGNATURE + bytes(range(256)) * 4000  # 1 MB


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `mode` says how. `requests` holds the Range of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.requests, self.content = "ranges", [], CONTENT
        self.url = f"http://127.0.0.1:{self.server_port}/weights.h5"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        mode, content = self.server.mode, self.server.content
        if mode in ("404", "503"):
            return self.send_error(int(mode))
        start = int(re.findall(r"\d+", asked)[0]) if asked and mode != "no ranges" else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + 300_000 if mode == "breaks" else len(content)
        self.wfile.write(content[start:end])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
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
    target.parent.mkdir(exist_ok=True)
    return target.with_name("weights.h5.part")


def know(monkeypatch, server, **facts) -> str:
    monkeypatch.setitem(download.KNOWN_FILES, "known", KnownFile(server.url, **facts))
    return "known"


def test_whole_file_then_no_request_at_all(server, target, capsys):
    assert fetch(server.url, target) == str(target)
    assert target.read_bytes() == CONTENT and not part(target).exists()
    shown = capsys.readouterr()
    assert shown.out == "" and server.url in shown.err and "100%" in shown.err
    fetch(server.url, target, verbose=0)
    assert server.requests == [None]
    assert capsys.readouterr().err == ""


def test_goes_on_where_the_last_call_stopped(server, target):
    part(target).write_bytes(CONTENT[:500_000])
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT
    assert server.requests == ["bytes=500000-"]


def test_starts_anew_where_the_server_ignores_ranges(server, target):
    server.mode = "no ranges"
    part(target).write_bytes(b"something else")
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT


def test_part_that_is_complete_or_too_long(server, target):
    part(target).write_bytes(CONTENT)
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT and len(server.requests) == 1
    target.unlink()
    part(target).write_bytes(CONTENT + b"more")
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT


def test_broken_connections_are_resumed(server, target):
    server.mode = "breaks"  # 1,024,008 bytes in pieces of 300,000
    fetch(server.url, target, verbose=0)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_gives_up_and_keeps_what_came(server, target, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.mode = "breaks"
    with pytest.raises(DownloadError, match="broke off after 600,000 of 1,024,008 bytes") as error:
        fetch(server.url, target, verbose=0)
    assert server.url in str(error.value) and str(target) in str(error.value)
    assert part(target).stat().st_size == 600_000 and not target.exists()


def test_size_and_checksum_are_verified(server, target, monkeypatch):
    with pytest.raises(DownloadError, match="has 1,024,008 bytes and not 7"):
        fetch(know(monkeypatch, server, size=7), target, verbose=0)
    with pytest.raises(DownloadError, match="has the md5 .* and not 0"):
        fetch(know(monkeypatch, server, md5="0"), target, verbose=0)
    assert list(target.parent.iterdir()) == []
    facts = {"size": len(CONTENT), "md5": hashlib.md5(CONTENT).hexdigest()}
    fetch(know(monkeypatch, server, **facts), target, verbose=0)
    assert target.read_bytes() == CONTENT


def test_web_page_is_not_kept(server, target):
    server.content = b"<!DOCTYPE html><title>Sign in</title>" * 10
    with pytest.raises(DownloadError, match="what came is a web page"):
        fetch(server.url, target, verbose=0)
    assert list(target.parent.iterdir()) == [] and len(server.requests) == 1


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
    part(target)
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
