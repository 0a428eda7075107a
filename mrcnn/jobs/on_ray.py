"""A job by Ray Data: actors with a detector each, on this machine or a cluster.

An actor is handed a slice's paths, reads, decodes and detects, and hands back the bytes of the
part's file. So only those go through Ray's store, and who writes into the job's folder is this
process alone: the other machines needn't have it.

NOTE: Ray's own checkpoint isn't used. It wants a pipeline that reads and writes files by itself,
names them by chance, and so can't give the files that a run without Ray gives.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.data.scaling import Rule
from mrcnn.detect.files import Detector
from mrcnn.errors import UsageError
from mrcnn.extras import how_to_install
from mrcnn.jobs.folder import JobFolder
from mrcnn.jobs.work import Worker

_STORE = 512 << 20  # bytes of Ray's shared memory, where this process starts it: parts are small
_CORES = 2  # of an actor without a GPU, unless somebody wants another number of actors


class Actor:
    """What Ray starts in a process of its own: one detector, slice after slice."""

    def __init__(
        self,
        make_detector: Callable[[], Detector],
        threads: int,
        told: Mapping[str, str],
        rule: Rule | None,
    ) -> None:
        # Before TensorFlow is imported: it would take all cores in each actor.
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ[name] = str(threads)
        self._worker, self._told = Worker(make_detector(), rule), told

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """batch: one row with a slice's number, paths and where to note what is begun."""
        (number,), (paths,), (begun,) = (batch[name] for name in ("number", "paths", "begun"))
        data = self._worker.part([str(path) for path in paths], Path(str(begun)), self._told)
        return {"number": np.array([number]), "data": np.array([data], object)}


def run(
    job: JobFolder,
    make_detector: Callable[[], Detector],
    advance: Callable[[int], None],
    actors: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    rule: Rule | None = None,
) -> None:
    """Do what is left of a job; see `mrcnn.jobs.local.run`.

    make_detector: is pickled. actors: how many; None: one for each GPU, else one for two cores.
    say: told what the job runs on. rule: see `Worker`.
    Raises UsageError where Ray is missing, or an actor can't begin.
    """
    left = job.left()
    if not left:
        return
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        try:
            _start(ray, actors or 1)
        except Exception as error:  # a cluster that isn't there, a machine that is too busy ..
            raise UsageError(f"Ray doesn't start: {_told(error)}") from error
    try:
        _go_through(ray, job, left, make_detector, advance, actors, say, rule)
    except ray.exceptions.RayError as error:
        raise UsageError(f"the job can't go on in Ray: {_told(error)}") from error
    finally:
        if ours:
            ray.shutdown()


def _go_through(
    ray: Any,
    job: JobFolder,
    left: list[int],
    make_detector: Callable[[], Detector],
    advance: Callable[[int], None],
    actors: int | None,
    say: Callable[[str], None],
    rule: Rule | None,
) -> None:
    has = ray.cluster_resources()
    cores, gpus = int(has.get("CPU", 1)), int(has.get("GPU", 0))
    actors = min(actors or gpus or max(cores // _CORES, 1), len(left))
    # Where Ray was started here, it was told of a core more than there is.
    threads = max((cores if os.environ.get("RAY_ADDRESS") else os.cpu_count() or 1) // actors, 1)
    on = f"{actors} with a GPU each" if gpus >= actors else f"{actors} with {threads} threads each"
    say(f"Ray {ray.__version__}: actors: {on}")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [
        {"number": number, "paths": job.slice(number), "begun": str(job.begun(number))}
        for number in left
    ]
    # A block for each slice: a part is handed back, and written, as soon as it is done.
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Actor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
        num_gpus=1 if gpus >= actors else 0,
        fn_constructor_args=(make_detector, threads, job.metadata, rule),
    )
    for row in found.iter_rows():
        job.write(int(row["number"]), row["data"])
        advance(job.size(int(row["number"])))


def _ray() -> Any:
    # It would report its use to its makers unless told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(
            f"--runner ray needs the package ray ({error}): {how_to_install('ray')}."
        ) from error
    return ray


def _start(ray: Any, actors: int) -> None:
    """Join the cluster of RAY_ADDRESS, or start Ray on this machine alone."""
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    cores = max(os.cpu_count() or 1, actors + 1)
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=_STORE,
        **quiet,
    )


def _told(error: Exception) -> str:
    """The line of a chain of Ray's errors that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("mrcnn.errors.UsageError: ")]
    return own[-1].partition(": ")[2] if own else lines[-1] if lines else type(error).__name__
