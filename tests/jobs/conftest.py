"""Small pictures for jobs, some of them broken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow")


def write_pictures(folder: Path, count: int, broken: int = 3) -> Path:
    """Pictures of 24 x 32 pixels called 0000.png and so on; some are cut short or no picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for i in range(count):
        noise = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((32, 24)).save(folder / f"{i:04}.png")
    for i in range(broken):
        path = folder / f"{i * (count // broken):04}.png"
        path.write_bytes(path.read_bytes()[:200] if i % 2 else b"no picture")
    return folder


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Fifty pictures, three of them broken."""
    return write_pictures(tmp_path / "pictures", 50)
