"""The message classes of the embedded graph behave as rclpy's: defaults, checks, constants, modules."""

from __future__ import annotations

import pickle
import sys
from array import array

import numpy as np
import pytest

from spatialbot_policy.errors import SpatialBotError
from spatialbot_ros.embedded.messages import get_interface, message_modules, type_name

NEEDED = (
    "sensor_msgs.msg std_msgs.msg geometry_msgs.msg trajectory_msgs.msg diagnostic_msgs.msg nav_msgs.msg "
    "builtin_interfaces.msg rcl_interfaces.msg rcl_interfaces.srv rosgraph_msgs.msg std_srvs.srv "
    "tf2_msgs.msg action_msgs.msg action_msgs.srv unique_identifier_msgs.msg control_msgs.msg "
    "control_msgs.action franka_msgs.msg franka_msgs.action shape_msgs.msg"
).split()


def new(name: str, /, **values: object):
    return get_interface(name)(**values)


def test_all_needed_modules_are_there_with_their_packages():
    modules = message_modules()
    assert set(NEEDED) <= set(modules)
    for name in NEEDED:
        package, kind = name.split(".")
        assert getattr(modules[package], kind) is modules[name]
    assert message_modules() is modules


def test_classes_are_found_in_their_modules_under_their_full_name():
    for module in NEEDED:
        for name, cls in vars(message_modules()[module]).items():
            if isinstance(cls, type):
                assert get_interface(type_name(cls)) is cls and cls.__name__ == name


def test_an_unknown_type_is_refused():
    with pytest.raises(SpatialBotError, match="no type 'acme_msgs/msg/Cup'; add its definition"):
        get_interface("acme_msgs/msg/Cup")


def test_defaults_are_those_of_the_definitions():
    image = new("sensor_msgs/msg/Image")
    assert image.data == array("B") and image.encoding == "" and image.header.stamp.sec == 0
    info = new("sensor_msgs/msg/CameraInfo")
    assert info.d == array("d") and info.roi.do_rectify is False
    np.testing.assert_array_equal(info.k, np.zeros(9))
    assert info.k.dtype == np.float64 and info.p.shape == (12,)
    assert new("geometry_msgs/msg/PoseStamped").pose.orientation.w == 1.0
    assert new("diagnostic_msgs/msg/DiagnosticStatus").level == b"\0"
    assert get_interface("franka_msgs/action/Grasp").Goal().epsilon.inner == 0.005
    uuid = new("unique_identifier_msgs/msg/UUID").uuid
    assert uuid.dtype == np.uint8 and uuid.shape == (16,)


def test_every_message_has_defaults_of_its_own():
    first, second = new("diagnostic_msgs/msg/DiagnosticArray"), new("diagnostic_msgs/msg/DiagnosticArray")
    first.status.append(new("diagnostic_msgs/msg/DiagnosticStatus"))
    first.header.frame_id = "base"
    assert second.status == [] and second.header.frame_id == ""


def test_constants():
    status = get_interface("diagnostic_msgs/msg/DiagnosticStatus")
    assert (status.OK, status.WARN, status.ERROR, status.STALE) == (b"\0", b"\1", b"\2", b"\3")
    assert get_interface("control_msgs/action/FollowJointTrajectory").Result.GOAL_TOLERANCE_VIOLATED == -5
    assert get_interface("franka_msgs/msg/FrankaRobotState").ROBOT_MODE_REFLEX == 4
    assert get_interface("action_msgs/msg/GoalStatus").STATUS_SUCCEEDED == 4
    assert get_interface("rcl_interfaces/msg/Log").INFO == b"\x14"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("sensor_msgs/msg/Image", "height", 1.0),
        ("sensor_msgs/msg/Image", "height", -1),
        ("sensor_msgs/msg/Image", "height", 2**32),
        ("sensor_msgs/msg/Image", "height", np.uint32(4)),
        ("sensor_msgs/msg/Image", "encoding", b"rgb8"),
        ("sensor_msgs/msg/Image", "data", array("b", [1])),
        ("sensor_msgs/msg/Image", "data", np.zeros(3, np.uint8)),
        ("sensor_msgs/msg/Image", "data", "abc"),
        ("sensor_msgs/msg/Image", "data", [256]),
        ("sensor_msgs/msg/Image", "header", None),
        ("sensor_msgs/msg/JointState", "position", [1]),
        ("sensor_msgs/msg/JointState", "position", np.zeros(7)),
        ("sensor_msgs/msg/JointState", "name", "joint"),
        ("sensor_msgs/msg/JointState", "name", [1]),
        ("sensor_msgs/msg/CameraInfo", "k", np.zeros(9, np.float32)),
        ("sensor_msgs/msg/CameraInfo", "k", np.zeros(8)),
        ("sensor_msgs/msg/CameraInfo", "k", [0.0] * 8),
        ("geometry_msgs/msg/Point", "x", 1),
        ("geometry_msgs/msg/Point", "x", np.float32(1)),
        ("geometry_msgs/msg/Point32", "x", 1e39),
        ("std_msgs/msg/Bool", "data", 1),
        ("std_msgs/msg/Byte", "data", b"ab"),
        ("diagnostic_msgs/msg/DiagnosticStatus", "level", 0),
        ("diagnostic_msgs/msg/DiagnosticStatus", "values", [("key", "value")]),
        ("shape_msgs/msg/SolidPrimitive", "dimensions", [0.1] * 4),
    ],
)
def test_wrong_values_are_refused_when_assigned(name, field, value):
    message = new(name)
    with pytest.raises(AssertionError, match=f"'{field}'"):
        setattr(message, field, value)
    assert message == new(name)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("geometry_msgs/msg/Point", "x", float("nan")),
        ("geometry_msgs/msg/Point32", "x", float("-inf")),
        ("geometry_msgs/msg/Point", "x", np.float64(1)),
        ("sensor_msgs/msg/Image", "height", True),
        ("sensor_msgs/msg/Image", "data", b"abc"),
        ("sensor_msgs/msg/Image", "data", memoryview(b"abc")),
        ("sensor_msgs/msg/Image", "data", [1, 2, 3]),
        ("sensor_msgs/msg/JointState", "name", ("a", "b")),
        ("sensor_msgs/msg/CameraInfo", "k", [0.0] * 9),
        ("sensor_msgs/msg/CameraInfo", "k", np.zeros((3, 3))),
    ],
)
def test_what_rclpy_takes_is_taken(name, field, value):
    message = new(name)
    setattr(message, field, value)
    if field == "data":
        assert isinstance(message.data, array) and bytes(message.data) == bytes(value)


