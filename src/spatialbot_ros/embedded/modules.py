"""The modules of rclpy and which of our names each of them holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from spatialbot_ros.embedded import (
    action_client,
    action_server,
    callback_groups,
    clocks,
    contexts,
    entities,
    exceptions,
    executors,
    futures,
    loggers,
    names,
    node,
    node_graph,
    parameter,
    qos,
    running,
    serialization,
    services,
    signals,
    time_source,
    timers,
    times,
    topics,
)

_ERRORS_OF_EXECUTORS = (
    "ExternalShutdownException",
    "ShutdownException",
    "TimeoutException",
    "ConditionReachedException",
)


def _public(source: ModuleType) -> dict[str, Any]:
    """What a module defines itself."""
    found = {}
    for name, value in vars(source).items():
        if not name.startswith("_") and getattr(value, "__module__", source.__name__) == source.__name__:
            if not isinstance(value, ModuleType):
                found[name] = value
    return found


def _pick(source: ModuleType, *wanted: str) -> dict[str, Any]:
    return {name: getattr(source, name) for name in wanted}


def _contents() -> Mapping[str, dict[str, Any]]:
    executor_errors = _pick(exceptions, *_ERRORS_OF_EXECUTORS)
    rclpy_errors = {name: value for name, value in _public(exceptions).items() if name not in executor_errors}
    return {
        "rclpy": _pick(
            running,
            *("init", "shutdown", "create_node", "get_global_executor", "spin", "spin_once"),
            *(
                "spin_until_future_complete",
                "get_rmw_implementation_identifier",
                "Future",
                "SignalHandlerOptions",
            ),
        )
        | _pick(contexts, "ok", "try_shutdown", "get_default_context", "Context")
        | {"Parameter": parameter.Parameter},
        "rclpy._rclpy_pybind11": _pick(exceptions, "RCLError", "InvalidHandle", "UnknownROSArgsError")
        | {"NodeNameNonExistentError": node_graph.NodeNameNonExistentError},
        "rclpy.action": _pick(action_client, "ActionClient")
        | _pick(action_server, "ActionServer", "CancelResponse", "GoalResponse"),
        "rclpy.action.client": _pick(action_client, "ActionClient", "ClientGoalHandle"),
        "rclpy.action.server": _public(action_server),
        "rclpy.callback_groups": _public(callback_groups),
        "rclpy.client": {"Client": services.Client},
        "rclpy.clock": _public(clocks) | {"ClockType": times.ClockType},
        "rclpy.constants": {"S_TO_NS": times.S_TO_NS},
        "rclpy.context": {"Context": contexts.Context},
        "rclpy.duration": {"Duration": times.Duration},
        "rclpy.exceptions": rclpy_errors,
        "rclpy.executors": _public(executors) | executor_errors,
        "rclpy.guard_condition": {"GuardCondition": entities.GuardCondition},
        "rclpy.handle": {"InvalidHandle": exceptions.InvalidHandle},
        "rclpy.logging": _public(loggers),
        "rclpy.node": {"Node": node.Node, "Parameter": parameter.Parameter},
        "rclpy.parameter": _public(parameter),
        "rclpy.publisher": {"Publisher": topics.Publisher},
        "rclpy.qos": {
            name: value
            for name, value in vars(qos).items()
            if name.lower().startswith(("qos", "history", "reliab", "durab", "livel"))
        }
        | {"InvalidQoSProfileException": exceptions.InvalidQoSProfileException},
        "rclpy.serialization": _public(serialization),
        "rclpy.service": {"Service": services.Service},
        "rclpy.signals": _public(signals),
        "rclpy.subscription": {"Subscription": topics.Subscription},
        "rclpy.task": _public(futures),
        "rclpy.time": {"Time": times.Time},
        "rclpy.time_source": _public(time_source),
        "rclpy.timer": _public(timers),
        "rclpy.utilities": _pick(contexts, "get_default_context", "ok", "shutdown", "try_shutdown")
        | _pick(running, "get_rmw_implementation_identifier")
        | {"remove_ros_args": serialization.remove_ros_args},
        "rclpy.validate_full_topic_name": {"validate_full_topic_name": names.check_full_name},
        "rclpy.validate_namespace": {"validate_namespace": names.check_namespace},
        "rclpy.validate_node_name": {"validate_node_name": names.check_node_name},
        "rclpy.validate_parameter_name": {"validate_parameter_name": names.check_parameter_name},
        "rclpy.validate_topic_name": {"validate_topic_name": names.check_name},
    }


def rclpy_modules() -> dict[str, ModuleType]:
    """Make every module of rclpy, by its full name."""
    made: dict[str, ModuleType] = {}
    for name, contents in _contents().items():
        module = ModuleType(name, f"{name} of the embedded graph")
        vars(module).update(contents)
        made[name] = module
    for name, module in made.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
    for name, module in made.items():
        if any(other.startswith(name + ".") for other in made):
            module.__path__ = []  # a package without files, so that its submodules can be imported
    return made
