"""Counts and times for Prometheus, in its text format."""

import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds
PICTURES = (1, 2, 4, 8, 16)  # in a run of the model

_HELP = {
    "mrcnn_requests_total": ("counter", "Requests, by path and status."),
    "mrcnn_pictures_total": ("counter", "Pictures that were looked through."),
    "mrcnn_instances_total": ("counter", "Instances that were found in them, by class."),
    "mrcnn_request_seconds": ("histogram", "From the head of a detection's request to its answer."),
    "mrcnn_detect_seconds": ("histogram", "A run of the model, of one picture or several."),
    "mrcnn_batch_pictures": ("histogram", "Pictures in a run of the model."),
    "mrcnn_waiting_pictures": ("gauge", "Pictures that wait for the model."),
    "process_resident_memory_bytes": ("gauge", "Memory of the server."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, histograms and gauges; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._histograms: dict[str, _Histogram] = {
            "mrcnn_request_seconds": _Histogram(BOUNDS),
            "mrcnn_detect_seconds": _Histogram(BOUNDS),
            "mrcnn_batch_pictures": _Histogram(PICTURES),
        }
        self.gauges: dict[str, Callable[[], float]] = {"process_resident_memory_bytes": resident}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, tuple(labels.items())] += by

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        with self._lock:
            self._histograms[name].add(value)

    def ran(self, pictures: int, seconds: float) -> None:
        """Note a run of the model."""
        self.observe("mrcnn_detect_seconds", seconds)
        self.observe("mrcnn_batch_pictures", pictures)

    def text(self) -> str:
        """All of them, as Prometheus reads them."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name, (kind, about) in _HELP.items():
            yield f"# HELP {name} {about}"
            yield f"# TYPE {name} {kind}"
            if name in self._histograms:
                yield from self._histograms[name].lines(name)
            elif name in self.gauges:
                yield f"{name} {self.gauges[name]():g}"
            for (counter, labels), value in self._counts.items():
                if counter == name:
                    yield f"{name}{_in_braces(dict(labels))} {value:g}"


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.total = bounds, 0.0
        self.counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterator[str]:
        so_far = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts):
            so_far += count
            label = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield f'{name}_bucket{{le="{label}"}} {so_far}'
        yield f"{name}_sum {self.total:.6g}"
        yield f"{name}_count {so_far}"


def _in_braces(labels: Mapping[str, str]) -> str:
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for name, value in labels.items()
    }
    inside = ",".join(f'{name}="{value}"' for name, value in escaped.items())
    return f"{{{inside}}}" if inside else ""


def resident() -> float:
    """Bytes of memory that this process holds; 0 where the system doesn't tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
