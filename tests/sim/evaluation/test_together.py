"""Episodes that are played together end as they do alone, and one that fails troubles no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.sim.policies import Scripted, make_with_failing_expert

from spatialbot_policy.errors import TaskError
from spatialbot_policy.types import Policy
from spatialbot_sim.evaluation.evaluate import evaluate
from spatialbot_sim.evaluation.plan import EpisodeJob, EvaluationPlan
from spatialbot_sim.evaluation.player import PlayerSetup
from spatialbot_sim.evaluation.rollout import make_policy, rollout
from spatialbot_sim.evaluation.together import play_together
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.task.seeds import EVAL_SEEDS
from spatialbot_sim.task.shift import Shift, parse_shift

FIRST = EVAL_SEEDS.start


def setup(out: Path, make=make_policy, video: bool = False, max_steps: int = 60) -> PlayerSetup:
    return PlayerSetup(SPATIAL_TASK, "train", max_steps, out, "cpu", video, False, make)


def test_each_episode_ends_as_it_does_alone(tmp_path, blind_robot):
    jobs = [EpisodeJob("expert", "pick", FIRST + number) for number in range(3)]
    jobs += [EpisodeJob("do-nothing", "position", FIRST), EpisodeJob("expert", "pick", FIRST, shift="colors")]
    ends = list(play_together(setup(tmp_path), jobs, 2))
    found = {end.job: replace(end.result, seconds=0.0) for end in ends}
    for job in jobs:
        policy = make_policy(job.policy, blind_robot)
        blind_robot.env.shift = parse_shift(job.shift)
        alone = rollout(blind_robot, policy, job.seed, 60, job.family)
        blind_robot.env.shift = Shift.NONE
        assert found[job] == replace(alone, seconds=0.0), job


@pytest.mark.slow
def test_a_checkpoint_that_answers_all_at_once_plays_as_it_does_alone(tmp_path, robot):
    jobs = [EpisodeJob("checkpoints/tiny", "pick", FIRST + number) for number in range(3)]
    ends = list(play_together(setup(tmp_path, max_steps=100), jobs, 3))
    policy = make_policy("checkpoints/tiny", robot)
    found = {end.job.seed: replace(end.result, seconds=0.0) for end in ends}
    for job in jobs:
        alone = rollout(robot, policy, job.seed, 100, "pick")
        assert found[job.seed] == replace(alone, seconds=0.0)


def test_a_film_is_made_of_the_right_episode(tmp_path):
    jobs = [EpisodeJob("do-nothing", "pick", FIRST + number, film=number == 1) for number in range(2)]
    ends = list(play_together(setup(tmp_path, video=True, max_steps=2), jobs, 2))
    videos = {end.job.seed: end.result.video for end in ends}
    assert videos[FIRST] == "" and (tmp_path / videos[FIRST + 1]).stat().st_size > 0


def test_one_that_fails_is_tried_again_and_the_others_go_on(tmp_path):
    said: list[str] = []
    plan = EvaluationPlan("expert", tmp_path, {"pick": 3}, max_steps=60, video=0, batch=3)
    result = evaluate(plan, report=said.append, make=make_with_failing_expert)
    assert [bool(entry.error) for entry in result.entries] == [False, True, False]
    assert "the policy broke" in result.entries[1].error
    assert len(said) == 2 and "trying again" in said[0]
    again = evaluate(replace(plan, batch=1, workers=1))  # how it is shared out is no matter
    assert again.errors == 0


def test_a_policy_that_cannot_be_made_is_an_error_of_each_episode(tmp_path):
    def make(name: str, robot: SimRobot, device: str) -> Policy:
        raise RuntimeError("no such policy")

    jobs = [EpisodeJob("expert", "pick", FIRST)]
    (end,) = play_together(setup(tmp_path, make), jobs, 2, tries=1, report=lambda text: None)
    assert end.result is None and "no such policy" in end.error


def test_answers_of_one_seat_never_reach_another(tmp_path):
    """Three policies that push in other directions: each scene moves by its own."""
    pushes = iter([[0.02, 0.0, 0.0], [0.0, 0.02, 0.0], [0.0, 0.0, 0.02]])
    robots: list[SimRobot] = []

    def make(name: str, robot: SimRobot, device: str) -> Policy:
        robots.append(robot)
        return Scripted([(next(pushes), 0.0)] * 5)

    jobs = [EpisodeJob("expert", "pick", FIRST + number) for number in range(3)]
    before: list = []
    for _ in play_together(setup(tmp_path, make, max_steps=5), jobs, 3):
        before = [robot.pose.position_m for robot in robots]
    moved = [before[one] - before[other] for one, other in ((0, 1), (1, 2))]
    assert moved[0][0] > 0.03 and moved[0][1] < -0.03 and moved[1][1] > 0.03 and moved[1][2] < -0.03


def test_a_batch_of_none_is_refused(tmp_path):
    with pytest.raises(TaskError, match="a batch of one"):
        EvaluationPlan("expert", tmp_path, {"pick": 2}, batch=0)
