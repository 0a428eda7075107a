"""The folder of a job: what it is, which slices are done, and nobody else's work in it.

with JobFolder("found", what, pictures) as job:
    for number in job.left():
        job.write(number, ...)
    job.finish()
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from mrcnn.detect.results import locked
from mrcnn.errors import UsageError
from mrcnn.jobs import tables
from mrcnn.whole import sweep, whole
from mrcnn.words import listed, printable

JOB, LIST, PARTS, ERRORS, SUCCESS = (
    *("job.json", "sources.parquet", "parts", "errors.parquet"),
    "_SUCCESS",
)
PART_SIZE = 100  # pictures, unless somebody wants another number
_LOCK, _BEGUN = ".lock", "begun"
_FORMAT = 1


@dataclass(frozen=True)
class What:
    """What makes a job the same one: none of it may change before the last part is written."""

    sources: list[str]  # as they were given
    weights: str  # the sha256 of the file
    engine: str  # what computes: tensorflow, openvino, onnx ..
    config: dict[str, Any]  # hyper-parameters
    class_names: list[str]  # background first


class JobFolder:
    """A job that goes on, from its beginning or from where it was ended.

    what: compared with what the folder holds already. pictures: gives the list; it is called the
        first time only. versions: of the packages that detect and write, noted for each run.
    Raises UsageError where the folder holds another job, other files, or is being written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        what: What,
        pictures: Callable[[], Sequence[str]],
        part_size: int | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        tables.check_installed()
        self.folder = Path(folder).absolute()
        _check_free(self.folder)
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        self._end = ExitStack()
        self._end.enter_context(locked(self.folder / _LOCK, "--job"))
        try:
            told = read_job(self.folder) if (self.folder / JOB).exists() else None
            if told:
                _check_same(self.folder, told, what, part_size)
            else:
                told = self._begin(what, pictures(), part_size or PART_SIZE)
            self.told = told
            self._note_run(dict(versions or {}))
            sweep(self.folder / PARTS)
            sweep(self.folder)
            self._list = tables.PictureList(self.folder / LIST)
        except BaseException:
            self._end.close()
            raise

    def _begin(self, what: What, pictures: Sequence[str], part_size: int) -> dict[str, Any]:
        with whole(self.folder / LIST, lasting=True) as unfinished:
            tables.write_list(unfinished, pictures, part_size)
        return {
            "format": _FORMAT,
            **asdict(what),
            "pictures": len(pictures),
            "part_size": part_size,
            "runs": [],
        }

    def _note_run(self, versions: dict[str, str]) -> None:
        began = datetime.now().astimezone().isoformat(timespec="seconds")
        self.told["runs"].append({"began": began, "versions": versions})
        with whole(self.folder / JOB, lasting=True) as unfinished:
            unfinished.write_text(json.dumps(self.told, indent=1), encoding="utf-8")

    @property
    def num_pictures(self) -> int:
        """Of the whole job."""
        return int(self.told["pictures"])

    @property
    def metadata(self) -> dict[str, str]:
        """What each part's file says of itself; the same in every run."""
        names = json.dumps(self.told["class_names"])
        return {"class_names": names, "weights": self.told["weights"]}

    @property
    def changed(self) -> str:
        """A sentence where an earlier run had other versions of a package, else ""."""
        *earlier, now = (run["versions"] for run in self.told["runs"])
        names = sorted({n for run in earlier for n in now if run.get(n, now[n]) != now[n]})
        if not names:
            return ""
        return (
            f"earlier parts of this job were made with another version of {listed(names)}: digits "
            "may differ between parts."
        )

    def left(self) -> list[int]:
        """The numbers of the slices that are not done."""
        done = set(os.listdir(self.folder / PARTS))
        count = num_parts(self.told)
        return [i for i in range(count) if part_name(self.told, i) not in done]

    def slice(self, number: int) -> list[str]:
        """The pictures of a slice."""
        return self._list.slice(number)

    def size(self, number: int) -> int:
        """How many pictures a slice has."""
        first = number * self.told["part_size"]
        return int(min(self.told["part_size"], self.num_pictures - first))

    def begun(self, number: int) -> Path:
        """Where whoever works on a slice notes which picture it is at."""
        folder = self.folder / _BEGUN
        folder.mkdir(exist_ok=True)
        return folder / Path(part_name(self.told, number)).with_suffix(".txt")

    def write(self, number: int, data: bytes) -> None:
        """Put the file of a part in its place: from then on it is done."""
        path = self.folder / PARTS / part_name(self.told, number)
        with whole(path, lasting=True, size=len(data)) as unfinished:
            unfinished.write_bytes(data)
        self.begun(number).unlink(missing_ok=True)

    def finish(self) -> int:
        """Once all parts are there, list the failures and say so; returns how many failed."""
        if left := self.left():
            raise RuntimeError(f"{len(left)} parts are not done yet.")
        with whole(self.folder / ERRORS, lasting=True) as unfinished:
            failed = tables.write_failures(unfinished, tables.failures(parts(self.folder)))
        if (self.folder / _BEGUN).is_dir():
            (self.folder / _BEGUN).rmdir()
        (self.folder / SUCCESS).touch()
        return failed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()


