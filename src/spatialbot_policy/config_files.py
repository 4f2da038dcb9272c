"""Frozen dataclasses from YAML and back: strict keys, strict types, errors that name the key."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from spatialbot_policy.errors import ConfigError, SpatialBotError

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """YAML as people write it: `2e-4` is a number, and a key given twice is a mistake, not an override."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build one mapping, refusing a repeated key."""
        keys = [key.value for key, _ in node.value]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{repeated[0]}' is given twice; keep one", node.start_mark
            )
        return cast("dict[Any, Any]", super().construct_mapping(node, deep))


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would take for numbers."""


_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def load_yaml(cls: type[T], path: str | Path, changes: Sequence[str] = ()) -> T:
    """Read a configuration dataclass from a YAML file.

    Args:
        cls: the dataclass.
        path: of the file.
        changes: values that replace the file's, as "schedule.steps=100"; the value is YAML too.

    Raises:
        ConfigError: no such file, no YAML, an unknown key, a missing key or a value of another type.
    """
    file = Path(path)
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}; check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {error}") from error
    data = {} if data is None else data
    for change in changes:
        _replace(data, change)
    return from_dict(cls, data, str(file))


def _replace(data: object, change: str) -> None:
    """Set one value of what a file holds, in place; mappings on the way are made where they are missing."""
    path, equals, text = change.partition("=")
    *parents, last = path.split(".")
    if not equals or not all((*parents, last)):
        raise ConfigError(f"'{change}' changes nothing; write it as key.key=value, e.g. schedule.steps=100")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"'{change}': the value is not valid YAML: {error}") from error
    place = data
    for key in parents:
        if not isinstance(place, dict):
            break
        place = place.setdefault(key, {})
    if not isinstance(place, dict):
        raise ConfigError(f"'{change}': {'.'.join(parents)} holds no keys in the file; leave {last} out")
    place[last] = value


def save_yaml(config: object, path: str | Path) -> None:
    """Write a configuration dataclass as YAML that `load_yaml` reads back equal."""
    # Characters beyond ASCII are escaped: unescaped, PyYAML does not read every one of them back.
    text = yaml.dump(to_dict(config), Dumper=_Dumper, sort_keys=False)
    Path(path).write_text(text, encoding="utf-8")


def from_dict(cls: type[T], data: object, where: str) -> T:
    """Build a configuration dataclass from plain data, field by field and down through nested ones.

    Args:
        cls: a dataclass whose fields are numbers, strings, bools, paths, enums, literals, optionals,
            tuples, lists, dictionaries with string keys or further dataclasses.
        data: what the YAML file holds.
        where: the file or key it came from, for the error message.

    Raises:
        ConfigError: an unknown key, a missing key or a value of another type; the message names the key.
    """
    if not isinstance(data, Mapping):
        raise _wrong(data, "a mapping of keys to values", where)
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls)) if f.init}
    for key in data:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ConfigError(f"{where}: unknown key '{key}'; allowed: {', '.join(fields)}{hint}")
    hints = get_type_hints(cls)
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    missing = [
        name
        for name, f in fields.items()
        if name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing key '{missing[0]}'; add it")
    try:
        return cls(**values)
    except SpatialBotError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_dict(config: object) -> Any:
    """Turn a configuration into what YAML holds: the inverse of `from_dict`."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
    if isinstance(config, Enum):
        return config.value
    if isinstance(config, Path):
        return str(config)
    if isinstance(config, Mapping):
        return {str(key): to_dict(value) for key, value in config.items()}
    if isinstance(config, (tuple, list)):
        return [to_dict(value) for value in config]
    return config


def _convert(hint: Any, value: object, where: str) -> Any:
    """Turn plain data into the type a field asks for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(cast(type, hint), value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is Literal:
        if not any(value == allowed and type(value) is type(allowed) for allowed in arguments):
            raise _wrong(value, f"one of {', '.join(map(str, arguments))}", where)
        return value
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is list:
        return list(_convert_tuple((arguments[0], ...), value, where))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _convert_mapping(arguments, value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _convert_enum(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_union(alternatives: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in alternatives:
        return None
    concrete = [hint for hint in alternatives if hint is not type(None)]
    errors = []
    for hint in concrete:
        try:
            return _convert(hint, value, where)
        except ConfigError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise ConfigError("; or ".join(map(str, errors)))


def _convert_tuple(items: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, "a list", where)
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise _wrong(value, f"a list of {len(items)} values", where)
    pairs = enumerate(zip(items, value, strict=True))
    return tuple(_convert(hint, item, f"{where}[{index}]") for index, (hint, item) in pairs)


def _convert_mapping(arguments: tuple[Any, ...], value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, "a mapping of keys to values", where)
    return {_convert(str, k, where): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}


def _convert_enum(hint: type[Enum], value: object, where: str) -> Enum:
    if isinstance(value, hint):
        return value
    for member in hint:
        if member.value == value and type(member.value) is type(value):
            return member
    raise _wrong(value, f"one of {', '.join(str(member.value) for member in hint)}", where)


# What a field accepts, and how it is called in the message. bool is an int to Python, but not to a reader.
_SCALARS: dict[Any, tuple[Callable[[object], bool], str]] = {
    bool: (lambda v: isinstance(v, bool), "true or false"),
    int: (lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"),
    float: (lambda v: isinstance(v, (int, float)) and not isinstance(v, bool), "a number"),
    str: (lambda v: isinstance(v, str), "text (quote it)"),
    Path: (lambda v: isinstance(v, (str, Path)), "a path"),
    type(None): (lambda v: v is None, "null"),
}


def _convert_scalar(hint: Any, value: object, where: str) -> Any:
    if hint not in _SCALARS:
        raise ConfigError(f"{where}: fields of type {hint} cannot be read from a file; change the dataclass")
    accepts, name = _SCALARS[hint]
    if not accepts(value):
        raise _wrong(value, name, where)
    return hint(value) if hint in (float, Path) else value


def _wrong(value: object, expected: str, where: str) -> ConfigError:
    return ConfigError(f"{where}: expected {expected}, got {value!r} ({type(value).__name__})")
