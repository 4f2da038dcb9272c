"""Reads a YAML launch file into the nodes to start: the form that `ros2 launch` reads too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.resources import NAME as PACKAGE
from spatialbot_ros.embedded.launch_substitutions import Scope

_NODE_KEYS = {
    "pkg", "exec", "name", "namespace", "output", "param", "remap", "args", "if", "unless", "emulate_tty",
    "respawn", "respawn_delay",
}  # fmt: skip


@dataclass(frozen=True)
class LaunchArgument:
    """One `arg` of a launch file; no default means that it must be given."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeEntry:
    """One node to start.

    Attributes:
        executable: console script of this package, e.g. `arm_node`.
        name: of the node in the graph.
        namespace: in front of its relative names, "" for none.
        parameters: files and single values in order; a later one wins.
        remappings: (from, to) names.
        arguments: what else stands on its command line.
    """

    executable: str
    name: str
    namespace: str = ""
    parameters: tuple[Path | tuple[str, Any], ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()

    def command_line(self) -> list[str]:
        """Arguments as `ros2 launch` gives them to the executable."""
        words = [*self.arguments, "--ros-args", "-r", f"__node:={self.name}"]
        if self.namespace:
            words += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for old, new in self.remappings:
            words += ["-r", f"{old}:={new}"]
        for item in self.parameters:
            if isinstance(item, Path):
                words += ["--params-file", str(item)]
            else:
                name, value = item
                words += [
                    "-p",
                    f"{name}:={yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()}",
                ]
        return [word.removesuffix("\n...") for word in words]


def _in_one_line(value: Any) -> str:
    """YAML of a parameter's value; the document end that a bare scalar gets is left out."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


@dataclass(frozen=True)
class LaunchFile:
    """What a launch file asks for, with its includes taken in."""

    path: Path
    arguments: tuple[LaunchArgument, ...]
    nodes: tuple[NodeEntry, ...]


@dataclass
class _Reading:
    """State while one file is read."""

    scope: Scope
    given: Mapping[str, str]
    namespace: str = ""
    arguments: list[LaunchArgument] = field(default_factory=list)
    nodes: list[NodeEntry] = field(default_factory=list)

    def variable(self, name: str, value: str) -> None:
        self.scope = replace(self.scope, variables={**self.scope.variables, name: value})


def read_launch_file(path: Path | str, given: Mapping[str, str] | None = None) -> LaunchFile:
    """Read a launch file.

    Args:
        path: of a `.launch.yaml` file.
        given: launch arguments by name.

    Raises:
        ConfigError: the file is missing or not a launch file, names something unknown, lacks an argument,
            or gets one that it does not declare.
    """
    path = Path(path)
    reading = _Reading(Scope({}, path), dict(given or {}))
    _read(_entries(path), reading)
    declared = {argument.name for argument in reading.arguments}
    unknown = sorted(set(reading.given) - declared)
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise ConfigError(f"{path} has no launch argument '{unknown[0]}'; there are: {known}")
    return LaunchFile(path, tuple(reading.arguments), tuple(reading.nodes))


def _entries(path: Path) -> list[Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no launch file {path}; the project's are in launch/") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("launch"), list):
        raise ConfigError(f"{path} is no launch file: it needs a list under the key 'launch'")
    return list(data["launch"])


def _read(entries: Sequence[Any], reading: _Reading) -> None:
    readers: dict[str, Callable[[Any, _Reading], None]] = {
        "arg": _arg,
        "let": _let,
        "node": _node,
        "include": _include,
        "group": _group,
    }
    for entry in entries:
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ConfigError(
                f"{reading.scope.file}: each entry is one action with its fields, got {entry!r}"
            )
        ((action, fields),) = entry.items()
        if action == "push_ros_namespace" or action == "push-ros-namespace":
            reading.namespace = (
                f"{reading.namespace}/{reading.scope.resolve(str(fields['namespace']))}".strip("/")
            )
        elif action in readers:
            readers[action](fields, reading)
        else:
            raise ConfigError(
                f"{reading.scope.file}: action '{action}' is not known to the embedded graph; it reads "
                f"{', '.join(readers)}, push_ros_namespace"
            )


def _wanted(fields: Mapping[str, Any], scope: Scope) -> bool:
    """Whether `if` and `unless` let an action happen."""
    for key, wanted in (("if", True), ("unless", False)):
        if key in fields and _is_true(scope.resolve(str(fields[key])), scope.file) != wanted:
            return False
    return True


def _is_true(text: str, file: Path) -> bool:
    value = text.strip().lower()
    if value not in ("true", "false", "1", "0"):
        raise ConfigError(f"{file}: a condition must be true, false, 1 or 0, got {text!r}")
    return value in ("true", "1")


def _arg(fields: Mapping[str, Any], reading: _Reading) -> None:
    name = str(fields["name"])
    default = None if "default" not in fields else reading.scope.resolve(_text(fields["default"]))
    choices = tuple(_text(choice["value"]) for choice in fields.get("choice", ()))
    argument = LaunchArgument(name, default, str(fields.get("description", "")), choices)
    value = reading.given.get(name, default)
    if value is None:
        raise ConfigError(
            f"{reading.scope.file} needs the launch argument '{name}' ({argument.description}); "
            f"add {name}:=VALUE"
        )
    if choices and value not in choices:
        raise ConfigError(f"launch argument '{name}' is '{value}', allowed is one of {', '.join(choices)}")
    reading.arguments.append(argument)
    reading.variable(name, value)


def _let(fields: Mapping[str, Any], reading: _Reading) -> None:
    if _wanted(fields, reading.scope):
        reading.variable(str(fields["name"]), reading.scope.resolve(_text(fields["value"])))


def _include(fields: Mapping[str, Any], reading: _Reading) -> None:
    if not _wanted(fields, reading.scope):
        return
    scope = reading.scope
    path = Path(scope.resolve(str(fields["file"])))
    given = {str(arg["name"]): scope.resolve(_text(arg["value"])) for arg in fields.get("arg", ())}
    # as in ros2 launch, an included file sees the variables of the one that includes it
    inner = _Reading(Scope(scope.variables, path), {**reading.given, **given}, reading.namespace)
    _read(_entries(path), inner)
    reading.nodes += inner.nodes
    known = {argument.name for argument in reading.arguments} | set(given)
    reading.arguments += [argument for argument in inner.arguments if argument.name not in known]


def _group(fields: Sequence[Any], reading: _Reading) -> None:
    """Actions with a scope of their own: what they set ends with them."""
    inner = _Reading(reading.scope, reading.given, reading.namespace)
    _read(fields, inner)
    reading.nodes += inner.nodes
    reading.arguments += inner.arguments


def _node(fields: Mapping[str, Any], reading: _Reading) -> None:
    scope = reading.scope
    unknown = sorted(set(fields) - _NODE_KEYS)
    if unknown:
        raise ConfigError(f"{scope.file}: a node has no field '{unknown[0]}'; there are {sorted(_NODE_KEYS)}")
    if not _wanted(fields, scope):
        return
    package, executable = (scope.resolve(str(fields[key])) for key in ("pkg", "exec"))
    if package != PACKAGE:
        raise ConfigError(
            f"{scope.file}: node '{executable}' is of package '{package}', which needs ROS 2; the embedded "
            f"graph runs nodes of '{PACKAGE}' only. Switch it off with a launch argument, or use ros2 launch"
        )
    own = scope.resolve(str(fields.get("namespace", "")))
    reading.nodes.append(
        NodeEntry(
            executable=executable,
            name=scope.resolve(str(fields.get("name", executable))),
            namespace=f"{reading.namespace}/{own}".strip("/"),
            parameters=tuple(_parameters(fields.get("param", ()), scope)),
            remappings=tuple(
                (scope.resolve(item["from"]), scope.resolve(item["to"])) for item in fields.get("remap", ())
            ),
            arguments=tuple(scope.resolve(str(fields.get("args", ""))).split()),
        )
    )


def _parameters(entries: Sequence[Mapping[str, Any]], scope: Scope) -> Iterator[Path | tuple[str, Any]]:
    for entry in entries:
        if "from" in entry:
            path = Path(scope.resolve(str(entry["from"])))
            if not path.is_file():
                raise ConfigError(
                    f"{scope.file}: parameter file {path} does not exist; see config/ for those there"
                )
            yield path
        else:
            yield scope.resolve(str(entry["name"])), _typed(entry["value"], scope)


def _typed(value: Any, scope: Scope) -> Any:
    """A parameter's value: what a substitution gives is read as YAML, as ros2 launch does."""
    if isinstance(value, list):
        return [_typed(item, scope) for item in value]
    if not isinstance(value, str) or "$(" not in value:
        return value
    return yaml.safe_load(scope.resolve(value))


def _text(value: Any) -> str:
    """A YAML scalar as launch arguments carry it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
