"""Policies that evaluation workers of the tests import by name."""

from __future__ import annotations

import numpy as np

from spatialbot_policy.types import ActionChunk, ActionStep, Observation, Policy
from spatialbot_sim.evaluation.rollout import BASELINES, make_policy
from spatialbot_sim.task.robot import SimRobot


class Failing:
    """Raises at every observation."""

    def reset(self) -> None:
        pass

    def act(self, observation: Observation) -> ActionChunk:
        raise RuntimeError("the policy broke")


class Terminating:
    """Does nothing, and says at its third step that it is done."""

    def reset(self) -> None:
        self._steps = 0

    def act(self, observation: Observation) -> ActionChunk:
        self._steps += 1
        step = ActionStep(np.zeros(3), np.zeros(3), 0.0, terminate=self._steps == 3)
        return ActionChunk(observation.stamp_ns, (step,))


class Scripted:
    """Answers from a list of (translation, closure), then stays."""

    def __init__(self, steps: list[tuple[list[float], float]]) -> None:
        self._steps = steps

    def reset(self) -> None:
        self._left = list(self._steps)

    def act(self, observation: Observation) -> ActionChunk:
        translation, closure = self._left.pop(0) if self._left else ([0.0, 0.0, 0.0], 0.0)
        return ActionChunk(observation.stamp_ns, (ActionStep(np.array(translation), np.zeros(3), closure),))


def make_with_failing_expert(name: str, robot: SimRobot, device: str) -> Policy:
    """The baselines, but the expert fails in every scene with an odd seed."""
    policy = make_policy(name, robot, device)
    return OddFails(policy, robot) if name == BASELINES[0] else policy


class OddFails:
    """Passes on to a policy, but not where the simulator's scene has an odd seed."""

    def __init__(self, policy: Policy, robot: SimRobot) -> None:
        self._policy, self._robot = policy, robot

    def reset(self) -> None:
        self._policy.reset()

    def act(self, observation: Observation) -> ActionChunk:
        if self._robot.env.scene_spec.seed % 2:
            raise RuntimeError("the policy broke")
        return self._policy.act(observation)


def make_failing(name: str, robot: SimRobot, device: str) -> Policy:
    return Failing()
