"""Fields that hold several values, by the rules of rclpy's classes, and the choice of a field's rules.

Numbers are kept as array.array where their count varies and as a numpy array where it is fixed.
"""

from __future__ import annotations

import array
from collections import UserList, UserString
from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from spatialbot_ros.embedded.field_types import (
    Convert,
    FieldType,
    byte_to_store,
    nested_type,
    refuse,
    scalar_type,
)

ZERO_COPY_BYTES = 4096  # a received uint8[] of this size or more is a view into the CDR, not a copy

_TYPE_CODES = {
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "uint8": "B",
    "char": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
}


def make_field_type(descriptor: Any, class_of: Callable[[str], Any]) -> FieldType:
    """Build the rules of a field.

    Args:
        descriptor: type of the field as `rosbags` keeps it.
        class_of: the message class of a type name; asked only when it is needed.
    """
    node, details = descriptor
    if node == Nodetype.BASE:
        return scalar_type(*details)
    if node == Nodetype.NAME:
        return nested_type(details, class_of)
    item_descriptor, count = details
    item = make_field_type(item_descriptor, class_of)
    name = item_descriptor[1][0] if item_descriptor[0] == Nodetype.BASE else None
    if node == Nodetype.ARRAY:
        return _fixed_numbers(name, item, count) if name in _TYPE_CODES else _fixed_list(name, item, count)
    return _numbers(name, item, count) if name in _TYPE_CODES else _list(name, item, count)


def _items(value: Any, wanted: str) -> Any:
    listed = isinstance(value, Sequence | Set | UserList) and not isinstance(value, str | UserString)
    return value if listed else refuse(wanted, value)


def _numbers(name: str, item: FieldType, bound: int) -> FieldType:
    """Rules of a sequence of numbers: an array.array, or a memoryview where a large uint8[] was received."""
    code = _TYPE_CODES[name]
    dtype = np.dtype(code)
    wanted = f"a sequence of {item.description}" + (f" of length <= {bound}" if bound else "")

    def bounded(value: Any) -> Any:
        return refuse(wanted, value) if bound and len(value) > bound else value

    def check(value: Any) -> Any:
        if isinstance(value, array.array):
            if value.typecode != code:
                refuse(f"{wanted} (type code {code!r})", value)
            return bounded(value)
        if code == "B" and _holds_bytes(value):
            return bounded(_array_of_bytes(code, value))
        for element in bounded(_items(value, wanted)):
            item.check(element)
        return array.array(code, value)

    def construct(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == 1:
            return bounded(_array_of_bytes(code, np.ascontiguousarray(value).view(np.uint8).data))
        if code == "B" and _holds_bytes(value):
            return bounded(_array_of_bytes(code, value))
        return bounded(array.array(code, value))

    def from_store(stored: Any) -> Any:
        if code == "B" and stored.size >= ZERO_COPY_BYTES:
            return stored.data.toreadonly()
        return _array_of_bytes(code, stored.view(np.uint8).data)

    described = f"sequence<{item.description}, {bound}>" if bound else f"sequence<{item.description}>"
    return FieldType(
        described,
        lambda: array.array(code),
        check,
        construct,
        lambda value: np.frombuffer(value, dtype) if len(value) else np.zeros(0, dtype),
        from_store,
    )


def _holds_bytes(value: Any) -> bool:
    """Whether a value can be copied as a block, without a look at each element."""
    if isinstance(value, memoryview):
        return value.format == "B" and value.ndim == 1 and value.contiguous
    return isinstance(value, bytes | bytearray)


def _array_of_bytes(code: str, data: Any) -> array.array[Any]:
    made: array.array[Any] = array.array(code)
    made.frombytes(data)
    return made


def _fixed_numbers(name: str, item: FieldType, count: int) -> FieldType:
    """Rules of an array of `count` numbers, kept as a numpy array."""
    dtype = np.dtype(_TYPE_CODES[name])
    wanted = f"{count} values of {item.description}"

    def check(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            fits = value.dtype == dtype and value.size == count
            return value if fits else refuse(f"{wanted} ({dtype})", value)
        if len(_items(value, wanted)) != count:
            refuse(wanted, value)
        for element in value:
            item.check(element)
        return np.array(value, dtype)

    def construct(value: Any) -> Any:
        made = np.array(value, dtype)
        return made if made.shape == (count,) else refuse(wanted, value)

    return FieldType(
        f"{item.description}[{count}]",
        lambda: np.zeros(count, dtype),
        check,
        construct,
        lambda value: np.ascontiguousarray(value).reshape(-1),
        lambda stored: stored.copy(),
    )


def _list(name: str | None, item: FieldType, bound: int) -> FieldType:
    """Rules of a sequence of texts, booleans, bytes or messages, kept as it was given."""
    wanted = f"a sequence of {item.description}" + (f" of length <= {bound}" if bound else "")

    def check(value: Any) -> Any:
        if bound and len(_items(value, wanted)) > bound:
            refuse(wanted, value)
        for element in _items(value, wanted):
            item.check(element)
        return value

    described = f"sequence<{item.description}, {bound}>" if bound else f"sequence<{item.description}>"
    return FieldType(described, list, check, check, _list_to_store(name, item), _list_from_store(name, item))


def _fixed_list(name: str | None, item: FieldType, count: int) -> FieldType:
    wanted = f"{count} values of {item.description}"

    def check(value: Any) -> Any:
        if len(_items(value, wanted)) != count:
            refuse(wanted, value)
        for element in value:
            item.check(element)
        return value

    return FieldType(
        f"{item.description}[{count}]",
        lambda: [item.default() for _ in range(count)],
        check,
        check,
        _list_to_store(name, item),
        _list_from_store(name, item),
    )


def _list_to_store(name: str | None, item: FieldType) -> Convert:
    if name == "bool":
        return lambda value: np.array(list(value), dtype=np.bool_)
    if name == "byte":
        return lambda value: np.array([byte_to_store(one) for one in value], dtype=np.int8)
    convert = item.to_store
    return list if convert is None else lambda value: [convert(one) for one in value]


def _list_from_store(name: str | None, item: FieldType) -> Convert:
    if name == "bool":
        return lambda stored: list(map(bool, stored))
    convert = item.from_store
    return list if convert is None else lambda stored: [convert(one) for one in stored]
