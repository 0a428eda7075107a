"""How much does the server cost beside `detect` alone, and does it stand what clients send?

    python benchmarks/serve.py                            # 8 clients, 200 requests each
    python benchmarks/serve.py --requests 20 --side 128

A fifth of the requests is bad: no picture, a bomb, cut short, a wrong method, too large, too slow.
The same pictures go through `detect` before and after, in the same process, so that a change of the
machine's speed meets both. Clients are a process of their own.
"""

import argparse
import contextlib
import http.client
import io
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import common
import numpy as np

BAD = ("no picture", "bomb", "cut short", "wrong method", "too large", "slow")
EXPECTED = dict(zip(BAD, (415, 422, 422, 405, 413, 408)))
BODY_SECONDS = 2  # that the server waits for a slow one
MEGABYTES = 1


def pictures(side: int, count: int = 12) -> list[np.ndarray]:
    """Pieces of the free pictures of nuclei, [side, side, 3]."""
    from mrcnn.data.pictures import read_picture

    found = []
    for path in sorted((common.ROOT / "images" / "nuclei").glob("*.png")):
        picture = read_picture(path)
        for y in range(0, picture.shape[0] - side + 1, side):
            for x in range(0, picture.shape[1] - side + 1, side):
                found.append(picture[y : y + side, x : x + side])
    return found[:: max(1, len(found) // count)][:count]


def encoded(picture: np.ndarray) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(picture).save(held, "PNG")
    return held.getvalue()


# -- The process of the clients -----------------------------------------------------------------


def bomb() -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.new("1", (9000, 9000)).save(held, "PNG")
    return held.getvalue()


def clients(place: str, count: int, requests: int, side: int) -> dict:
    """Ask with so many clients; seconds of the good requests, and each kind's statuses."""
    sys.path.insert(1, str(common.ROOT))
    files = [encoded(picture) for picture in pictures(side)]
    bodies = {"no picture": b"hello", "bomb": bomb(), "cut short": files[0][:300]}
    bodies["too large"] = bytes(MEGABYTES * 2**20 + 1)
    seconds: list[float] = []
    statuses: dict[str, Counter] = {kind: Counter() for kind in ("good", *BAD)}

    def one(number: int) -> None:
        for i in range(requests):
            bad = i % 5 == 4
            kind = BAD[(i // 5 + number) % len(BAD)] if bad else "good"
            body = bodies.get(kind, files[(i + number) % len(files)])
            began = time.perf_counter()
            try:
                status = slow(place) if kind == "slow" else ask(place, kind, body)
            except OSError as error:
                status = type(error).__name__
            statuses[kind][status] += 1
            if not bad:
                seconds.append(time.perf_counter() - began)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "seconds": seconds,
        "whole": time.perf_counter() - began,
        "statuses": {kind: dict(counter) for kind, counter in statuses.items()},
    }


def ask(place: str, kind: str, body: bytes) -> int:
    with contextlib.closing(http.client.HTTPConnection(place, timeout=600)) as connection:
        connection.request("PUT" if kind == "wrong method" else "POST", "/v1/detect", body)
        response = connection.getresponse()
        response.read()
        return response.status


def slow(place: str) -> int:
    """Say that a body comes, and send three bytes of it."""
    host, port = place.split(":")
    with contextlib.closing(socket.create_connection((host, int(port)), 600)) as connection:
        head = f"POST /v1/detect HTTP/1.1\r\nHost: {place}\r\nContent-Length: 5000\r\n\r\nabc"
        connection.sendall(head.encode())
        return int(connection.recv(1000).split()[1])


# -- The process of the server --------------------------------------------------------------------


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    """Both tables."""
    from mrcnn.cli.configs import apply_setting
    from mrcnn.detect.configs import config_from_weights
    from mrcnn.model import MaskRCNN
    from mrcnn.serve.limits import Limits
    from mrcnn.serve.metrics import resident
    from mrcnn.serve.running import Server
    from mrcnn.serve.service import Service
    from mrcnn.weights.download import weights_path
    from mrcnn.weights.inspection import inspect_weights

    path = weights_path(args.weights)
    config = config_from_weights(inspect_weights(path))
    apply_setting(config, f"IMAGES_PER_GPU={args.batch}")
    model = MaskRCNN("inference", config, "logs")
    model.load_weights(path, by_name=True)
    some = pictures(args.side)
    model.detect(some)  # traced and allocated

    def alone() -> float:
        """Pictures a second without a server."""
        repeats = max(1, args.clients * args.requests // (8 * len(some)))
        return (
            len(some)
            * repeats
            / common.seconds_of(lambda: [model.detect(some) for _ in range(repeats)])
        )

    before = alone()
    ready = threading.Event()
    limits = Limits(MEGABYTES, batch=args.batch, seconds=600, body_seconds=BODY_SECONDS)
    service = Service(model, args.weights, config.DETECTION_MIN_CONFIDENCE, limits)
    server = Server(service, "127.0.0.1", 0, lambda _: ready.set())
    thread = threading.Thread(target=server.run_here)
    thread.start()
    ready.wait()
    memory: list[float] = []
    asking = [sys.executable, __file__, "--ask", server.address.removeprefix("http://")]
    asking += ["--clients", str(args.clients), "--requests", str(args.requests)]
    process = subprocess.Popen(
        [*asking, "--side", str(args.side)], stdout=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(process.stdout.read()))
    reader.start()
    while reader.is_alive():
        memory.append(resident() / 2**20)
        reader.join(1)
    server.should_exit = True
    thread.join()
    if process.wait():
        sys.exit("The clients failed.")
    told = json.loads(lines[0])
    after = alone()

    seconds = sorted(told["seconds"])
    served, both = len(seconds) / told["whole"], statistics.mean((before, after))
    quarter = len(memory) // 4
    speed = {
        "clients": args.clients,
        "good requests": len(seconds),
        "p50 s": statistics.median(seconds),
        "p95 s": seconds[int(0.95 * (len(seconds) - 1))],
        "pictures/s": served,
        "detect alone": both,
        "before": before,
        "after": after,
        "ratio": served / both,
        "MB after a quarter": statistics.median(memory[quarter : quarter + 5]),
        "MB at the end": statistics.median(memory[-5:]),
    }
    answers = [
        {"request": kind, "expected": EXPECTED.get(kind, 200), "got": json.dumps(got)}
        for kind, got in told["statuses"].items()
    ]
    return {"speed": [speed], "answers": answers}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = options.add_argument
    add("--weights", default="nucleus", help="a file, or a name (default: nucleus)")
    add("--clients", type=int, default=8, help="that ask at the same time (default: 8)")
    add("--requests", type=int, default=200, help="of each client (default: 200)")
    add("--side", type=int, default=64, help="of the pictures, in pixels (default: 64)")
    add("--batch", type=int, default=2, help="pictures that go through together (default: 2)")
    add("--out", type=Path, default=common.HERE / "results", help="folder of the results")
    add("--ask", metavar="HOST:PORT", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.ask:
        print(json.dumps(clients(args.ask, args.clients, args.requests, args.side)))
        return
    sys.path.insert(1, str(common.ROOT))
    about = common.announce()
    common.report("serve", args, about, **measure(args))


if __name__ == "__main__":
    main()
