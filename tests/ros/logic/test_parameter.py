"""Parameter dataclasses: ranges, choices, nested groups and changes by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.parameter import check_parameters, flatten, parameter, replace_flat


@dataclass(frozen=True)
class Inner:
    speed_m_s: float = parameter(0.2, "largest speed, metres a second", low=0.0, high=1.0, live=True)
    corner_m: tuple[float, ...] = parameter((0.0, 0.1, 0.2), "a corner", low=-1.0, high=1.0, length=3)


@dataclass(frozen=True)
class Outer:
    backend: str = parameter("a", "which way", choices=("a", "b"))
    guard: Inner = field(default_factory=Inner)
    verbose: bool = parameter(False, "say more")


def test_nested_parameters_have_dotted_names_in_order():
    assert list(flatten(Outer())) == ["backend", "guard.speed_m_s", "guard.corner_m", "verbose"]
    value, described = flatten(Outer())["guard.speed_m_s"]
    assert value == 0.2 and described.live and described.allowed == "in 0 .. 1"


def test_the_defaults_pass():
    check_parameters(Outer())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backend": "c"}, "parameter 'backend' is 'c', allowed is one of a, b"),
        ({"guard.speed_m_s": 1.5}, r"parameter 'guard.speed_m_s' is 1.5, allowed is in 0 .. 1 \(largest"),
        ({"guard.speed_m_s": float("nan")}, "parameter 'guard.speed_m_s' is nan"),
        ({"guard.corner_m": (0.0, 0.0)}, "allowed is 3 values in -1 .. 1"),
        ({"guard.corner_m": (0.0, 0.0, 2.0)}, "allowed is 3 values in -1 .. 1"),
    ],
)
def test_a_value_outside_is_refused_by_name(changes, words):
    with pytest.raises(ConfigError, match=words):
        check_parameters(replace_flat(Outer(), changes))


def test_changes_by_name_leave_the_rest_alone():
    changed = replace_flat(Outer(), {"guard.speed_m_s": 0.7, "verbose": True})
    assert changed == Outer(guard=Inner(speed_m_s=0.7), verbose=True)
