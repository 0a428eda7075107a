"""The one thread that runs the model, and the pictures that wait for it.

worker = Worker(model, batch=4)
worker.start()
found = worker.submit(picture).result()    # what model.detect([picture])[0] gives
worker.stop()
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np

Found = Mapping[str, np.ndarray]  # rois, class_ids, scores, masks of one picture


class Model(Protocol):
    """What is served: a `MaskRCNN`, or any object that does the same."""

    class_names: Sequence[str] | None

    def detect(self, images: Sequence[np.ndarray]) -> Sequence[Found]:
        """The instances of each picture."""
        ...


class _Job(NamedTuple):
    picture: np.ndarray  # [height, width, 3] or [height, width]
    future: Future


class Worker:
    """Runs a model over pictures from any thread, those of one size together.

    A network computes on all cores by itself, and its memory is needed once for each call that runs
    at a time: so one thread. batch: pictures that go in together, the oldest first.
    told: is called with (number of pictures, seconds) after each run.
    """

    def __init__(
        self, model: Model, batch: int = 1, told: Callable[[int, float], None] | None = None
    ) -> None:
        self.model, self.batch = model, batch
        self._told = told or (lambda *_: None)
        self._waiting: deque[_Job] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="mrcnn-worker", daemon=True)

    @property
    def waiting(self) -> int:
        """How many pictures wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to work on what is submitted."""
        self._thread.start()

    def submit(self, picture: np.ndarray) -> Future:
        """Queue a picture. The future gives its instances, or the error of `detect`.

        Who doesn't want them any more cancels it: the picture is then passed over.
        """
        future: Future = Future()
        with self._change:
            if self._stopping:
                raise RuntimeError("The server is stopping.")
            self._waiting.append(_Job(picture, future))
            self._change.notify()
        return future

    def stop(self, patience: float | None = None) -> None:
        """Finish the run that is under way, drop what waits; wait for it so many seconds."""
        with self._change:
            self._stopping = True
            for job in self._waiting:
                job.future.cancel()
            self._waiting.clear()
            self._change.notify()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _work(self) -> None:
        while jobs := self._next():
            began = time.perf_counter()
            self._run(jobs)
            self._told(len(jobs), time.perf_counter() - began)
            del jobs  # else its arrays stay until the next one comes

    def _next(self) -> list[_Job]:
        """The oldest that waits and others of its size; [] at the end."""
        with self._change:
            while True:
                self._change.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return []
                shape = self._waiting[0].picture.shape
                same = [job for job in self._waiting if job.picture.shape == shape][: self.batch]
                chosen = set(map(id, same))
                self._waiting = deque(job for job in self._waiting if id(job) not in chosen)
                wanted = [job for job in same if job.future.set_running_or_notify_cancel()]
                if wanted:
                    return wanted

    def _run(self, jobs: list[_Job]) -> None:
        try:
            found = self.model.detect([job.picture for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:  # one bad picture must not take the others with it
                self._run([job])
            return
        for job, result in zip(jobs, found, strict=True):
            job.future.set_result(result)
