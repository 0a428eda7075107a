"""A training that is stopped from outside saves first."""

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

from mrcnn.train.checkpoints import INTERRUPTED, LogDir
from mrcnn.train.keras_model import TrainingModel


@contextlib.contextmanager
def stoppable(model: TrainingModel, log: LogDir) -> Iterator[None]:
    """Ctrl-C or SIGTERM: save what there is, say how to go on, and pass the stop on."""
    main = threading.current_thread() is threading.main_thread()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt) if main else None
    try:
        yield
    except KeyboardInterrupt:
        path = re.sub(r"\{epoch:04d\}", INTERRUPTED, log.checkpoint)
        model.save_weights(path)
        print(
            f"\nStopped. The weights as they are stand in {path}. To go on: "
            "model.load_weights(model.find_last()), then the same train() call."
        )
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
