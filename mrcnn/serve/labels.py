"""Files that labelling tools open, of what was found: made by the writers of `mrcnn.data`."""

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mrcnn.data.writers import WRITERS, place
from mrcnn.serve.answers import read_names, read_pictures
from mrcnn.serve.limits import Refused


class File(NamedTuple):
    """To be downloaded."""

    name: str
    kind: str  # its media type
    content: bytes


def label_file(content: Mapping[str, Any], to: str, most_pixels: int) -> File:
    """The annotations of all pictures in JSON as of `answers`, in a tool's format.

    A tool that wants several files gets them in one archive. Raises Refused.
    """
    if to not in WRITERS:
        raise Refused(404, f"There is no format {to}: there are {', '.join(WRITERS)}.")
    class_names, ids = read_names(content)
    with tempfile.TemporaryDirectory(prefix="mrcnn-") as name:
        folder = Path(name) / "labels"
        folder.mkdir()
        with WRITERS[to](place(folder, to), class_names) as writer:
            for picture in read_pictures(content, ids, most_pixels):
                writer.add(picture)
        if to == "via":
            _forget_folder(folder / "via.json")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if len(files) == 1:
            (path,) = files
            return File(path.name, _media_type(path), path.read_bytes())
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder).as_posix())
        return File(f"{to}.zip", "application/zip", held.getvalue())


def _forget_folder(path: Path) -> None:
    """Take out of a VIA project where its pictures lie: not where this server wrote it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["_via_settings"]["core"]["default_filepath"] = ""
    content["_via_settings"]["project"].pop("pictures", None)
    path.write_text(json.dumps(content), encoding="utf-8")


def _media_type(path: Path) -> str:
    kinds = {".json": "application/json", ".xml": "application/xml", ".csv": "text/csv"}
    return kinds.get(path.suffix, "text/plain")