def read_job(folder: str | os.PathLike) -> dict[str, Any]:
    """What job.json says. Raises UsageError where there is no job."""
    path = Path(folder) / JOB
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        known = told["format"] == _FORMAT
    except FileNotFoundError:
        raise UsageError(
            f"{printable(folder)} holds no job: there is no {JOB} in it, as mrcnn detect --job "
            "writes it."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{printable(path)} is none of mrcnn's: {error}.") from None
    if not known:
        raise UsageError(
            f"{printable(folder)} holds a job of another version of mrcnn: go on with that one."
        )
    return dict(told)


def num_parts(told: Mapping[str, Any]) -> int:
    """How many parts a job has. told: its job.json."""
    return -(-int(told["pictures"]) // int(told["part_size"]))


def part_name(told: Mapping[str, Any], number: int) -> str:
    """The file of a part: the numbers of its first and last picture."""
    first = number * told["part_size"]
    last = min(first + told["part_size"], told["pictures"]) - 1
    return f"{first:010}-{last:010}.parquet"


def parts(folder: str | os.PathLike) -> list[Path]:
    """The parts that are done, in order."""
    folder, told = Path(folder), read_job(folder)
    done = set(os.listdir(folder / PARTS)) if (folder / PARTS).is_dir() else set()
    names = (part_name(told, i) for i in range(num_parts(told)))
    return [folder / PARTS / name for name in names if name in done]


def _check_free(folder: Path) -> None:
    """Refuse a folder of other things. Raises UsageError."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--job {printable(folder)} is a file: give a folder.")
    ours = {JOB, LIST, PARTS, ERRORS, SUCCESS, _LOCK, _BEGUN}
    if folder.is_dir() and not (folder / JOB).exists():
        others = [n for n in os.listdir(folder) if n not in ours and not n.startswith(".")]
        if others:
            raise UsageError(
                f"--job {printable(folder)} holds other files ({listed(sorted(others), 3)}): give "
                "a folder of its own."
            )


def _check_same(folder: Path, told: Mapping[str, Any], what: What, part_size: int | None) -> None:
    """Refuse to go on with something else than was begun. Raises UsageError."""
    wanted = json.loads(json.dumps(asdict(what)))
    where = f"the job in {printable(folder)}"
    otherwise = "go on with what it was begun with, or give another folder to --job."
    if told["sources"] != wanted["sources"]:
        raise UsageError(
            f"{where} is over {listed(told['sources'], 3)}, and {listed(wanted['sources'], 3)} "
            f"is asked for: {otherwise}"
        )
    if told["config"] != wanted["config"]:
        old, new = told["config"], wanted["config"]
        name = next(n for n in sorted({*old, *new}) if old.get(n) != new.get(n))
        raise UsageError(
            f"{where} was begun with {name} = {old.get(name)}, and {new.get(name)} is asked for: "
            f"{otherwise}"
        )
    for name, meaning in (
        ("weights", "other weights"),
        ("engine", f"the engine {told['engine']}"),
        ("class_names", "other names of the classes"),
    ):
        if told[name] != wanted[name]:
            raise UsageError(f"{where} was begun with {meaning}: {otherwise}")
    if part_size not in (None, told["part_size"]):
        raise UsageError(
            f"{where} was begun with --part-size {told['part_size']}, which can't change."
        )
