"""The six services by which a node's parameters are read and set from outside."""

from __future__ import annotations

from typing import Any

from spatialbot_ros.embedded.exceptions import ParameterNotDeclaredException, ParameterUninitializedException
from spatialbot_ros.embedded.parameter import PARAMETER_SEPARATOR_STRING, Parameter
from spatialbot_ros.embedded.parameter_rules import result
from spatialbot_ros.embedded.qos import qos_profile_parameters
from spatialbot_ros.embedded.wire import message_class

_SERVICES = {
    "describe_parameters": "DescribeParameters",
    "get_parameters": "GetParameters",
    "get_parameter_types": "GetParameterTypes",
    "list_parameters": "ListParameters",
    "set_parameters": "SetParameters",
    "set_parameters_atomically": "SetParametersAtomically",
}


class ParameterServices:
    """Offers a node's parameters as `<node>/get_parameters` and so on."""

    def __init__(self, node: Any) -> None:
        self._node = node
        for name, service in _SERVICES.items():
            srv_type = message_class(f"rcl_interfaces/srv/{service}")
            full = f"{node.get_fully_qualified_name()}/{name}"
            node.create_service(srv_type, full, getattr(self, f"_{name}"), qos_profile=qos_profile_parameters)

    def _describe_parameters(self, request: Any, response: Any) -> Any:
        for name in request.names:
            try:
                response.descriptors.append(self._node.describe_parameter(name))
            except ParameterNotDeclaredException:
                # As in rclpy: one unknown name empties the answer.
                response.descriptors = self._node.describe_parameters([])
                return response
        return response

    def _get_parameters(self, request: Any, response: Any) -> Any:
        for name in request.names:
            try:
                response.values.append(self._node.get_parameter(name).get_parameter_value())
            except (ParameterNotDeclaredException, ParameterUninitializedException):
                response.values.append(message_class("rcl_interfaces/msg/ParameterValue")())
        return response

    def _get_parameter_types(self, request: Any, response: Any) -> Any:
        known = [name for name in request.names if self._node.has_parameter(name)]
        if len(known) == len(request.names):
            response.types = [self._node.get_parameter_type(name) for name in known]
        return response

    def _list_parameters(self, request: Any, response: Any) -> Any:
        names = sorted(self._node.parameter_names())
        separator = PARAMETER_SEPARATOR_STRING
        if request.prefixes:
            names = [name for name in names if _under(name, request.prefixes, request.depth)]
        elif request.depth:
            names = [name for name in names if name.count(separator) < request.depth]
        response.result.names = names
        groups = {name.rpartition(separator)[0] for name in names}
        response.result.prefixes = sorted(groups - {""})
        return response

    def _set_parameters(self, request: Any, response: Any) -> Any:
        for message in request.parameters:
            try:
                response.results += self._node.set_parameters([Parameter.from_parameter_msg(message)])
            except ParameterNotDeclaredException as error:
                response.results.append(result(str(error)))
        return response

    def _set_parameters_atomically(self, request: Any, response: Any) -> Any:
        parameters = [Parameter.from_parameter_msg(message) for message in request.parameters]
        try:
            response.result = self._node.set_parameters_atomically(parameters)
        except ParameterNotDeclaredException as error:
            response.result = result(str(error))
        return response


def _under(name: str, prefixes: Any, depth: int) -> bool:
    for prefix in prefixes:
        start = f"{prefix}{PARAMETER_SEPARATOR_STRING}"
        rest = name[len(start) :]
        if name == prefix or (name.startswith(start) and (not depth or rest.count(".") < depth)):
            return True
    return False
