"""A picture that memory can't hold is refused before the network, with the setting to change."""

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.detect import memory
from mrcnn.detect.check import check_pictures
from mrcnn.detect.memory import check_masks, free_memory, network_bytes, out_of_memory


def config(**settings):
    return type("OtherConfig", (Config,), {"IMAGES_PER_GPU": 1, **settings})()


@pytest.fixture(autouse=True)
def _eight_gigabytes(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 8 << 30)


def picture(height, width):
    return np.broadcast_to(np.uint8(0), (height, width, 3))  # takes no memory itself


PAD64 = {"IMAGE_RESIZE_MODE": "pad64"}


@pytest.mark.parametrize(
    "shape, settings, words",
    [
        ((6000, 6000), PAD64, r'6016x6016 .*1[45]\.\d GB .*8\.0 GB .*"square"'),
        ((2500, 2500), {**PAD64, "IMAGE_MIN_SCALE": 2}, r"lower IMAGE_MIN_SCALE \(now 2\)"),
        ((900, 1200), {**PAD64, "IMAGE_MIN_DIM": 6000}, r"lower IMAGE_MIN_DIM \(now 6000\)"),
        ((90, 90), {"IMAGE_MAX_DIM": 6016}, r"enters .* as 6016x6016 .*lower IMAGE_MAX_DIM"),
        ((6016, 6016), {"IMAGE_RESIZE_MODE": "none"}, 'IMAGE_RESIZE_MODE = "square"'),
    ],
)
def test_a_picture_that_is_too_large_names_the_setting(shape, settings, words):
    pictures = (
        [picture(*shape)] if "IMAGE_MAX_DIM" in settings else [picture(64, 64), picture(*shape)]
    )
    with pytest.raises(MemoryError, match=words) as caught:
        check_pictures(pictures, config(**settings))
    which = f"picture {len(pictures)} of {len(pictures)} ({shape[0]}x{shape[1]})"
    assert str(caught.value).startswith(f"{which} enters the network")


def test_pictures_of_other_sizes_share_no_batch():
    check_pictures([picture(3000, 3000), picture(3000, 2000)], config(**PAD64, IMAGES_PER_GPU=9))
    with pytest.raises(MemoryError, match=r"picture 1 of 4 .*4 at a time"):
        check_pictures([picture(3000, 3000)] * 4, config(**PAD64, IMAGES_PER_GPU=9))


def test_a_batch_that_is_too_large_names_its_size():
    several = config(IMAGES_PER_GPU=40)
    check_pictures([picture(64, 64)] * 2, several)  # a batch of two
    with pytest.raises(MemoryError, match=r"40 at a time.*set IMAGES_PER_GPU to 1 \(now 40\)"):
        check_pictures([picture(64, 64)] * 40, several)


def test_a_picture_that_takes_too_much_before_the_network_is_refused_unconverted(monkeypatch):
    """Of 16 bits it is resized as float64, and grey becomes three channels first."""
    deep = np.broadcast_to(np.uint16(7), (13_000, 13_000))
    check_pictures([deep], config())
    monkeypatch.setattr(memory, "free_memory", lambda: 2 << 30)
    with pytest.raises(MemoryError, match=r"13000x13000, uint16\) would take 4\.7 GB .*uint8"):
        check_pictures([deep], config())
    check_pictures([picture(13_000, 13_000)], config())


def test_what_fits_and_what_nobody_knows_passes(monkeypatch):
    check_pictures([picture(3000, 3000)], config(IMAGE_RESIZE_MODE="pad64"))
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    check_pictures([picture(9000, 9000)], config(IMAGE_RESIZE_MODE="pad64"))
    check_masks(10**6, (9000, 9000))


def test_the_estimate_is_what_was_measured():
    """Megabytes beyond what the process had: peaks on a processor, batch 1 and 4."""
    small = dict(TOP_DOWN_PYRAMID_SIZE=64, RPN_CONV_CHANNELS=64)
    measured = [
        ((1024, 1024), 1, {}, 439), ((2048, 2048), 1, {}, 1711), ((1024, 1024), 4, {}, 1961),
        ((2048, 2048), 1, small, 760), ((3072, 3072), 1, small, 1843),
        ((2048, 2048), 1, dict(MIXED_PRECISION="bfloat16"), 1425),
    ]  # fmt: skip
    for molded, batch, settings, megabytes in measured:
        estimate = network_bytes(molded, batch, config(**settings)) / 2**20
        assert 0.75 < estimate / megabytes < 1.3


def test_masks_that_are_too_many():
    with pytest.raises(
        MemoryError, match=r"5,000 instances in 2000x2000 .*DETECTION_MAX_INSTANCES"
    ):
        check_masks(5000, (2000, 2000, 3))
    check_masks(5, (2000, 2000))


def test_the_network_s_own_no_names_the_setting_too():
    assert "lower IMAGE_MAX_DIM (now 1024)" in out_of_memory((1024, 1024), 1, config())
    assert "set IMAGES_PER_GPU to 1 (now 4)" in out_of_memory((64, 64), 4, config(IMAGES_PER_GPU=4))


# -- What is free ---------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """A file system that tells of 3000 kB available and 1000 of swap."""

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    3000 kB\nSwapFree: 1000 kB\n")
    return tmp_path, write


def test_free_memory_of_a_machine(machine):
    assert free_memory(machine[0]) == 4000 * 1024


def test_a_container_s_limit_counts(machine):
    root, write = machine
    write("proc/self/cgroup", "0::/a/b\n")
    write("sys/fs/cgroup/a/memory.max", "1000000\n")  # of the group above
    write("sys/fs/cgroup/a/memory.current", "900000\n")
    write("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 50000\n")
    write("sys/fs/cgroup/a/b/memory.max", "max\n")
    assert free_memory(root) == 150_000


def test_a_limit_of_the_first_version_of_control_groups(machine):
    root, write = machine
    write("proc/self/cgroup", "4:memory:/job\n")
    write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "700000")
    write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "800000")
    assert free_memory(root) == 0


def test_ulimit_counts(machine, monkeypatch):
    resource = pytest.importorskip("resource")
    root, write = machine
    write("proc/self/statm", "10 5 5\n")
    page = resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (11 * page, 11 * page))
    assert free_memory(root) == page


def test_where_nothing_is_told_all_there_is_counts(tmp_path):
    told = free_memory(tmp_path)
    assert told is None or told > 1 << 28
