"""A robot and a policy for tests of the arm node: their topics and actions, and switches for their faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import franka_msgs.action
import numpy as np
from control_msgs.action import GripperCommand
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from franka_msgs.msg import FrankaRobotState
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState

from spatialbot_policy.episodes.topics import BASE_FRAME
from spatialbot_policy.types import ActionStep
from spatialbot_ros.convert.actions import from_action
from spatialbot_ros.convert.named_vectors import from_named
from spatialbot_ros.convert.states import from_pose, to_pose
from spatialbot_ros.logic.arm_models import FR3
from spatialbot_ros.logic.kinematics import ArmKinematics

# not in every release of franka_msgs
ErrorRecovery = getattr(franka_msgs.action, "ErrorRecovery", None)
RECOVERY_ACTION = "" if ErrorRecovery is None else "/action_server/error_recovery"
STATE_TOPIC = "/franka_robot_state_broadcaster/robot_state"
MOVE, REFLEX, USER_STOPPED = 2, 4, 5
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class FakeRobot(Node):
    """An FR3 that reaches each target pose at once and reports its state at 100 Hz.

    Attributes:
        silent: names of the streams that have stopped, of "pose", "joints" and "state".
        frozen_ns: stamp of all states from now on; 0 for the time.
        mode, reflex: what the robot's state says.
        recovers: whether the recovery action clears that.
        gripper: how goals end: "reach", "refuse", "fail", "stall" or "ignore".
        positions: finger positions that were asked for.
    """

    def __init__(self, parameters: Sequence[Any], frame_id: str = BASE_FRAME) -> None:
        super().__init__("fake_robot", parameter_overrides=list(parameters))
        self.kinematics = ArmKinematics(FR3)
        self.joints = np.array(FR3.home_rad)
        self.silent: set[str] = set()
        self.frozen_ns = 0
        self.mode, self.reflex, self.recovers = MOVE, False, True
        self.gripper = "reach"
        self.positions: list[float] = []
        self.recoveries = 0
        self._frame_id = frame_id
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._pose = self.create_publisher(PoseStamped, "/spatialbot/ee_pose", 10)
        self._state = self.create_publisher(FrankaRobotState, STATE_TOPIC, 10)
        self.create_subscription(PoseStamped, "/target_pose", self._on_target, 1)
        self._servers: list[Any] = []
        if ErrorRecovery is not None:
            self._servers.append(ActionServer(self, ErrorRecovery, RECOVERY_ACTION, self._on_recovery))
        self._servers.append(
            ActionServer(
                self,
                GripperCommand,
                "/fr3_gripper/gripper_action",
                self._on_gripper,
                goal_callback=self._on_gripper_goal,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
        )
        self.create_timer(0.01, self.report)

    def report(self) -> None:
        """Publish the state once."""
        stamp_ns = self.frozen_ns or self.get_clock().now().nanoseconds
        if "joints" not in self.silent:
            named = dict(zip(FR3.joint_names, self.joints.tolist(), strict=True))
            self._joints.publish(from_named(stamp_ns, named))
        if "pose" not in self.silent:
            self._pose.publish(from_pose(stamp_ns, self._frame_id, self.kinematics.forward(self.joints)))
        if "state" not in self.silent:
            state = FrankaRobotState(robot_mode=self.mode)
            state.current_errors.cartesian_reflex = self.reflex
            self._state.publish(state)

    def destroy_node(self) -> None:
        """End the actions, too: rclpy leaves them to the garbage collector."""
        for server in self._servers:
            server.destroy()
        self._servers.clear()
        super().destroy_node()

    def _on_target(self, message: PoseStamped) -> None:
        self.joints = self.kinematics.solve(to_pose(message), self.joints, 1.0).joints_rad

    def _on_recovery(self, goal: Any) -> Any:
        self.recoveries += 1
        if self.recovers:
            self.mode, self.reflex = MOVE, False
            goal.succeed()
        else:
            goal.abort()
        return ErrorRecovery.Result()

    def _on_gripper_goal(self, request: Any) -> Any:
        self.positions.append(request.command.position)
        return GoalResponse.REJECT if self.gripper == "refuse" else GoalResponse.ACCEPT

    def _on_gripper(self, goal: Any) -> Any:
        if self.gripper == "reach":
            goal.succeed()
        else:
            goal.abort()
        return GripperCommand.Result(reached_goal=self.gripper == "reach", stalled=self.gripper == "stall")


class FakePolicy(Node):
    """Says that it is active and answers at 30 Hz with one and the same action.

    Attributes:
        action: that it answers; None for silence.
        lag_s: age of its observations.
        frame_id: of its messages.
    """

    def __init__(self, parameters: Sequence[Any], teleop: bool = False, rate_hz: float = 30.0) -> None:
        super().__init__("fake_teleop" if teleop else "fake_policy", parameter_overrides=list(parameters))
        self.action: ActionStep | None = None
        self.lag_s = 0.0
        topic = "/spatialbot/teleop_action" if teleop else "/spatialbot/action"
        self._actions = self.create_publisher(JointState, topic, 1)
        self._status = None
        if not teleop:
            self._status = self.create_publisher(DiagnosticStatus, "/spatialbot/policy/status", LATCHED)
        self.create_timer(1.0 / rate_hz, self.answer)

    def tell(self, active: bool, message: str = "") -> None:
        """Publish the policy's status."""
        level = DiagnosticStatus.OK if active else DiagnosticStatus.ERROR
        reason = KeyValue(key="reason", value=message)
        status = DiagnosticStatus(level=level, name="policy", message=message, values=[reason])
        if self._status is not None:
            self._status.publish(status)

    def answer(self) -> None:
        """Publish the action once."""
        if self.action is not None:
            stamp_ns = self.get_clock().now().nanoseconds - round(self.lag_s * 1e9)
            self._actions.publish(from_action(stamp_ns, self.action))

    def publish(self, message: JointState) -> None:
        """Publish a message of one's own."""
        self._actions.publish(message)


def move(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0, closure: float = 0.0
) -> ActionStep:
    """An action in metres and radians."""
    return ActionStep(np.array([x, y, z]), np.array([0.0, 0.0, yaw]), closure)
