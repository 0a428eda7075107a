"""A training on one device, or on two of a processor: python FILE JSON.

Losses of all steps and the weights go into out.npz of its folder. Keys of the JSON:
    folder               for logs and results: out.npz, alone.npz
    devices              shares of the processor
    pictures             of a batch, in all
    alone                train the same on one device before
    epochs, graph        graph: traced, and not eagerly
    poison               picture 3 is no number
Others are settings of the Config.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE), str(HERE.parent)]

import numpy as np  # noqa: E402


def main(folder, devices=1, alone=False, graph=False, **told):
    from mrcnn.train.distribution import choose_devices

    if devices > 1:
        assert choose_devices(f"cpu:{devices}") == devices
    from mrcnn.train.keras_model import TrainingModel

    compile_graph = TrainingModel.compile

    def compile_eagerly(self, *args, **kwargs):
        compile_graph(self, *args, **kwargs)
        self.run_eagerly = not graph

    TrainingModel.compile = compile_eagerly
    folder = Path(folder)
    if alone:
        train(folder, "alone", 1, **told)
    train(folder, "out", devices, **told)


def train(folder, name, count, pictures=4, epochs=1, poison=False, **told):
    import keras
    from blobs import Blobs, config
    from small_network import fill

    from mrcnn.model import MaskRCNN

    settings = {"STEPS_PER_EPOCH": 10, "VALIDATION_STEPS": 0, "WORKERS": 0, "TRAIN_BN": False}
    settings |= {"GPU_COUNT": count, "IMAGES_PER_GPU": pictures // count, **told}
    losses = []

    class Listen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append((batch + 1) * logs["loss"])  # a running mean

    class Pictures(Blobs):
        def load_image(self, image_id):
            image = super().load_image(image_id)
            return image * np.float32(np.nan) if poison and image_id == 3 else image

    model = MaskRCNN("training", config(**settings), str(folder / f"logs_{name}"))
    fill(model.keras_model)
    validation = Blobs(4) if settings["VALIDATION_STEPS"] else None
    history = model.train(
        Pictures(12), validation, 0.001, epochs, "all", custom_callbacks=[Listen()]
    ).history
    sums = np.reshape(losses, (-1, settings["STEPS_PER_EPOCH"]))
    np.savez(
        folder / f"{name}.npz",
        losses=np.diff(sums, axis=1, prepend=0).ravel(),
        val=history.get("val_loss", []),
        kind=type(model.keras_model.distribute_strategy).__name__,
        **{f"w{i}": x.numpy() for i, x in enumerate(model.keras_model.weights)},
    )


if __name__ == "__main__":
    try:
        main(**json.loads(sys.argv[1]))
    except RuntimeError as error:
        sys.exit(f"{type(error).__name__}: {error}")
