"""Label Studio's side: tasks in, predictions out, in the words of its machine-learning protocol.

studio = LabelStudio("http://localhost:8080", key="...")
tasks, control = studio.read(content, ["BG", "cell"])    # of POST /predict
studio.picture(tasks[0], control, limits)                # the bytes of a picture file
studio.result(found, control)                            # {"result": [...], "score": 0.97}

A labelling interface says by its tags what regions look like: BrushLabels, PolygonLabels or
RectangleLabels, each with Labels and the name of the Image that it goes with.
"""

import base64
import binascii
import time
import urllib.error
import urllib.request
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import numpy as np

from mrcnn.data.formats.brush import pack_brush
from mrcnn.geometry.outlines import outline
from mrcnn.serve.limits import Limits, Refused
from mrcnn.words import listed, printable

# By tag, best first: the kind of region, and so of what a mask becomes.
_KINDS = {
    "BrushLabels": "brushlabels",
    "PolygonLabels": "polygonlabels",
    "RectangleLabels": "rectanglelabels",
}


@dataclass(frozen=True)
class Control:
    """The tag of a labelling interface that predictions are made for.

    kind: brushlabels, polygonlabels or rectanglelabels. name, image: names of the tag and of its
    Image. field: of a task's data, where the picture's address is. labels: by class id.
    """

    kind: str
    name: str
    image: str
    field: str
    labels: Mapping[int, str]


class Task(NamedTuple):
    """A picture to be labelled."""

    id: Any
    data: Mapping[str, Any]


class LabelStudio:
    """Where its pictures are, and how its predictions look.

    address: of Label Studio, as this server reaches it; key: the token of a user there, which is
    sent nowhere else. others: more addresses that pictures may be fetched from.
    """

    def __init__(self, address: str = "", key: str = "", others: Iterable[str] = ()) -> None:
        self.address, self._key = address.rstrip("/"), key
        self._origins = {_origin(place) for place in (address, *others) if place}

    # -- Tasks in -----------------------------------------------------------------------------

    def read(
        self, content: Mapping[str, Any], class_names: Sequence[str]
    ) -> tuple[list[Task], Control]:
        """The tasks of a request, and what to make for them. Raises Refused."""
        rows = content.get("tasks")
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("data"), dict) for row in rows
        ):
            raise Refused(422, "The request has no list of tasks with data.")
        control = find_control(content.get("label_config"), class_names)
        return [Task(row.get("id"), row["data"]) for row in rows], control

    def picture(self, task: Task, control: Control, limits: Limits) -> bytes:
        """Fetch a task's picture. Raises Refused."""
        address = task.data.get(control.field)
        which = f"the picture of task {task.id}"
        if not isinstance(address, str) or not address:
            raise Refused(422, f"There is no address in {control.field!r}, {which}.")
        if address.startswith("data:"):
            return _of_data_address(address, which, limits)
        if address.startswith("/"):
            if not self.address:
                raise Refused(
                    422,
                    f"{which[0].upper()}{which[1:]} is in Label Studio ({printable(address)}): "
                    "start the server with --label-studio ADDRESS and its key.",
                )
            address = urljoin(f"{self.address}/", address)
        return self._fetched(address, which, limits)

    def _fetched(self, address: str, which: str, limits: Limits) -> bytes:
        self._check_place(address)
        request = urllib.request.Request(address, headers={"User-Agent": "mrcnn"})
        if self._key and _origin(address) == _origin(self.address):
            # Not sent on to where a redirection leads.
            request.add_unredirected_header("Authorization", f"Token {self._key}")
        opener = urllib.request.OpenerDirector()
        for handler in (
            *(urllib.request.ProxyHandler(), urllib.request.HTTPHandler()),
            *(urllib.request.HTTPSHandler(), urllib.request.HTTPDefaultErrorHandler()),
            *(urllib.request.HTTPErrorProcessor(), _Redirections(self)),
        ):
            opener.add_handler(handler)
        try:
            with opener.open(request, timeout=limits.body_seconds) as response:
                return _all_of(response, which, limits)
        except urllib.error.HTTPError as error:
            hint = " (is LABEL_STUDIO_API_KEY right?)" if error.code in (401, 403) else ""
            reason = f"the answer is {error.code} {error.reason}{hint}"
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", None) or error)
        raise Refused(422, f"{printable(address)}, {which}, can't be fetched: {reason}.")

    def _check_place(self, address: str) -> None:
        """Only from where the server's owner said, else anybody could let it ask his network."""
        origin = _origin(address)
        if origin not in self._origins:
            raise Refused(
                422,
                f"Pictures of {printable(origin)} aren't fetched: start the server with "
                f"--fetch-from {printable(origin)} to allow it.",
            )

    # -- Predictions out ----------------------------------------------------------------------

    def result(self, found: Mapping[str, np.ndarray], control: Control) -> dict[str, Any]:
        """One picture's prediction; classes that the interface doesn't have are left out."""
        height, width = found["masks"].shape[:2]
        regions, scores = [], []
        for i, class_id in enumerate(np.asarray(found["class_ids"]).tolist()):
            label = control.labels.get(class_id)
            mask, roi = found["masks"][..., i], found["rois"][i]
            if label is None or not mask.any():
                continue
            scores.append(round(float(found["scores"][i]), 6))
            regions.append(
                {
                    "id": uuid.uuid4().hex[:10],
                    "type": control.kind,
                    "from_name": control.name,
                    "to_name": control.image,
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": scores[-1],
                    "value": _shape(control.kind, mask, roi) | {control.kind: [label]},
                }
            )
        return {"result": regions, "score": float(np.mean(scores)) if scores else 0.0}


