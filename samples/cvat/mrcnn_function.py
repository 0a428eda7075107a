"""Pre-annotation in CVAT: an auto-annotation function for cvat-cli, see README.md beside this file.

cvat-cli task auto-annotate 12 --function-file samples/cvat/mrcnn_function.py \\
    -p weights=str:nucleus --allow-unmatched-labels
"""

import io
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import cvat_sdk.models as models
import numpy as np
import PIL.Image
from cvat_sdk.masks import encode_mask

from mrcnn.detect.instances import Instances
from mrcnn.geometry.outlines import outline

SECONDS = 300  # that a server may take for a picture


class MaskRCNNFunction:
    """Finds instances by weights in this process, or by a server of `mrcnn serve`.

    weights: a file, or a name such as nucleus or coco. server: its address, such as
    http://127.0.0.1:8000, with its token; then this process needs no TensorFlow.
    """

    def __init__(self, weights: str = "", server: str = "", token: str = "") -> None:
        if bool(weights) == bool(server):
            raise ValueError(
                "say where instances come from: -p weights=str:FILE, or -p server=str:ADDRESS."
            )
        self._server, self._token = server.rstrip("/"), token
        if server:
            about = json.loads(self._ask("/v1/model"))
            names, self._least = ["BG", *about["class_names"]], float(about["threshold"])
        else:
            from mrcnn.model import MaskRCNN

            self._model = MaskRCNN.from_checkpoint(weights)
            names = self._model.class_names or ["BG"]
            self._least = float(self._model.config.DETECTION_MIN_CONFIDENCE)
        labels = [cvataa.label_spec(name, i, type="any") for i, name in enumerate(names) if i]
        self.spec = cvataa.DetectionFunctionSpec(labels=labels)

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: PIL.Image.Image
    ) -> list[models.LabeledShapeRequest]:
        """A mask for each instance, or a polygon where CVAT wants those."""
        least = self._least if context.conf_threshold is None else context.conf_threshold
        found = self._found(image, least)
        shapes = []
        for i, class_id in enumerate(found.class_ids.tolist()):
            mask = found.masks[..., i]
            if found.scores[i] < least or not mask.any():
                continue
            if context.conv_mask_to_poly:
                points = outline(mask)[:, ::-1] + 0.5  # CVAT's pixels reach from 0 to 1
                shapes.append(cvataa.polygon(class_id, points.ravel().tolist()))
            else:
                shapes.append(cvataa.mask(class_id, encode_mask(mask)))
        return shapes

    def _found(self, image: PIL.Image.Image, least: float) -> Instances:
        if not self._server:
            return self._model.detect([np.asarray(image.convert("RGB"))])[0]
        held = io.BytesIO()
        image.convert("RGB").save(held, "PNG", compress_level=1)
        answer = self._ask(f"/v1/detect?threshold={least}", held.getvalue())
        with TemporaryDirectory() as folder:
            path = Path(folder) / "found.json"
            path.write_bytes(answer)
            return Instances.load(path)

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = urllib.request.Request(self._server + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{self._server}: {_detail(error)}") from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        content: Mapping[str, Any] = json.loads(error.read())
        return str(content["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the answer is {error.code} {error.reason}."


def create(**parameters: str) -> MaskRCNNFunction:
    """What cvat-cli calls, with its -p NAME=str:VALUE."""
    return MaskRCNNFunction(**parameters)
