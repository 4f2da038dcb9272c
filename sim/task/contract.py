"""What a simulated task promises, and a checkpoint or data set must agree on: cameras, rate, bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.types import Observation
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.task.workplace import (
    CAMERA,
    CONTROL_HZ,
    IMAGE_SIZE,
    ROTATION_BOUND_RAD,
    TRANSLATION_BOUND_M,
    WRIST_CAMERA,
)


@dataclass(frozen=True)
class SimulatorContract:
    """Inputs and outputs of a simulated task.

    Attributes:
        cameras: all that the simulator can show.
        rate_hz: control steps a second.
        translation_bound_m: largest translation of a step.
        rotation_bound_rad: largest rotation of a step.
    """

    cameras: tuple[CameraConfig, ...]
    rate_hz: float
    translation_bound_m: float
    rotation_bound_rad: float

    def check(self, policy: PolicyConfig, task: str) -> None:
        """Refuse a checkpoint whose images or actions would mean something else here.

        A policy may look at fewer cameras than there are; history, prompt and depth are its own affair.

        Raises:
            CheckpointError: lists every disagreement with both values.
        """
        known = {camera.name: camera for camera in self.cameras}
        cameras = tuple(known[camera.name] for camera in policy.cameras if camera.name in known)
        space = replace(
            policy.action_space,
            translation_bound_m=self.translation_bound_m,
            rotation_bound_rad=self.rotation_bound_rad,
        )
        mine = replace(policy, cameras=cameras or self.cameras[:1], rate_hz=self.rate_hz, action_space=space)
        policy.check_matches(mine, f"the simulator's {task}")


SPATIAL_CONTRACT = SimulatorContract(
    cameras=tuple(CameraConfig(name, IMAGE_SIZE, IMAGE_SIZE) for name in (CAMERA, WRIST_CAMERA)),
    rate_hz=float(CONTROL_HZ),
    translation_bound_m=TRANSLATION_BOUND_M,
    rotation_bound_rad=ROTATION_BOUND_RAD,
)
"""That of SpatialPickPlace, whose wrist camera is made when a checkpoint lists it."""


def contract_of(robot: SimRobot, observation: Observation) -> SimulatorContract:
    """What a simulator that runs really offers."""
    cameras = tuple(
        CameraConfig(frame.camera, frame.color.shape[1], frame.color.shape[0])
        for frame in observation.frames.values()
    )
    return SimulatorContract(cameras, robot.rate_hz, robot.translation_bound_m, robot.rotation_bound_rad)


def contract_for(task: str) -> SimulatorContract:
    """Contract of a task; ManiSkill's own tasks are built once to be asked.

    Raises:
        TaskError: the task is unknown.
    """
    if task == SPATIAL_TASK:
        return SPATIAL_CONTRACT
    robot = SimRobot(task)
    try:
        return contract_of(robot, robot.reset(0))
    finally:
        robot.close()