def find_control(label_config: Any, class_names: Sequence[str]) -> Control:
    """The tag that fits the model best: of the best kind among those with one of its classes.

    A class goes with the Label of its name, in any case of letters, or with the one that lists it
    in predicted_values. Raises Refused, with what is there, where none fits.
    """
    if not isinstance(label_config, str) or "<!" in label_config.replace("<!--", ""):
        raise Refused(422, "The request has no labelling interface (label_config).")
    try:
        root = ET.fromstring(label_config)
    except ET.ParseError as error:
        raise Refused(422, f"The labelling interface is no XML: {error}.") from None
    fields = {tag.get("name"): (tag.get("value") or "").lstrip("$") for tag in root.iter("Image")}
    seen: list[str] = []
    for tag_name, kind in _KINDS.items():
        for tag in root.iter(tag_name):
            image = (tag.get("toName") or "").split(",")[0]
            labels = _labels(tag, class_names)
            seen += [label.get("value", "") for label in tag.iter("Label")]
            if labels and image in fields:
                return Control(kind, tag.get("name") or "", image, fields[image], labels)
    there = f"its labels are {listed(seen)}" if seen else f"it has none of {listed(_KINDS)}"
    raise Refused(
        422,
        f"The labelling interface has no label for a class of the model: {there}; the model's "
        f"classes are {listed(class_names[1:])}.",
    )


def _labels(tag: ET.Element, class_names: Sequence[str]) -> dict[int, str]:
    by_name: dict[str, str] = {}
    for label in tag.iter("Label"):
        value = label.get("value", "")
        for name in (value, *(label.get("predicted_values") or "").split(",")):
            if name.strip():
                by_name.setdefault(name.strip().casefold(), value)
    names = enumerate(class_names)
    return {i: by_name[name.casefold()] for i, name in names if i and name.casefold() in by_name}


def _shape(kind: str, mask: np.ndarray, roi: np.ndarray) -> dict[str, Any]:
    """Brush masks as they are, the others in percent of the picture's sides."""
    height, width = mask.shape
    if kind == "brushlabels":
        return {"format": "rle", "rle": pack_brush(mask)}
    if kind == "polygonlabels":
        points = (outline(mask)[:, ::-1] + 0.5) * (100 / width, 100 / height)
        return {"points": points.round(4).tolist(), "closed": True}
    y1, x1, y2, x2 = (float(side) for side in roi)
    return {
        "x": 100 * x1 / width,
        "y": 100 * y1 / height,
        "width": 100 * (x2 - x1) / width,
        "height": 100 * (y2 - y1) / height,
        "rotation": 0,
    }


# -- Fetching ---------------------------------------------------------------------------------


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Followed to places that are allowed, and no others."""

    def __init__(self, studio: LabelStudio) -> None:
        self._studio = studio

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str):
        self._studio._check_place(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _all_of(response: Any, which: str, limits: Limits) -> bytes:
    until, parts, received = time.monotonic() + limits.body_seconds, [], 0
    while block := response.read1(1 << 18):
        parts.append(block)
        received += len(block)
        _check_size(received, which, limits)
        if time.monotonic() > until:
            raise Refused(422, f"Fetching {which} took longer than {limits.body_seconds:g} s.")
    return b"".join(parts)


def _of_data_address(address: str, which: str, limits: Limits) -> bytes:
    head, _, content = address.partition(",")
    try:
        raw = unquote_to_bytes(content)
        data = base64.b64decode(raw, validate=True) if head.endswith(";base64") else raw
    except binascii.Error:
        raise Refused(422, f"The data: address of {which} is damaged.") from None
    _check_size(len(data), which, limits)
    return data


def _check_size(size: int, which: str, limits: Limits) -> None:
    if size > limits.bytes:
        raise Refused(422, f"More than {limits.megabytes:g} MB: too much for {which}.")
