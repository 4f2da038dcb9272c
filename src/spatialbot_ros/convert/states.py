"""What the robot reports of itself: tool pose, arm joints and gripper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, PoseStamped, Quaternion
from geometry_msgs.msg import Pose as PoseMessage
from sensor_msgs.msg import JointState

from spatialbot_policy.episodes.topics import ARM_JOINTS, FINGER_JOINT
from spatialbot_policy.types import FloatArray
from spatialbot_ros.convert.named_vectors import pick, to_named
from spatialbot_ros.convert.stamps import to_header
from spatialbot_ros.logic.action_target import closure_of
from spatialbot_ros.logic.pose import Pose


def to_pose(message: PoseStamped) -> Pose:
    """Pose of a message, in the frame that its header names.

    Raises:
        ActionError: a number is not finite, or the quaternion is zero.
    """
    position, orientation = message.pose.position, message.pose.orientation
    return Pose(
        np.array([position.x, position.y, position.z]),
        np.array([orientation.x, orientation.y, orientation.z, orientation.w]),
    )


def from_pose(stamp_ns: int, frame_id: str, pose: Pose) -> PoseStamped:
    """Message of a pose; numbers pass bit by bit."""
    x, y, z = pose.position_m.tolist()
    qx, qy, qz, qw = pose.quaternion_xyzw.tolist()
    return PoseStamped(
        header=to_header(stamp_ns, frame_id),
        pose=PoseMessage(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
    )


def to_arm_joints(message: JointState, names: Sequence[str] = ARM_JOINTS) -> FloatArray:
    """(7,) joint positions in radians in the order of `names`, as they came: they may be NaN.

    Raises:
        FrameError: a joint is missing, or the message is malformed.
    """
    return pick(message, names)


def to_closure(message: JointState, finger: str = FINGER_JOINT) -> float | None:
    """Gripper closure (1 = closed) from the opening of one finger; None where the message lacks the finger.

    Raises:
        FrameError: the message is malformed.
    """
    opening_m = to_named(message).get(finger)
    return None if opening_m is None else closure_of(opening_m)
