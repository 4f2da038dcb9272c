"""The experts of ManiSkill's own tasks solve them, from other start poses too."""

from __future__ import annotations

import pytest

from spatialbot_sim.evaluation.rollout import ExpertPolicy, rollout
from spatialbot_sim.experts.tabletop import TABLETOP_EXPERTS
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.seeds import EVAL_SEEDS


@pytest.mark.parametrize("task", TABLETOP_EXPERTS)
def test_the_expert_solves_unseen_scenes(task):
    robot = SimRobot(task, render=False)
    try:
        results = [rollout(robot, ExpertPolicy(robot), seed, max_steps=50) for seed in EVAL_SEEDS[:2]]
    finally:
        robot.close()
    assert [result.failure for result in results] == ["", ""]
