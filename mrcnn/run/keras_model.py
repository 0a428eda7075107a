"""The Keras model that a user reaches as `model.keras_model`."""

import os
from typing import Any

import keras

from mrcnn.weights.layout import LoadReport, load_weights, save_weights


@keras.saving.register_keras_serializable(package="mrcnn")
class KerasModel(keras.Model):
    """A functional model that reads and writes Matterport's `.h5` files.

    Keras 3 refuses to save weights under a name like `mask_rcnn_cells_0001.h5` and reads such
    files by the order of their layers; here they are read and written by name. Names that end in
    `.weights.h5` or `.keras` go to Keras.
    """

    def save_weights(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Write all weights; `overwrite` and `save_format` of old Keras are accepted."""
        if is_keras_path(filepath):
            kwargs.pop("save_format", None)
            return super().save_weights(filepath, *args, **kwargs)
        save_weights(self, filepath)

    def load_weights(
        self, filepath: str | os.PathLike, *args: Any, **kwargs: Any
    ) -> LoadReport | None:
        """Read weights by name, whatever program wrote them; see `MaskRCNN.load_weights`."""
        return load_weights(
            self,
            filepath,
            exclude=kwargs.get("exclude"),
            by_name=kwargs.get("by_name", False) or kwargs.get("skip_mismatch", False),
        )

    def _make_predict_function(self) -> None:
        """Keras 2 wanted this called before a model was used from another thread; now nothing."""


def is_keras_path(filepath: str | os.PathLike) -> bool:
    """True for the names that Keras 3 saves under itself."""
    return str(filepath).endswith((".weights.h5", ".keras", ".weights.json"))
