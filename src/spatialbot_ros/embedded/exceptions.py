"""The exceptions of rclpy, under the names that node code catches."""

from __future__ import annotations

from typing import Any


class NotInitializedException(Exception):
    """`rclpy.init()` has not been called for the context."""

    def __init__(self, *args: object) -> None:
        super().__init__("rclpy.init() has not been called", *args)


class RCLError(RuntimeError):
    """An operation that the graph refuses, such as publishing after `rclpy.shutdown()`."""


class InvalidHandle(RuntimeError):
    """An entity used after it was destroyed."""


class UnknownROSArgsError(RuntimeError):
    """Something after `--ros-args` that is no ROS argument."""


class NameValidationException(Exception):
    """A node, topic or service name with characters that are not allowed."""

    def __init__(self, kind: str, name: str, reason: str, index: int = 0, *args: object) -> None:
        super().__init__(f"invalid {kind} {name!r}: {reason} (character {index})", *args)
        self.name_type, self.name, self.error_msg, self.invalid_index = kind, name, reason, index


class InvalidNamespaceException(NameValidationException):
    """A namespace that is not allowed."""

    def __init__(self, name: str, reason: str, index: int = 0, *args: object) -> None:
        super().__init__("namespace", name, reason, index, *args)


class InvalidNodeNameException(NameValidationException):
    """A node name that is not allowed."""

    def __init__(self, name: str, reason: str, index: int = 0, *args: object) -> None:
        super().__init__("node name", name, reason, index, *args)


class InvalidTopicNameException(NameValidationException):
    """A topic name that is not allowed."""

    def __init__(self, name: str, reason: str, index: int = 0, *args: object) -> None:
        super().__init__("topic name", name, reason, index, *args)


class InvalidServiceNameException(NameValidationException):
    """A service name that is not allowed."""

    def __init__(self, name: str, reason: str, index: int = 0, *args: object) -> None:
        super().__init__("service name", name, reason, index, *args)


class ParameterException(Exception):
    """Base of what can go wrong with parameters."""

    def __init__(self, message: str, parameters: Any, *args: object) -> None:
        super().__init__(message, parameters, *args)


class ParameterNotDeclaredException(ParameterException):
    """A parameter that nobody declared."""

    def __init__(self, parameters: Any, *args: object) -> None:
        super().__init__("parameters that are not declared", parameters, *args)


class ParameterAlreadyDeclaredException(ParameterException):
    """A parameter declared a second time."""

    def __init__(self, parameters: Any, *args: object) -> None:
        super().__init__("parameters that are declared already", parameters, *args)


class InvalidParameterException(ParameterException):
    """A parameter name that is not allowed."""

    def __init__(self, parameter: Any, *args: object) -> None:
        super().__init__("parameter with an invalid name", parameter, *args)


class InvalidParameterTypeException(ParameterException):
    """A value, often an override, of another type than the declared one."""

    def __init__(self, parameter: Any, expected: Any, *args: object) -> None:
        text = (
            f"parameter '{parameter.name}' needs type {expected}, got {parameter.value!r} ({parameter.type_})"
        )
        super().__init__(text, parameter.name, *args)


class InvalidParameterValueException(ParameterException):
    """A value outside the range, or refused by a callback of the node."""

    def __init__(self, parameter: Any, value: Any, reason: str = "", *args: object) -> None:
        super().__init__(f"parameter '{parameter}' refuses {value!r}: {reason}", parameter, *args)


class ParameterImmutableException(ParameterException):
    """A read-only parameter that was to be changed or undeclared."""

    def __init__(self, parameter: Any, *args: object) -> None:
        super().__init__("read-only parameter", parameter, *args)


class ParameterUninitializedException(ParameterException):
    """A parameter declared with a type but without a value."""

    def __init__(self, parameter: Any, *args: object) -> None:
        super().__init__("parameter without a value", parameter, *args)


class ROSInterruptException(Exception):
    """A sleep that ended because the context was shut down."""

    def __init__(self, *args: object) -> None:
        super().__init__("rclpy was shut down", *args)


class InvalidQoSProfileException(Exception):
    """A QoS profile that says too little or contradicts itself."""

    def __init__(self, *args: object) -> None:
        super().__init__("Invalid QoSProfile", *args)


class TimeoutException(Exception):
    """Nothing became ready in time."""


class ShutdownException(Exception):
    """The executor was shut down."""


class ExternalShutdownException(Exception):
    """The context ended while an executor was at work."""

    def __init__(self, *args: object) -> None:
        super().__init__("the context was shut down from outside", *args)


class ConditionReachedException(Exception):
    """The condition that a spin waited for became true."""
