"""Fields of a parameter dataclass: default, description, range and choices, checked without ROS."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from spatialbot_policy.errors import ConfigError

_KEY = "spatialbot_parameter"


@dataclasses.dataclass(frozen=True)
class Description:
    """What a user may set a parameter to.

    Attributes:
        text: one sentence with the unit.
        low, high: smallest and largest value, both allowed, of a number or of each element of a list.
        choices: the allowed values of a text; None for any.
        length: how many elements a list must have; None for any number.
        live: whether it may change while the node runs.
    """

    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    length: int | None = None
    live: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices is not None:
            return "one of " + ", ".join(self.choices)
        count = "" if self.length is None else f"{self.length} values "
        if self.low is None and self.high is None:
            return count.strip() or "any value of its type"
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{count}in {low} .. {high}"


def parameter(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    length: int | None = None,
    live: bool = False,
) -> Any:
    """Make a field of a parameter dataclass; the arguments are those of `Description`."""
    described = Description(text, low, high, None if choices is None else tuple(choices), length, live)
    return dataclasses.field(default=default, metadata={_KEY: described})


def description_of(field: dataclasses.Field[Any]) -> Description | None:
    """What `parameter` said of a field; None for a field made otherwise, such as a nested group."""
    found = field.metadata.get(_KEY)
    return found if isinstance(found, Description) else None


def check_parameters(values: Any, prefix: str = "") -> None:
    """Check a dataclass of parameters, nested ones too.

    Raises:
        ConfigError: names the parameter, its value and what is allowed.
    """
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        described = description_of(field)
        if dataclasses.is_dataclass(value):
            check_parameters(value, f"{prefix}{field.name}.")
        elif described is not None:
            _check(f"{prefix}{field.name}", value, described)


def _check(name: str, value: Any, described: Description) -> None:
    listed = isinstance(value, tuple | list)
    items = list(value) if listed else [value]
    wrong = listed and described.length is not None and len(items) != described.length
    for item in items:
        if isinstance(item, bool):
            continue
        if isinstance(item, int | float):
            low = -math.inf if described.low is None else described.low
            high = math.inf if described.high is None else described.high
            wrong |= not (math.isfinite(item) and low <= item <= high)
        elif described.choices is not None:
            wrong |= item not in described.choices
    if wrong:
        raise ConfigError(
            f"parameter '{name}' is {value!r}, allowed is {described.allowed} ({described.text})"
        )


def flatten(values: Any, prefix: str = "") -> Mapping[str, tuple[Any, Description]]:
    """Every described parameter of a dataclass, nested ones as `group.name`, with its description."""
    found: dict[str, tuple[Any, Description]] = {}
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        described = description_of(field)
        if dataclasses.is_dataclass(value):
            found |= flatten(value, f"{prefix}{field.name}.")
        elif described is not None:
            found[f"{prefix}{field.name}"] = (value, described)
    return found


def replace_flat(values: Any, changes: Mapping[str, Any]) -> Any:
    """Copy a dataclass with some of `flatten`'s names changed."""
    direct = {name: value for name, value in changes.items() if "." not in name}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if "." in name:
            group, rest = name.split(".", 1)
            groups.setdefault(group, {})[rest] = value
    nested = {group: replace_flat(getattr(values, group), inner) for group, inner in groups.items()}
    return dataclasses.replace(values, **direct, **nested)
