"""Where the pictures of Label Studio's tasks lie: uploads, local files, and addresses of stores.

/data/upload/1/ab12cd34-a.png       an upload: its own name stands behind the first -
/data/local-files/?d=scans/a.png    below a folder that only the server knows
s3://bucket/scans/a.png             a store, or any address
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mrcnn.data.formats.files import is_picture, natural_name
from mrcnn.data.formats.notes import Notes
from mrcnn.data.formats.reading import Request

_UPLOADED = re.compile(r"[0-9a-f]{4,12}-(?=.)")
_USUAL = ("image", "img", "picture", "photo", "url")
_NEAR = ("", "images", "upload", "media/upload", "data", "pictures")


def picture_names(data: dict, meta: Any) -> tuple[list[str], int]:
    """(ways to a task's picture, the likeliest first; how many other pictures the task has)."""
    found = {
        key: _ways(value)
        for key, value in data.items()
        if isinstance(key, str) and isinstance(value, str) and "\n" not in value
    }
    found = {key: ways for key, ways in found.items() if ways and is_picture(ways[-1])}
    if not found:
        return [], 0
    usual = [key for key in found if key.lower() in _USUAL]
    key = next(iter(usual or found))
    said = natural_name(meta.get("file")) if isinstance(meta, dict) else None
    upload = data.get("file_upload")
    more = [natural_name(upload)] if isinstance(upload, str) else []
    names = [said, *found[key], *more]
    return [name for name in names if name], len(found) - 1


def _ways(address: str) -> list[str]:
    """The relative paths that an address may stand for, from the whole to the bare name."""
    address = address.strip()
    if len(address) > 4096:
        return []
    try:
        parsed = urlsplit(address)
        local = parse_qs(parsed.query).get("d", [])
    except ValueError:
        return []
    if local:
        whole = [local[0], unquote(local[0])]
    elif parsed.scheme in ("", "file") or len(parsed.scheme) == 1:
        whole = [address, unquote(address)]
    else:
        whole = [parsed.path, unquote(parsed.path)]
    names = [natural_name(name.lstrip("/")) for name in whole]
    names += [os.path.basename(name) for name in names if name]
    return list(dict.fromkeys(name for name in names if name and name != "."))


class Pictures:
    """The paths of the pictures of a file's tasks.

    paths: for each task, None where it is left out; missing: names of those that are nowhere.
    """

    def __init__(self, file: Path, request: Request, ways: list[list[str]], notes: Notes) -> None:
        self.bases = self._bases(file, request)
        self._has = request.folders.has
        self.paths = [self._find(names) for names in ways]
        self.missing: list[str] = []
        own = [self._find([_without_number(names[-1])]) for names in ways]
        shared = Counter(path for path, found in zip(own, self.paths) if found is None)
        for number, names in enumerate(ways):
            if self.paths[number] is not None:
                continue
            path = own[number]
            if path is None:
                self.missing.append(names[0])
            elif shared[path] > 1:
                notes.count(
                    "Tasks left out: without the number of the upload, several have their "
                    "picture's name",
                    names[0],
                )
            else:
                self.paths[number] = path

    @staticmethod
    def _bases(file: Path, request: Request) -> list[Path]:
        if request.images:
            return [request.images]
        below = [
            file.parent / name
            for name in sorted(request.folders.names(file.parent))[:200]
            if (file.parent / name).is_dir()
        ]
        near = [file.parent / name for name in _NEAR]
        above = [folder / name for folder in file.parent.parents[:3] for name in ("", "images")]
        return list(dict.fromkeys([*near, *below, *above]))

    def _find(self, names: list[str]) -> str | None:
        for name in names:
            # Of an upload's address only the end can be a path here, and how much is not known.
            steps = name.split("/")
            for start in range(min(len(steps), 8)):
                for base in self.bases:
                    path = os.path.normpath(os.path.join(base, *steps[start:]))
                    if self._has(path) and not os.path.isdir(path):
                        return path
        return None


def _without_number(name: str) -> str:
    base = os.path.basename(name)
    found = _UPLOADED.match(base)
    return base[found.end() :] if found else base
