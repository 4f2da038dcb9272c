"""On-policy aggregation: the policy drives, the expert answers each of its states, nobody's answers mix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sapien
from tests.sim.checkpoints import write_checkpoint
from tests.sim.policies import Failing, Scripted

from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.episodes.aggregated import driver_of
from spatialbot_policy.errors import CheckpointError, TaskError
from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_sim.collection.aggregation import (
    STRETCH_STEPS,
    TellingRobot,
    Turns,
    check_driver,
    load_driver,
)
from spatialbot_sim.collection.collect import CollectPlan, collect, dataset_config
from spatialbot_sim.collection.record import Job, record
from spatialbot_sim.experts.pick_place import spatial_expert
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.scene import sample_scene
from spatialbot_sim.task.specs import Family, Shape

TASK = "SpatialPickPlace-v1"
WANDERING = [([0.03, 0.02, -0.01], 0.0), ([-0.02, 0.03, 0.01], 1.0), ([0.01, -0.04, 0.0], 0.0)] * 4


class Watched:
    """Passes on to a policy; notes what it saw, what it said and what the expert would have said."""

    def __init__(self, policy: Scripted, robot: SimRobot) -> None:
        self._policy, self._robot = policy, robot
        self.pictures: list[np.ndarray] = []
        self.said: list[np.ndarray] = []
        self.expert: list[np.ndarray] = []

    def reset(self) -> None:
        self._policy.reset()

    def act(self, observation: Observation) -> ActionChunk:
        self.pictures.append(observation.frames["camera"].color.copy())
        self.expert.append(spatial_expert(self._robot.env).as_vector())
        chunk = self._policy.act(observation)
        self.said.append(chunk.steps[0].as_vector())
        return chunk


class Dropping:
    """Does nothing, and at its sixth step throws the target off the table."""

    def __init__(self, robot: SimRobot) -> None:
        self._robot = robot

    def reset(self) -> None:
        self._steps = 0

    def act(self, observation: Observation) -> ActionChunk:
        self._steps += 1
        if self._steps == 6:
            env = self._robot.env
            env.actors[env.scene_spec.target.name].set_pose(sapien.Pose([0.6, 0.0, -0.4]))
        return ActionChunk(observation.stamp_ns, (ActionStep(np.zeros(3), np.zeros(3), 0.0),))


def driven(robot, folder: Path, policy, share: float = 1.0, **changes) -> EpisodeReader:
    """One aggregated episode, recorded."""
    Dataset.create(folder, dataset_config(CollectPlan(folder)))
    values = {"count": 12, "perturb": False, "driver": "ab12", "policy_share": share} | changes
    job = Job(Dataset(folder).free_index(), TASK, "pick", "demo", 5, **values)
    robot.reset(0, "pick")
    record(robot, folder, job, policy)
    return Dataset(folder).episode(job.index)


def vectors(reader: EpisodeReader, executed: bool) -> np.ndarray:
    return np.stack([action.as_vector() for _, action in reader.actions(executed=executed)])


# --- what is recorded ---


def test_the_label_is_the_expert_s_and_what_was_done_the_policy_s(robot, tmp_path):
    policy = Watched(Scripted(WANDERING), robot)
    reader = driven(robot, tmp_path, policy)
    reader.verify()
    assert reader.info.steps == len(policy.said) == 12
    assert np.allclose(vectors(reader, executed=False), policy.expert, atol=1e-6)
    assert np.allclose(vectors(reader, executed=True), policy.said, atol=1e-6)
    assert not np.allclose(policy.expert, policy.said)
    assert np.array_equal(reader.arrays()["color"]["camera"], policy.pictures)  # of the label's moment


def test_a_state_s_label_does_not_depend_on_what_the_policy_does_there(robot, tmp_path):
    first = driven(robot, tmp_path, Scripted(WANDERING))
    second = driven(robot, tmp_path, Scripted([([0.0, 0.0, 0.04], 1.0)] * 12))
    labels, others = vectors(first, executed=False), vectors(second, executed=False)
    assert np.array_equal(labels[0], others[0])
    assert not np.allclose(vectors(first, executed=True)[0], vectors(second, executed=True)[0])
    assert not np.allclose(labels[1], others[1])  # another state


def test_on_the_expert_s_stretches_it_drives_and_the_policy_still_sees_everything(robot, tmp_path):
    policy = Watched(Scripted(WANDERING), robot)
    reader = driven(robot, tmp_path, policy, share=0.0, count=100)
    assert reader.info.outcome.success and len(policy.said) == reader.info.steps
    labels = vectors(reader, executed=False)
    assert np.allclose(labels, vectors(reader, executed=True), atol=1e-6)
    assert reader.info.extra["aggregated"]["policy_steps"] == 0


def test_too_long_a_step_is_recorded_as_the_guard_let_it_through(robot, tmp_path):
    reader = driven(robot, tmp_path, Scripted([([0.2, 0.0, 0.0], 0.0)]), count=2)
    assert np.linalg.norm(vectors(reader, executed=True)[0, :3]) == pytest.approx(0.09, abs=1e-3)


def test_an_action_that_the_guard_refuses_ends_the_episode_after_its_label(robot, tmp_path, monkeypatch):
    carry_out = TellingRobot.carry_out

    def refusing(self, action, observation):
        if action.translation_m[0] < 0:
            return Refusal(Reason.ACTION_INVALID, "no way back"), None
        return carry_out(self, action, observation)

    monkeypatch.setattr(TellingRobot, "carry_out", refusing)
    reader = driven(robot, tmp_path, Scripted(WANDERING))
    assert reader.info.steps == len(reader.actions()) == 2 and len(reader.actions(executed=True)) == 1
    assert not reader.info.outcome.success and reader.info.outcome.failure == "action_invalid"


def test_an_episode_is_cut_where_the_expert_cannot_mend_it(robot, tmp_path):
    reader = driven(robot, tmp_path, Dropping(robot), count=50)
    assert reader.info.steps == 6 and reader.info.outcome.failure == "off_table"
    assert len(reader.actions()) == len(reader.actions(executed=True)) == 6


def test_the_facts_say_who_drove_and_how_much(robot, tmp_path):
    reader = driven(robot, tmp_path, Scripted(WANDERING), share=1.0)
    assert driver_of(reader.info) == "ab12"
    facts = {"policy": "ab12", "policy_share": 1.0, "policy_steps": 12}
    assert reader.info.extra["aggregated"] == facts
    assert reader.info.outcome.success is False and reader.info.outcome.failure


def test_half_of_the_episodes_begin_at_random_poses(robot, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        "spatialbot_sim.collection.record.random_start", lambda env, poser, rng: started.append(True)
    )
    for seed in range(24):
        folder = tmp_path / str(seed)
        Dataset.create(folder, dataset_config(CollectPlan(folder)))
        job = Job(0, TASK, "pick", "demo", seed, 1, True, "ab12", 1.0)
        robot.reset(0, "pick")
        record(robot, folder, job, Scripted([]))
    assert 6 <= len(started) <= 18


def test_a_policy_s_error_is_not_swallowed(robot, tmp_path):
    with pytest.raises(RuntimeError, match="the policy broke"):
        driven(robot, tmp_path, Failing())


# --- turns ---


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_the_policy_has_its_share_in_stretches(share):
    turns = Turns(np.random.default_rng(1), share)
    drives = np.array([turns.policy_drives() for _ in range(6000)])
    assert drives.mean() == pytest.approx(share, abs=0.06)
    changes = np.flatnonzero(np.diff(drives))
    if 0 < share < 1:
        assert np.diff(changes).min() >= STRETCH_STEPS[0]
    else:
        assert not len(changes)


# --- data sets ---


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return Path(write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small", ("camera",), depth=True))


@pytest.fixture(scope="module")
def collected(tmp_path_factory, checkpoint):
    """One scene of the expert's, and the same driven by a checkpoint."""
    out = tmp_path_factory.mktemp("data")
    shared = {"families": ("pick",), "demos": 1, "workers": 1, "first_seed": fallible_seed()}
    collect(CollectPlan(out, **shared))
    plan = CollectPlan(out, **shared, policy=checkpoint, policy_share=0.5)
    return out, plan, collect(plan)


