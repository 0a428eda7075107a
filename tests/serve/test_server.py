"""The server as programs see it: over a socket, good requests and bad ones."""

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE, kill_when_it_hangs
from PIL import Image
from shape_server import CLASS_NAMES, SCORES, ShapeModel, find_shapes, png, serving

from mrcnn.detect.instances import Instances
from mrcnn.serve.limits import Limits

ROOT = Path(__file__).parents[2]
FORM = "multipart/form-data; boundary=xxx"


def form(data: bytes, name: str = "a.png") -> bytes:
    head = f'--xxx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--xxx--\r\n"


# -- Detection ------------------------------------------------------------------------------


def test_the_answer_is_a_result_file(client, tmp_path):
    status, _, content = client.post("/v1/detect?threshold=0.5&name=a/b.png", png())
    assert status == 200
    (tmp_path / "found.json").write_bytes(content)
    found, want = Instances.load(tmp_path / "found.json"), find_shapes(np.zeros((48, 64, 3)))[:2]
    assert np.array_equal(found.masks, want.masks) and np.array_equal(found.boxes, want.boxes)
    assert found.class_names == CLASS_NAMES and found.scores.tolist() == want.scores.tolist()
    content = json.loads(content)
    assert content["images"] == [{"id": 1, "file_name": "b.png", "height": 48, "width": 64}]
    assert content["info"]["threshold"] == 0.5 and content["info"]["limited"] is False


@pytest.mark.parametrize(("query", "count"), [("", 2), ("?threshold=0", 3), ("?threshold=0.9", 1)])
def test_threshold(client, query, count):
    _, answer = client.json(f"/v1/detect{query}", png())
    assert [row["score"] for row in answer["annotations"]] == pytest.approx(SCORES[:count])


def test_thresholds_by_class():
    with serving(threshold=0.5, of_classes={"dust": 0.9}, lowest=0.2) as client:
        _, answer = client.json("/v1/detect", png())
        assert [row["category_id"] for row in answer["annotations"]] == [1]
        assert answer["info"]["threshold"] == {"dust": 0.9}
        assert len(client.json("/v1/detect?threshold=0.25", png())[1]["annotations"]) == 3


def test_a_form_and_a_turned_photo(client):
    tags = Image.Exif()
    tags[0x0112] = 6  # taken upright
    data = form(png(48, 64, exif=tags), "p.png")
    status, answer = client.json("/v1/detect", data, Content_Type=FORM)
    assert (status, answer["images"][0]) == (
        200,
        {"id": 1, "file_name": "p.png", "height": 64, "width": 48},
    )


def bomb() -> bytes:
    held = io.BytesIO()
    Image.new("1", (10000, 10000)).save(held, "PNG")
    return held.getvalue()


BAD = {
    "nothing": (b"", {}, 415),
    "text": (b"hello", {}, 415),
    "cut short": (png()[:2000], {}, 422),
    "bomb": (bomb(), {}, 422),
    "too large": (bytes(2_000_000), {}, 413),
    "large form": (form(bytes(2_000_000)), {"Content_Type": FORM}, 413),
    "empty form": (b"--xxx--\r\n", {"Content_Type": FORM}, 422),
    "broken form": (b"--yyy", {"Content_Type": FORM}, 422),
    "unlucky": (png(13, 13), {}, 422),
}


@pytest.fixture(scope="module")
def strict():
    with serving(limits=Limits(megabytes=1, megapixels=20, body_seconds=0.5)) as client:
        yield client


@pytest.mark.parametrize("case", BAD)
def test_bad_pictures_are_refused_in_a_sentence(strict, case):
    body, headers, want = BAD[case]
    status, answer = strict.json("/v1/detect", body, **headers)
    assert status == want and answer["detail"].endswith("."), answer


def test_other_bad_requests(strict):
    assert strict.get("/v1/detect")[0] == 405
    assert strict.post("/v1/detect?threshold=2", png())[0] == 422
    assert strict.get("/v2/detect")[0] == 404
    assert strict.post("/v1/labels/paint", b"{}")[0] == 404
    assert strict.post("/v1/labels/coco", b"[" * 100_000)[0] == 422
    assert strict.get("/healthz")[0] == 200  # after all that


def raw(client, *parts: bytes) -> bytes:
    """What comes back on a connection until it is closed; it stays open on our side."""
    host, port = client.place.split(":")
    with contextlib.closing(socket.create_connection((host, int(port)), PATIENCE)) as connection:
        for part in parts:
            connection.sendall(part)
        with contextlib.suppress(ConnectionError):
            return b"".join(iter(lambda: connection.recv(4096), b""))
    return b""


HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"


