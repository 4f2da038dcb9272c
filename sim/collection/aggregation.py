"""On-policy aggregation (DAgger): a checkpoint drives, the expert says what would have been right.

Imitation meets at run time the states that its own mistakes lead to; here they are recorded, each with the
expert's answer to it. The expert drives on some stretches, so that late stages of the task come up as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatialbot_policy.config import CameraConfig
from spatialbot_policy.episode import EpisodeWriter, Outcome
from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionStep, Observation, Policy
from spatialbot_ros.logic.action_target import delta_between
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_sim.collection.repair import beyond_repair
from spatialbot_sim.collection.steps import write_step
from spatialbot_sim.collection.stills import ArmPoser
from spatialbot_sim.evaluation.guarded import GuardedRobot
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.task.contract import SPATIAL_CONTRACT
from spatialbot_sim.task.failures import failure_kind
from spatialbot_sim.task.robot import SimRobot, StepResult
from spatialbot_sim.task.workplace import CAMERA, SPATIAL_TASK, WRIST_CAMERA

STRETCH_STEPS = (5, 15)
"""Shortest and longest stretch of steps that one driver has; 10 on average."""


@dataclass
class Turns:
    """Who drives at each step: stretches of random length, each given to the policy with one probability.

    Args:
        rng: generator of the episode.
        policy_share: of the stretches; 1 for the policy alone.
    """

    rng: np.random.Generator
    policy_share: float

    def __post_init__(self) -> None:
        self._left, self._policy = 0, False

    def policy_drives(self) -> bool:
        """Whether the policy has the next step."""
        if self._left == 0:
            shortest, longest = STRETCH_STEPS
            self._left = int(self.rng.integers(shortest, longest + 1))
            self._policy = bool(self.rng.random() < self.policy_share)
        self._left -= 1
        return self._policy


class TellingRobot(GuardedRobot):
    """Carries out actions through the guard, and tells what it made of them."""

    def carry_out(
        self, action: ActionStep, observation: Observation
    ) -> tuple[StepResult | Refusal, ActionStep | None]:
        """The step's result or the guard's refusal, and the action sent; None where none was.

        Args:
            action: what the driver wants.
            observation: the one it answers.
        """
        result = self.step(action, observation)
        if isinstance(result, Refusal):
            return result, None
        command = None if self._guard is None else self._guard.last_command
        if command is None or observation.state is None:
            return result, action
        state = observation.state
        measured = Pose(state.tcp_position_m, state.tcp_quaternion_xyzw)
        translation, rotation = delta_between(measured, command.pose)
        return result, ActionStep(translation, rotation, command.gripper_closure)


def record_aggregated(
    robot: SimRobot,
    writer: EpisodeWriter,
    observation: Observation,
    policy: Policy,
    turns: Turns,
    max_steps: int,
) -> tuple[Outcome, int]:
    """Record one episode from an observation on; it ends where the expert could not mend it any more.

    The policy sees every observation, also those that the expert answers, so that its history has no gap.
    That it calls itself done ends nothing.

    Returns:
        how it ended, a failure being one of the task, of `repair`, or why the guard refused an action; and
        the number of steps that the policy drove.
    """
    expert, guarded, poser = expert_for(robot), TellingRobot(robot), ArmPoser(robot.env)
    policy.reset()
    driven = 0
    outcome: Outcome | None = None
    flags: dict[str, bool] = {}
    for _ in range(max_steps):
        label, asked = expert(), policy.act(observation).steps[0]
        poses = robot.object_poses()
        by_policy = turns.policy_drives()
        driven += by_policy
        result, executed = guarded.carry_out(asked if by_policy else label, observation)
        write_step(robot, writer, observation, poses, label, executed)
        if isinstance(result, Refusal):
            outcome = Outcome(success=False, failure=str(result.reason))
            break
        observation, flags = result.observation, result.flags
        outcome = _ending(robot, poser, flags)
        if outcome is not None:
            break
    return outcome or Outcome(success=False, failure=failure_kind(flags)), driven


def _ending(robot: SimRobot, poser: ArmPoser, flags: dict[str, bool]) -> Outcome | None:
    """How the episode ended, if it did."""
    if flags.get("success"):
        return Outcome(success=True)
    if (reason := beyond_repair(robot.env, poser, flags)) is not None:
        return Outcome(success=False, failure=reason)
    if flags.get("placed") and flags.get("released") and flags.get("obstacle_touched"):
        return Outcome(success=False, failure=failure_kind(flags))  # there is nothing left to do
    return None


def check_driver(checkpoint: Path, image_size: int, wrist_camera: bool) -> str:
    """Load a checkpoint once, so that a bad one stops here and not in every worker; returns its fingerprint.

    Args:
        checkpoint: directory.
        image_size: width and height of the pictures that are recorded.
        wrist_camera: whether that camera is recorded.

    Raises:
        CheckpointError: it is damaged, or its cameras, rate or actions are not those of the data set.
    """
    from spatialbot_policy.inference.fingerprint import fingerprint  # imports torch
    from spatialbot_policy.model.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    names = (CAMERA, WRIST_CAMERA) if wrist_camera else (CAMERA,)
    cameras = tuple(CameraConfig(name, image_size, image_size) for name in names)
    replace(SPATIAL_CONTRACT, cameras=cameras).check(loaded.policy, SPATIAL_TASK)
    return fingerprint(loaded)


def load_driver(checkpoint: Path, fingerprint: str) -> Policy:
    """The policy of a collecting worker, on one thread.

    Raises:
        TaskError: the checkpoint is another one than when the collection began.
    """
    import torch

    from spatialbot_policy.inference.local_policy import LocalPolicy

    torch.set_num_threads(1)  # the workers share the cores
    policy = LocalPolicy.from_checkpoint(checkpoint)
    if policy.fingerprint != fingerprint:
        raise TaskError(
            f"{checkpoint} changed while it collects; collect with a copy that no training run replaces"
        )
    return policy
