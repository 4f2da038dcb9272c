"""The parameters of a node: declare, get, set, describe, callbacks and events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spatialbot_ros.embedded.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterImmutableException,
    ParameterNotDeclaredException,
    ParameterUninitializedException,
)
from spatialbot_ros.embedded.names import check_parameter_name
from spatialbot_ros.embedded.parameter import PARAMETER_SEPARATOR_STRING, Parameter
from spatialbot_ros.embedded.parameter_rules import refusal, result
from spatialbot_ros.embedded.wire import message_class

SetCallback = Callable[[list[Parameter]], Any]


class ParameterMethods:
    """The part of `Node` that holds parameters."""

    def _start_parameters(self, overrides: dict[str, Parameter], allow_undeclared: bool) -> None:
        self._parameters: dict[str, Parameter] = {}
        self._descriptors: dict[str, Any] = {}
        self._parameter_overrides = overrides
        self._allow_undeclared_parameters = allow_undeclared
        self._parameters_callbacks: list[SetCallback] = []
        self._parameter_event_publisher: Any = None

    def declare_parameter(
        self, name: str, value: Any = None, descriptor: Any = None, ignore_override: bool = False
    ) -> Parameter:
        """Declare a parameter; an override from the command line or the constructor wins over `value`.

        Raises:
            ParameterAlreadyDeclaredException, InvalidParameterException, InvalidParameterTypeException,
            InvalidParameterValueException: declared before, bad name, or a value of the wrong type or range.
        """
        bare = value is None and descriptor is None
        entry = (name,) if bare else (name, value, _descriptor() if descriptor is None else descriptor)
        return self.declare_parameters("", [entry], ignore_override)[0]

    def declare_parameters(
        self, namespace: str, parameters: Sequence[tuple[Any, ...]], ignore_override: bool = False
    ) -> list[Parameter]:
        """Declare several parameters, each `(name, value or type, descriptor)`, as `namespace.name`."""
        declared: list[tuple[Parameter, Any]] = []
        for entry in parameters:
            name, value, descriptor = _check_entry(entry)
            override = None if ignore_override else self._parameter_overrides.get(name)
            full = f"{namespace}{PARAMETER_SEPARATOR_STRING}{name}" if namespace else name
            check_parameter_name(full)
            declared.append(
                (Parameter(full, value=value if override is None else override.value), descriptor)
            )
        taken = [parameter.name for parameter, _ in declared if parameter.name in self._parameters]
        if taken:
            raise ParameterAlreadyDeclaredException(taken)
        for parameter, descriptor in declared:
            self._declare(parameter, descriptor)
        return [self._parameters[parameter.name] for parameter, _ in declared]

    def _declare(self, parameter: Parameter, descriptor: Any) -> None:
        descriptor.name = parameter.name
        outcome = self._set_all([parameter], {parameter.name: descriptor}, keep_not_set=True)
        if not outcome.successful:
            if outcome.reason.startswith("Wrong parameter type"):
                raise InvalidParameterTypeException(parameter, Parameter.Type(descriptor.type).name)
            raise InvalidParameterValueException(parameter.name, parameter.value, outcome.reason)

    def undeclare_parameter(self, name: str) -> None:
        """Forget a parameter.

        Raises:
            ParameterNotDeclaredException, ParameterImmutableException: unknown or read-only.
        """
        if name not in self._parameters:
            raise ParameterNotDeclaredException(name)
        if self._descriptors[name].read_only:
            raise ParameterImmutableException(name)
        del self._parameters[name], self._descriptors[name]

    def has_parameter(self, name: str) -> bool:
        """Whether it is declared."""
        return name in self._parameters

    def get_parameter(self, name: str) -> Parameter:
        """The parameter with its value.

        Raises:
            ParameterNotDeclaredException, ParameterUninitializedException: unknown or without a value.
        """
        if name in self._parameters:
            found = self._parameters[name]
            if found.type_ is Parameter.Type.NOT_SET and not self._descriptors[name].dynamic_typing:
                raise ParameterUninitializedException(name)
            return found
        if self._allow_undeclared_parameters:
            return Parameter(name, Parameter.Type.NOT_SET, None)
        raise ParameterNotDeclaredException(name)

    def get_parameters(self, names: Sequence[str]) -> list[Parameter]:
        """Several parameters with their values."""
        if not all(isinstance(name, str) for name in names):
            raise TypeError("All names must be instances of type str")
        return [self.get_parameter(name) for name in names]

    def get_parameter_or(self, name: str, alternative_value: Parameter | None = None) -> Parameter:
        """The parameter, or the alternative if it is unknown or has no value."""
        found = self._parameters.get(name)
        if found is not None and found.type_ is not Parameter.Type.NOT_SET:
            return found
        return Parameter(name, Parameter.Type.NOT_SET) if alternative_value is None else alternative_value

    def get_parameters_by_prefix(self, prefix: str) -> dict[str, Parameter]:
        """Parameters named `prefix.rest`, by their rest."""
        start = f"{prefix}{PARAMETER_SEPARATOR_STRING}" if prefix else ""
        return {
            name[len(start) :]: found for name, found in self._parameters.items() if name.startswith(start)
        }

    def get_parameter_type(self, name: str) -> Any:
        """Number of the type of a parameter, as in rcl_interfaces/ParameterType."""
        if name in self._parameters:
            return self._parameters[name].type_.value
        if self._allow_undeclared_parameters:
            return Parameter.Type.NOT_SET
        raise ParameterNotDeclaredException(name)

    def get_parameter_types(self, names: Sequence[str]) -> list[Any]:
        """Numbers of the types of several parameters."""
        return [self.get_parameter_type(name) for name in names]

    def set_parameters(self, parameter_list: Sequence[Parameter]) -> list[Any]:
        """Set parameters one after the other; each result says whether and why not.

        Raises:
            ParameterNotDeclaredException: one is unknown; those before it stay set.
        """
        results = []
        for parameter in parameter_list:
            self._check_known([parameter])
            results.append(self._set_all([parameter]))
        return results

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> Any:
        """Set all of them or none.

        Raises:
            ParameterNotDeclaredException: one is unknown.
        """
        self._check_known(parameter_list)
        return self._set_all(list(parameter_list))

    def _check_known(self, parameters: Sequence[Parameter]) -> None:
        if not all(isinstance(parameter, Parameter) for parameter in parameters):
            raise TypeError(f"parameter must be instance of type '{Parameter!r}'")
        unknown = [parameter.name for parameter in parameters if parameter.name not in self._parameters]
        if unknown and not self._allow_undeclared_parameters:
            raise ParameterNotDeclaredException(unknown)

    def _set_all(
        self,
        parameters: list[Parameter],
        new_descriptors: dict[str, Any] | None = None,
        keep_not_set: bool = False,
    ) -> Any:
        rules = self._descriptors if new_descriptors is None else new_descriptors
        for parameter in parameters:
            if parameter.name in rules:
                declared = parameter.name in self._parameters
                reason = refusal(parameter, rules[parameter.name], declared, new_descriptors is None)
                if reason:
                    return result(reason)
        for callback in list(self._parameters_callbacks):
            outcome = callback(parameters)
            if not outcome.successful:
                return outcome
        self._store(parameters, new_descriptors or {}, keep_not_set)
        return result()

    def _store(
        self, parameters: list[Parameter], new_descriptors: dict[str, Any], keep_not_set: bool
    ) -> None:
        event = message_class("rcl_interfaces/msg/ParameterEvent")()
        event.node = self.get_fully_qualified_name()  # type: ignore[attr-defined]  # of Node
        for parameter in parameters:
            message = parameter.to_parameter_msg()
            if parameter.type_ is Parameter.Type.NOT_SET and not keep_not_set:
                event.deleted_parameters.append(message)
                self._parameters.pop(parameter.name, None)
                self._descriptors.pop(parameter.name, None)
                continue
            known = self.get_parameter_or(parameter.name).type_ is not Parameter.Type.NOT_SET
            (event.changed_parameters if known else event.new_parameters).append(message)
            descriptor = new_descriptors.get(parameter.name) or self._descriptors.get(parameter.name)
            self._descriptors[parameter.name] = (
                _descriptor(dynamic_typing=True) if descriptor is None else descriptor
            )
            self._parameters[parameter.name] = parameter
        if self._parameter_event_publisher is not None:
            event.stamp = self.get_clock().now().to_msg()  # type: ignore[attr-defined]  # of Node
            self._parameter_event_publisher.publish(event)

    def add_on_set_parameters_callback(self, callback: SetCallback) -> None:
        """Ask `callback(parameters) -> SetParametersResult` before values change, the newest first."""
        self._parameters_callbacks.insert(0, callback)

    def remove_on_set_parameters_callback(self, callback: SetCallback) -> None:
        """Ask it no more; ValueError if it was not added."""
        self._parameters_callbacks.remove(callback)

    def describe_parameter(self, name: str) -> Any:
        """The descriptor of a parameter."""
        if name in self._descriptors:
            return self._descriptors[name]
        if self._allow_undeclared_parameters:
            return _descriptor()
        raise ParameterNotDeclaredException(name)

    def describe_parameters(self, names: Sequence[str]) -> list[Any]:
        """The descriptors of several parameters."""
        return [self.describe_parameter(name) for name in names]

    def set_descriptor(self, name: str, descriptor: Any, alternative_value: Any = None) -> Any:
        """Replace a descriptor and apply it to the present or the alternative value; returns the value."""
        if name not in self._descriptors:
            if not self._allow_undeclared_parameters:
                raise ParameterNotDeclaredException(name)
            return self.get_parameter(name).get_parameter_value()
        if self._descriptors[name].read_only:
            raise ParameterImmutableException(name)
        present = self._parameters[name]
        parameter = present
        if alternative_value is not None:
            message = message_class("rcl_interfaces/msg/Parameter")(name=name, value=alternative_value)
            parameter = Parameter.from_parameter_msg(message)
        descriptor.name = name
        if descriptor.type == Parameter.Type.NOT_SET.value and not descriptor.dynamic_typing:
            descriptor.type = present.type_.value
        outcome = self._set_all([parameter], {name: descriptor})
        if not outcome.successful:
            raise InvalidParameterValueException(name, parameter.value, outcome.reason)
        return self._parameters[name].get_parameter_value()


def _descriptor(**fields: Any) -> Any:
    return message_class("rcl_interfaces/msg/ParameterDescriptor")(**fields)


def _check_entry(entry: tuple[Any, ...]) -> tuple[str, Any, Any]:
    """Split an entry of `declare_parameters`; the type of the value goes into the descriptor."""
    if not 1 <= len(entry) <= 3:
        raise TypeError(f"Invalid parameter tuple {entry}; expecting length between 1 and 3")
    name, value = entry[0], entry[1] if len(entry) > 1 else None
    descriptor = entry[2] if len(entry) > 2 else _descriptor()
    if not isinstance(name, str):
        raise TypeError(f"First element {name} in parameters list is not a str.")
    if not isinstance(descriptor, message_class("rcl_interfaces/msg/ParameterDescriptor")):
        raise TypeError(f"Third element {descriptor} in parameters list is not a ParameterDescriptor.")
    if len(entry) == 1:
        descriptor.dynamic_typing = True
    if isinstance(value, Parameter.Type):
        if value is Parameter.Type.NOT_SET:
            raise ValueError(f"Cannot declare parameter {name} as statically typed of type NOT_SET")
        if descriptor.dynamic_typing:
            raise ValueError(
                f"When declaring parameter {name} with a type, dynamic_typing=True is not allowed"
            )
        descriptor.type = value.value
        return name, None, descriptor
    if value is not None and not descriptor.dynamic_typing:
        descriptor.type = Parameter.Type.from_parameter_value(value).value
    return name, value, descriptor
