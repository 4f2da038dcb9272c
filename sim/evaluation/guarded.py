"""What stands between a policy and the simulated robot: the guard, used as the arm node uses it."""

from __future__ import annotations

from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionStep, Observation
from spatialbot_ros.logic.action_target import opening_m, target_pose
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.safety import RobotReading
from spatialbot_sim.task.limits import sim_guard
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot, StepResult


class GuardedRobot:
    """Carries out actions through the guard; one for each episode.

    ManiSkill's own tasks move faster than the guard lets any Franka move, so they go without.
    """

    def __init__(self, robot: SimRobot) -> None:
        self._robot = robot
        self._guard = sim_guard() if robot.task == SPATIAL_TASK else None

    def step(self, action: ActionStep, observation: Observation) -> StepResult | Refusal:
        """Carry out an action, or say why the guard sends none.

        Args:
            action: the policy's answer.
            observation: to which; its state is where the action begins.
        """
        if self._guard is None:
            return self._robot.step(action)
        state, now_ns = observation.state, observation.stamp_ns
        if state is None:
            raise TaskError("the guard needs the robot's state in each observation; the simulator gives it")
        admitted = self._guard.admit(action.as_vector(), now_ns, now_ns)
        if isinstance(admitted, Refusal):
            return admitted
        reading = RobotReading(
            now_ns, Pose(state.tcp_position_m, state.tcp_quaternion_xyzw), state.joint_positions_rad
        )
        target = target_pose(reading.pose, admitted)
        verdict = self._guard.advance(
            target, admitted.gripper_closure, reading, now_ns, 1.0 / self._robot.rate_hz
        )
        command = verdict.command
        if command is None:
            return verdict.refusal or Refusal(Reason.STATE_INVALID, "the guard sends no command")
        return self._robot.move(command.pose, opening_m(command.gripper_closure))
