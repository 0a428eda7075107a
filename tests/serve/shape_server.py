"""A server in this process, on a free port, whose model finds three shapes in every picture."""

import contextlib
import http.client
import io
import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image

from mrcnn.detect.instances import Instances
from mrcnn.geometry.boxes import extract_bboxes

CLASS_NAMES = ["BG", "cell", "dust"]
SCORES = (0.95, 0.8, 0.3)


def find_shapes(picture: np.ndarray) -> Instances:
    """A cell with a hole, a disc of dust and a doubtful cell, the same for every picture."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((height, width, 3), bool)
    masks[height // 8 : height // 2, width // 8 : width // 2, 0] = True
    masks[height // 4 : height // 3, width // 4 : width // 3, 0] = False
    masks[..., 1] = np.hypot(y - height * 0.7, x - width * 0.3) < min(height, width) / 5
    masks[height // 2 :, -width // 4 :, 2] = True
    return Instances(
        rois=extract_bboxes(masks),
        class_ids=np.array([1, 2, 1], np.int32),
        scores=np.array(SCORES, np.float32),
        masks=masks,
        class_names=CLASS_NAMES,
    )


class ShapeModel:
    """What is served needs no more than this. `runs` has the shapes that came in together."""

    def __init__(self) -> None:
        self.class_names = CLASS_NAMES
        self.runs: list[list[tuple[int, ...]]] = []
        self.go = threading.Event()  # it waits for that before each run
        self.begun = threading.Semaphore(0)
        self.go.set()

    def detect(self, images):
        self.begun.release()
        assert self.go.wait(PATIENCE)
        self.runs.append([image.shape for image in images])
        if any(image.shape[:2] == (13, 13) for image in images):
            raise ValueError("a picture of 13x13 brings bad luck.")
        return [find_shapes(image) for image in images]


def png(height: int = 48, width: int = 64, **options) -> bytes:
    """A picture file."""
    held = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(held, "PNG", **options)
    return held.getvalue()


class Client:
    """Asks a server; each request on a connection of its own."""

    def __init__(self, address: str) -> None:
        self.address, self.place = address, address.partition("//")[2]

    def ask(self, method: str, path: str, body=None, **headers):
        """(status, headers, bytes) of the answer."""
        connection = http.client.HTTPConnection(self.place, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(
                method, path, body, {k.replace("_", "-"): v for k, v in headers.items()}
            )
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def get(self, path: str, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path: str, body=b"", **headers):
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        return self.ask("POST", path, body, **headers)

    def json(self, path: str, body=b"", **headers):
        """(status, what the JSON of the answer says)."""
        status, _, content = self.post(path, body, **headers)
        return status, json.loads(content)


@contextlib.contextmanager
def serving(model=None, **options) -> Iterator[Client]:
    """A server while the block runs. options: of `Service`."""
    pytest.importorskip("fastapi")
    pytest.importorskip("python_multipart")
    pytest.importorskip("uvicorn")
    from mrcnn.serve.running import Server
    from mrcnn.serve.service import Service

    ready = threading.Event()
    service = Service(model or ShapeModel(), "shapes", **options)
    server = Server(service, "127.0.0.1", 0, lambda _: ready.set())
    thread = threading.Thread(target=server.run_here)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        client = Client(server.address)
        client.service = service
        yield client
    finally:
        server.should_exit = True
        thread.join()
