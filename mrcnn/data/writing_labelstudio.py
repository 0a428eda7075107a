"""Label Studio: tasks with predictions, or annotations where a person said what it is."""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from mrcnn.data.formats.brush import pack_brush
from mrcnn.data.writing import (
    Instance,
    Labelled,
    OneFileWriter,
    common_folder,
    has_one_outline,
    plain,
    polygon_on_edges,
    separator,
)
from mrcnn.whole import WholeFile, check_free

_ADDRESS = "/data/local-files/?d="


class LabelStudioWriter(OneFileWriter):
    """A JSON file of tasks for Label Studio's Import, and beside it the labelling interface.

    An instance of one piece without holes is a polygon, which a person can bend; any other is a
    brush mask, which is exact. Both are in `<name>_interface.xml`, for Settings, Labeling.
    Pictures are named as Label Studio's storage of local files has them, counted from the folder
    above the one that all lie in: that one must be its document root.
    """

    without_crowds = "Label Studio"

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        overwrite: bool = False,
        used: Collection[int] | None = None,
    ) -> None:
        super().__init__(path, class_names, overwrite, used)
        self._interface = self.path.with_name(f"{self.path.stem}_interface.xml")
        if not overwrite:
            check_free(self._interface)

    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""
        results = [self._result(instance, item) for instance in self._instances(item)]
        labels: dict[str, Any] = {"result": results}
        if item.scores is not None:
            scores = [result["score"] for result in results]
            labels |= {"model_version": "mrcnn", "score": min(scores, default=0.0)}
        kind = "annotations" if item.scores is None else "predictions"
        self._keep(item, {"meta": {"file": item.file_name}, kind: [labels]})

    def _result(self, instance: Instance, item: Labelled) -> dict[str, Any]:
        name = self.class_names[instance.class_id]
        if has_one_outline(instance):
            size = np.array([item.height, item.width])
            percent = size / 100
            points = polygon_on_edges(instance, lambda p: p / percent / 100 * size)
            corners = [plain(point) for point in (points / percent)[:, ::-1]]
            kind, value = "polygon", {"points": corners, "closed": True}
        else:
            what = "Instances of several pieces or with holes, written as brush masks"
            self._notes.count(what, item.file_name)
            kind, value = "brush", {"format": "rle", "rle": pack_brush(instance.mask)}
        result = {
            "id": f"mrcnn{self.num_instances}",
            "type": f"{kind}labels",
            "from_name": kind,
            "to_name": "image",
            "original_width": item.width,
            "original_height": item.height,
            "image_rotation": 0,
            "value": {**value, f"{kind}labels": [name]},
        }
        return result if instance.score is None else {**result, "score": instance.score}

    def close(self, keep: bool) -> None:
        """Finish the files, or drop them."""
        super().close(keep)
        if keep:
            WholeFile(self._interface).close([self._interface_text()])

    def _text(self, entries: Iterator[dict[str, Any]]) -> Iterator[str]:
        base = common_folder(self._pictures)
        root = None if base is None else os.path.dirname(base)
        yield "["
        for number, (picture, entry) in enumerate(zip(self._pictures, entries), 1):
            way = Path(os.path.relpath(picture, root) if root else picture).as_posix()
            address = _ADDRESS + quote(way, errors="surrogateescape")
            yield f"{separator(number)}{json.dumps({'data': {'image': address}, **entry})}"
        yield "\n]\n"
        if root and self._pictures:
            self._notes.say(
                f"{self.path.name} is for Label Studio's Import, after the labelling interface of "
                f"{self._interface.name} was set. So that it shows the pictures, start it with "
                "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}, and add {base} as storage of "
                "local files."
            )

    def _interface_text(self) -> str:
        labels = "".join(
            f"    <Label value={quoteattr(self.class_names[class_id])}/>\n"
            for class_id in self._used
        )
        controls = "".join(
            f'  <{kind}Labels name="{kind.lower()}" toName="image">\n{labels}  </{kind}Labels>\n'
            for kind in ("Polygon", "Brush")
        )
        return f'<View>\n  <Image name="image" value="$image"/>\n{controls}</View>\n'
