"""Plays one scene with an expert, or poses its stills, and records it as an episode."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from spatialbot_policy.episode import STILLS_SPACING_NS, EpisodeInfo, EpisodeWriter, Outcome
from spatialbot_policy.episodes.aggregated import AGGREGATED_KEY, driver_of
from spatialbot_policy.episodes.dataset import episode_path
from spatialbot_policy.types import Observation, Policy
from spatialbot_sim.collection.aggregation import Turns, record_aggregated
from spatialbot_sim.collection.steps import write_step
from spatialbot_sim.collection.stills import ArmPoser, random_start, random_still
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.experts.perturbation import Perturbation
from spatialbot_sim.task.failures import failure_kind
from spatialbot_sim.task.robot import EPISODE_START_NS, SPATIAL_TASK, SimRobot

RANDOM_START_SHARE = 0.7
AGGREGATED_START_SHARE = 0.5
"""Share of episodes that begin at a random arm pose: of demonstrations, and of those that a policy drives."""
_STREAMS = {"demo": 4, "stills": 6}  # so that both kinds of a seed differ
_AGGREGATED_STREAM = 8


@dataclass(frozen=True)
class Job:
    """One episode to record.

    Attributes:
        index: number of the episode in the data set.
        task: ManiSkill environment id.
        family: family of SpatialPickPlace, "" for other tasks.
        kind: "demo" or "stills".
        seed: seed of the scene and of everything random in the episode.
        count: most steps of a demonstration, or the number of stills.
        perturb: disturb the expert on its way and start from random arm poses; a policy is not disturbed.
        driver: fingerprint of the checkpoint that drives a demonstration; "" for the expert alone.
        policy_share: of the stretches of steps that it drives, the expert drives the others.
    """

    index: int
    task: str
    family: str
    kind: str
    seed: int
    count: int
    perturb: bool = True
    driver: str = ""
    policy_share: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes an episode the same: task, family, kind and seed."""
        return (self.task, self.family, self.kind, self.seed)

    def __str__(self) -> str:
        """Name the episode for messages, e.g. "episode 42 (pick demo, seed 7)"."""
        kind = "aggregated" if self.driver else self.kind
        return f"episode {self.index} ({self.family or self.task} {kind}, seed {self.seed})"


def record(robot: SimRobot, dataset: Path, job: Job, policy: Policy | None = None) -> Outcome:
    """Record one episode; an abandoned `.partial` of the same job is written anew, a finished one is kept.

    Args:
        robot: with cameras.
        dataset: directory of the data set.
        job: what to record.
        policy: the checkpoint of `job.driver`.

    Returns:
        how it ended: stills always succeed.
    """
    if (finished := _finished(dataset, job)) is not None:
        return finished
    observation = robot.reset(job.seed)
    extra: dict[str, object] = {"perturb": job.perturb, **robot.scene_facts()}
    if job.driver:
        extra[AGGREGATED_KEY] = {"policy": job.driver, "policy_share": job.policy_share}
    info = EpisodeInfo(
        instruction=observation.instruction,
        family=job.family,
        task=job.task,
        seed=job.seed,
        robot="panda",
        kind=job.kind,
        extra=extra,
    )
    with EpisodeWriter(dataset, job.index, info, restart=True) as writer:
        if job.kind == "stills":
            outcome = _record_stills(robot, writer, job, _generator(job))
        elif policy is not None:
            outcome = _record_aggregated(robot, writer, job, _generator(job), observation, policy)
        else:
            outcome = _record_demo(robot, writer, job, _generator(job), observation)
        writer.commit(outcome)
    return outcome


def _generator(job: Job) -> np.random.Generator:
    if job.driver:  # another checkpoint on the same scene begins and takes turns in another way
        return np.random.default_rng([job.seed, _AGGREGATED_STREAM, zlib.crc32(job.driver.encode())])
    return np.random.default_rng([job.seed, _STREAMS[job.kind]])


def _finished(dataset: Path, job: Job) -> Outcome | None:
    """Outcome of an episode whose worker died after it was committed and before anyone was told."""
    path = episode_path(dataset, job.index)
    if not path.is_dir():
        return None
    info = EpisodeInfo.load(path)
    same = (info.task, info.family, info.kind, info.seed, driver_of(info)) == (*job.key, job.driver)
    return info.outcome if same else None  # of another scene: the writer refuses the number


def _record_demo(
    robot: SimRobot, writer: EpisodeWriter, job: Job, rng: np.random.Generator, observation: Observation
) -> Outcome:
    expert = expert_for(robot)
    disturb = Perturbation(rng) if job.perturb else None
    if job.perturb and job.task == SPATIAL_TASK and rng.random() < RANDOM_START_SHARE:
        random_start(robot.env, ArmPoser(robot.env), rng)
        observation = robot.observe()
    flags: dict[str, bool] = {}
    for _ in range(job.count):
        action = expert()
        executed = action if disturb is None else disturb(action)
        poses = robot.object_poses()
        # written while the renderer draws the next images
        write = partial(write_step, robot, writer, observation, poses, action, executed)
        result = robot.step(executed, meanwhile=write)
        observation, flags = result.observation, result.flags
        if result.success:
            return Outcome(success=True)
    return Outcome(success=False, failure=failure_kind(flags))


def _record_aggregated(
    robot: SimRobot,
    writer: EpisodeWriter,
    job: Job,
    rng: np.random.Generator,
    observation: Observation,
    policy: Policy,
) -> Outcome:
    if job.perturb and rng.random() < AGGREGATED_START_SHARE:
        random_start(robot.env, ArmPoser(robot.env), rng)
        observation = robot.observe()
    turns = Turns(rng, job.policy_share)
    outcome, driven = record_aggregated(robot, writer, observation, policy, turns, job.count)
    facts = {"policy": job.driver, "policy_share": job.policy_share, "policy_steps": driven}
    writer.annotate({AGGREGATED_KEY: facts})
    return outcome


def _record_stills(robot: SimRobot, writer: EpisodeWriter, job: Job, rng: np.random.Generator) -> Outcome:
    expert, poser = expert_for(robot), ArmPoser(robot.env)
    for number in range(job.count):
        random_still(robot.env, poser, rng)
        stamp_ns = EPISODE_START_NS + number * STILLS_SPACING_NS
        observation = robot.observe(stamp_ns)
        writer.write_instruction(stamp_ns, observation.instruction)
        write_step(robot, writer, observation, robot.object_poses(), expert(), None)
    return Outcome(success=True)
