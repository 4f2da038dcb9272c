"""Messages as bytes: openpi's msgpack form of NumPy arrays, read within limits and without pickle."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.errors import WireError

# What may name a dtype: byte order, one letter, digits, and the unit of a date. np.dtype() understands far
# more (records, sub-arrays, objects), none of which a stranger should reach.
_DTYPE = re.compile(r"[<>|=]?[biufSUMm?][0-9]{0,5}(\[[0-9]{0,4}[A-Za-z]{1,2}\])?")
_KINDS = "biufSUMm"
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_MAX_DIMENSIONS = 32  # of NumPy 1


@dataclass(frozen=True)
class WireLimits:
    """The largest message that is read.

    Attributes:
        message_bytes: of the whole message; every array and text in it is smaller.
        items: values in the message, those inside arrays of numbers not counted.
        depth: maps and lists inside each other.
        text_bytes: of one text.
    """

    message_bytes: int = 32 * 1024 * 1024
    items: int = 10_000
    depth: int = 8
    text_bytes: int = 65_536


DEFAULT_LIMITS = WireLimits()


def pack(value: object) -> bytes:
    """Turn a value into bytes as openpi's peers read them.

    Args:
        value: None, numbers, texts, bytes, NumPy arrays and scalars, and lists and maps of them.

    Raises:
        WireError: a value of another type, or an array of objects, records or complex numbers.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_pack_numpy)
    except WireError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"a value cannot be sent: {error}; send numbers, texts and arrays of them") from error
    return packed


def unpack(data: bytes, limits: WireLimits = DEFAULT_LIMITS) -> Any:
    """Read a message; its arrays are read-only views.

    The structure is walked first, from header to header and without building anything: no memory is taken
    for what a message claims to hold, only for what it holds.

    Raises:
        WireError: no msgpack, cut off, beyond the limits, or an array that is not what it says.
    """
    if len(data) > limits.message_bytes:
        raise WireError(
            f"the message has {len(data)} bytes, allowed are {limits.message_bytes}; send smaller images"
        )
    _check_structure(data, limits)
    try:
        return msgpack.unpackb(data, object_pairs_hook=_read_map)
    except WireError:
        raise
    except Exception as error:  # msgpack's own errors have no common base
        raise WireError(f"the message is no msgpack: {type(error).__name__}: {error}") from error


