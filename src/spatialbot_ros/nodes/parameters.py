"""A dataclass of `logic.parameter` fields as the ROS parameters of a node, live changes validated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.parameter import Description, check_parameters, flatten, replace_flat

T = TypeVar("T")


class Parameters(Generic[T]):
    """Declares every field of a parameter dataclass on a node; nested groups become `group.name`.

    Args:
        node: gets the parameters.
        cls: a frozen dataclass whose fields come from `parameter(...)`, or are such dataclasses.

    Raises:
        ConfigError: a given value has another type or lies outside its range; names the parameter.
    """

    def __init__(self, node: Node, cls: type[T]) -> None:
        self._node = node
        self._listeners: list[Callable[[T], None]] = []
        defaults = cls()
        self._described = {name: described for name, (_, described) in flatten(defaults).items()}
        _refuse_unknown(node, self._described)
        changes = {
            name: self._declare(name, default, described)
            for name, (default, described) in flatten(defaults).items()
        }
        self.value: T = replace_flat(defaults, changes)
        check_parameters(self.value)
        node.add_on_set_parameters_callback(self._on_set)

    def on_change(self, listener: Callable[[T], None]) -> None:
        """Call `listener` with the new values after each live change."""
        self._listeners.append(listener)

    def _declare(self, name: str, default: Any, described: Description) -> Any:
        # Declared without a type, so that a wrong one is told in our words, and 1 is taken for 1.0.
        descriptor = _descriptor(default, described)
        descriptor.dynamic_typing = True
        try:
            given = self._node.declare_parameter(name, _as_ros(default), descriptor).value
        except InvalidParameterValueException as error:
            override = self._node._parameter_overrides[name].value
            raise ConfigError(
                f"parameter '{name}' is {override!r}, allowed is {described.allowed} ({described.text})"
            ) from error
        return _converted(name, given, default, described)

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            changes = {item.name: self._changed(item) for item in parameters if item.name in self._described}
            value = replace_flat(self.value, changes)
            check_parameters(value)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.value = value
        for listener in self._listeners if changes else ():
            listener(value)
        return SetParametersResult(successful=True)

    def _changed(self, item: Parameter) -> Any:
        described = self._described[item.name]
        now = flatten(self.value)[item.name][0]
        value = _converted(item.name, item.value, now, described)
        if not described.live and value != now:
            raise ConfigError(
                f"parameter '{item.name}' can only be set at start; set it in the parameter file and start "
                "the node again"
            )
        return value


def _refuse_unknown(node: Node, described: dict[str, Description]) -> None:
    """A misspelt parameter would silently leave its default in force: refuse it, with what there is."""
    own = {"use_sim_time", "start_type_description_service"}
    for name in sorted(node._parameter_overrides):
        if name not in described and name not in own and not name.startswith("qos_overrides."):
            raise ConfigError(f"unknown parameter '{name}'; there are: {', '.join(sorted(described))}")


def _as_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _converted(name: str, given: Any, default: Any, described: Description) -> Any:
    """The value in the type of the default; whole numbers are welcome where fractions are.

    Raises:
        ConfigError: another type.
    """
    if isinstance(default, tuple):
        if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
            raise _wrong_type(name, given, default, described)
        items = list(given)
        example = default[0] if default else (items[0] if items else 0)
        return tuple(_scalar(name, item, example, described) for item in items)
    return _scalar(name, given, default, described)


def _scalar(name: str, given: Any, example: Any, described: Description) -> Any:
    if isinstance(example, float) and isinstance(given, int) and not isinstance(given, bool):
        return float(given)
    if type(given) is not type(example):
        raise _wrong_type(name, given, example, described)
    return given


def _wrong_type(name: str, given: Any, example: Any, described: Description) -> ConfigError:
    return ConfigError(
        f"parameter '{name}' is {given!r} of type {type(given).__name__}, allowed is "
        f"{type(example).__name__}, {described.allowed} ({described.text})"
    )


def _descriptor(default: Any, described: Description) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    choices = "" if described.choices is None else ", ".join(described.choices)
    descriptor = ParameterDescriptor(description=described.text, additional_constraints=choices)
    example = default[0] if isinstance(default, tuple) and default else default
    if described.low is None or described.high is None or isinstance(example, bool | str):
        return descriptor
    if isinstance(example, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(described.low), to_value=float(described.high), step=0.0)
        ]
    else:
        descriptor.integer_range = [
            IntegerRange(from_value=int(described.low), to_value=int(described.high), step=1)
        ]
    return descriptor
