"""Label Studio's run-length encoding of brush strokes, packed bit by bit.

A mask is the picture's bytes of red, green, blue and alpha, row by row; alpha alone counts.
1. A head: how many bytes there are (32 bits), bits of a value less one (5), and four widths that a
   block's length may have, less one each (4 bits each).
2. Blocks: one bit (1: a run of one value, 0: values one by one), which of the widths (2 bits), the
   length less one, then one value, or as many as the length says.
"""

import numpy as np

from mrcnn.data.formats.files import MOST_PIXELS
from mrcnn.data.formats.notes import Dropped

_HEAD_BITS = 32 + 5 + 4 * 4
_WIDTHS = (3, 4, 8, 16)  # bits of a block's length, as Label Studio writes them
_VALUE_BITS = 8


def check_brush(values: object, height: int, width: int) -> bytes:
    """The packed bytes of a mask from a file's list. Raises Dropped if they can't be of that size.

    Only the head is read.
    """
    if not isinstance(values, list) or not set(map(type, values)) <= {int}:
        raise Dropped("have a brush mask that is no list of bytes")
    try:
        packed = bytes(values)
    except ValueError:
        raise Dropped("have a brush mask that is no list of bytes") from None
    if len(packed) * 8 < _HEAD_BITS:
        raise Dropped("have an empty brush mask")
    if height * width > MOST_PIXELS or int.from_bytes(packed[:4], "big") != 4 * height * width:
        raise Dropped("have a brush mask of another size than their picture")
    return packed


def unpack_brush(packed: bytes, height: int, width: int) -> np.ndarray:
    """The mask in packed bytes, bool [height, width]. Raises Dropped if they are damaged."""
    count = 4 * height * width
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))  # [num_bits]
    text = bits.tobytes()  # 0 and 1, one byte each: Python takes numbers from it fastest
    value_bits = _number(text, 32, 5) + 1
    widths = [_number(text, 37 + 4 * i, 4) + 1 for i in range(4)]
    weights = 1 << np.arange(value_bits)[::-1]
    values = np.zeros(count, bool)
    at, done = _HEAD_BITS, 0
    while done < count:
        if at + 3 > len(text):
            raise Dropped("have a brush mask that is cut short")
        is_run, size = text[at], widths[text[at + 1] << 1 | text[at + 2]]
        length = _number(text, at + 3, size) + 1
        at += 3 + size
        num_values = 1 if is_run else length
        own = bits[at : at + num_values * value_bits]
        if len(own) < num_values * value_bits or done + length > count:
            raise Dropped("have a brush mask that is cut short")
        values[done : done + length] = own.reshape(num_values, value_bits) @ weights > 0
        at += num_values * value_bits
        done += length
    return values[3::4].reshape(height, width)


def _number(text: bytes, at: int, size: int) -> int:
    number = 0
    for bit in text[at : at + size]:
        number = number << 1 | bit
    return number


def pack_brush(mask: np.ndarray) -> list[int]:
    """The bytes of a mask as Label Studio takes them. mask: bool [height, width]."""
    flat = np.asarray(mask, bool).reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = 4 * np.diff(np.append(starts, flat.size))
    fields = [(4 * flat.size, 32), (_VALUE_BITS - 1, 5), *((size - 1, 4) for size in _WIDTHS)]
    for start, length in zip(starts.tolist(), lengths.tolist()):
        value = 255 if flat[start] else 0
        while length:
            part = min(length, 1 << _WIDTHS[-1])
            which = next(i for i, size in enumerate(_WIDTHS) if part <= 1 << size)
            fields += [(1, 1), (which, 2), (part - 1, _WIDTHS[which]), (value, _VALUE_BITS)]
            length -= part
    text = "".join(f"{number:0{size}b}" for number, size in fields)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
