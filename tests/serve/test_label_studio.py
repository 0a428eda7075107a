"""Label Studio's protocol, with requests as Label Studio sends them."""

import base64
import http.server
import threading

import numpy as np
import pytest
from shape_server import find_shapes, png, serving

from mrcnn.data.formats.brush import unpack_brush
from mrcnn.serve.label_studio import LabelStudio, find_control
from mrcnn.serve.limits import Limits, Refused

INTERFACE = """<View><!-- as its templates begin -->
  <Image name="image" value="$picture"/>
  <{tag} name="tag" toName="image">
    <Label value="Cell" background="#f00"/><Label value="other" predicted_values="dirt, dust"/>
  </{tag}></View>"""
WANT = find_shapes(np.zeros((48, 64, 3)))


def predict_request(tag: str, *addresses: str) -> dict:
    return {
        "tasks": [{"id": i, "data": {"picture": a}} for i, a in enumerate(addresses, start=1)],
        "model_version": "shapes",
        "project": "3.1700000000",
        "label_config": INTERFACE.format(tag=tag),
        "params": {"login": None, "password": None, "context": None},
    }


DATA = "data:image/png;base64," + base64.b64encode(png()).decode()


@pytest.mark.parametrize("tag", ["BrushLabels", "PolygonLabels", "RectangleLabels"])
def test_predictions(client, tag):
    status, answer = client.json("/predict", predict_request(tag, DATA))
    (prediction,) = answer["results"]
    assert (status, prediction["model_version"]) == (200, "shapes")
    kind = tag.lower()
    regions = prediction["result"]
    assert [region["value"][kind] for region in regions] == [["Cell"], ["other"]]
    assert [region["score"] for region in regions] == pytest.approx([0.95, 0.8])
    assert prediction["score"] == pytest.approx(0.875)
    for i, region in enumerate(regions):
        assert (region["type"], region["from_name"], region["to_name"]) == (kind, "tag", "image")
        assert (region["original_width"], region["original_height"]) == (64, 48)
        value, mask = region["value"], WANT.masks[..., i]
        if tag == "BrushLabels":
            assert np.array_equal(unpack_brush(bytes(value["rle"]), 48, 64), mask)
        elif tag == "RectangleLabels":
            y1, x1, y2, x2 = WANT.boxes[i]
            sides = np.array([value[key] for key in ("x", "y", "width", "height")])
            assert np.allclose(sides * (0.64, 0.48, 0.64, 0.48), [x1, y1, x2 - x1, y2 - y1])
        else:
            points = np.array(value["points"])
            assert points.min() >= 0 and points.max() <= 100 and value["closed"]
            middle = np.argwhere(mask).mean(axis=0) + 0.5
            drawn = (points.min(axis=0) + points.max(axis=0)) / 2 * (0.64, 0.48)
            assert np.allclose(drawn[::-1], middle, atol=1.5)


def test_the_other_paths(client):
    assert client.get("/health")[0] == 200
    request = {"project": "3.17", "schema": INTERFACE, "hostname": "", "access_token": "x"}
    assert client.json("/setup", request) == (200, {"model_version": "shapes"})
    assert client.json("/versions", {"project": "3.17"}) == (200, {"versions": ["shapes"]})
    assert client.get("/versions")[0] == 200
    assert client.json("/webhook", {"action": "ANNOTATION_CREATED"})[0] == 201


@pytest.fixture
def studio():
    """A Label Studio that has one picture, and asks for its key; (address, what was asked)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            if self.path == "/away.png":
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{self.server.server_port}/a.png")
                self.end_headers()
                return
            self.send_response(200 if self.headers.get("Authorization") else 401)
            self.end_headers()
            self.wfile.write(png() if self.path == "/data/upload/a.png" else b"?")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_pictures_are_fetched_from_label_studio_alone(studio):
    address, asked = studio
    with serving(label_studio=LabelStudio(address, key="abc")) as client:
        request = predict_request(
            "BrushLabels", "/data/upload/a.png", f"{address}/data/upload/a.png"
        )
        status, answer = client.json("/predict", request)
        assert [len(result["result"]) for result in answer["results"]] == [2, 2]
        assert asked == [("/data/upload/a.png", "Token abc")] * 2
        for wrong, told in (
            ("http://169.254.169.254/latest", "--fetch-from http://169.254.169.254"),
            ("file:///etc/passwd", "aren't fetched"),
            (f"{address}/away.png", "Pictures of http://localhost:"),
            (f"{address}/b.png", "is no picture"),
        ):
            status, answer = client.json("/predict", predict_request("BrushLabels", wrong))
            assert 400 <= status < 500 and told in answer["detail"], answer
        request = predict_request("BrushLabels", "/data/upload/a.png", "file:///etc/passwd")
        status, answer = client.json("/predict", request)  # one bad task of several
        assert [len(result["result"]) for result in answer["results"]] == [2, 0]


def test_a_key_does_not_follow_to_another_place(studio):
    address, asked = studio
    other = address.replace("127.0.0.1", "localhost")
    with pytest.raises(Refused, match="401"):
        LabelStudio(address, "abc", [other])._fetched(f"{address}/away.png", "it", Limits())
    assert asked == [("/away.png", "Token abc"), ("/a.png", None)]


@pytest.mark.parametrize(
    ("interface", "told"),
    [
        (None, "no labelling interface"),
        ("<View", "no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "no labelling interface"),
        ("<View><Image name='a' value='$a'/></View>", "it has none of BrushLabels"),
        (INTERFACE.format(tag="BrushLabels").replace("Cell", "leaf").replace("dust", "x"), "leaf"),
    ],
)
def test_interfaces_that_do_not_fit(interface, told):
    with pytest.raises(Refused) as refused:
        find_control(interface, ["BG", "cell", "dust"])
    assert told in refused.value.sentence


def test_requests_that_label_studio_would_not_send(client):
    for wrong in ({}, {"tasks": 3}, {"tasks": [3]}, {"tasks": [{"id": 1}]}):
        assert client.json("/predict", wrong | {"label_config": INTERFACE})[0] == 422
