"""Where an aggregated episode is cut: what the expert can mend goes on, what it cannot ends it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sapien

from spatialbot_policy.types import ActionStep
from spatialbot_sim.collection.repair import (
    NOT_MEANT,
    OBSTACLE_MOVED,
    OFF_TABLE,
    OUT_OF_REACH,
    TIPPED_OVER,
    beyond_repair,
)
from spatialbot_sim.collection.stills import ArmPoser
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.specs import Role, Shape

STAY = ActionStep(np.zeros(3), np.zeros(3), 0.0)
ON_ITS_SIDE = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
UPRIGHT = [1.0, 0.0, 0.0, 0.0]


def scene_with(robot: SimRobot, family: str, wanted: Callable[[SimRobot], bool] = lambda robot: True) -> None:
    """The first scene of a family that is as wanted."""
    for seed in range(60):
        robot.reset(seed, family)
        if wanted(robot):
            return
    raise AssertionError("no such scene")


def not_a_ball(robot: SimRobot) -> bool:
    return robot.env.scene_spec.target.shape is not Shape.BALL


def put(robot: SimRobot, role: Role, xy: tuple[float, float], up_m: float = 0.0, turned=UPRIGHT) -> None:
    """Put the first object of a role somewhere, `up_m` above where it would stand on the table."""
    env = robot.env
    item = next(item for item in env.scene_spec.objects if item.role is role)
    env.actors[item.name].set_pose(sapien.Pose([*xy, item.rest_height_m + up_m], turned))


def verdict(robot: SimRobot) -> str | None:
    result = robot.step(STAY)
    return beyond_repair(robot.env, ArmPoser(robot.env), result.flags)


@pytest.mark.parametrize("family", ["pick", "position", "size", "obstacle", "illusion"])
def test_nothing_that_the_expert_does_is_beyond_its_repair(blind_robot, family):
    blind_robot.reset(3, family)
    poser, expert = ArmPoser(blind_robot.env), expert_for(blind_robot)
    for _ in range(100):
        result = blind_robot.step(expert())
        assert beyond_repair(blind_robot.env, poser, result.flags) is None
        if result.success:
            return
    raise AssertionError("the expert did not succeed")


def test_an_object_elsewhere_on_the_table_or_on_the_wrong_board_can_still_be_fetched(blind_robot):
    scene_with(blind_robot, "pick", not_a_ball)
    put(blind_robot, Role.TARGET, (0.13, 0.0))
    assert verdict(blind_robot) is None
    other = blind_robot.env.scene_spec.boards[1 - blind_robot.env.scene_spec.goal]
    put(blind_robot, Role.TARGET, other.xy_m, up_m=0.013)
    assert verdict(blind_robot) is None


def test_an_object_in_the_air_over_a_board_is_not_given_up(blind_robot):
    scene_with(blind_robot, "position", not_a_ball)
    board = blind_robot.env.scene_spec.boards[blind_robot.env.scene_spec.goal]
    put(blind_robot, Role.TARGET, board.xy_m, up_m=0.06)
    assert verdict(blind_robot) is None


@pytest.mark.parametrize(
    ("xy", "up_m", "turned", "reason"),
    [
        ((0.6, 0.0), -0.3, UPRIGHT, OFF_TABLE),
        ((0.0, 0.0), 0.0, ON_ITS_SIDE, TIPPED_OVER),
        ((0.38, 0.0), 0.0, UPRIGHT, OUT_OF_REACH),
        ((-0.6, 0.0), 0.0, UPRIGHT, OUT_OF_REACH),
    ],
)
def test_a_target_that_is_lost_ends_the_episode(blind_robot, xy, up_m, turned, reason):
    scene_with(blind_robot, "pick", not_a_ball)
    put(blind_robot, Role.TARGET, xy, up_m, turned)
    assert verdict(blind_robot) == reason


def test_a_ball_has_no_side_to_lie_on(blind_robot):
    scene_with(blind_robot, "pick", lambda robot: not not_a_ball(robot))
    put(blind_robot, Role.TARGET, (0.0, 0.0), turned=ON_ITS_SIDE)
    assert verdict(blind_robot) is None


@pytest.mark.parametrize("turned", [UPRIGHT, ON_ITS_SIDE])
def test_an_obstacle_that_was_moved_or_knocked_over_ends_the_episode(blind_robot, turned):
    blind_robot.reset(0, "obstacle")
    (x, y), aside = blind_robot.env.scene_spec.obstacle.xy_m, 0.03 if turned is UPRIGHT else 0.0
    put(blind_robot, Role.OBSTACLE, (x + aside, y), turned=turned)
    assert verdict(blind_robot) == OBSTACLE_MOVED


def test_a_wrong_object_on_a_board_or_moved_ends_the_episode(blind_robot):
    blind_robot.reset(0, "size")
    scene = blind_robot.env.scene_spec
    item = next(item for item in scene.objects if item.role is Role.DISTRACTOR)
    put(blind_robot, Role.DISTRACTOR, (item.xy_m[0] + 0.025, item.xy_m[1]))
    assert verdict(blind_robot) == "displaced"
    put(blind_robot, Role.DISTRACTOR, scene.boards[scene.goal].xy_m, up_m=0.0125)
    assert verdict(blind_robot) == "wrong_object"


def test_a_target_that_its_words_no_longer_mean_ends_the_episode(blind_robot):
    def left_of_two(robot: SimRobot) -> bool:
        scene = robot.env.scene_spec
        asked = f" left {scene.target.color}" in scene.instruction
        return not_a_ball(robot) and asked and len(scene.objects) == 2

    scene_with(blind_robot, "position", left_of_two)
    scene = blind_robot.env.scene_spec
    other = next(item for item in scene.objects if item.role is Role.DISTRACTOR)
    target_y, other_y = scene.target.xy_m[1], other.xy_m[1]
    away = -0.09 if scene.target.xy_m[0] < other.xy_m[0] else 0.09
    put(blind_robot, Role.TARGET, (other.xy_m[0] + away, target_y))
    assert verdict(blind_robot) is None
    put(blind_robot, Role.TARGET, (other.xy_m[0] + away, other_y + 0.03 * np.sign(other_y - target_y)))
    assert verdict(blind_robot) == NOT_MEANT