def _pack_numpy(value: object) -> object:
    if isinstance(value, np.ndarray):
        _check_dtype(value.dtype)
        # The buffer of the array itself where msgpack can read it: images are large.
        plain = value.flags.c_contiguous and value.dtype.kind in "biuf"
        data = value.data if plain else value.tobytes()
        return {_ARRAY: True, b"data": data, b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        _check_dtype(value.dtype)
        if value.dtype.kind in "Mm":
            raise WireError(f"a scalar of type {value.dtype} cannot be sent; send integer nanoseconds")
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    raise WireError(f"a {type(value).__name__} cannot be sent; send numbers, texts and arrays of them")


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in _KINDS or dtype.itemsize == 0 or (dtype.kind == "f" and dtype.itemsize > 8):
        raise WireError(
            f"arrays of type {dtype} are not sent or read; use integers, float16 to float64, bool or text"
        )


def _read_map(pairs: list[tuple[Any, Any]]) -> Any:
    """Build a map, or the array or scalar that it stands for."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise WireError(f"key {twice!r} is given twice; send it once")
    if _ARRAY in found:
        return _read_array(found)
    if _SCALAR in found:
        return _read_scalar(found)
    return found


def _read_array(found: dict[Any, Any]) -> NDArray[Any]:
    dtype = _dtype_of(found)
    data, shape = found.get(b"data"), found.get(b"shape")
    if not isinstance(data, bytes):
        raise WireError(f"an array's data must be bytes, got {type(data).__name__}")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise WireError("an array's shape must be a list of whole numbers from 0")
    if len(shape) > _MAX_DIMENSIONS:
        raise WireError(f"an array has {len(shape)} dimensions, allowed are {_MAX_DIMENSIONS}")
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(data):
        raise WireError(
            f"an array of shape {shape} and type {dtype} has {expected} bytes, this one {len(data)}; send "
            "the whole array, in C order"
        )
    try:
        return np.ndarray(tuple(shape), dtype, data)
    except (ValueError, OverflowError) as error:  # an empty array can have sides beyond every memory
        raise WireError(f"an array of shape {shape} and type {dtype} is not possible: {error}") from error


# What the value of a scalar must be, by the kind of its dtype.
_SCALAR_TYPES: dict[str, tuple[type, ...]] = {
    "b": (bool,),
    "i": (int,),
    "u": (int,),
    "f": (int, float),
    "S": (bytes,),
    "U": (str,),
}


def _read_scalar(found: dict[Any, Any]) -> np.generic:
    dtype, value = _dtype_of(found), found.get(b"data")
    if type(value) not in _SCALAR_TYPES.get(dtype.kind, ()):
        raise WireError(f"a scalar of type {dtype} cannot be a {type(value).__name__}")
    if isinstance(value, int) and dtype.kind in "iu":
        if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            raise WireError(f"{value} does not fit into a scalar of type {dtype}")
    with np.errstate(over="ignore"):  # a float beyond the type's range is infinite, as in NumPy
        scalar: np.generic = dtype.type(value)
    return scalar


def _dtype_of(found: dict[Any, Any]) -> np.dtype[Any]:
    name = found.get(b"dtype")
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise WireError(
            f"arrays of type {_shown(name)} are not read; use integers, float16 to float64, bool or text"
        )
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"{_shown(name)} is no type of array: {error}") from error
    _check_dtype(dtype)
    return dtype


def _shown(value: object) -> str:
    """A stranger's value as it may stand in a message."""
    return repr(value if isinstance(value, (str, bytes, int)) else type(value).__name__)[:60]


@dataclass(frozen=True)
class _Header:
    """What the first byte of a value announces.

    Attributes:
        kind: "plain", "text", "bytes", "list" or "map".
        size: bytes, or values, that follow; None where `size_bytes` tell it.
        size_bytes: width of the number that tells it.
    """

    kind: str
    size: int | None
    size_bytes: int = 0


def _headers() -> list[_Header | None]:
    """The table of msgpack's specification; extension types have no header here, for none is read."""
    table: list[_Header | None] = [None] * 256
    for code in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3):
        table[code] = _Header("plain", 0)
    for low in range(16):
        table[0x80 + low], table[0x90 + low] = _Header("map", low), _Header("list", low)
    for length in range(32):
        table[0xA0 + length] = _Header("text", length)
    for code, size in ((0xCA, 4), (0xCB, 8), *((0xCC + n, 1 << n) for n in range(4))):
        table[code] = _Header("plain", size)
    for power in range(4):
        table[0xD0 + power] = _Header("plain", 1 << power)
    for power in range(3):
        table[0xC4 + power] = _Header("bytes", None, 1 << power)
        table[0xD9 + power] = _Header("text", None, 1 << power)
    for power in (1, 2):
        table[0xDB + power] = _Header("list", None, 1 << power)
        table[0xDD + power] = _Header("map", None, 1 << power)
    return table


_HEADERS = _headers()


def _check_structure(data: bytes, limits: WireLimits) -> None:
    """Walk over the headers of all values, refusing what is cut off or beyond the limits."""
    position, items = 0, 0
    left = [1]  # values still to come, in each map and list that is open
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        left[-1] -= 1
        items += 1
        if items > limits.items:
            raise WireError(f"the message has more than {limits.items} values; send numbers as one array")
        kind, size, position = _next_value(data, position)
        if kind in ("list", "map"):
            if len(left) > limits.depth:
                raise WireError(f"maps and lists lie more than {limits.depth} deep in each other")
            left.append(size * (2 if kind == "map" else 1))
        else:
            if kind == "text" and size > limits.text_bytes:
                raise WireError(f"a text has {size} bytes, allowed are {limits.text_bytes}")
            position += size
    if position < len(data):
        raise WireError(f"{len(data) - position} bytes follow the message; send one message in a frame")
    if position > len(data):
        raise _cut_off(data)


def _next_value(data: bytes, position: int) -> tuple[str, int, int]:
    """Kind and size of the value at a position, and where its contents begin."""
    if position >= len(data):
        raise _cut_off(data)
    header = _HEADERS[data[position]]
    if header is None:
        raise WireError(f"byte 0x{data[position]:02x} at {position} begins no value that is read here")
    begin = position + 1 + header.size_bytes
    if header.size is not None:
        return header.kind, header.size, begin
    if begin > len(data):
        raise _cut_off(data)
    return header.kind, int.from_bytes(data[position + 1 : begin], "big"), begin


def _cut_off(data: bytes) -> WireError:
    return WireError(f"the message is cut off: it has {len(data)} bytes and announces more")
