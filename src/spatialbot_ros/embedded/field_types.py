"""What a field of a ROS 2 message accepts, starts with and becomes in CDR, by the rules of rclpy's classes.

A refused value raises AssertionError, as it does in rclpy, so that a node meets the same behaviour on both.
"""

from __future__ import annotations

import math
from collections import UserString
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

_WORDS = {"float32": "float", "float64": "double", "bool": "boolean", "byte": "octet", "char": "uint8"}
_LARGEST_FLOAT32 = 3.402823466e38

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class FieldType:
    """How one field behaves.

    Attributes:
        description: type in the words of `get_fields_and_field_types`, e.g. "sequence<uint8>".
        default: makes the value that a new message has.
        check: returns the value to keep of an assigned one, or raises AssertionError.
        construct: the same for a value given to the constructor, where rclpy takes more.
        to_store: makes what `rosbags` serialises; None where the value itself will do.
        from_store: makes the field's value of what `rosbags` has read; None likewise.
    """

    description: str
    default: Callable[[], Any]
    check: Convert
    construct: Convert
    to_store: Convert | None = None
    from_store: Convert | None = None


def refuse(wanted: str, value: object) -> NoReturn:
    """Raise the error of a value that a field does not take."""
    raise AssertionError(f"takes {wanted}, got {value!r:.80} of type {type(value).__name__}")


def scalar_type(name: str, bound: int) -> FieldType:
    """Rules of a single number, text or byte; `bound` is the longest text allowed, 0 for any."""
    word = _WORDS.get(name, name)
    if name == "string":
        check = _text(bound)
        return FieldType(f"string<{bound}>" if bound else "string", str, check, check)
    if name == "byte":
        return FieldType(word, lambda: b"\0", _byte, _byte, byte_to_store, _byte_from_store)
    if name == "bool":
        return FieldType(word, bool, _boolean, _boolean)
    if name in ("float32", "float64"):
        check = _real(name)
        return FieldType(word, float, check, check)
    check = _integer(word)
    return FieldType(word, int, check, check)


def nested_type(type_name: str, class_of: Callable[[str], Any]) -> FieldType:
    """Rules of a field that holds one message of another type."""
    package, _, name = type_name.split("/")

    def check(value: Any) -> Any:
        cls = class_of(type_name)
        return value if isinstance(value, cls) else refuse(f"a message of type {package}/{name}", value)

    return FieldType(
        f"{package}/{name}",
        lambda: class_of(type_name)(),
        check,
        check,
        lambda value: value._to_store(),
        lambda stored: class_of(type_name)._from_store(stored),
    )


def _text(bound: int) -> Convert:
    def check(value: Any) -> Any:
        if bound:
            fits = isinstance(value, str | UserString) and len(value) <= bound
            return value if fits else refuse(f"a text of at most {bound} characters", value)
        return value if isinstance(value, str) else refuse("a str", value)

    return check


def _byte(value: Any) -> Any:
    return value if isinstance(value, bytes | bytearray) and len(value) == 1 else refuse("one byte", value)


def byte_to_store(value: Any) -> int:
    """Turn a byte into the signed number that `rosbags` packs."""
    number = int(value[0])
    return number - 256 if number > 127 else number


def _byte_from_store(number: int) -> bytes:
    return bytes((int(number) & 0xFF,))  # an element of an array is a numpy number


def _boolean(value: Any) -> Any:
    return value if isinstance(value, bool) else refuse("a bool", value)


def _real(name: str) -> Convert:
    largest = _LARGEST_FLOAT32 if name == "float32" else math.inf

    def check(value: Any) -> Any:
        if not isinstance(value, float):
            refuse("a float", value)
        # written so that NaN and the infinities pass, as they do in rclpy
        return refuse(f"a {name}", value) if abs(value) > largest and not math.isinf(value) else value

    return check


def _integer(word: str) -> Convert:
    info = np.iinfo(word)
    low, high = int(info.min), int(info.max)

    def check(value: Any) -> Any:
        if not (isinstance(value, int) and low <= value <= high):
            refuse(f"an int in {low} .. {high}", value)
        return value

    return check
