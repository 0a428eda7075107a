"""CVAT for images 1.1: an XML file that CVAT's "Upload annotations" takes for a task."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mrcnn.data.formats import marks
from mrcnn.data.writing import (
    Instance,
    Labelled,
    OneFileWriter,
    common_folder,
    file_name_from,
    has_one_outline,
    polygon_on_edges,
)

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class CvatWriter(OneFileWriter):
    """One XML file. CVAT finds its task's pictures by their names, and labels by theirs.

    An instance of one piece without holes is a polygon, which a person can bend; any other is a
    mask, which is exact. A prediction's score is the attribute "score", which CVAT keeps where the
    task's labels have one of that name. Where the pictures are as seen from this file stands in
    its head, for readers.
    """

    suffix = ".xml"
    without_crowds = "CVAT"

    def add(self, item: Labelled) -> None:
        """Add a picture with its instances."""
        if _NO_XML.search(item.file_name):
            self._notes.count("Pictures left out: no XML can hold their name", item.file_name)
            return
        size = {"width": str(item.width), "height": str(item.height)}
        image = ElementTree.Element("image", id=str(len(self._pictures)), name="", **size)
        for instance in self._instances(item):
            self._add_shape(image, instance, item)
        if item.scores is not None:
            image.set(marks.MARK, marks.checksum(marks.cvat_regions(image)))
        self._keep(item, ElementTree.tostring(image, encoding="unicode"))

    def _add_shape(self, image: ElementTree.Element, instance: Instance, item: Labelled) -> None:
        source = "file" if instance.score is None else "auto"
        about = {"label": self.class_names[instance.class_id], "source": source, "occluded": "0"}
        if has_one_outline(instance):
            points = polygon_on_edges(instance, lambda p: p.round(2))
            text = ";".join(f"{x:.2f},{y:.2f}" for y, x in points.tolist())
            shape = ElementTree.SubElement(image, "polygon", about, points=text, z_order="0")
        else:
            what = "Instances of several pieces or with holes, written as masks"
            self._notes.count(what, item.file_name)
            y1, x1, y2, x2 = instance.box
            inside = instance.mask[y1:y2, x1:x2].reshape(-1)
            changes = np.flatnonzero(np.diff(inside, prepend=False))
            runs = np.diff([0, *changes, inside.size]).tolist()
            box = {"left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1}
            about |= {"rle": ", ".join(map(str, runs))}
            about |= {name: str(side) for name, side in box.items()}
            shape = ElementTree.SubElement(image, "mask", about, z_order="0")
        if instance.score is not None:
            ElementTree.SubElement(shape, "attribute", name="score").text = str(instance.score)

    def _text(self, entries: Iterator[str]) -> Iterator[str]:
        base = common_folder(self._pictures)
        meta = ElementTree.Element("meta")
        labels = ElementTree.SubElement(ElementTree.SubElement(meta, "job"), "labels")
        for class_id in self._used:
            label = ElementTree.SubElement(labels, "label")
            ElementTree.SubElement(label, "name").text = self.class_names[class_id]
            ElementTree.SubElement(label, "type").text = "any"
        if base is not None:
            folder = ElementTree.SubElement(meta, "pictures")
            folder.text = file_name_from(self._folder, base)
        yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        yield f"{ElementTree.tostring(meta, encoding='unicode')}\n"
        for picture, text in zip(self._pictures, entries):
            image = ElementTree.fromstring(text)
            way = os.path.relpath(picture, base) if base else picture
            image.set("name", Path(way).as_posix())
            yield f"{ElementTree.tostring(image, encoding='unicode')}\n"
        yield "</annotations>\n"
