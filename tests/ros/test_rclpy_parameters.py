"""Parameters as the nodes rely on them: the same on a real ROS 2 and on the embedded graph."""

from __future__ import annotations

import pytest
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterImmutableException,
    ParameterNotDeclaredException,
    ParameterUninitializedException,
)
from rclpy.parameter import Parameter
from tests.ros.harness import make_node


def test_constructor_override_wins_over_the_default(graph):
    node = make_node(graph, values={"rate": 2.0})
    assert node.declare_parameter("rate", 1.0).value == 2.0
    assert node.declare_parameter("other", 1.0).value == 1.0
    assert node.get_parameter("rate").type_ == Parameter.Type.DOUBLE


def test_declaring_twice_and_asking_for_the_unknown(graph):
    node = make_node(graph)
    node.declare_parameter("rate", 1.0)
    with pytest.raises(ParameterAlreadyDeclaredException):
        node.declare_parameter("rate", 1.0)
    with pytest.raises(ParameterNotDeclaredException):
        node.get_parameter("unknown")
    with pytest.raises(ParameterNotDeclaredException):
        node.set_parameters([Parameter("unknown", value=1)])
    assert node.get_parameter_or("unknown", Parameter("unknown", value=4)).value == 4


@pytest.mark.parametrize(
    ("default", "override"), [(1.0, 2), (1, 2.0), ("text", 1), ([1.0], [1]), (True, 1), (["a"], "a")]
)
def test_override_of_another_type_is_refused(graph, default, override):
    node = make_node(graph, values={"value": override})
    with pytest.raises(InvalidParameterTypeException):
        node.declare_parameter("value", default)


def test_type_without_value(graph):
    node = make_node(graph)
    node.declare_parameter("value", Parameter.Type.DOUBLE)
    with pytest.raises(ParameterUninitializedException):
        node.get_parameter("value")
    assert not node.set_parameters([Parameter("value", value="text")])[0].successful
    assert node.set_parameters([Parameter("value", value=2.0)])[0].successful
    assert node.get_parameter("value").value == 2.0


def test_ranges(graph):
    node = make_node(graph, values={"outside": 7.0})
    number = ParameterDescriptor(floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1.0)])
    count = ParameterDescriptor(integer_range=[IntegerRange(from_value=0, to_value=10, step=5)])
    node.declare_parameter("number", 0.5, number)
    node.declare_parameter("count", 5, count)
    outcomes = node.set_parameters([Parameter("number", value=1.5), Parameter("number", value=1.0)])
    assert [outcome.successful for outcome in outcomes] == [False, True]
    assert "out of range" in outcomes[0].reason
    assert not node.set_parameters([Parameter("count", value=7)])[0].successful
    assert node.set_parameters([Parameter("count", value=10)])[0].successful
    outside = ParameterDescriptor(floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1.0)])
    with pytest.raises(InvalidParameterValueException):
        node.declare_parameter("outside", 0.5, outside)
    assert not node.has_parameter("outside")


def test_read_only(graph):
    node = make_node(graph, values={"fixed": 2})
    assert node.declare_parameter("fixed", 1, ParameterDescriptor(read_only=True)).value == 2
    outcome = node.set_parameters([Parameter("fixed", value=3)])[0]
    assert not outcome.successful and "read-only" in outcome.reason
    with pytest.raises(ParameterImmutableException):
        node.undeclare_parameter("fixed")


def test_callback_may_refuse(graph):
    node = make_node(graph)
    node.declare_parameter("even", 2)

    def only_even(parameters):
        odd = [parameter.name for parameter in parameters if parameter.value % 2]
        return SetParametersResult(successful=not odd, reason="odd: " + ", ".join(odd) if odd else "")

    node.add_on_set_parameters_callback(only_even)
    assert node.set_parameters([Parameter("even", value=4)])[0].successful
    refused = node.set_parameters([Parameter("even", value=5)])[0]
    assert not refused.successful and refused.reason == "odd: even"
    with pytest.raises(InvalidParameterValueException):
        node.declare_parameter("other", 3)
    node.remove_on_set_parameters_callback(only_even)
    assert node.set_parameters([Parameter("even", value=5)])[0].successful


def test_all_or_none(graph):
    node = make_node(graph)
    node.declare_parameter("a", 1)
    node.declare_parameter("b", 1, ParameterDescriptor(read_only=True))
    outcome = node.set_parameters_atomically([Parameter("a", value=2), Parameter("b", value=2)])
    assert not outcome.successful
    assert [node.get_parameter(name).value for name in "ab"] == [1, 1]


def test_prefix(graph):
    node = make_node(graph)
    node.declare_parameters("guard", [(name, 1.0, ParameterDescriptor()) for name in ("low", "high")])
    found = node.get_parameters_by_prefix("guard")
    assert {name: parameter.value for name, parameter in found.items()} == {"low": 1.0, "high": 1.0}


@pytest.mark.parametrize(
    "value", [True, 3, 0.5, "text", [True, False], [1, 2], [0.5, 1.5], ["a", "b"], [b"\x01"]]
)
def test_message_round_trip(graph, value):
    parameter = Parameter("value", value=value)
    back = Parameter.from_parameter_msg(parameter.to_parameter_msg())
    assert back.type_ == parameter.type_
    assert (list(back.value) if isinstance(value, list) else back.value) == value


@pytest.mark.parametrize("value", [{}, object(), [1, "a"], [1, 2.0]])
def test_value_without_a_type(value):
    with pytest.raises(TypeError):
        Parameter("value", value=value)


def test_services_of_a_node(graph):
    node = make_node(graph)
    node.declare_parameter("rate", 1.0, ParameterDescriptor(description="in Hz"))
    node.declare_parameter("guard.low", 2)
    name = "/node_under_test"
    listed = graph.call(f"{name}/list_parameters", ListParameters).result
    assert {"rate", "guard.low", "use_sim_time"} <= set(listed.names)
    assert "guard" in listed.prefixes
    wanted = GetParameters.Request(names=["rate", "guard.low"])
    values = graph.call(f"{name}/get_parameters", GetParameters, wanted).values
    assert [values[0].double_value, values[1].integer_value] == [1.0, 2]
    request = SetParameters.Request(
        parameters=[Parameter("rate", value=value).to_parameter_msg() for value in (5.0, 5)]
    )
    results = graph.call(f"{name}/set_parameters", SetParameters, request).results
    assert [result.successful for result in results] == [True, False]
    assert node.get_parameter("rate").value == 5.0
    asked = DescribeParameters.Request(names=["rate"])
    described = graph.call(f"{name}/describe_parameters", DescribeParameters, asked).descriptors
    assert [described[0].name, described[0].description] == ["rate", "in Hz"]
