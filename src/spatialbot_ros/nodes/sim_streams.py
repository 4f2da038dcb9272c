"""What the sim node publishes: the clock, and of one observation the robot's state, then the cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState

from spatialbot_policy.episodes.topics import (
    ARM_JOINTS,
    FINGER_JOINT,
    CameraIntrinsics,
    camera_info_topic,
    color_topic,
    depth_topic,
)
from spatialbot_policy.types import Observation, RgbdFrame, RobotState
from spatialbot_ros.convert.camera_info import from_intrinsics
from spatialbot_ros.convert.images import from_color, from_depth
from spatialbot_ros.convert.stamps import to_time
from spatialbot_ros.convert.states import from_pose
from spatialbot_ros.logic.action_target import opening_m
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.nodes.sim_parameters import SimParameters

_QOS = QoSProfile(depth=10)  # reliable: in lock-step a lost picture would cost the patience


def restamped(observation: Observation, stamp_ns: int) -> Observation:
    """The same observation at another time."""
    frames = {name: replace(frame, stamp_ns=stamp_ns) for name, frame in observation.frames.items()}
    state = None if observation.state is None else replace(observation.state, stamp_ns=stamp_ns)
    return replace(observation, stamp_ns=stamp_ns, frames=frames, state=state)


class SimStreams:
    """Publishers of a simulated robot with its cameras.

    The state goes out before the pictures, so that a subscriber to both mostly has it when a picture asks.

    Args:
        node: that publishes.
        parameters: names of the topics.
        intrinsics: of the camera that took a frame.
    """

    def __init__(
        self, node: Node, parameters: SimParameters, intrinsics: Callable[[RgbdFrame], CameraIntrinsics]
    ) -> None:
        self._node = node
        self._base_frame = parameters.base_frame
        self._intrinsics = intrinsics
        self._clock = node.create_publisher(Clock, "/clock", _QOS)
        self._joints = node.create_publisher(JointState, parameters.joints_topic, _QOS)
        self._pose = node.create_publisher(PoseStamped, parameters.pose_topic, _QOS)
        self._cameras: dict[str, tuple[Publisher, Publisher, Publisher]] = {}

    def publish_clock(self, stamp_ns: int) -> None:
        """Make it this time for every node on simulated time."""
        self._clock.publish(Clock(clock=to_time(stamp_ns)))

    def publish(self, observation: Observation) -> None:
        """Publish state and pictures, all with the observation's stamp."""
        if observation.state is not None:
            self._publish_state(observation.state)
        for frame in observation.frames.values():
            self._publish_frame(frame)

    def _publish_state(self, state: RobotState) -> None:
        joints = JointState(
            name=[*ARM_JOINTS, FINGER_JOINT],
            position=[*state.joint_positions_rad.tolist(), opening_m(state.gripper_closure)],
        )
        joints.header.stamp = to_time(state.stamp_ns)
        joints.header.frame_id = self._base_frame
        self._joints.publish(joints)
        pose = Pose(state.tcp_position_m, state.tcp_quaternion_xyzw)
        self._pose.publish(from_pose(state.stamp_ns, self._base_frame, pose))

    def _publish_frame(self, frame: RgbdFrame) -> None:
        if frame.camera not in self._cameras:
            self._cameras[frame.camera] = self._publishers(frame.camera)
        color, depth, info = self._cameras[frame.camera]
        frame_id = f"{frame.camera}_color_optical_frame"
        info.publish(from_intrinsics(self._intrinsics(frame), frame.stamp_ns, frame_id))
        if frame.depth_mm is not None:
            depth.publish(from_depth(frame.depth_mm, frame.stamp_ns, frame_id))
        color.publish(from_color(frame.color, frame.stamp_ns, frame_id))

    def _publishers(self, camera: str) -> tuple[Publisher, Publisher, Publisher]:
        make = self._node.create_publisher
        return (
            make(Image, color_topic(camera), _QOS),
            make(Image, depth_topic(camera), _QOS),
            make(CameraInfo, camera_info_topic(camera), _QOS),
        )
