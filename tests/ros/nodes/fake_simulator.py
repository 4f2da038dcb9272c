"""A simulator in a few lines, with what sim_node uses of SimRobot: its arm obeys at once."""

from __future__ import annotations

import numpy as np

from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.types import Observation, RgbdFrame, RobotState
from spatialbot_ros.logic.action_target import closure_of
from spatialbot_ros.logic.arm_models import SIM_PANDA
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.pose import Pose
from spatialbot_sim.task.robot import StepResult

SIZE = 16
HOME_RAD = np.array([0.0, -0.25, 0.0, -2.35, 0.0, 2.1, np.pi / 4])


class FakeSimulator:
    """Its pictures show the seed and the number of the step; the task is done after `steps_to_success`."""

    rate_hz = 10.0

    def __init__(self, steps_to_success: int = 4) -> None:
        self._kinematics = ArmKinematics(SIM_PANDA)
        self._steps_to_success = steps_to_success
        self._joints = HOME_RAD
        self._closure = 0.0
        self._seed = 0
        self.steps = 0
        self.moves: list[tuple[Pose, float]] = []
        self.seeds: list[int] = []

    @property
    def pose(self) -> Pose:
        return self._kinematics.forward(self._joints)

    def reset(self, seed: int, family: str | None = None) -> Observation:
        self._joints, self._closure, self._seed, self.steps = HOME_RAD, 0.0, seed, 0
        self.seeds.append(seed)
        return self._observation()

    def move(self, target: Pose, finger_m: float) -> StepResult:
        self.moves.append((target, finger_m))
        self._joints = self._kinematics.solve(target, self._joints, 0.1).joints_rad
        self._closure = closure_of(finger_m)
        self.steps += 1
        flags = {"success": self.steps >= self._steps_to_success, "lifted": self.steps > 1}
        return StepResult(self._observation(), flags)

    def intrinsics(self, frame: RgbdFrame) -> CameraIntrinsics:
        return CameraIntrinsics(SIZE, SIZE, 20.0, 20.0, SIZE / 2, SIZE / 2)

    def close(self) -> None:
        """Nothing to release."""

    def _observation(self) -> Observation:
        color = np.full((SIZE, SIZE, 3), self.steps % 256, np.uint8)
        color[0, 0, 0] = self._seed % 256
        depth = np.full((SIZE, SIZE), 500 + self.steps, np.uint16)
        frame = RgbdFrame("camera", 0, color, depth)
        pose = self.pose
        state = RobotState(0, pose.position_m, pose.quaternion_xyzw, self._closure, self._joints)
        return Observation(0, f"put object {self._seed % 100} on the board", {"camera": frame}, state)
