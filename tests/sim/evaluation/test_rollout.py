"""One closed-loop episode: how it ends, and under which name its failure is counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sapien
from tests.sim.policies import Failing, Terminating

from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_sim.evaluation.guarded import GuardedRobot
from spatialbot_sim.evaluation.rollout import DoNothingPolicy, ExpertPolicy, make_policy, rollout
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.seeds import EVAL_SEEDS
from spatialbot_sim.task.specs import Role

SEED = EVAL_SEEDS.start
UP = ActionStep(np.array([0.0, 0.0, 0.03]), np.zeros(3), 0.0)


class Intervening:
    """The expert, until something is done to the scene; from then on the fingers stay open."""

    def __init__(self, robot: SimRobot, intervene: Callable[[SimRobot], bool]) -> None:
        self._expert, self._robot, self._intervene = ExpertPolicy(robot), robot, intervene

    def reset(self) -> None:
        self._done = False

    def act(self, observation: Observation) -> ActionChunk:
        self._done = self._done or self._intervene(self._robot)
        return ActionChunk(0, (UP,)) if self._done else self._expert.act(observation)


def lifted(robot: SimRobot) -> bool:
    """Lets go as soon as the object is above the table; a cup or a box, so that it does not roll."""
    target = robot.env.scene_spec.target
    return bool(robot.env.object_position_m(target.name)[2] > target.height_m / 2 + 0.035)


def put_on_board(role: Role, right_board: bool) -> Callable[[SimRobot], bool]:
    def intervene(robot: SimRobot) -> bool:
        env, scene = robot.env, robot.env.scene_spec
        item = next(item for item in scene.objects if item.role is role)
        board = scene.boards[scene.goal if right_board else 1 - scene.goal]
        height = float(env.object_position_m(item.name)[2]) + 0.013
        env.actors[item.name].set_pose(sapien.Pose([*board.xy_m, height]))
        return True

    return intervene


def test_the_expert_succeeds_and_the_policy_is_reset(blind_robot):
    policy = ExpertPolicy(blind_robot)
    result = rollout(blind_robot, policy, SEED, family="position")
    assert result.success and result.failure == "" and 5 < result.steps < 100
    assert {"lifted", "placed", "success"} <= set(result.seen)
    assert (result.seed, result.family, result.instruction) == (SEED, "position", blind_robot.instruction)
    again = rollout(blind_robot, policy, SEED, family="position")
    assert (again.steps, again.seen) == (result.steps, result.seen)


def test_doing_nothing_lifts_nothing_until_time_is_up(blind_robot):
    result = rollout(blind_robot, DoNothingPolicy(), SEED, max_steps=5, family="pick")
    assert (result.success, result.failure, result.steps) == (False, "never_lifted", 5)


def test_a_policy_that_says_it_is_done_ends_its_episode(blind_robot):
    for _ in range(2):  # its count starts anew: the policy was reset
        assert rollout(blind_robot, Terminating(), SEED, family="pick").steps == 3


@pytest.mark.parametrize(
    ("family", "intervene", "kind"),
    [
        ("illusion", lifted, "dropped"),
        ("position", put_on_board(Role.DISTRACTOR, right_board=True), "wrong_object"),
        ("pick", put_on_board(Role.TARGET, right_board=False), "wrong_board"),
    ],
)
def test_failures_by_kind(blind_robot, family, intervene, kind):
    result = rollout(blind_robot, Intervening(blind_robot, intervene), SEED, max_steps=35, family=family)
    assert (result.success, result.failure) == (False, kind)
    assert ("lifted" in result.seen) == (kind == "dropped")


def test_an_error_of_the_policy_is_no_result(blind_robot):
    with pytest.raises(RuntimeError, match="the policy broke"):
        rollout(blind_robot, Failing(), SEED, family="pick")


def test_a_task_without_an_expert_is_refused_before_its_first_episode(blind_robot, monkeypatch):
    monkeypatch.setattr(blind_robot, "task", "LiftPegUpright-v1")
    with pytest.raises(TaskError, match="no scripted expert"):
        make_policy("expert", blind_robot)


class Leaping:
    """Moves up, and at its third step asks for what no arm can do."""

    def reset(self) -> None:
        self._steps = 0

    def act(self, observation: Observation) -> ActionChunk:
        self._steps += 1
        leap = ActionStep(np.array([9.0, 0.0, 0.0]), np.zeros(3), 0.0)
        return ActionChunk(observation.stamp_ns, (leap if self._steps == 3 else UP,))


def test_an_action_that_the_guard_refuses_ends_the_episode_with_its_reason(blind_robot):
    result = rollout(blind_robot, Leaping(), SEED, family="pick")
    assert (result.success, result.failure, result.steps) == (False, "action_invalid", 2)


def test_within_the_bounds_the_guard_changes_nothing(blind_robot):
    """Bit by bit: with the guard in between, the arm goes where it would have gone without it."""
    rng = np.random.default_rng(2)
    commands = [
        ActionStep(rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3), float(rng.integers(2)))
        for _ in range(12)
    ]
    observation = blind_robot.reset(SEED, "pick")
    guarded = GuardedRobot(blind_robot)
    with_guard = []
    for command in commands:
        observation = guarded.step(command, observation).observation
        with_guard.append(observation.state)
    blind_robot.reset(SEED, "pick")
    for command, state in zip(commands, with_guard, strict=True):
        bare = blind_robot.step(command).observation.state
        assert np.array_equal(bare.joint_positions_rad, state.joint_positions_rad)
