"""What the program runs on, for somebody who is to help: versions, processor, devices.

print(describe())

TensorFlow is asked in a process of its own, so that one which is missing, broken, or ended by the
system for instructions that the processor lacks is a line like the others.
"""

import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mrcnn import __version__
from mrcnn.devices import cores, file_text, nvidia_gpus
from mrcnn.extras import how_to_install

PACKAGES = ("numpy", "h5py", "scikit-image", "pycocotools", "matplotlib", "pillow")
OPTIONAL = ("tensorboard", "imageio-ffmpeg", "jupyterlab", "imgaug", "albumentations")
TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-rocm", "tensorflow-metal")
CUDA_LIBRARIES = ("nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12")
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR", "KERAS_BACKEND"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL"),
    *("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"),
)
# Instruction sets that decide how fast a network runs, by their flags in /proc/cpuinfo.
_X86 = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bfloat16",
    "amx_bf16": "AMX bfloat16",
}
_ARM = {"asimd": "NEON", "sve": "SVE", "bf16": "bfloat16", "i8mm": "int8 products"}
_PATIENCE = 180  # seconds for TensorFlow's import, from a network drive too


@dataclass(frozen=True)
class Environment:
    """Rows of (what, value), and sentences on what is not as it could be; `str()` gives both."""

    rows: list[tuple[str, str]]
    notes: list[str]

    def __str__(self) -> str:
        lines = [f"{name:15} {value}" for name, value in self.rows if value]
        return "\n".join([*lines, *(f"NOTE: {note}" for note in self.notes)])


