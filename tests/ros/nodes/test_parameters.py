"""Parameters of a node: what is refused at start and live, in which words."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.nodes.parameters import Parameters


@dataclass(frozen=True)
class Inner:
    speed_m_s: float = parameter(0.2, "largest speed, m/s", low=0.0, high=1.0, live=True)
    box_m: tuple[float, ...] = parameter((0.0, 1.0, 2.0), "a corner, m", low=-5, high=5, length=3)
    names: tuple[str, ...] = parameter((), "some names")


@dataclass(frozen=True)
class Outer:
    backend: str = parameter("a", "which way", choices=("a", "b"))
    count: int = parameter(3, "how many", low=1, high=5)
    guard: Inner = field(default_factory=Inner)


def declare(graph, **values: object) -> tuple[Node, Parameters[Outer]]:
    overrides = {name.replace("__", "."): value for name, value in values.items()}
    node = Node("tried", parameter_overrides=graph.parameters(overrides))
    try:
        parameters = Parameters(node, Outer)
    except ConfigError:
        node.destroy_node()
        raise
    graph.add(node)
    return node, parameters


def change(node: Node, name: str, value: object) -> tuple[bool, str]:
    (result,) = node.set_parameters([Parameter(name, value=value)])
    return result.successful, result.reason


def test_the_defaults_hold_where_nothing_is_given(graph):
    _, parameters = declare(graph)
    assert parameters.value == Outer()


def test_given_values_take_the_type_of_their_default(graph):
    _, parameters = declare(
        graph, guard__speed_m_s=1, guard__box_m=[1, 2, 3], guard__names=["x"], backend="b"
    )
    guard = parameters.value.guard
    assert guard == Inner(1.0, (1.0, 2.0, 3.0), ("x",)) and parameters.value.backend == "b"
    assert isinstance(guard.speed_m_s, float) and all(isinstance(value, float) for value in guard.box_m)


REFUSED = [
    ({"guard__speed_m_s": 7.0}, r"'guard.speed_m_s' is 7.0, allowed is in 0 .. 1 \(largest speed, m/s\)"),
    ({"backend": "c"}, "'backend' is 'c', allowed is one of a, b"),
    ({"backend": 3}, "'backend' is 3 of type int, allowed is str"),
    ({"count": 2.5}, "'count' is 2.5 of type float, allowed is int"),
    ({"count": 9}, "'count' is 9, allowed is in 1 .. 5"),
    ({"guard__box_m": [1.0, 2.0]}, "allowed is 3 values in -5 .. 5"),
    ({"guard__speed_m_s": float("nan")}, "'guard.speed_m_s' is nan"),
    (
        {"gaurd__speed_m_s": 0.5},
        "unknown parameter 'gaurd.speed_m_s'; there are: backend, count, guard.box_m",
    ),
]


@pytest.mark.parametrize(("values", "words"), REFUSED)
def test_a_wrong_value_refuses_the_start_by_name(graph, values, words):
    with pytest.raises(ConfigError, match=words):
        declare(graph, **values)


def test_a_live_parameter_changes_and_tells_the_listener(graph):
    node, parameters = declare(graph)
    heard: list[Outer] = []
    parameters.on_change(heard.append)
    assert change(node, "guard.speed_m_s", 0.5) == (True, "")
    assert parameters.value.guard.speed_m_s == 0.5 and heard == [parameters.value]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("guard.speed_m_s", 7.0, "range"),
        ("guard.speed_m_s", "fast", "allowed is float"),
        ("count", 4, "can only be set at start"),
        ("backend", "c", "can only be set at start"),
    ],
)
def test_a_refused_change_leaves_everything_as_it_was(graph, name, value, words):
    node, parameters = declare(graph)
    heard: list[Outer] = []
    parameters.on_change(heard.append)
    successful, reason = change(node, name, value)
    assert not successful and words in reason
    assert parameters.value == Outer() and heard == []


def test_a_parameter_describes_itself(graph):
    node, _ = declare(graph)
    described = node.describe_parameter("guard.speed_m_s")
    assert described.description == "largest speed, m/s"
    assert described.floating_point_range[0].to_value == 1.0
    assert node.describe_parameter("backend").additional_constraints == "a, b"
