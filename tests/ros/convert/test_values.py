"""Stamps, actions, states, intrinsics and statuses: exact round trips, refusals that say what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, JointState

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episodes.topics import ARM_JOINTS, CameraIntrinsics
from spatialbot_policy.errors import ActionError, FrameError
from spatialbot_policy.types import ActionStep
from spatialbot_ros.convert.actions import from_action, to_action, to_action_step
from spatialbot_ros.convert.camera_info import from_intrinsics, to_intrinsics
from spatialbot_ros.convert.named_vectors import from_named, pick, to_named
from spatialbot_ros.convert.stamps import stamp_ns, to_duration, to_header, to_time
from spatialbot_ros.convert.states import from_pose, to_arm_joints, to_closure, to_pose
from spatialbot_ros.convert.status import is_ok, make_status, reason_of
from spatialbot_ros.logic.pose import Pose

STAMPS = st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ACTION = {name: 0.001 * index for index, name in enumerate(ACTION_NAMES)}


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@given(STAMPS)
def test_stamps_and_durations_come_back_exactly(nanoseconds):
    assert stamp_ns(over_the_wire(to_time(nanoseconds))) == nanoseconds
    assert stamp_ns(over_the_wire(to_duration(nanoseconds))) == nanoseconds
    assert isinstance(to_duration(nanoseconds), Duration)
    header = to_header(nanoseconds, "base")
    assert stamp_ns(header) == nanoseconds and stamp_ns(JointState(header=header)) == nanoseconds


@pytest.mark.parametrize("nanoseconds", [2**31 * 10**9, -(2**31) * 10**9 - 1])
def test_a_stamp_beyond_the_message_is_refused(nanoseconds):
    with pytest.raises(FrameError, match="no time of ROS 2"):
        to_time(nanoseconds)


@given(st.lists(NUMBERS, min_size=7, max_size=7), st.booleans(), STAMPS)
def test_actions_cross_the_wire_bit_by_bit(numbers, terminate, stamp):
    action = ActionStep(np.array(numbers[:3]), np.array(numbers[3:6]), numbers[6], terminate)
    received = over_the_wire(from_action(stamp, action))
    vector, flag = to_action(received)
    assert vector.tobytes() == action.as_vector().tobytes() and flag == terminate
    assert stamp_ns(received) == stamp and len(received.name) == 7 + terminate
    assert to_action_step(received).as_vector().tobytes() == vector.tobytes()


def test_the_order_of_an_actions_names_does_not_matter():
    vector, terminate = to_action(from_named(0, dict(reversed(ACTION.items())) | {"terminate": 0.4}))
    np.testing.assert_array_equal(vector, list(ACTION.values()))
    assert terminate is False


def test_numbers_that_are_not_finite_are_left_to_the_guard():
    message = from_named(0, ACTION | {"dz": float("nan"), "gripper": float("inf")})
    assert np.isnan(to_action(message)[0][2])
    with pytest.raises(ActionError, match="must be finite"):
        to_action_step(message)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (ACTION_NAMES[:-1], "missing gripper, unknown none"),
        ((*ACTION_NAMES, "speed"), "missing none, unknown speed"),
        ((*ACTION_NAMES, "dx"), "the names dx come twice"),
        ((), "missing dx, dy"),
    ],
)
def test_an_action_with_other_names_is_refused(names, reason):
    message = JointState(name=list(names), position=[0.0] * len(names))
    with pytest.raises(ActionError, match=reason):
        to_action(message)


def test_an_action_with_fewer_numbers_than_names_is_refused():
    with pytest.raises(ActionError, match="7 names and 6 positions"):
        to_action(JointState(name=list(ACTION_NAMES), position=[0.0] * 6))


@given(st.dictionaries(st.text(max_size=4).filter(lambda name: "\0" not in name), NUMBERS))
def test_named_numbers_come_back(values):
    assert to_named(over_the_wire(from_named(3, values, "base"))) == values


def test_joints_are_picked_by_name():
    joints = dict(zip(ARM_JOINTS, np.linspace(-1, 1, 7).tolist(), strict=True))
    message = from_named(0, {"fr3_finger_joint1": 0.01, **dict(reversed(joints.items()))})
    np.testing.assert_array_equal(to_arm_joints(message), np.linspace(-1, 1, 7))
    assert to_closure(message) == pytest.approx(0.75)
    assert to_closure(message, "panda_finger_joint1") is None
    np.testing.assert_array_equal(pick(message, ["fr3_joint7", "fr3_joint1"]), [1.0, -1.0])


def test_a_missing_joint_is_named():
    with pytest.raises(FrameError, match="fr3_joint7 are missing.*parameter of the joint names"):
        to_arm_joints(from_named(0, dict.fromkeys(ARM_JOINTS[:-1], 0.0)))


@given(st.lists(NUMBERS, min_size=3, max_size=3), STAMPS)
def test_poses_cross_the_wire_bit_by_bit(position, stamp):
    pose = Pose(np.array(position), np.array([0.1, -0.7, 0.1, 0.7]) / np.linalg.norm([0.1, -0.7, 0.1, 0.7]))
    received = over_the_wire(from_pose(stamp, "fr3_link0", pose))
    back = to_pose(received)
    assert back.position_m.tobytes() == pose.position_m.tobytes()
    assert back.quaternion_xyzw.tobytes() == pose.quaternion_xyzw.tobytes()
    assert (stamp_ns(received), received.header.frame_id) == (stamp, "fr3_link0")


def test_a_pose_that_is_no_pose_is_refused():
    message = from_pose(0, "base", Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])))
    message.pose.position.y = float("nan")
    with pytest.raises(ActionError, match="finite"):
        to_pose(message)


def test_intrinsics_come_back():
    intrinsics = CameraIntrinsics(640, 480, 600.5, 601.5, 320.25, 240.75, (0.1, -0.2, 0.001, 0.002, 0.3))
    received = over_the_wire(from_intrinsics(intrinsics, 7, "camera_color_optical_frame"))
    assert to_intrinsics(received) == intrinsics
    assert received.header.frame_id == "camera_color_optical_frame"


def test_a_rectified_camera_of_any_model_has_no_distortion():
    message = from_intrinsics(CameraIntrinsics(8, 6, 5.0, 5.0, 4.0, 3.0), 0, "camera")
    message.distortion_model, message.d = "rational_polynomial", [0.0] * 8
    assert to_intrinsics(message).distortion == (0.0,) * 5
    message.d = []
    assert to_intrinsics(message).distortion == (0.0,) * 5


def test_cameras_that_cannot_be_used_are_refused():
    message = from_intrinsics(CameraIntrinsics(8, 6, 5.0, 5.0, 4.0, 3.0), 0, "camera")
    message.distortion_model, message.d = "equidistant", [0.1] * 4
    with pytest.raises(FrameError, match="'equidistant' with 4 coefficients.*rectified"):
        to_intrinsics(message)
    with pytest.raises(FrameError, match="not calibrated"):
        to_intrinsics(CameraInfo(width=8, height=6))
    message.d, message.width = [], 0
    with pytest.raises(FrameError, match="positive size"):
        to_intrinsics(message)


def test_statuses_carry_the_reason():
    fault = over_the_wire(
        make_status(DiagnosticStatus.ERROR, "spatialbot/arm", "pose_stopped", "no pose", {"rate_hz": 9.9})
    )
    assert fault.level == DiagnosticStatus.ERROR and not is_ok(fault)
    assert (fault.name, fault.message, reason_of(fault)) == ("spatialbot/arm", "no pose", "pose_stopped")
    assert {entry.key: entry.value for entry in fault.values}["rate_hz"] == "9.9"
    works = over_the_wire(make_status(DiagnosticStatus.OK, "spatialbot/arm", "", "following"))
    assert is_ok(works) and reason_of(works) == ""
    assert reason_of(DiagnosticStatus()) == ""
