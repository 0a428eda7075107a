"""What `MaskRCNN` does to leave TensorFlow, and how a file comes back."""

import os
from collections.abc import Sequence
from pathlib import Path

from mrcnn.detect.exported import Exported
from mrcnn.detect.inside import LookingInside


class Exporting(LookingInside):
    """The last methods of `MaskRCNN`; it has keras_model, config, class_names and mode."""

    def export(
        self,
        to: str,
        out: str | os.PathLike = "exported",
        size: int | tuple[int, int] | None = None,
        check: Sequence[str | os.PathLike] | None = None,
        int8: str | os.PathLike | None = None,
    ) -> Path:
        """Write the network for another runtime and prove that it finds the same things.

        to: saved_model, openvino, onnx or tflite. size, check, int8: see
        `mrcnn.export.export.export`.
        Returns the path of the file. Raises UsageError (a ValueError), and leaves no file where an
        instance is not the same.
        """
        from mrcnn.export.export import export

        return export(self, to, out, size, check, int8=int8)

    @staticmethod
    def from_exported(path: str | os.PathLike) -> Exported:
        """What runs an exported file: `detect` as here, with the runtime of the file.

        `mrcnn.detect.exported.Exported(path)` is the same without importing TensorFlow.
        """
        return Exported(path)