def describe(root: Path = Path("/")) -> Environment:
    """Look around. root: where the file system begins that tells of the hardware."""
    tensorflow = ask_tensorflow()
    gpus = _gpus(root)
    flags = _flags(root)
    rows = [
        ("mrcnn", __version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", _system(root)),
        ("processor", _processor(root)),
        ("instructions", _instructions(flags)),
        ("memory", _memory(root)),
        ("TensorFlow", _about_tensorflow(tensorflow)),
        ("Keras", tensorflow.get("keras") or _version("keras") or "not installed"),
        ("CUDA", _cuda(tensorflow)),
        ("packages", _versions(PACKAGES)),
        ("optional", _versions(OPTIONAL)),
        ("devices", "; ".join(tensorflow.get("devices", []))),
        ("GPU", "; ".join(gpus) or "none that a driver shows"),
        ("variables", ", ".join(f"{v}={os.environ[v]}" for v in VARIABLES if v in os.environ)),
    ]
    return Environment(rows, _notes(tensorflow, gpus, flags, root))


# -- TensorFlow -----------------------------------------------------------------------------


def ask_tensorflow() -> dict[str, Any]:
    """What TensorFlow says of itself, from another process.

    Returns version, keras, build (its `get_build_info`), devices (texts), gpus (their number) and
    said (lines about CUDA on stderr); or trouble, a text, where it is not there or doesn't run.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return {"trouble": "not installed: pip install ."}
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from mrcnn.environment import _tell; _tell()"],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                "TF_CPP_MIN_LOG_LEVEL": "0",
            },
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return {"trouble": f"its import takes more than {_PATIENCE} s"}
    except OSError as error:
        return {"trouble": f"can't be asked ({error.strerror})"}
    if done.returncode < 0:
        why = signal.strsignal(-done.returncode)
        return {"trouble": f"its import is ended by the system: {why}"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason is given"]
        return {"trouble": f"can't be imported: {last[0][:300]}"}
    about_cuda = re.compile(r"cuInit|CUDA_ERROR|dlopen|lib(cuda|cudnn|cublas)|cuda drivers", re.I)
    said = [line for line in done.stderr.splitlines() if about_cuda.search(line)]
    said = [re.sub(r"^.*?\]\s*", "", line)[:200] for line in said]
    answer = done.stdout.splitlines()[-1]  # after what else may be printed at a start of Python
    return {**json.loads(answer), "said": list(dict.fromkeys(said))}


def _tell() -> None:
    """In that process: the answer as a line of JSON on stdout."""
    import keras
    import tensorflow as tf

    found = tf.config.list_physical_devices()
    texts = []
    for device in found:
        details = tf.config.experimental.get_device_details(device)
        capability = details.get("compute_capability")
        name = f" {details['device_name']}" if "device_name" in details else ""
        name += f" (compute capability {capability[0]}.{capability[1]})" if capability else ""
        texts.append(f"{device.name.removeprefix('/physical_device:')}{name}")
    answer = {
        "version": tf.__version__,
        "keras": f"{keras.__version__} (on {keras.backend.backend()})",
        "build": dict(tf.sysconfig.get_build_info()),
        "devices": texts,
        "gpus": sum(device.device_type == "GPU" for device in found),
    }
    print(json.dumps(answer, default=str))


def _about_tensorflow(told: Mapping[str, Any]) -> str:
    installed = _versions(TENSORFLOWS)
    if trouble := told.get("trouble"):
        return f"{trouble} (installed: {installed})" if installed else trouble
    several = f" (installed: {installed})" if "," in installed else ""
    return f"{told['version']}{several}"


def _cuda(told: Mapping[str, Any]) -> str:
    if "build" not in told:
        return ""
    build = told["build"]
    if not build.get("is_cuda_build"):
        return "TensorFlow is built without it"
    versions = [
        f"CUDA {build.get('cuda_version', '?')}",
        f"cuDNN {build.get('cudnn_version', '?')}",
    ]
    libraries = _versions(CUDA_LIBRARIES)
    return f"built for {', '.join(versions)}; libraries: {libraries or 'none installed by pip'}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _versions(packages: Sequence[str]) -> str:
    found = {package: _version(package) for package in packages}
    return ", ".join(f"{package} {version}" for package, version in found.items() if version)


# -- The machine ----------------------------------------------------------------------------


def _system(root: Path) -> str:
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else ""
    inside = []
    if _in_wsl(root):
        inside.append("in WSL")
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        inside.append("in a container")
    what = f"{platform.system()} {platform.release()} {platform.machine()}"
    return ", ".join([what, *([distribution] if distribution else []), *inside])


def _in_wsl(root: Path) -> bool:
    return "microsoft" in file_text(root / "proc/sys/kernel/osrelease").lower()


def _cpuinfo(root: Path, *keys: str) -> str:
    names = "|".join(map(re.escape, keys))
    match = re.search(rf"^(?:{names})\s*:\s*(.*)$", file_text(root / "proc/cpuinfo"), re.MULTILINE)
    return match[1].strip() if match else ""


def _flags(root: Path) -> frozenset[str]:
    return frozenset(_cpuinfo(root, "flags", "Features").split())


def _processor(root: Path) -> str:
    name = _cpuinfo(root, "model name", "Model") or platform.processor() or platform.machine()
    text = f"{name}, {cores()} of {os.cpu_count()} cores usable"
    quota, _, period = file_text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        text += f", no more than {int(quota) / int(period):g} at a time"
    return text


def _instructions(flags: frozenset[str]) -> str:
    if not flags:
        return ""
    known = _ARM if "asimd" in flags else _X86
    there = [text for flag, text in known.items() if flag in flags]
    absent = [text for flag, text in known.items() if flag not in flags]
    return ", ".join(there or ["none that matter"]) + (
        f"; not {', '.join(absent)}" if absent else ""
    )


def _memory(root: Path) -> str:
    kilobytes = dict(
        re.findall(r"^(\w+):\s+(\d+) kB", file_text(root / "proc/meminfo"), re.MULTILINE)
    )
    parts = []
    if "MemTotal" in kilobytes:
        parts.append(f"{int(kilobytes['MemTotal']) / 2**20:.1f} GB")
    elif hasattr(os, "sysconf"):
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        parts.append(f"{pages * size / 2**30:.1f} GB")
    if "MemAvailable" in kilobytes:
        parts.append(f"{int(kilobytes['MemAvailable']) / 2**20:.1f} GB free")
    limit = file_text(root / "sys/fs/cgroup/memory.max").strip()
    if limit.isdigit():
        parts.append(f"no more than {int(limit) / 2**30:.1f} GB for this container")
    return ", ".join(parts)


# -- GPUs -----------------------------------------------------------------------------------


def _gpus(root: Path) -> list[str]:
    """GPUs that a driver offers, by name; NVIDIA's with the driver's version and the memory."""
    found = _nvidia_smi(root)
    if not found:
        version = file_text(root / "proc/driver/nvidia/version")
        driver = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", version)
        found = [name + (f", driver {driver[1]}" if driver else "") for name in nvidia_gpus(root)]
    if (root / "dev/kfd").exists():
        found.append("AMD GPU")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("Apple GPU")
    return found


def _nvidia_smi(root: Path) -> list[str]:
    program = shutil.which("nvidia-smi") or shutil.which(str(root / "usr/lib/wsl/lib/nvidia-smi"))
    if not program:
        return []
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run([program, *query], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines() if done.returncode == 0]
    return [f"{name}, driver {driver}, {memory}" for name, driver, memory in rows]


def _on_the_bus(root: Path, vendor: str) -> bool:
    """Whether a display or computing card of that maker is plugged in, driver or not."""
    for folder in (root / "sys/bus/pci/devices").glob("*"):
        of_kind = file_text(folder / "class").startswith("0x03")
        if of_kind and file_text(folder / "vendor").strip() == vendor:
            return True
    return False


def _notes(
    told: Mapping[str, Any], gpus: Sequence[str], flags: frozenset[str], root: Path
) -> list[str]:
    notes = []
    if told.get("trouble") and flags and not flags & {"avx", "asimd"}:
        notes.append(
            "TensorFlow's wheels need AVX, which this processor, or the virtual machine around "
            "it, doesn't have: take another machine, or let the virtual one show its host's "
            "processor."
        )
    if len(_versions(TENSORFLOWS[:3]).split(", ")) > 1:
        notes.append(
            f"{_versions(TENSORFLOWS[:3])} are installed over each other: uninstall all of them, "
            "then install the one that is meant."
        )
    if told.get("gpus") or "build" not in told:
        return notes
    if any("NVIDIA" in gpu for gpu in gpus):
        notes.append(f"TensorFlow doesn't see the GPU: {_what_to_do(told)}")
    elif (root / "proc/driver/nvidia/version").exists():
        notes.append(
            "There is NVIDIA's driver, but this process was given no GPU. In a container: start "
            "it with --gpus all (Docker)."
        )
    elif _on_the_bus(root, "0x10de"):
        notes.append("There is an NVIDIA GPU, but no driver for it: install NVIDIA's.")
    if "AMD GPU" in gpus:
        notes.append(
            "TensorFlow's own wheels leave AMD GPUs idle. AMD offers one, tensorflow-rocm; it was "
            "not tried with this package."
        )
    if "Apple GPU" in gpus:
        notes.append(
            "TensorFlow's own wheel leaves Apple's GPU idle. Apple offers a plug-in, "
            "tensorflow-metal; it was not tried with this package."
        )
    return notes


def _what_to_do(told: Mapping[str, Any]) -> str:
    """For an NVIDIA GPU that the driver offers and TensorFlow has not found."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides it; unset that."
    if sys.platform == "win32":
        return "on Windows itself it uses none. Install this package in WSL 2."
    install = how_to_install("cuda")
    if not told["build"].get("is_cuda_build"):
        return f"it is built without CUDA. Uninstall it, then {install}."
    if not all(map(_version, CUDA_LIBRARIES)):
        return f"the CUDA libraries that it wants are not installed. {install}."
    said = f" It says: {' / '.join(told['said'])}" if told.get("said") else ""
    return (
        "its CUDA libraries are installed, so the driver may be too old (CUDA 12 wants 525 or "
        "newer), or LD_LIBRARY_PATH leads to libraries of another version." + said
    )
