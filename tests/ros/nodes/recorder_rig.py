"""A robot with one camera for the tests of recording: what it publishes in a control step."""

from __future__ import annotations

from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from tests.policy import episode_samples as samples

from spatialbot_policy.episodes import topics
from spatialbot_ros.convert.actions import from_action
from spatialbot_ros.convert.camera_info import from_intrinsics
from spatialbot_ros.convert.images import from_color, from_depth
from spatialbot_ros.convert.named_vectors import from_named
from spatialbot_ros.convert.states import from_pose
from spatialbot_ros.logic.action_target import opening_m
from spatialbot_ros.logic.pose import Pose

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COLOR, DEPTH = topics.color_topic("camera"), topics.depth_topic("camera")
INFO = topics.camera_info_topic("camera")
START, SAVE, DISCARD = (f"/spatialbot/recorder/{name}" for name in ("start", "save", "discard"))
WORDS = "pick up the red cup"


class Robot:
    """Publishes what a robot with one camera does in a control step; `silent` topics stay out."""

    def __init__(self, graph: Any, silent: tuple[str, ...] = ()) -> None:
        self._graph, self.silent = graph, silent
        self._publish(topics.INSTRUCTION_TOPIC, String(data=WORDS), LATCHED)
        self.steps = 0

    def _publish(self, topic: str, message: Any, qos: Any = 10) -> None:
        if topic not in self.silent:
            self._graph.publish(topic, message, qos)

    def step(self, act: bool = True) -> int:
        """One period later: pictures, state and, if wanted, an action; returns the stamp."""
        self._graph.advance(0.1, 0.1)
        self.steps += 1
        stamp, step = self._graph.now_ns, self.steps
        frame, state = samples.frame(step), samples.state(step)
        joints = dict(zip(topics.ARM_JOINTS, state.joint_positions_rad.tolist(), strict=True))
        joints[topics.FINGER_JOINT] = opening_m(state.gripper_closure)
        pose = Pose(state.tcp_position_m, state.tcp_quaternion_xyzw)
        self._publish(topics.JOINTS_TOPIC, from_named(stamp, joints))
        self._publish(topics.POSE_TOPIC, from_pose(stamp, "base", pose))
        self._publish(INFO, from_intrinsics(samples.intrinsics(), stamp, "camera"))
        self._publish(DEPTH, from_depth(frame.depth_mm, stamp, "camera"))
        self._publish(COLOR, from_color(frame.color, stamp, "camera"))
        if act:
            self._publish(topics.ACTION_TOPIC, from_action(stamp, samples.action(step)))
            self._publish(topics.EXECUTED_TOPIC, from_action(stamp, samples.action(step)))
        return stamp