def test_an_array_is_kept_as_it_is_and_the_constructor_copies():
    data = array("B", b"abc")
    message = new("sensor_msgs/msg/Image")
    message.data = data
    assert message.data is data
    assert new("sensor_msgs/msg/Image", data=data).data is not data


def test_the_constructor_takes_arrays_of_numpy_and_whole_numbers_as_rclpy_does():
    assert new("sensor_msgs/msg/JointState", position=np.array([1.0, 2.0])).position == array("d", [1.0, 2.0])
    assert new("sensor_msgs/msg/JointState", position=[1, 2]).position == array("d", [1.0, 2.0])
    assert new("sensor_msgs/msg/Image", data=np.arange(4, dtype=np.uint8)).data == array("B", range(4))
    with pytest.raises(AssertionError, match="'k' of CameraInfo takes 9 values"):
        new("sensor_msgs/msg/CameraInfo", k=np.zeros((3, 3)))


def test_unknown_fields_are_refused():
    with pytest.raises(AssertionError, match="has no field hight, the fields are: header, height"):
        new("sensor_msgs/msg/Image", hight=3)
    with pytest.raises(AttributeError):
        new("sensor_msgs/msg/Image").hight = 3
    with pytest.raises(TypeError):
        get_interface("geometry_msgs/msg/Point")(1.0, 2.0, 3.0)


def test_field_types_are_named_as_in_rclpy():
    assert get_interface("sensor_msgs/msg/CameraInfo").get_fields_and_field_types() == {
        "header": "std_msgs/Header",
        "height": "uint32",
        "width": "uint32",
        "distortion_model": "string",
        "d": "sequence<double>",
        "k": "double[9]",
        "r": "double[9]",
        "p": "double[12]",
        "binning_x": "uint32",
        "binning_y": "uint32",
        "roi": "sensor_msgs/RegionOfInterest",
    }
    fields = get_interface("rcl_interfaces/msg/ParameterDescriptor").get_fields_and_field_types()
    assert fields["integer_range"] == "sequence<rcl_interfaces/IntegerRange, 1>"
    assert fields["read_only"] == "boolean"


def test_messages_compare_by_value_and_have_no_hash():
    one = new("sensor_msgs/msg/CameraInfo", k=np.arange(9.0))
    assert one == new("sensor_msgs/msg/CameraInfo", k=np.arange(9.0))
    assert one != new("sensor_msgs/msg/CameraInfo")
    assert one != 3
    with pytest.raises(TypeError):
        hash(one)


def test_a_message_shows_its_values():
    shown = repr(new("sensor_msgs/msg/JointState", name=["a"], position=[1.0]))
    assert shown.startswith("sensor_msgs.msg.JointState(header=std_msgs.msg.Header(")
    assert "name=['a'], position=[1.0], velocity=[]" in shown


def test_services_and_actions_have_their_parts():
    trigger = get_interface("std_srvs/srv/Trigger")
    assert trigger.Response(success=True, message="held").message == "held"
    assert trigger.Request() == trigger.Request() != trigger.Response()
    move = get_interface("franka_msgs/action/Move")
    assert move.Goal(width=0.08, speed=0.1).width == 0.08
    assert move.Impl.SendGoalService.Request(goal=move.Goal(width=0.04)).goal.width == 0.04
    assert move.Impl.GetResultService.Response().result == move.Result()
    assert move.Impl.FeedbackMessage().feedback == move.Feedback()
    assert get_interface("franka_msgs/action/ErrorRecovery").Goal.get_fields_and_field_types() == {}
    assert type_name(trigger) == "std_srvs/srv/Trigger" and type_name(move) == "franka_msgs/action/Move"
    for bundle in (trigger, move):
        with pytest.raises(NotImplementedError, match="make one of"):
            bundle()


def test_messages_can_be_pickled_where_their_modules_are_installed(monkeypatch):
    for name, module in message_modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    message = new("geometry_msgs/msg/PoseStamped")
    message.pose.position.x = 0.5
    assert pickle.loads(pickle.dumps(message)) == message
