"""cellpose's NAME_seg.npy: a pickled dict whose `masks` numbers the instances; never unpickled.

A pickle is a program. Its steps are only taken down here: texts, numbers and tuples as they are, a
call as its name and arguments, all else as None, until an array stands behind the text "masks".
"""

import os
import pickletools
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mrcnn.data.formats.notes import FormatError, shortened
from mrcnn.whole import regular_file

SUFFIX = "_seg.npy"
_MOST_BYTES = 1 << 31  # of a file: pictures and flows of 8000x8000 pixels
_MOST_STEPS = 200_000  # a second; a file has some hundreds
_MARK = object()


@dataclass
class _Call:
    """What the pickle would call, and the state that it would give to what comes of it."""

    name: Any
    arguments: Any
    state: Any = None


class _Bounded:
    """A file of which no more bytes are asked for, and made room for, than it has."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, self._size))


def read_masks(path: str | os.PathLike) -> np.ndarray:
    """The numbers of the instances, integers [height, width]. Raises FormatError."""
    try:
        with open(regular_file(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MOST_BYTES:
                raise ValueError(f"it has more than {_MOST_BYTES >> 30} GB")
            return _masks(_Bounded(file, size))
    except Exception as error:  # nearly every kind is raised on damaged bytes
        raise FormatError(
            f"The masks in {path} can't be read ({shortened(str(error)) or 'it is damaged'}): in "
            f"cellpose save them as PNG or TIFF (File, Save masks), and remove {Path(path).name}."
        ) from None


def _masks(file: Any) -> np.ndarray:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for step, argument, _ in islice(pickletools.genops(file), _MOST_STEPS):
        _follow(step, argument, stack, memo)
        key, made = stack[-2:] if len(stack) > 1 else (None, None)
        if isinstance(made, _Call) and made.state is not None and key == "masks":
            return _array(made)
    raise ValueError("it holds no masks")


def _follow(step: pickletools.OpcodeInfo, argument: Any, stack: list, memo: dict) -> None:
    """What a step does to the stack, as far as it is taken down."""
    name = step.name
    if name == "MARK":
        stack.append(_MARK)
    elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], _Call):
            stack[-1].state = state
    else:
        wanted, taken = [kind.name for kind in step.stack_before], []
        if "mark" in wanted:
            wanted = wanted[: wanted.index("mark")]
            while (item := stack.pop()) is not _MARK:
                taken.append(item)
        taken += [stack.pop() for _ in wanted]
        stack += [_made(name, argument, taken[::-1]) for _ in step.stack_after]


def _made(name: str, argument: Any, taken: list[Any]) -> Any:
    """What a step puts on the stack. taken: what it took off, the uppermost last."""
    if name in ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"):
        return tuple(taken)
    if name == "NEWTRUE":
        return True
    if name == "REDUCE":
        return _Call(*taken)
    if name == "STACK_GLOBAL":  # joined again and again, names without a limit fill the memory
        return " ".join(part for part in taken if len(part) < 100)
    return argument


def _array(call: _Call) -> np.ndarray:
    _, shape, kind, by_columns, data = call.state
    if isinstance(data, _Call) and data.name == "_codecs encode":
        data = data.arguments[0].encode("latin-1")
    code, order = kind.arguments[0], kind.state[1]
    if not re.fullmatch("[biu][1248]", code) or order not in ("<", ">", "|"):
        raise ValueError("its masks are no whole numbers")
    shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(shape) != 2:
        raise ValueError("its masks are no plane but a stack of them")
    return np.frombuffer(data, order + code).reshape(shape, order="F" if by_columns else "C")
