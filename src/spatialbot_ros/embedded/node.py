"""Node: its name, parameters and clock, its place in the graph, and the executor that runs it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from spatialbot_ros.embedded import loggers
from spatialbot_ros.embedded.arguments import Arguments, parse_arguments
from spatialbot_ros.embedded.bus import BUS
from spatialbot_ros.embedded.clocks import ROSClock
from spatialbot_ros.embedded.contexts import get_default_context
from spatialbot_ros.embedded.exceptions import NotInitializedException
from spatialbot_ros.embedded.names import check_namespace, check_node_name, join
from spatialbot_ros.embedded.node_entities import EntityMethods
from spatialbot_ros.embedded.node_graph import GraphMethods
from spatialbot_ros.embedded.node_parameters import ParameterMethods
from spatialbot_ros.embedded.parameter import Parameter
from spatialbot_ros.embedded.parameter_services import ParameterServices
from spatialbot_ros.embedded.qos import (
    qos_profile_parameter_events,
    qos_profile_rosout_default,
)
from spatialbot_ros.embedded.rosout import Rosout
from spatialbot_ros.embedded.time_source import TimeSource
from spatialbot_ros.embedded.wire import message_class


class Node(EntityMethods, ParameterMethods, GraphMethods):
    """A named member of the graph; the arguments are those of rclpy's Node."""

    def __init__(
        self,
        node_name: str,
        *,
        context: Any = None,
        cli_args: Sequence[str] | None = None,
        namespace: str | None = None,
        use_global_arguments: bool = True,
        enable_rosout: bool = True,
        start_parameter_services: bool = True,
        parameter_overrides: Sequence[Parameter] | None = None,
        allow_undeclared_parameters: bool = False,
        automatically_declare_parameters_from_overrides: bool = False,
    ) -> None:
        self._context = get_default_context() if context is None else context
        if not self._context.ok():
            raise NotInitializedException("cannot create node")
        own = parse_arguments(cli_args) if cli_args else Arguments()
        everywhere = self._context.arguments if use_global_arguments else Arguments()
        self._remaps = own.remaps + everywhere.remaps
        self._set_name(node_name, namespace or "", own, everywhere)
        self._destroyed = False
        self._rosout: Rosout | None = None
        self._executor: weakref.ref[Any] | None = None
        self._start_entities()
        self._logger = loggers.get_logger(self._full_name[1:].replace("/", "."))
        self._clock = ROSClock()
        values = everywhere.parameters(self._full_name) | own.parameters(self._full_name)
        overrides = {name: Parameter(name, value=value) for name, value in values.items()}
        overrides |= {parameter.name: parameter for parameter in parameter_overrides or ()}
        self._start_parameters(overrides, allow_undeclared_parameters)
        try:
            self._join(
                enable_rosout, start_parameter_services, automatically_declare_parameters_from_overrides
            )
        except BaseException:
            Node.destroy_node(self)
            raise

    def _join(self, rosout: bool, parameter_services: bool, declare_overrides: bool) -> None:
        """Enter the graph."""
        with BUS.lock:
            BUS.nodes.append(self)
        self._context.adopt(self)
        self._rosout = Rosout(self, qos_profile_rosout_default) if rosout else None
        event = message_class("rcl_interfaces/msg/ParameterEvent")
        self._parameter_event_publisher = self.create_publisher(
            event, "/parameter_events", qos_profile_parameter_events
        )
        if declare_overrides:
            for name, parameter in self._parameter_overrides.items():
                self.declare_parameter(name, parameter.value, ignore_override=True)
        self._time_source = TimeSource(self, self._clock)
        if parameter_services:
            self._parameter_services = ParameterServices(self)

    def _set_name(self, name: str, namespace: str, own: Arguments, everywhere: Arguments) -> None:
        check_node_name(name)
        arguments = own + everywhere  # the first rule that fits counts
        moved = arguments.special("__ns", name)
        namespace = namespace if moved is None else moved
        name = arguments.special("__node", name) or name
        namespace = namespace if namespace.startswith("/") else "/" + namespace
        check_namespace(namespace)
        check_node_name(name)
        self._name, self._namespace, self._full_name = name, namespace, join(namespace, name)

    def get_name(self) -> str:
        """Name without namespace."""
        return self._name

    def get_namespace(self) -> str:
        """Namespace, `/` for the root."""
        return self._namespace

    def get_fully_qualified_name(self) -> str:
        """Namespace and name."""
        return self._full_name

    def get_clock(self) -> ROSClock:
        """The node's clock."""
        return self._clock

    def get_logger(self) -> loggers.RcutilsLogger:
        """The node's logger."""
        return self._logger

    @property
    def context(self) -> Any:
        """The context it belongs to."""
        return self._context

    @property
    def executor(self) -> Any:
        """The executor that runs it, None without one."""
        return None if self._executor is None else self._executor()

    @executor.setter
    def executor(self, new_executor: Any) -> None:
        current = self.executor
        if current is new_executor:
            return
        if current is not None:
            current.remove_node(self)
        self._executor = None if new_executor is None else weakref.ref(new_executor)
        if new_executor is not None:
            new_executor.add_node(self)

    def wake_executor(self) -> None:
        """Tell the executor that there is work."""
        executor = self.executor
        if executor is not None:
            executor.wake()

    def parameter_names(self) -> list[str]:
        """Names of all declared parameters."""
        return list(self._parameters)

    def destroy_node(self) -> None:
        """Take the node and all it made out of the graph; doing so twice does no harm."""
        if self._destroyed:
            return
        self._destroyed = True
        if self.executor is not None:
            self.executor.remove_node(self)
            self._executor = None
        if self._rosout is not None:
            self._rosout.close()
        self._parameter_event_publisher = None
        self._destroy_entities()
        self._context.release(self)
        with BUS.lock:
            BUS.nodes.remove(self)
            BUS.changed()
