"""`mrcnn inspect --env`: what it says of machines that are made up here, and of this one."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
from patience import PATIENCE

from mrcnn import devices, environment
from mrcnn.cli import main

CUDA = {"is_cuda_build": True, "cuda_version": "12.5.1", "cudnn_version": "9"}
BLIND = {"version": "2.21.0", "keras": "3.15.1", "build": CUDA, "devices": ["CPU:0"], "gpus": 0}
CPUINFO = "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: sse avx avx2 fma avx512f amx_bf16\n"
INFORMATION = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 42\n"
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024\n"
A100 = {
    "proc/driver/nvidia/version": VERSION,
    "proc/driver/nvidia/gpus/0000:07:00.0/information": INFORMATION,
    "dev/nvidia0": "",
    "dev/nvidiactl": "",
}


@pytest.fixture(autouse=True)
def no_programs(monkeypatch):
    """None of this machine's own nvidia-smi and variables."""
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def machine(tmp_path):
    """Write files as a system has them; returns the root."""

    def make(files):
        for name, text in {"proc/cpuinfo": CPUINFO, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def described(root, monkeypatch, told=BLIND, installed=("tensorflow",)):
    """(rows, notes) of a machine where TensorFlow says so much."""
    monkeypatch.setattr(environment, "ask_tensorflow", lambda: told)
    monkeypatch.setattr(environment, "_version", lambda name: "9.1" if name in installed else "")
    found = environment.describe(root)
    return dict(found.rows), " ".join(found.notes)


def test_a_machine_in_a_container(machine, monkeypatch):
    files = {
        "proc/meminfo": "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\n",
        "sys/fs/cgroup/memory.max": "8589934592\n",
        "sys/fs/cgroup/cpu.max": "250000 100000\n",
        ".dockerenv": "",
    }
    rows, notes = described(machine(files), monkeypatch)
    assert rows["processor"].startswith("Some Xeon, ")
    assert rows["processor"].endswith(" cores usable, no more than 2.5 at a time")
    there, absent = rows["instructions"].split("; not ")
    assert there == "AVX2, FMA, AVX-512, AMX bfloat16" and "AVX-512 bfloat16" in absent
    assert rows["memory"] == "32.0 GB, 16.0 GB free, no more than 8.0 GB for this container"
    assert rows["system"].endswith(", in a container")
    assert rows["GPU"] == "none that a driver shows" and notes == ""


def test_a_gpu_that_both_see(machine, monkeypatch):
    told = {**BLIND, "gpus": 1, "devices": ["CPU:0", "GPU:0 NVIDIA A100-SXM4-40GB"]}
    rows, notes = described(machine(A100), monkeypatch, told)
    assert rows["GPU"] == "NVIDIA A100-SXM4-40GB, driver 550.54.15"
    assert rows["devices"] == "CPU:0; GPU:0 NVIDIA A100-SXM4-40GB" and notes == ""


@pytest.mark.parametrize(
    "told, installed, hidden, wanted",
    [
        (BLIND, ["tensorflow"], None, 'pip install "tensorflow[and-cuda]"'),
        (BLIND, environment.CUDA_LIBRARIES, None, "CUDA 12 wants 525"),
        ({**BLIND, "said": ["cuInit: no device"]}, environment.CUDA_LIBRARIES, None, "no device"),
        ({**BLIND, "build": {}}, ["tensorflow-cpu"], None, "built without CUDA"),
        (BLIND, environment.CUDA_LIBRARIES, "-1", "CUDA_VISIBLE_DEVICES hides it"),
    ],
    ids=["no libraries", "libraries", "what it says", "built without", "hidden"],
)
def test_a_gpu_that_tensorflow_does_not_see(told, installed, hidden, wanted, machine, monkeypatch):
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    rows, notes = described(machine(A100), monkeypatch, told, installed)
    assert "NVIDIA A100-SXM4-40GB" in rows["GPU"]
    assert notes.startswith("TensorFlow doesn't see the GPU: ") and wanted in notes


def test_a_container_that_was_given_no_gpu(machine, monkeypatch):
    files = {name: text for name, text in A100.items() if not name.startswith("dev/")}
    rows, notes = described(machine(files), monkeypatch)
    assert rows["GPU"] == "none that a driver shows" and "--gpus all" in notes


def test_a_gpu_without_a_driver(machine, monkeypatch):
    device = "sys/bus/pci/devices/0000:01:00.0"
    files = {f"{device}/class": "0x030000\n", f"{device}/vendor": "0x10de\n"}
    _, notes = described(machine(files), monkeypatch)
    assert "no driver for it" in notes


def test_other_makers_and_windows(machine, monkeypatch):
    _, notes = described(machine({"dev/kfd": ""}), monkeypatch)
    assert "tensorflow-rocm" in notes
    files = {"dev/dxg": "", "usr/lib/wsl/lib/libcuda.so.1": "", "proc/sys/kernel/osrelease": ""}
    files["proc/sys/kernel/osrelease"] = "5.15.153.1-microsoft-standard-WSL2"
    rows, notes = described(machine(files), monkeypatch)
    assert "NVIDIA GPU of Windows" in rows["GPU"] and rows["system"].endswith(", in WSL")
    assert "tensorflow[and-cuda]" in notes


def test_nvidia_smi_tells_more(machine, monkeypatch):
    program = machine({"nvidia-smi": "#!/bin/sh\necho 'NVIDIA L4, 570.1, 23034 MiB'\n"})
    (program / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr(environment.shutil, "which", lambda name: str(program / "nvidia-smi"))
    rows, _ = described(machine(A100), monkeypatch)
    assert rows["GPU"] == "NVIDIA L4, driver 570.1, 23034 MiB"


def test_two_tensorflows(machine, monkeypatch):
    rows, notes = described(machine({}), monkeypatch, installed=["tensorflow", "tensorflow-cpu"])
    assert "tensorflow 9.1, tensorflow-cpu 9.1" in rows["TensorFlow"]
    assert "uninstall all of them" in notes


# -- TensorFlow in a process of its own ------------------------------------------------------

FAKE = """
import sys
import types

class Device:
    device_type, name = "GPU", "/physical_device:GPU:0"

print("E0000 12:00 cuda_platform.cc:52] failed call to cuInit: no device", file=sys.stderr)
__version__ = "9.9.9"
details = {"device_name": "NVIDIA T4", "compute_capability": (7, 5)}
config = types.SimpleNamespace(
    list_physical_devices=lambda: [Device],
    experimental=types.SimpleNamespace(get_device_details=lambda device: details),
)
sysconfig = types.SimpleNamespace(get_build_info=lambda: {"is_cuda_build": True})
"""
KERAS = "import types; backend = types.SimpleNamespace(backend=lambda: 'jax'); __version__ = '9.8'"


def ask(tmp_path, monkeypatch, tensorflow):
    for name, text in {"tensorflow": tensorflow, "keras": KERAS}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    return environment.ask_tensorflow()


def test_what_tensorflow_answers(tmp_path, monkeypatch):
    assert ask(tmp_path, monkeypatch, FAKE) == {
        "version": "9.9.9",
        "keras": "9.8 (on jax)",
        "build": {"is_cuda_build": True},
        "devices": ["GPU:0 NVIDIA T4 (compute capability 7.5)"],
        "gpus": 1,
        "said": ["failed call to cuInit: no device"],
    }


@pytest.mark.parametrize(
    "text, trouble",
    [
        ("raise ImportError('libfoo.so is missing')", "ImportError: libfoo.so is missing"),
        ("import os; os.kill(os.getpid(), 4)", "Illegal instruction"),
        ("import time; time.sleep(1000)", "takes more than 0.5 s"),
    ],
    ids=["broken", "too new for the processor", "stuck"],
)
def test_a_tensorflow_that_does_not_run_is_a_line(text, trouble, tmp_path, monkeypatch):
    if "sleep" in text:
        monkeypatch.setattr(environment, "_PATIENCE", 0.5)
    assert trouble in ask(tmp_path, monkeypatch, text)["trouble"]


def test_no_tensorflow_at_all(monkeypatch):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    assert environment.ask_tensorflow() == {"trouble": "not installed: pip install ."}


def test_an_old_processor(machine, monkeypatch):
    root = machine({"proc/cpuinfo": "model name : Atom\nflags : sse sse2\n"})
    rows, notes = described(root, monkeypatch, {"trouble": "its import is ended by the system"})
    assert rows["TensorFlow"].startswith("its import is ended") and "need AVX" in notes


# -- The command ----------------------------------------------------------------------------


def test_the_command_on_this_machine():
    done = subprocess.run(
        [sys.executable, "-m", "mrcnn", "inspect", "--env"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = [line[:15].strip() for line in done.stdout.splitlines()]
    assert {"mrcnn", "Python", "processor", "TensorFlow", "Keras", "devices", "GPU"} <= set(names)


def test_the_command_with_a_file_and_with_nothing(monkeypatch, capsys):
    monkeypatch.setattr("mrcnn.cli.inspect.describe", lambda: "this machine")
    assert main(["inspect", "nucleus", "--env"]) == 0
    assert capsys.readouterr().out.endswith("\n\nthis machine\n")
    assert main(["inspect"]) == 2
    assert "give a weight file to look into, or --env" in capsys.readouterr().err


# -- What a command begins with --------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch):
    """A TensorFlow with so many GPUs; returns those whose memory was told to grow."""
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    growing = []

    def make(count, grow=lambda gpu, on: growing.append((gpu, on)), details=None):
        config = types.SimpleNamespace(
            get_visible_devices=lambda kind: [f"{kind}:{i}" for i in range(count)],
            experimental=types.SimpleNamespace(
                set_memory_growth=grow, get_device_details=lambda gpu: details or {}
            ),
        )
        monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(config=config))
        return growing

    return make


def test_memory_grows_on_every_gpu(gpus, monkeypatch):
    growing = gpus(2, details={"device_name": "NVIDIA T4"})
    assert devices.start() == "NVIDIA T4, the first of 2 GPUs" and devices.has_gpu()
    assert growing == [("GPU:0", True), ("GPU:1", True)]
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")  # somebody wants it otherwise
    devices.start()
    assert len(growing) == 2


def test_a_gpu_that_is_in_use_already(gpus):
    def too_late(gpu, on):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    gpus(1, too_late)
    assert devices.start() == "GPU"


def test_an_unused_gpu_is_told_of(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(devices, "cores", lambda: 1)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: ["NVIDIA T4"])
    told = "processor, 1 core (TensorFlow doesn't see the NVIDIA T4: mrcnn inspect --env)"
    assert devices.start() == told and not devices.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices.start() == "processor, 1 core"


def test_the_names_of_gpus(machine):
    assert devices.nvidia_gpus(machine(A100)) == ["NVIDIA A100-SXM4-40GB"]
    two = devices.nvidia_gpus(machine({"dev/nvidia1": ""}))
    assert two == ["NVIDIA A100-SXM4-40GB", "NVIDIA GPU"]
    assert devices.nvidia_gpus(Path("/nowhere")) == []
