"""Rules that a descriptor puts on the value of a parameter: type, range, step, read-only."""

from __future__ import annotations

import math
from typing import Any

from spatialbot_ros.embedded.parameter import Parameter
from spatialbot_ros.embedded.wire import message_class

RELATIVE_TOLERANCE = 1e-6


def result(reason: str = "") -> Any:
    """A rcl_interfaces/SetParametersResult; successful without a reason."""
    return message_class("rcl_interfaces/msg/SetParametersResult")(successful=not reason, reason=reason)


def refusal(parameter: Parameter, descriptor: Any, declared: bool, check_read_only: bool) -> str:
    """Why a parameter may not take this value; empty if it may.

    Args:
        parameter: the name with its new value.
        descriptor: rcl_interfaces/ParameterDescriptor; a dynamically typed one takes over the type.
        declared: whether the parameter exists already, so that it cannot become unset.
        check_read_only: False while it is being declared.
    """
    if check_read_only and descriptor.read_only:
        return f"Trying to set a read-only parameter: {parameter.name}."
    not_set = parameter.type_ is Parameter.Type.NOT_SET
    if descriptor.dynamic_typing:
        descriptor.type = parameter.type_.value
    elif declared and not_set:
        return "Static parameter cannot be undeclared"
    elif not not_set and parameter.type_.value != descriptor.type:
        return f"Wrong parameter type, expected '{Parameter.Type(descriptor.type)}' got '{parameter.type_}'"
    if parameter.type_ is Parameter.Type.INTEGER and descriptor.integer_range:
        return _range_problem(parameter, descriptor.integer_range[0], exact=True)
    if parameter.type_ is Parameter.Type.DOUBLE and descriptor.floating_point_range:
        return _range_problem(parameter, descriptor.floating_point_range[0], exact=False)
    return ""


def _range_problem(parameter: Parameter, allowed: Any, exact: bool) -> str:
    tolerance = 0.0 if exact else RELATIVE_TOLERANCE
    low, high = sorted((allowed.from_value, allowed.to_value))
    value = parameter.value
    if any(math.isclose(value, edge, rel_tol=tolerance) for edge in (low, high)):
        return ""
    if not low < value < high:
        return f"Parameter {parameter.name} out of range. Min: {low}, Max: {high}, value: {value}"
    if allowed.step:
        nearest = low + round((value - low) / allowed.step) * allowed.step
        if not math.isclose(nearest, value, rel_tol=tolerance):
            return f"Parameter {parameter.name}: {value} is no valid step. Min: {low}, step: {allowed.step}"
    return ""
