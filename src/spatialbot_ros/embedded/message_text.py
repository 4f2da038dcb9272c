"""Messages as plain values and back, to look at a graph from outside: numbers, text, lists and mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spatialbot_policy.errors import ConfigError

SHOWN_ITEMS = 16
"""Longer sequences are told by their length: an image would fill the terminal."""


def to_plain(value: Any, shown: int = SHOWN_ITEMS) -> Any:
    """Turn a message into mappings, lists and scalars; sequences longer than `shown` into a note."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: to_plain(getattr(value, name), shown) for name in value.get_fields_and_field_types()}
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes) and len(value) == 1:  # the type `byte`
        return value[0]
    items = list(value) if len(value) <= shown else None
    if items is None:
        return f"<{len(value)} values>"
    return [to_plain(item.item() if hasattr(item, "item") else item, shown) for item in items]


def fill(message: Any, values: Mapping[str, Any]) -> Any:
    """Set fields of a message from plain values, nested ones too, and return it.

    Raises:
        ConfigError: the message has no such field, or the value does not fit it.
    """
    fields = message.get_fields_and_field_types()
    kind = type(message).__name__
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"{kind} has no field '{name}'; there are: {', '.join(fields)}")
        now = getattr(message, name)
        try:
            setattr(message, name, fill(now, value) if isinstance(value, Mapping) else value)
        except AssertionError as error:
            raise ConfigError(f"field '{name}' of {kind} is {fields[name]}: {error}") from error
    return message
