"""Makes the Python class of a message type, with the behaviour of those that rclpy's generator writes."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from spatialbot_ros.embedded.field_types import FieldType


def make_message_class(
    module: str,
    name: str,
    fields: Mapping[str, FieldType],
    constants: Mapping[str, Any],
    defaults: Mapping[str, Any],
    stored_class: Callable[..., Any],
) -> type:
    """Make the class of one message type.

    Args:
        module: module that holds it, e.g. "sensor_msgs.msg".
        name: its name, e.g. "Image" or "Trigger_Request".
        fields: the rules of each field, in the order of the definition.
        constants: values of the definition's constants.
        defaults: values that new messages have where the definition names one.
        stored_class: the class of `rosbags` that is serialised in its place.
    """
    namespace: dict[str, Any] = {
        "__slots__": tuple(f"_{field}" for field in fields),
        "__module__": module,
        "__doc__": f"Message {module.split('.')[0]}/{name} with the fields {', '.join(fields) or '(none)'}.",
        "__hash__": None,
        "__init__": _initialiser(fields, defaults),
        "__eq__": _equality(tuple(fields)),
        "__repr__": _representation(f"{module}.{name}", tuple(fields)),
        "get_fields_and_field_types": classmethod(
            lambda cls: {field: rules.description for field, rules in fields.items()}
        ),
        "_to_store": _to_store(fields, stored_class),
        "_from_store": classmethod(_from_store(fields)),
        **constants,
        **{f"{field.upper()}__DEFAULT": value for field, value in defaults.items()},
    }
    for field, rules in fields.items():
        namespace[field] = _property(field, rules)
    return type(name, (), namespace)


def _property(field: str, rules: FieldType) -> property:
    slot = f"_{field}"
    check = rules.check

    def assign(self: Any, value: Any) -> None:
        try:
            setattr(self, slot, check(value))
        except AssertionError as error:
            raise AssertionError(f"the field '{field}' of {type(self).__name__} {error}") from None

    return property(attrgetter(slot), assign, doc=f"Field '{field}': {rules.description}.")


def _initialiser(fields: Mapping[str, FieldType], defaults: Mapping[str, Any]) -> Callable[..., None]:
    starts = [
        (field, f"_{field}", rules, _constant(defaults[field]) if field in defaults else rules.default)
        for field, rules in fields.items()
    ]

    def initialise(self: Any, **values: Any) -> None:
        for field, slot, rules, default in starts:
            if field not in values:
                setattr(self, slot, default())
                continue
            try:
                setattr(self, slot, rules.construct(values[field]))
            except AssertionError as error:
                raise AssertionError(f"the field '{field}' of {type(self).__name__} {error}") from None
        unknown = sorted(values.keys() - fields.keys())
        if unknown:
            raise AssertionError(
                f"{type(self).__name__} has no field {', '.join(unknown)}, "
                f"the fields are: {', '.join(fields) or 'none'}"
            )

    return initialise


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _equality(names: Sequence[str]) -> Callable[[Any, Any], bool]:
    slots = [f"_{name}" for name in names]

    def equal(self: Any, other: object) -> bool:
        if not isinstance(other, type(self)):
            return False
        for slot in slots:
            mine, theirs = getattr(self, slot), getattr(other, slot)
            same = np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
            if not same:
                return False
        return True

    return equal


def _representation(full_name: str, names: Sequence[str]) -> Callable[[Any], str]:
    def represent(self: Any) -> str:
        values = ", ".join(f"{name}={_shown(getattr(self, f'_{name}'))}" for name in names)
        return f"{full_name}({values})"

    return represent


def _shown(value: Any) -> str:
    return repr(list(value)) if isinstance(value, array.array | memoryview) else repr(value)


def _to_store(fields: Mapping[str, FieldType], stored_class: Callable[..., Any]) -> Callable[[Any], Any]:
    steps = [(f"_{field}", rules.to_store) for field, rules in fields.items()]
    if not steps:  # an empty message holds one byte, since C has no empty structures
        return lambda self: stored_class(0)

    def convert(self: Any) -> Any:
        return stored_class(
            *[
                getattr(self, slot) if change is None else change(getattr(self, slot))
                for slot, change in steps
            ]
        )

    return convert


def _from_store(fields: Mapping[str, FieldType]) -> Callable[[Any, Any], Any]:
    steps = [(field, f"_{field}", rules.from_store) for field, rules in fields.items()]

    def build(cls: Any, stored: Any) -> Any:
        message = cls.__new__(cls)
        for field, slot, change in steps:
            value = getattr(stored, field)
            setattr(message, slot, value if change is None else change(value))
        return message

    return build
