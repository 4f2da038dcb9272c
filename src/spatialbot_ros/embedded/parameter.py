"""Parameter of rclpy: a name with a typed value, and its message forms."""

from __future__ import annotations

import array
from enum import Enum
from typing import Any

from spatialbot_ros.embedded.wire import message_class

_FIELDS = (
    "",
    "bool_value",
    "integer_value",
    "double_value",
    "string_value",
    "byte_array_value",
    "bool_array_value",
    "integer_array_value",
    "double_array_value",
    "string_array_value",
)
_SEQUENCES = (list, tuple, array.array)


class Parameter:
    """A name and a value of one of the types that ROS knows.

    Raises:
        TypeError: no type fits the value; ValueError: type and value disagree.
    """

    class Type(Enum):
        """Types as numbered in rcl_interfaces/ParameterType."""

        NOT_SET = 0
        BOOL = 1
        INTEGER = 2
        DOUBLE = 3
        STRING = 4
        BYTE_ARRAY = 5
        BOOL_ARRAY = 6
        INTEGER_ARRAY = 7
        DOUBLE_ARRAY = 8
        STRING_ARRAY = 9

        @classmethod
        def from_parameter_value(cls, parameter_value: Any) -> Parameter.Type:
            """Find the type of a value; an empty list counts as bytes, as in rclpy."""
            if parameter_value is None:
                return cls.NOT_SET
            for scalar, kind in _SCALARS:
                if isinstance(parameter_value, scalar):
                    return cls[kind]
            if isinstance(parameter_value, _SEQUENCES):
                for element, kind in ((bytes, "BYTE"), *_SCALARS):
                    if all(isinstance(item, element) for item in parameter_value):
                        return cls[f"{kind}_ARRAY"]
                raise TypeError(
                    f"The given value is not a list of one of the allowed types '{parameter_value}'."
                )
            raise TypeError(f"The given value is not one of the allowed types '{parameter_value}'.")

        def check(self, parameter_value: Any) -> bool:
            """Whether a value is of this type."""
            if self is Parameter.Type.NOT_SET:
                return parameter_value is None
            kind, _, many = self.name.partition("_")
            element = {"BYTE": bytes, **{name: scalar for scalar, name in _SCALARS}}[kind]
            if not many:
                return isinstance(parameter_value, element)
            return isinstance(parameter_value, _SEQUENCES) and all(
                isinstance(v, element) for v in parameter_value
            )

    def __init__(self, name: str, type_: Parameter.Type | None = None, value: Any = None) -> None:
        kind = Parameter.Type.from_parameter_value(value) if type_ is None else type_
        if not isinstance(kind, Parameter.Type):
            raise TypeError(f"type must be an instance of '{Parameter.Type!r}'")
        if not kind.check(value):
            raise ValueError(f"Type '{kind}' and value '{value}' do not agree")
        self._name, self._type, self._value = name, kind, value

    @property
    def name(self) -> str:
        """Full name."""
        return self._name

    @property
    def type_(self) -> Parameter.Type:
        """Type of the value."""
        return self._type

    @property
    def value(self) -> Any:
        """The value, None if it is not set."""
        return self._value

    def __repr__(self) -> str:
        return f"Parameter({self._name!r}, {self._type}, {self._value!r})"

    def get_parameter_value(self) -> Any:
        """Convert to rcl_interfaces/ParameterValue."""
        message = message_class("rcl_interfaces/msg/ParameterValue")(type=self._type.value)
        if self._type is not Parameter.Type.NOT_SET:
            many = self._type.name.endswith("_ARRAY")
            setattr(message, _FIELDS[self._type.value], list(self._value) if many else self._value)
        return message

    def to_parameter_msg(self) -> Any:
        """Convert to rcl_interfaces/Parameter."""
        return message_class("rcl_interfaces/msg/Parameter")(
            name=self._name, value=self.get_parameter_value()
        )

    @classmethod
    def from_parameter_msg(cls, param_msg: Any) -> Parameter:
        """Convert from rcl_interfaces/Parameter."""
        return cls(param_msg.name, cls.Type(param_msg.value.type), parameter_value_to_python(param_msg.value))


_SCALARS: tuple[tuple[type, str], ...] = (
    (bool, "BOOL"),
    (int, "INTEGER"),
    (float, "DOUBLE"),
    (str, "STRING"),
)
PARAMETER_SEPARATOR_STRING = "."


def parameter_value_to_python(parameter_value: Any) -> Any:
    """Convert from rcl_interfaces/ParameterValue to the value itself.

    Raises:
        RuntimeError: the message names a type that does not exist.
    """
    kind = parameter_value.type
    if not 0 <= kind < len(_FIELDS):
        raise RuntimeError(f"unexpected parameter type {kind}")
    if kind == 0:
        return None
    return getattr(parameter_value, _FIELDS[kind])
