"""Every message, service and action type of the embedded graph, as modules like those of an installation.

The definitions are those of ROS 2 Humble in `rosbags`; what it lacks (services, actions, Franka's and the
controllers' types) is in `definitions`, in ROS's own text form.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from types import ModuleType, SimpleNamespace
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from spatialbot_ros.embedded import definitions
from spatialbot_ros.embedded.message_class import make_message_class
from spatialbot_ros.embedded.sequence_types import make_field_type

# Defaults that the definitions name; the parser of rosbags drops them.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "geometry_msgs/msg/Quaternion": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0},
    "franka_msgs/msg/GraspEpsilon": {"inner": 0.005, "outer": 0.005},
    "rcl_interfaces/msg/ParameterDescriptor": {"read_only": False, "dynamic_typing": False},
}
_NO_FIELDS = "uint8 structure_needs_at_least_one_member"
_PLACEHOLDER = "structure_needs_at_least_one_member"
_CANCEL = "action_msgs/srv/CancelGoal"
_GOAL_STATUS = "action_msgs/msg/GoalStatusArray"


class Interfaces:
    """All types, made when they are first asked for.

    Attributes:
        store: the store of `rosbags` that serialises; types of services and actions are in it as
            `<package>/msg/<name>_Request` and the like.
    """

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        self._kinds: dict[str, str] = {}  # stored name -> msg, srv or action
        self._services: list[str] = []
        self._actions: list[str] = []
        self._classes: dict[str, Any] = {}
        for package, kind, name, text in _definitions():
            self._add(package, kind, name, text)

    def names(self) -> list[str]:
        """Names of all types, e.g. "sensor_msgs/msg/Image", "std_srvs/srv/Trigger"."""
        messages = [name for name in self.store.fielddefs if name not in self._kinds]
        return sorted([*messages, *self._services, *self._actions])

    def get(self, name: str) -> Any:
        """Class of a type by its full name.

        Raises:
            KeyError: there is none of this name.
        """
        if name not in self._classes:
            if name in self._services:
                self._classes[name] = self._service(name)
            elif name in self._actions:
                self._classes[name] = self._action(name)
            else:
                self._classes[name] = self._message(name)
        return self._classes[name]

    def _add(self, package: str, kind: str, name: str, text: str) -> None:
        if kind == "msg":
            self._register(f"{package}/msg/{name}", text)
            return
        parts = _split(text)
        full = f"{package}/{kind}/{name}"
        if kind == "srv":
            self._services.append(full)
            sections = dict(zip(("Request", "Response"), parts, strict=True))
        else:
            self._actions.append(full)
            sections = dict(zip(("Goal", "Result", "Feedback"), parts, strict=True))
            sections |= _action_wrapping(f"{package}/{name}")
        for section, definition in sections.items():
            stored = f"{package}/msg/{name}_{section}"
            self._register(stored, definition)
            self._kinds[stored] = kind

    def _register(self, stored: str, text: str) -> None:
        types = get_types_from_msg(text, stored)
        if not types[stored][1]:
            constants = types[stored][0]
            types = {stored: (constants, get_types_from_msg(_NO_FIELDS, stored)[stored][1])}
        self.store.register(types)

    def _message(self, stored: str) -> Any:
        constants, fields = self.store.fielddefs[stored]
        package, _, name = stored.split("/")
        return make_message_class(
            f"{package}.{self._kinds.get(stored, 'msg')}",
            name,
            {field: make_field_type(kind, self.get) for field, kind in fields if field != _PLACEHOLDER},
            {key: bytes((int(value),)) if kind == "byte" else value for key, kind, value in constants},
            _DEFAULTS.get(stored, {}),
            self.store.types[stored],
        )

    def _parts(self, name: str, *sections: str) -> dict[str, Any]:
        package, _, short = name.split("/")
        return {section: self.get(f"{package}/msg/{short}_{section}") for section in sections}

    def _service(self, name: str) -> Any:
        return _bundle(name, self._parts(name, "Request", "Response"))

    def _action(self, name: str) -> Any:
        impl = SimpleNamespace(
            SendGoalService=self._service(f"{name}_SendGoal"),
            GetResultService=self._service(f"{name}_GetResult"),
            CancelGoalService=self.get(_CANCEL),
            GoalStatusMessage=self.get(_GOAL_STATUS),
            **self._parts(name, "FeedbackMessage"),
        )
        return _bundle(name, self._parts(name, "Goal", "Result", "Feedback") | {"Impl": impl})


def _definitions() -> Iterator[tuple[str, str, str, str]]:
    """Package, kind, name and text of every definition file."""
    for file in resources.files(definitions).iterdir():
        parts = file.name.split(".")
        if parts[-1] in ("msg", "srv", "action"):
            package, name, kind = parts
            yield package, kind, name, file.read_text(encoding="utf-8")


def _split(text: str) -> list[str]:
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip() == "---":
            parts.append([])
        else:
            parts[-1].append(line)
    return ["\n".join(part) + "\n" for part in parts]


def _action_wrapping(name: str) -> dict[str, str]:
    """Definitions of the messages that carry an action's goal, result and feedback."""
    goal_id = "unique_identifier_msgs/UUID goal_id\n"
    return {
        "SendGoal_Request": f"{goal_id}{name}_Goal goal\n",
        "SendGoal_Response": "bool accepted\nbuiltin_interfaces/Time stamp\n",
        "GetResult_Request": goal_id,
        "GetResult_Response": f"int8 status\n{name}_Result result\n",
        "FeedbackMessage": f"{goal_id}{name}_Feedback feedback\n",
    }


def _bundle(name: str, parts: dict[str, Any]) -> Any:
    package, kind, short = name.split("/")

    def refuse(self: Any) -> None:
        raise NotImplementedError(f"{name} has no instances; make one of {', '.join(parts)}")

    return type(short, (), {"__module__": f"{package}.{kind}", "__init__": refuse, **parts})


@cache
def interfaces() -> Interfaces:
    """The types of this process; reading them takes about a tenth of a second, once."""
    return Interfaces()


@cache
def message_modules() -> dict[str, ModuleType]:
    """Modules to put into `sys.modules`: `sensor_msgs`, `sensor_msgs.msg`, `std_srvs.srv`, ... by name."""
    modules: dict[str, ModuleType] = {}
    known = interfaces()
    for full in known.names():
        package, kind, name = full.split("/")
        if package not in modules:
            modules[package] = ModuleType(package, f"Types of {package}, for the embedded graph.")
            modules[package].__path__ = []
        qualified = f"{package}.{kind}"
        if qualified not in modules:
            modules[qualified] = ModuleType(qualified, f"The {kind} types of {package}.")
            setattr(modules[package], kind, modules[qualified])
        setattr(modules[qualified], name, known.get(full))
    return modules