@pytest.mark.parametrize(
    "begun",
    [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\nabc"],
    ids=["silent", "head", "no body", "body"],
)
def test_who_begins_and_does_not_end_is_let_go(strict, begun):
    answer = raw(strict, begun)
    assert answer.startswith(b"HTTP/1.1 408 ") if begun else answer == b""


def test_who_goes_on_sending_after_the_answer_is_let_go(strict):
    head = HEAD.replace(b"5000", b"9999999")
    assert raw(strict, head + b"\r\nabc").startswith(b"HTTP/1.1 413 ")


# -- Turns ----------------------------------------------------------------------------------


def asked(client, data: bytes, answers: list[int]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(client.post("/v1/detect", data)[0]))
    thread.start()
    return thread


def until(condition) -> None:
    """Wait for something that comes by itself."""
    event = threading.Event()
    for _ in range(PATIENCE * 100):
        if condition():
            return
        event.wait(0.01)
    raise AssertionError("it didn't come")


def test_what_waits_and_has_one_size_goes_together():
    model, answers = ShapeModel(), []
    model.go.clear()
    with serving(model, limits=Limits(batch=3)) as client:
        threads = [asked(client, png(10, 10), answers)]
        assert model.begun.acquire(timeout=PATIENCE)
        for waiting, side in enumerate((20, 30, 20, 20, 20), start=1):
            threads.append(asked(client, png(side, side), answers))
            until(lambda count=waiting: client.service.worker.waiting == count)
        model.go.set()
        for thread in threads:
            thread.join()
    assert answers == [200] * 6
    assert [[shape[0] for shape in run] for run in model.runs] == [[10], [20] * 3, [30], [20]]


def test_one_bad_picture_takes_no_other_with_it():
    model, answers = ShapeModel(), []
    model.go.clear()
    model.detect_one, answers_bad = model.detect, []

    def detect(images):  # fails for the second of a run
        if len(images) > 1:
            raise ValueError("one of them")
        return model.detect_one(images)

    model.detect = detect
    with serving(model, limits=Limits(batch=4)) as client:
        threads = [asked(client, png(10, 10), answers)]
        assert model.begun.acquire(timeout=PATIENCE)
        threads += [asked(client, png(13, 13), answers_bad) for _ in range(2)]
        until(lambda: client.service.worker.waiting == 2)
        model.go.set()
        for thread in threads:
            thread.join()
    assert (answers, answers_bad) == ([200], [422, 422])


def test_too_many_and_too_slow():
    model, answers = ShapeModel(), []
    model.go.clear()
    with serving(model, limits=Limits(queue=2, seconds=PATIENCE)) as client:
        threads = [asked(client, png(), answers) for _ in range(2)]
        until(lambda: client.service._inside.taken == 2)
        status, headers, _ = client.post("/v1/detect", png())
        assert (status, headers["Retry-After"]) == (503, "2")
        model.go.set()
        for thread in threads:
            thread.join()
    model.go.clear()
    with serving(model, limits=Limits(seconds=0.2)) as client:
        assert client.post("/v1/detect", png())[0] == 503
        model.go.set()
    assert answers == [200, 200]


def test_who_has_gone_is_passed_over():
    model, answers = ShapeModel(), []
    model.go.clear()
    with serving(model) as client:
        thread = asked(client, png(10, 10), answers)
        assert model.begun.acquire(timeout=PATIENCE)
        host, port = client.place.split(":")
        data = png(20, 20)
        with contextlib.closing(socket.create_connection((host, int(port)))) as connection:
            connection.sendall(HEAD.replace(b"5000", str(len(data)).encode()) + b"\r\n" + data)
            until(lambda: client.service.worker.waiting == 1)
        until(lambda: client.service._inside.taken == 1)
        model.go.set()
        thread.join()
        assert client.post("/v1/detect", png(30, 30))[0] == 200
    assert [run[0][0] for run in model.runs] == [10, 30]


# -- Who may ask ----------------------------------------------------------------------------


def test_token():
    basic = base64.b64encode(b"anybody:open sesame").decode()
    with serving(token="open sesame") as client:
        for path in ("/", "/page.js", "/healthz", "/health"):
            assert client.get(path)[0] == 200
        for path in ("/v1/model", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path)[0] == 401
        assert client.post("/v1/detect", png(), Authorization="Bearer sesame")[0] == 401
        assert client.post("/v1/detect", png(), Authorization="Bearer open sesame")[0] == 200
        assert client.post("/v1/detect", png(), Authorization=f"Basic {basic}")[0] == 200
        assert client.get("/v1/model", Authorization="Basic %%%")[0] == 401


def test_pages_of_others_may_not_ask(client):
    assert client.get("/v1/model", Host="rebound.example.org")[0] == 403
    assert client.post("/v1/detect", png(), Origin="https://example.org")[0] == 403
    assert client.post("/v1/detect", png(), Origin=client.address)[0] == 200
    assert client.get("/healthz", Host="localhost:80")[0] == 200


# -- Files and state ------------------------------------------------------------------------


def test_label_files(client, tmp_path):
    from mrcnn.data import open as open_data

    _, first = client.json("/v1/detect?name=a.png&threshold=0", png())
    second = json.loads(json.dumps(first))
    first["images"].append({**second["images"][0], "id": 2})  # of the same name
    first["annotations"] += [row | {"image_id": 2} for row in second["annotations"][:1]]
    for name in ("a.png", "a_2.png"):
        (tmp_path / name).write_bytes(png())
    want = find_shapes(np.zeros((48, 64))).masks
    for to in ("coco", "via"):
        status, headers, content = client.post(f"/v1/labels/{to}", first)
        assert (status, f'"{to}.json"' in headers["Content-Disposition"]) == (200, True)
        path = tmp_path / f"{to}.json"
        path.write_bytes(content)
        masks = [open_data(path).load_mask(i)[0] for i in range(2)]
        path.unlink()
        assert [mask.shape[-1] for mask in masks] == [3, 1]
        assert (masks[0] & want).sum() / (masks[0] | want).sum() > 0.98
    status, _, content = client.post("/v1/labels/labelme", first)
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["a.json", "a_2.json"]


def test_label_files_of_odd_json(client):
    _, good = client.json("/v1/detect", png())
    row, image = good["annotations"][0], good["images"][0]
    rle = row["segmentation"]
    for wrong in (
        {},
        good | {"images": [{}]},
        good | {"images": [image | {"height": 10**6, "width": 10**6}]},
        good | {"annotations": [row | {"image_id": 7}]},
        good | {"annotations": [row | {"category_id": 9}]},
        good | {"annotations": [row | {"segmentation": {**rle, "counts": "zzz"}}]},
        good | {"annotations": [row | {"segmentation": {**rle, "size": [4, 4]}}]},
        good | {"annotations": [row | {"segmentation": [[1, 2, 3]]}]},
    ):
        status, answer = client.json("/v1/labels/coco", wrong)
        assert status == 422 and answer["detail"].endswith("."), wrong
    even = good | {"images": [image | {"file_name": "../../etc/passwd"}]}
    assert b"etc" not in client.post("/v1/labels/coco", even)[2]


def test_picture_for_browsers(client):
    held = io.BytesIO()
    Image.fromarray(np.arange(100, dtype=np.uint16).reshape(10, 10) * 500).save(held, "TIFF")
    status, headers, content = client.post("/v1/picture", held.getvalue())
    picture = np.asarray(Image.open(io.BytesIO(content)))
    assert (status, headers["Content-Type"], picture.dtype) == (200, "image/png", np.uint8)
    assert (picture.min(), picture.max()) == (0, 255)


def test_metrics_count_what_happens():
    with serving() as client:
        client.post("/v1/detect", png())
        client.get("/no/such/path/1")
        client.get("/no/such/path/2")
        text = client.get("/metrics")[2].decode()
    for line in (
        'mrcnn_requests_total{path="/v1/detect",status="200"} 1',
        'mrcnn_requests_total{path="other",status="404"} 2',
        'mrcnn_instances_total{class="dust"} 1',
        'mrcnn_batch_pictures_bucket{le="1"} 1',
        "mrcnn_request_seconds_count 1",
    ):
        assert f"\n{line}\n" in text
    assert float(text.rpartition("process_resident_memory_bytes ")[2]) >= 0


def test_pages_load_nothing_from_elsewhere(client):
    for path in ("/", "/page.js", "/page.css", "/docs"):
        _, headers, content = client.get(path)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert content and b"https://" not in content.replace(b"http://www.w3.org", b"")


# -- The command ----------------------------------------------------------------------------

SERVE = """
import sys
sys.path[:0] = [{tests!r}, {here!r}]
from shape_server import ShapeModel
from mrcnn.cli import main, serve
serve.load_model = lambda *_: ShapeModel()
sys.exit(main(["serve", "--weights", "nucleus", "--port", "0"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_the_command_begins_and_ends(number):
    here = Path(__file__).parent
    code = SERVE.format(tests=str(here.parent), here=str(here))
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    kill_when_it_hangs(process)
    with process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("For programs"):
                os.kill(process.pid, number)
    assert process.returncode == 0
    assert lines[-1] == "Stopped.\n" and any("Open http://127.0.0.1:" in line for line in lines)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--weights", "nucleus", "--host", "0.0.0.0"], "others can reach 0.0.0.0: give a token"),
        (["--weights", "synthetic", "--config", "x.py"], "leave --config out"),
        (["--weights", "nucleus", "--token", "1234"], "8 characters or more"),
        (["--weights", "nucleus", "--fetch-from", "example.org"], "begins with http"),
        (["--weights", "nucleos"], "Did you mean nucleus?"),
    ],
)
def test_what_cannot_begin(argv, told, capsys, monkeypatch):
    from mrcnn.cli import main

    monkeypatch.delenv("MRCNN_TOKEN", raising=False)
    assert main(["serve", *argv]) == 2
    assert told in capsys.readouterr().err


def test_a_missing_extra_is_told(capsys, monkeypatch):
    from mrcnn.cli import main

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--weights", "nucleus"]) == 2
    assert 'needs the package uvicorn: pip install "fastapi' in capsys.readouterr().err
