"""An arm node between a robot and a policy that tests switch, and all that it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from tests.ros.harness import Graph
from tests.ros.nodes.fake_robot import LATCHED, RECOVERY_ACTION, STATE_TOPIC, FakePolicy, FakeRobot, move

from spatialbot_policy.types import ActionStep
from spatialbot_ros.convert.states import to_pose
from spatialbot_ros.convert.status import reason_of
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.nodes.arm_node import ArmNode

STEP_S = 1 / 150
TWO_FRAMES_S = 2 / 30
PARAMETERS = {
    "control_rate_hz": 30.0,
    "command_rate_hz": 0.0,
    "robot.state_topic": STATE_TOPIC,
    "robot.recovery_action": RECOVERY_ACTION,
}


class ArmBench:
    """The graph of a test.

    Attributes:
        targets, executed, statuses: what the arm node published so far.
    """

    def __init__(self, graph: Graph, arm: bool = True, **parameters: Any) -> None:
        self.graph = graph
        self.robot = graph.add(FakeRobot(graph.parameters()))
        self.policy = graph.add(FakePolicy(graph.parameters()))
        self.teleop = graph.add(FakePolicy(graph.parameters(), teleop=True))
        self.targets: list[PoseStamped] = graph.record(PoseStamped, "/target_pose")
        self.executed: list[JointState] = graph.record(JointState, "/spatialbot/executed_action")
        self.statuses: list[DiagnosticStatus] = graph.record(
            DiagnosticStatus, "/spatialbot/arm/status", LATCHED
        )
        if arm:
            given = PARAMETERS | {name.replace("__", "."): value for name, value in parameters.items()}
            self.arm = graph.add(ArmNode(parameter_overrides=graph.parameters(given)))
            self.advance(0.03)

    def advance(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.graph.advance(seconds, STEP_S)

    def call(self, name: str) -> Any:
        """Call one of the arm's services."""
        return self.graph.call(f"/spatialbot/arm/{name}")

    def resume(self) -> Any:
        """Let the policy in, once everything was found."""
        self.graph.until(lambda: self.call("resume").success)

    def follow(self, action: ActionStep | None = None) -> ArmBench:
        """Bring the arm to follow the policy."""
        self.policy.tell(True)
        self.resume()
        self.policy.action = move(x=0.002) if action is None else action
        self.graph.until(lambda: self.mode == "following", 1.0, STEP_S)
        self.advance(0.05)
        return self

    @property
    def mode(self) -> str:
        """What the arm says that it does: a mode, or why it does nothing."""
        status = self.statuses[-1]
        return reason_of(status) or status.message

    @property
    def stopped(self) -> bool:
        """Whether the arm waits for a recovery."""
        return bool(self.statuses[-1].level == DiagnosticStatus.ERROR)

    @property
    def measured(self) -> Pose:
        """Where the robot's tool is."""
        return self.robot.kinematics.forward(self.robot.joints)

    def ends_with(self, reason: Reason, stopped: bool, before: int | None = None) -> None:
        """Check that motion ends for a reason within two frames, with a hold command last, and stays ended.

        Args:
            reason: that the arm gives.
            stopped: whether it then waits for a recovery.
            before: how many commands there were before the fault; those of now if not given.
        """
        count = len(self.targets) if before is None else before
        self.advance(TWO_FRAMES_S)
        assert (self.mode, self.stopped) == (str(reason), stopped)
        assert len(self.targets) > count
        distance_m, turn_rad = to_pose(self.targets[-1]).distance(self.measured)
        assert distance_m < 1e-4 and turn_rad < 1e-3, "the last command is to stand still"
        self.stays()

    def stays(self) -> None:
        """Check that nothing moves by itself."""
        count, mode = len(self.targets), self.mode
        self.graph.advance(0.3, 0.03)
        assert (len(self.targets), self.mode) == (count, mode)


def vector(message: JointState) -> np.ndarray:
    """(7,) numbers of an action message."""
    return np.array(message.position)[:7]
