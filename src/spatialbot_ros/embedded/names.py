"""Names of nodes, topics and services: what is allowed, how they expand, how they are remapped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spatialbot_ros.embedded.exceptions import (
    InvalidNamespaceException,
    InvalidNodeNameException,
    InvalidParameterException,
    InvalidServiceNameException,
    InvalidTopicNameException,
)

_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SUBSTITUTION = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Remap:
    """One rule `node:from:=to` of a command line; an empty node means every node."""

    node: str
    source: str
    target: str


def check_node_name(name: str) -> bool:
    """Raise InvalidNodeNameException unless the name is a plain token."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise InvalidNodeNameException(
            name, "use letters, digits and underscores, not starting with a digit", _first_bad(name)
        )
    return True


def check_namespace(namespace: str) -> bool:
    """Raise InvalidNamespaceException unless the namespace is absolute and made of tokens."""
    if namespace != "/" and _path_problem(namespace):
        raise InvalidNamespaceException(namespace, _path_problem(namespace), _first_bad(namespace))
    return True


def check_full_name(name: str, is_service: bool = False) -> bool:
    """Raise Invalid{Topic,Service}NameException unless the name is absolute and made of tokens."""
    problem = _path_problem(name)
    if problem:
        error = InvalidServiceNameException if is_service else InvalidTopicNameException
        raise error(name, problem, _first_bad(name))
    return True


def check_name(name: str, is_service: bool = False) -> bool:
    """Raise Invalid{Topic,Service}NameException unless the name, relative ones too, can be expanded."""
    plain = _SUBSTITUTION.sub("x", name)
    if plain.startswith("~"):
        plain = plain[1:] or "/x"
    elif not plain.startswith("/"):
        plain = "/" + plain
    problem = "it is empty" if not name else _path_problem(plain)
    if problem:
        error = InvalidServiceNameException if is_service else InvalidTopicNameException
        raise error(name, problem, _first_bad(name))
    return True


def check_parameter_name(name: str) -> bool:
    """Raise InvalidParameterException for an empty name."""
    if not name:
        raise InvalidParameterException(name)
    return True


def expand(name: str, node_name: str, namespace: str, is_service: bool = False) -> str:
    """Make a topic or service name absolute: `~` is the node, relative names live in its namespace."""
    check_name(name, is_service)
    node = join(namespace, node_name)
    known = {"node": node_name, "ns": namespace, "namespace": namespace}
    unknown = [key for key in _SUBSTITUTION.findall(name) if key not in known]
    if unknown:
        error = InvalidServiceNameException if is_service else InvalidTopicNameException
        raise error(name, f"unknown substitution {{{unknown[0]}}}", name.index("{"))
    filled = _SUBSTITUTION.sub(lambda found: known[found.group(1)], name)
    if filled.startswith("~"):
        return node + filled[1:]
    return filled if filled.startswith("/") else join(namespace, filled)


def remapped(full: str, rules: Sequence[Remap], node_name: str, namespace: str, is_service: bool) -> str:
    """Apply the first rule whose source expands to this absolute name."""
    wanted, other = ("rosservice://", "rostopic://") if is_service else ("rostopic://", "rosservice://")
    for rule in rules:
        if rule.source.startswith(("__", other)) or rule.node not in ("", node_name):
            continue
        if expand(rule.source.removeprefix(wanted), node_name, namespace, is_service) == full:
            return expand(rule.target.removeprefix(wanted), node_name, namespace, is_service)
    return full


def join(namespace: str, name: str) -> str:
    """Put a relative name into a namespace."""
    return f"{namespace.rstrip('/')}/{name}"


def _path_problem(name: str) -> str:
    if not name.startswith("/"):
        return "it must start with a slash"
    if name.endswith("/"):
        return "it must not end with a slash"
    if not all(_TOKEN.fullmatch(part) for part in name[1:].split("/")):
        return "each part needs letters, digits and underscores and must not start with a digit"
    return ""


def _first_bad(name: str) -> int:
    for index, character in enumerate(str(name)):
        if not (character.isalnum() or character in "_/~{}"):
            return index
    return 0
