"""Loader of tests/golden/a1_r50_128.npz, a2_r101_256.npz: one forward pass of the original, each.

`network_golden.json` says how the weights were made (`mrcnn.weights.synthetic`), under which
config, and
    channel_stride    every n-th channel of C2..C5 and P2..P6 is stored
    floors            how far the original's own tensors move when only the CPU kernels change
    fragile_rois      proposals, by picture, whose features jump with the last bit of a coordinate
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.config import Config

GOLDEN = Path(__file__).parent / "golden"
CASES = ("a1_r50_128", "a2_r101_256")


class GoldenNetwork:
    """One case: what went in, what came out of every stage, and our model with its weights."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[str, Any] = json.loads((GOLDEN / "network_golden.json").read_text())[name]
        with np.load(GOLDEN / f"{name}.npz") as file:
            self.arrays = {key: file[key] for key in file.files}
        self.config: Config = type("GoldenConfig", (Config,), self.facts["config"])()

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    @property
    def pictures(self) -> list[np.ndarray]:
        return [self[f"image{i}"] for i in range(self.config.BATCH_SIZE)]

    @cached_property
    def inputs(self) -> list[np.ndarray]:
        """[molded images, image metas, anchors] as the original's network got them."""
        molded = self["resized_images"] - self.config.MEAN_PIXEL
        anchors = np.broadcast_to(self["anchors"], (len(molded), *self["anchors"].shape))
        return [array.astype(np.float32) for array in (molded, self["image_metas"], anchors)]

    def build(self, folder: Path) -> Any:
        """Our MaskRCNN with the golden weights."""
        from mrcnn.model import MaskRCNN
        from mrcnn.weights.synthetic import write_synthetic

        layouts = json.loads((GOLDEN / "manifests.json").read_text())
        facts, path = self.facts, folder / f"{self.name}.h5"
        layout = layouts[facts["layout"]]
        assert write_synthetic(path, layout, facts["seed"], facts["overrides"]) == facts["digest"]
        model = MaskRCNN("inference", self.config, str(folder))
        model.load_weights(path)
        path.unlink()
        return model
