"""A job by this process, picture after picture."""

from collections.abc import Callable

from mrcnn.data.scaling import Rule
from mrcnn.detect.files import Detector
from mrcnn.jobs.folder import JobFolder
from mrcnn.jobs.work import Worker


def run(
    job: JobFolder,
    make_detector: Callable[[], Detector],
    advance: Callable[[int], None],
    rule: Rule | None = None,
) -> None:
    """Do what is left of a job.

    make_detector: gives what detects in a picture; it is called once, and only if something is
        left. advance: told how many pictures are done since it was called last. rule: see `Worker`.
    """
    left = job.left()
    if not left:
        return
    worker = Worker(make_detector(), rule)
    for number in left:
        paths, begun = job.slice(number), job.begun(number)
        job.write(number, worker.part(paths, begun, job.metadata, lambda: advance(1)))
