"""Command lines: `--ros-args -r from:=to -p name:=value --params-file file --log-level level`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spatialbot_ros.embedded import loggers
from spatialbot_ros.embedded.exceptions import RCLError, UnknownROSArgsError
from spatialbot_ros.embedded.names import Remap

_FLAGS = {"-r": "--remap", "-p": "--param", "-e": "--enclave"}
_WITH_VALUE = ("--remap", "--param", "--params-file", "--log-level", "--enclave", "--log-config-file")
_SWITCHES = re.compile(r"--(enable|disable)-(rosout-logs|stdout-logs|external-lib-logs)")


class _Loader(yaml.SafeLoader):
    """YAML as ROS reads it: `1e-3` is a number, although YAML 1.1 asks for a dot."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+|[-+]?(\d+\.\d*|\.\d+)|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    list("-+0123456789."),
)


def _null(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    if not node.value:
        raise RCLError(f"a parameter has no value, line {node.start_mark.line + 1}")
    return str(node.value)


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(node.value)


# ROS knows neither null nor dates: these are texts.
_Loader.add_constructor("tag:yaml.org,2002:null", _null)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)


@dataclass(frozen=True)
class Override:
    """Parameter values for the nodes that a pattern such as `/**` or `/arm/arm_node` fits."""

    pattern: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """What a command line says to ROS; later overrides win."""

    remaps: tuple[Remap, ...] = ()
    overrides: tuple[Override, ...] = ()
    log_levels: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Arguments) -> Arguments:
        return Arguments(
            self.remaps + other.remaps, self.overrides + other.overrides, self.log_levels + other.log_levels
        )

    def special(self, key: str, node_name: str) -> str | None:
        """The new name or namespace given by `__node` or `__ns`; None if the command line gives none."""
        for rule in self.remaps:
            if rule.source == key and rule.node in ("", node_name):
                return rule.target
        return None

    def parameters(self, full_node_name: str) -> dict[str, Any]:
        """Parameter values for one node; of several patterns that fit, the last one wins."""
        found: dict[str, Any] = {}
        for override in self.overrides:
            if _fits(override.pattern, full_node_name):
                found |= override.values
        return found

    def apply_log_levels(self) -> None:
        """Set the log levels that the command line names."""
        for name, level in self.log_levels:
            loggers.set_logger_level(name, level)


def split_arguments(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split into the arguments of the program and those between `--ros-args` and `--`."""
    own: list[str] = []
    ros: list[str] = []
    target = own
    for argument in args:
        if argument == "--ros-args":
            target = ros
        elif argument == "--" and target is ros:
            target = own
        else:
            target.append(argument)
    return own, ros


def parse_arguments(args: Sequence[str]) -> Arguments:
    """Read what a command line says to ROS.

    Raises:
        UnknownROSArgsError: an argument after `--ros-args` that is none, or lacks its value.
        RCLError: a parameter file that is missing or not one.
    """
    remaps: list[Remap] = []
    overrides: list[Override] = []
    levels: list[tuple[str, int]] = []
    rest = iter(split_arguments(args)[1])
    for flag in rest:
        kind = _FLAGS.get(flag, flag)
        if _SWITCHES.fullmatch(kind):
            continue
        if kind not in _WITH_VALUE:
            raise UnknownROSArgsError(f"unknown ROS argument '{flag}'; allowed are {', '.join(_WITH_VALUE)}")
        value = next(rest, None)
        if value is None:
            raise UnknownROSArgsError(f"ROS argument '{flag}' needs a value")
        if kind == "--remap":
            remaps.append(_remap(value))
        elif kind == "--param":
            overrides.append(_parameter(value))
        elif kind == "--params-file":
            overrides.extend(read_params_file(Path(value)))
        elif kind == "--log-level":
            levels.append(_level(value))
    return Arguments(tuple(remaps), tuple(overrides), tuple(levels))


def _halves(text: str, what: str) -> tuple[str, str, str]:
    source, separator, target = text.partition(":=")
    if not separator or not source:
        raise RCLError(f"cannot read {what} '{text}'; write it as name:=value")
    node, colon, name = source.partition(":")
    if colon and not name.startswith("//"):
        return node, name, target
    return "", source, target


def _remap(text: str) -> Remap:
    node, source, target = _halves(text, "remapping")
    return Remap(node, {"__name": "__node"}.get(source, source), target)


def _parameter(text: str) -> Override:
    node, name, written = _halves(text, "parameter")
    value = _parse(written, f"parameter {name}")
    if value is None:
        raise RCLError(f"cannot read parameter '{text}'; write it as name:=value")
    pattern = "/" + node.lstrip("/") if node else "/**"
    return Override(pattern, {name: _plain(name, value)})


def _level(text: str) -> tuple[str, int]:
    name, separator, level = text.rpartition(":=")
    try:
        return (name if separator else "", int(loggers.get_logging_severity_from_string(level)))
    except RuntimeError as error:
        raise UnknownROSArgsError(f"cannot read log level '{text}': {error}") from error


def _parse(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a subclass of the safe loader
    except yaml.YAMLError as error:
        raise RCLError(f"cannot read {what}: {error}") from error


def read_params_file(path: Path) -> list[Override]:
    """Read a ROS parameter file, `node: {ros__parameters: {...}}`."""
    if not path.is_file():
        raise RCLError(f"parameter file {path} does not exist; check --params-file")
    tree = _parse(path.read_text(encoding="utf-8"), f"parameter file {path}")
    if not isinstance(tree, dict):
        raise RCLError(f"parameter file {path} must hold 'node_name: {{ros__parameters: ...}}' entries")
    return list(_node_entries(tree, "", path))


def _node_entries(tree: dict[str, Any], prefix: str, path: Path) -> Iterator[Override]:
    for key, inner in tree.items():
        name = f"{prefix}/{str(key).strip('/')}"
        if not isinstance(inner, dict):
            raise RCLError(f"parameter file {path}: '{name}' must hold ros__parameters, got {inner!r}")
        for inner_key, value in inner.items():
            if inner_key == "ros__parameters":
                yield Override(name, _flat(value or {}))
            else:
                yield from _node_entries({inner_key: value}, name, path)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _plain(f"{prefix}{key}", value)
    return found


def _plain(name: str, value: Any) -> Any:
    """Check that a value is one a parameter can have; an empty list has no type and counts as not set."""
    if value == []:
        return None
    if isinstance(value, list) and len({type(item) for item in value}) > 1:
        raise RCLError(
            f"parameter '{name}': all elements of a list need one type, got {value!r}; write 1.0, not 1"
        )
    return value


def _fits(pattern: str, full_node_name: str) -> bool:
    """`/**` fits any namespaces, `*` one name; a pattern without a namespace means the root one."""
    if "*" not in pattern:
        return pattern == full_node_name
    parts = re.split(r"(/\*\*|\*)", pattern)
    known = {"/**": r"(/[^/]+)*", "*": r"[^/]+"}
    return (
        re.fullmatch("".join(known.get(part, re.escape(part)) for part in parts), full_node_name) is not None
    )
