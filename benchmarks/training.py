"""Seconds of a training step, ours against torchvision's.

    python benchmarks/training.py                  # R50 128x128 batch 8, R101 512x512 batch 1
    python benchmarks/training.py --settings resnet50:128:8:4 --layers heads --no-torch

A setting is backbone:side:batch:classes. A step is forward, backward, clipping and SGD with
momentum; the batch is made before the clock starts, and "batch s" says how long ours took: it holds
the matching of anchors, which torchvision does inside its step.

Both learn from the same pictures of ten discs. Two untrained networks would propose differently,
and what they propose decides how many regions reach the mask head. So in both the RPN and its NMS
run in full, and then the same 2000 made-up proposals, half of them near the discs, take the place
of what was found. The table shows the regions and the positives that came of it, by batch.
"""

import sys
from pathlib import Path
from typing import Any

import common
import numpy as np

PROPOSALS = 2000


def measure(
    backbone: str,
    side: int,
    batch: int,
    classes: int,
    layers: str,
    rois: int,
    calls: int,
    threads: int,
) -> dict[str, Any]:
    """Our side, in this process."""
    import networks

    networks.fix_threads(threads)
    from mrcnn.data.generator import DataGenerator
    from mrcnn.train.optimiser import LAYERS

    scenes = [common.scene(side, 10, seed) for seed in range(batch)]
    boxes = [common.candidates(b, PROPOSALS, side, seed) for seed, (_, b, _) in enumerate(scenes)]
    with _made_up_proposals(np.stack(boxes), side):
        model = networks.build(
            "training",
            BACKBONE=backbone,
            NUM_CLASSES=classes,
            IMAGES_PER_GPU=batch,
            IMAGE_MIN_DIM=side,
            IMAGE_MAX_DIM=side,
            RPN_ANCHOR_SCALES=common.anchor_scales(side),
            TRAIN_ROIS_PER_IMAGE=rois,
            POST_NMS_ROIS_TRAINING=PROPOSALS,
            SEED=0,
        )
    model.set_trainable(LAYERS[layers], verbose=0)
    model.compile(1e-5, 0.9)

    from arrays import ArrayDataset

    generator = DataGenerator(ArrayDataset(scenes, classes), model.config, shuffle=False, seed=0)
    batch_seconds = common.timed(lambda: generator[0], calls)
    inputs = list(generator[0][0])
    losses: list[float] = []

    def step() -> None:
        losses.append(float(model.keras_model.train_on_batch(inputs, return_dict=True)["loss"]))

    seconds = common.timed(step, calls)
    peak = common.peak_mb()  # before the count, which runs the graph uncompiled
    return {
        **_count_regions(model.keras_model, inputs),
        "loss": losses[-1],
        "seconds": seconds,
        "batch s": sorted(batch_seconds)[len(batch_seconds) // 2],
        "peak MB": peak,
    }


def _made_up_proposals(boxes: np.ndarray, side: int) -> Any:
    """While it is entered, a network is built whose proposal layer ends in these boxes.

    boxes: [batch, PROPOSALS, (y1, x1, y2, x2)] in pixels.
    """
    from unittest import mock

    import tensorflow as tf

    from mrcnn import model
    from mrcnn.geometry.boxes import norm_boxes
    from mrcnn.nn.proposals import ProposalLayer

    made_up = np.stack([norm_boxes(b, (side, side)) for b in boxes]).astype(np.float32)

    class MadeUpProposals(ProposalLayer):
        def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
            found = super().call(inputs)
            with tf.control_dependencies([found]):  # else the unused work would be left out
                return tf.identity(made_up)

    return mock.patch.object(model, "ProposalLayer", MadeUpProposals)


def _count_regions(keras_model: Any, inputs: list[np.ndarray]) -> dict[str, int]:
    """How many regions train the heads, and how many of them are positive, of a whole batch."""
    import keras

    targets = keras_model.get_layer("proposal_targets").output[:2]
    rois, class_ids = (x.numpy() for x in keras.Model(keras_model.inputs, targets)(inputs))
    return {"rois": int(rois.any(axis=-1).sum()), "positives": int((class_ids > 0).sum())}


def main() -> None:
    options = common.parser(__doc__)
    common.add_torch(options)
    options.add_argument(
        "--settings", nargs="+", default=["resnet50:128:8:4", "resnet101:512:1:81"]
    )
    options.add_argument("--layers", nargs="+", choices=["all", "heads"], default=["all", "heads"])
    options.add_argument("--rois", type=int, default=200, help="regions a picture")
    args = options.parse_args()
    about, with_torch = common.announce(), common.torch_found(args)

    rows = []
    for text in args.settings:
        backbone, *numbers = text.split(":")
        side, batch, classes = map(int, numbers)
        for layers in args.layers:
            print(text, layers, file=sys.stderr)
            setting = {
                "backbone": backbone,
                "side": side,
                "batch": batch,
                "classes": classes,
                "layers": layers,
                "rois": args.rois,
                "calls": args.calls,
                "threads": args.threads,
            }
            jobs = {"mrcnn": common.Job(Path(__file__), setting)}
            if with_torch:
                theirs = {"task": "training", **setting}
                jobs["torchvision"] = common.Job(common.TORCH_SIDE, theirs, args.torch_python)
            results = common.interleaved(jobs, args.rounds)
            ours = results["mrcnn"]["median s"]
            columns = ("median s", "min s", "max s", "peak MB", "rois", "positives", "loss")
            for program, result in results.items():
                row = {"network": backbone, "side": side, "batch": batch, "layers": layers}
                row |= {"program": program, **{name: result[name] for name in columns}}
                row |= {"batch s": result.get("batch s"), "times mrcnn": result["median s"] / ours}
                rows.append(row)
                about.update({"torch": result["versions"]} if "versions" in result else {})
    common.report("training", args, about, steps=rows)


if __name__ == "__main__":
    common.answer(measure) if "--one" in sys.argv else main()