def fallible_seed() -> int:
    """A scene that is over soon: a ball rolls far where it is pushed."""
    return next(seed for seed in range(50) if sample_scene(Family.PICK, seed).target.shape is Shape.BALL)


def test_the_same_scene_is_there_for_expert_and_policy(collected, checkpoint):
    out, plan, report = collected
    mark = check_driver(checkpoint, plan.image_size, wrist_camera=False)
    assert [driver_of(reader.info) for reader in Dataset(out).episodes()] == ["", mark]
    assert not report.errors and report.already_there == 0
    for reader in Dataset(out).episodes():
        reader.verify()


def test_a_second_start_finds_the_driven_episode_there(collected, monkeypatch):
    monkeypatch.setattr("spatialbot_sim.workers._Worker.__init__", lambda *_: pytest.fail("a worker started"))
    assert collect(collected[1]).already_there == 1


def test_a_lost_episode_is_driven_again_in_the_same_way(collected):
    out, plan, _ = collected
    victim = Dataset(out).episode(1)
    before = vectors(victim, executed=True), victim.arrays()["color"]["camera"]
    for path in victim.path.iterdir():
        path.unlink()
    victim.path.rmdir()
    assert collect(plan).already_there == 0
    again = Dataset(out).episode(1)
    after = vectors(again, executed=True), again.arrays()["color"]["camera"]
    assert all(np.array_equal(first, second) for first, second in zip(before, after, strict=True))


def test_a_checkpoint_that_does_not_fit_is_refused_before_a_worker_starts(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr("spatialbot_sim.workers._Worker.__init__", lambda *_: pytest.fail("a worker started"))
    for changes in ({"image_size": 64}, {"policy": tmp_path / "nowhere"}):
        with pytest.raises(CheckpointError):
            collect(CollectPlan(tmp_path / "set", **({"policy": checkpoint} | changes)))
    assert not (tmp_path / "set").exists()


def test_a_checkpoint_that_changed_meanwhile_is_refused(checkpoint):
    with pytest.raises(TaskError, match="changed while it collects; collect with a copy"):
        load_driver(checkpoint, "another")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stills": 2}, "nobody drives in stills"),
        ({"policy_share": 0.0}, "policy_share is above 0 and at most 1, got 0"),
        ({"policy_share": 1.2}, "policy_share is above 0"),
        ({"task": "PickCube-v1", "families": ("",)}, "are collected in SpatialPickPlace-v1"),
    ],
)
def test_a_plan_with_a_policy_that_cannot_be_is_refused(tmp_path, values, message):
    with pytest.raises(TaskError, match=message):
        CollectPlan(tmp_path / "set", policy=tmp_path, **values)
