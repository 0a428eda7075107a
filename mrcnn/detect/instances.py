"""What comes out of the network: the instances of one picture.

    found = model.detect([picture])[0]
    found.above(0.9).of_class("cell").counts()

rois        [n, (y1, x1, y2, x2)] int32, pixels of the picture, the far corner outside the box
class_ids   [n] int32, from 1: class 0 is the background
scores      [n] float32 of 0..1
masks       [height, width, n] bool
"""

import contextlib
import copy
import difflib
import operator
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from mrcnn.detect.memory import check_masks
from mrcnn.detect.results import coco_results
from mrcnn.detect.saved import read_saved, write_saved
from mrcnn.geometry.crops import MaskCrops
from mrcnn.words import listed

if TYPE_CHECKING:
    import supervision

ARRAYS = {  # type of what is made of a list, number of axes, their meaning
    "rois": (np.int32, 2, "[n, (y1, x1, y2, x2)]"),
    "class_ids": (np.int32, 1, "[n]"),
    "scores": (np.float32, 1, "[n]"),
    "masks": (bool, 3, "[height, width, n]"),
}


class LimitWarning(UserWarning):
    """More may be in a picture than was let through."""


class Instances(dict[str, np.ndarray]):
    """The instances of one picture: Matterport's dict of four arrays, with names and methods.

        found = Instances(rois=boxes, class_ids=ids, scores=scores, masks=masks,
                          class_names=["BG", "cell"])
        found["rois"] is found.boxes    # keys as ever, and attributes
        found[0], found[2:5], found[found.scores > 0.9], found[[3, 1]]    # each an Instances

    class_names: by class id, background first, or None where nobody knows them. They are an
        attribute, no key, and go along into copies, selections, pickles and saved files.

    Lists become arrays; arrays are kept as they are. A dict or pairs can be given in place of the
    four arguments. Whatever is assigned to a key is what the attribute and the methods see.

    NOTE: `len` is the number of instances, though iteration gives the four keys; and a result
    is true even if it is empty, as the dict of before was (`json.dumps(.., indent=1)` and pandas
    would take a false one for {}). Ask `len(found)`.
    """

    class_names: list[str] | None
    limited = (
        False  # True: as many as DETECTION_MAX_INSTANCES lets through, and maybe there are more
    )
    tiles: tuple[int, int] | None = None  # (such ones, all) of a picture that was cut into tiles

    @overload
    def __init__(
        self, *, rois: Any, class_ids: Any, scores: Any, masks: Any,
        class_names: Sequence[str] | None = None,
    ) -> None: ...  # fmt: skip

    @overload
    def __init__(
        self,
        result: Mapping[str, Any] | Iterable[tuple[str, Any]],
        /,
        *,
        class_names: Sequence[str] | None = None,
    ) -> None: ...

    def __init__(self, result=(), /, *, class_names=None, **arrays):
        given = dict(result)
        if unknown := arrays.keys() - ARRAYS.keys():
            raise TypeError(f"Instances takes {listed(ARRAYS)}, and no {listed(sorted(unknown))}.")
        given |= arrays
        if missing := [key for key in ARRAYS if key not in given]:
            raise TypeError(f"Instances needs {listed(ARRAYS)}: there is no {listed(missing)}.")
        super().__init__({key: _as_array(key, given.pop(key)) for key in ARRAYS} | given)
        if class_names is None:
            class_names = getattr(result, "class_names", None)
        self.class_names = None if class_names is None else [str(name) for name in class_names]

    # -- The arrays -----------------------------------------------------------------------------

    @property
    def boxes(self) -> np.ndarray:
        """[n, (y1, x1, y2, x2)] int32, pixels of the picture; the key is `rois`."""
        return self._array("rois")

    @property
    def class_ids(self) -> np.ndarray:
        """[n] int32, numbers into `class_names`."""
        return self._array("class_ids")

    @property
    def scores(self) -> np.ndarray:
        """[n] float32 of 0..1, the highest first as the network gives them."""
        return self._array("scores")

    @property
    def masks(self) -> np.ndarray:
        """[height, width, n] bool, in the frame of the picture.

        Of a large picture that was cut into tiles they are made when asked for, and MemoryError is
        raised where there is no room: `crops` has them cut to their boxes.
        """
        masks = self._present("masks")
        if isinstance(masks, MaskCrops):
            check_masks(masks.shape[2], masks.shape, "take `crops`, where each is cut to its box")
        return np.asarray(masks)

    @property
    def crops(self) -> MaskCrops:
        """The masks, each cut to its box: see `mrcnn.geometry.crops`."""
        return MaskCrops.from_masks(self._present("masks"))

    def _present(self, key: str) -> Any:
        if key not in self:
            raise AttributeError(f"This result holds no {key!r}: the key was taken out of it.")
        return self[key]

    def _array(self, key: str) -> Any:
        """As an array; masks that are cut stay so."""
        value = self._present(key)
        return value if isinstance(value, MaskCrops) else np.asarray(value)

    def _checked(self, needed: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """The arrays that are there. Raises ValueError where they can't belong together."""
        from mrcnn.drawing.instances import check_counts

        if missing := [key for key in needed if key not in self]:
            raise ValueError(
                f"This result holds no {listed(missing)}, which were taken out of it: keep them "
                "for what shall be done with it."
            )
        arrays = {key: self._array(key) for key in ARRAYS if key in self}
        for key, array in arrays.items():
            _, axes, meaning = ARRAYS[key]
            if array.ndim != axes:
                raise ValueError(
                    f"{key} of this result has shape {list(array.shape)}: it must be {meaning}."
                )
        counts = {key: array.shape[-1 if key == "masks" else 0] for key, array in arrays.items()}
        check_counts("instance", counts)
        return arrays

    # -- A dict, and a sequence of instances ----------------------------------------------------

    def __len__(self) -> int:
        """The number of instances."""
        for key in ("rois", "class_ids", "scores"):
            if key in self:
                return len(self[key])
        return self.masks.shape[-1] if "masks" in self else 0

    def __bool__(self) -> bool:
        return True

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> Self: ...

    def __getitem__(self, key):
        """The array of a key; or some instances, as numpy selects along an axis.

        A number gives one instance, still as an Instances. What a script has put under other keys
        does not go along.
        """
        if isinstance(key, str):
            return super().__getitem__(key)
        arrays = self._checked()
        index = _index(key, len(self))
        found = self.copy()
        found.clear()
        for name, array in arrays.items():
            found[name] = array[..., index] if name == "masks" else array[index]
        return found

    def copy(self) -> Self:
        """A shallow copy: the arrays are shared."""
        return copy.copy(self)

    # -- Choosing and counting ------------------------------------------------------------------

    def above(self, score: float) -> Self:
        """The instances with at least this score."""
        return self[self._checked(["scores"])["scores"] >= score]

    def of_class(self, name: str | int) -> Self:
        """The instances of one class, by its name or its id.

        Raises ValueError for a class that there is not.
        """
        class_ids = self._checked(["class_ids"])["class_ids"]
        return self[np.isin(class_ids, self._ids_of(name))]

    def _ids_of(self, name: str | int) -> list[int]:
        names = self.class_names
        if names is None:
            if isinstance(name, str):
                raise ValueError(
                    f"This result doesn't know the names of its classes: give the id of {name!r}, "
                    'or set result.class_names = ["BG", ...] first.'
                )
            return [operator.index(name)]
        if isinstance(name, str):
            ids = [i for i, known in enumerate(names) if known == name]
        else:
            ids = [i for i in [operator.index(name)] if 0 <= i < len(names)]
        if not ids:
            close = difflib.get_close_matches(str(name), names[1:], n=1)
            meant = f": did you mean {close[0]!r}?" if close else "."
            known = [f"{known} ({i})" for i, known in enumerate(names) if i > 0]
            raise ValueError(f"There is no class {name!r}{meant} The classes are {listed(known)}.")
        return ids

    def counts(self) -> Counter[str]:
        """How many of each class were found, {name: number}, in the order of the class ids.

        A class of which none was found is left out, and counts 0 all the same.
        """
        ids, numbers = np.unique(self.class_ids, return_counts=True)
        counts: Counter[str] = Counter()
        for name, number in zip(self._names_of(ids), numbers):
            counts[name] += int(number)
        return counts

    def _names_of(self, class_ids: np.ndarray) -> list[str]:
        from mrcnn.drawing.labels import class_name

        return [class_name(self.class_names, class_id) for class_id in class_ids]

    # -- For other programs ---------------------------------------------------------------------

    def table(
        self, picture: np.ndarray | str | os.PathLike | None = None, pixel_size: str | None = None
    ) -> dict[str, np.ndarray]:
        """Measurements, {column: [n]}: `pandas.DataFrame(found.table(picture))`.

        picture: the one that was searched, as an array or its file, for intensities by channel; a
            file also says how large its pixels are, for columns such as area_um2.
        pixel_size: that size, if it doesn't: "0.25um", "0.3m".
        The columns are those of `mrcnn.detect.measure`. Raises ValueError for a picture of another
        size, PictureError where its file can't be read.
        """
        from mrcnn.detect.measure import table, values_of

        arrays = self._checked(ARRAYS)
        crops = self.crops
        values, pixel = values_of(picture, crops.shape, pixel_size)
        names = self._names_of(arrays["class_ids"])
        return table(crops, arrays["class_ids"], names, arrays["scores"], values, pixel)

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """Rows of COCO's results format; see `mrcnn.detect.results.coco_results`."""
        return coco_results(image_id, self._checked(ARRAYS))

    def to_supervision(self) -> "supervision.Detections":
        """The same as `supervision.Detections`: xyxy boxes, class names in data["class_name"].

        Raises ImportError where that package is missing.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                f"to_supervision() needs the package supervision ({error}): pip install supervision"
            ) from error
        arrays = self._checked(ARRAYS)
        ids = arrays["class_ids"].astype(int)
        data: dict[str, Any] = {}
        if self.class_names is not None:
            data["class_name"] = np.array(self._names_of(ids), dtype=str)
        return supervision.Detections(
            xyxy=arrays["rois"][:, [1, 0, 3, 2]].astype(np.float32),
            mask=np.moveaxis(self.masks, -1, 0).astype(bool),  # [n, height, width]
            confidence=arrays["scores"],
            class_id=ids,
            data=data,
        )

    def plot(
        self,
        picture: np.ndarray,
        colors: Sequence[Any] | None = None,
        captions: Sequence[str | None] | None = None,
    ) -> np.ndarray:
        """The picture with masks, boxes and labels "name score" drawn over it.

        picture: [height, width] or [height, width, 3], the one that was searched.
        colors, captions: one for each instance, as of `mrcnn.visualize.display_instances`.
        Returns [height, width, 3] uint8; a small picture comes back enlarged by a whole factor,
        so that the labels can be read.
        """
        from mrcnn.drawing.instances import render_instances

        arrays = self._checked(["rois", "class_ids"])
        return render_instances(
            picture,
            arrays["rois"],
            arrays.get("masks"),
            arrays["class_ids"],
            self.class_names,
            arrays.get("scores"),
            colors,
            captions,
        )

    # -- On disk --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write the result, whole or not at all; `load` reads it back with the same numbers.

        path: *.json, an annotation file of COCO for one picture, with scores; or *.npz, the arrays.
        Its folder is made. Raises ValueError for another suffix, OSError where it can't be written.
        """
        write_saved(path, self._checked(ARRAYS), self.class_names)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read what `save` wrote.

        Raises ValueError for a file of another kind or one that is damaged, OSError where it can't
        be read.
        """
        arrays, class_names = read_saved(path)
        return cls(arrays, class_names=class_names)

    # -- For the eye ----------------------------------------------------------------------------

    def __repr__(self) -> str:
        try:
            height, width = self._checked(ARRAYS)["masks"].shape[:2]
        except Exception:  # whatever a script has put under the keys: it must be shown
            return f"{type(self).__name__}({super().__repr__()})"
        text = f"{type(self).__name__}: {len(self) or 'none'} of {height}x{width}"
        if not len(self):
            return text
        low, high = self.scores.min(), self.scores.max()
        scores = f"scores {low:.2f} to {high:.2f}" if len(self) > 1 else f"score {low:.2f}"
        return f"{text}: {listed(f'{n} {name}' for name, n in self.counts().items())}; {scores}"


def _as_array(key: str, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    array = np.asarray(value, ARRAYS[key][0])
    return array.reshape(-1, 4) if key == "rois" and not array.size else array


def _index(key: Any, count: int) -> slice | np.ndarray:
    """What selects instances along an axis. Raises TypeError and IndexError."""
    if isinstance(key, slice):
        return key
    if isinstance(key, tuple) and len(key) == 1:  # what np.where gives
        (key,) = key
    if not isinstance(key, bool | np.bool_):
        with contextlib.suppress(TypeError):
            number = operator.index(key)
            if not -count <= number < count:
                raise IndexError(f"There is no instance {number}: the result holds {count}.")
            return slice(number % count, number % count + 1)
    index = np.asarray(key)
    if not index.size and index.dtype != bool:
        index = index.astype(np.intp)
    if isinstance(key, tuple) or index.ndim != 1 or index.dtype.kind not in "bui":
        raise TypeError(
            f"{key!r} selects no instances: give a number, a slice, a list of numbers, or a "
            f"boolean array with an entry for each. The keys are {listed(ARRAYS)}."
        )
    if index.dtype == bool and len(index) != count:
        raise IndexError(f"The selection has {len(index)} entries for {count} instances.")
    return index
