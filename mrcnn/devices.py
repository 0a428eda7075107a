"""What TensorFlow computes on here, and how it is imported without its chatter."""

import contextlib
import ctypes
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Abseil's SetMinLogLevel in TensorFlow 2.18 and 2.19, and in 2.20; later ones call it themselves.
_SET_MIN_LOG_LEVEL = (
    "_ZN4absl12lts_2023080214SetMinLogLevelENS0_18LogSeverityAtLeastE",
    "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE",
)


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep TensorFlow from talking while it is imported in this block, and afterwards.

    A user who set TF_CPP_MIN_LOG_LEVEL wants to hear it, and does. If the block fails, all that
    was said comes out.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # 2 still reports that there is no GPU, as an error
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _held_back_stderr():
        yield


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    # Its C++ libraries write some lines to the file descriptor before they read any variable.
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            held_back.seek(0)
            os.write(saved, held_back.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def quiet_graphs() -> None:
    """Import TensorFlow so that each new graph doesn't fill the screen; errors are still told.

    Grappler warns eight times a graph that it can't price crop_and_resize, in lines of 1,000
    letters. TF_CPP_MIN_LOG_LEVEL=2 leaves warnings out, but TensorFlow up to 2.20 doesn't hold
    Abseil to it, which writes these.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    for path in Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework*"):
        with contextlib.suppress(OSError, ValueError):
            library = ctypes.CDLL(str(path))  # the one that is loaded
            for name in _SET_MIN_LOG_LEVEL:
                if hasattr(library, name):
                    library[name](ctypes.c_int(int(level)))


def start() -> str:
    """Get TensorFlow ready for a command; returns in words what it computes on.

    It talks no more than `quiet_tensorflow` lets it. Of a GPU it takes the memory that it needs,
    as it needs it, and not all there is: other programs may want some. TF_FORCE_GPU_ALLOW_GROWTH
    decides otherwise.
    """
    with quiet_tensorflow():
        import tensorflow as tf

        gpus = tf.config.get_visible_devices("GPU")
        if "TF_FORCE_GPU_ALLOW_GROWTH" not in os.environ:
            for gpu in gpus:
                # Too late where something has run already, and not for a GPU that is split.
                with contextlib.suppress(RuntimeError, ValueError):
                    tf.config.experimental.set_memory_growth(gpu, True)
        names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    if gpus:
        return (names[0] or "GPU") + (f", the first of {len(gpus)} GPUs" if len(gpus) > 1 else "")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # somebody wants it so
    unused = [] if hidden else nvidia_gpus()
    hint = f" (TensorFlow doesn't see the {unused[0]}: mrcnn inspect --env)" if unused else ""
    return f"processor, {cores()} core{'s' if cores() > 1 else ''}{hint}"


def has_gpu() -> bool:
    """Whether TensorFlow has a GPU to compute on; imports it."""
    with quiet_tensorflow():
        import tensorflow as tf

        return bool(tf.config.get_visible_devices("GPU"))


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def nvidia_gpus(root: Path = Path("/")) -> list[str]:
    """Names of the NVIDIA GPUs that the driver has for this process, whoever else uses them.

    It asks files, not TensorFlow; Windows has none of them. root: where the file system begins.
    """
    told = sorted(root.glob("proc/driver/nvidia/gpus/*/information"))
    found = [re.search(r"^Model:\s*(.+?)\s*$", file_text(path), re.MULTILINE) for path in told]
    names = [match[1] if match else "NVIDIA GPU" for match in found]
    # A container shows the driver's files of its host; a GPU that it was given is a device file.
    given = [path for path in root.glob("dev/nvidia[0-9]*") if path.name[6:].isdigit()]
    if (root / "dev" / "dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists():
        given, names = given or [root / "dev" / "dxg"], names or ["NVIDIA GPU of Windows"]
    return names[: len(given)] + ["NVIDIA GPU"] * (len(given) - len(names))


def file_text(path: Path) -> str:
    """What a file of the system says, "" where it isn't there or may not be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
