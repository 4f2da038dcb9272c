"""The worker of an evaluation: plays one episode at a time and keeps its film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spatialbot_policy.types import Policy
from spatialbot_sim.evaluation.film import Film
from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.plan import EpisodeJob
from spatialbot_sim.evaluation.report import outcome
from spatialbot_sim.evaluation.rollout import EpisodeResult, MakePolicy, rollout
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot


@dataclass(frozen=True)
class PlayerSetup:
    """What a worker needs to know."""

    task: str
    phrasing: str
    max_steps: int
    out: Path
    device: str
    render: bool
    video: bool
    wrist_camera: bool
    make: MakePolicy


def make_robot(setup: PlayerSetup) -> SimRobot:
    """The simulator that the episodes of a setup need."""
    options: dict[str, Any] = {}
    if setup.task == SPATIAL_TASK:
        options = {"phrasing": setup.phrasing, "wrist_camera": setup.wrist_camera}
    return SimRobot(setup.task, render=setup.render, video=setup.video, **options)


def make_player(setup: PlayerSetup) -> Callable[[EpisodeJob], EpisodeResult]:
    """Handler of an evaluating worker: keeps one simulator, and each policy once it was loaded."""
    robot = make_robot(setup)
    policies: dict[str, Policy] = {}

    def play(job: EpisodeJob) -> EpisodeResult:
        if job.policy not in policies:
            policies[job.policy] = setup.make(job.policy, robot, setup.device)
        film = Film() if job.film else None
        result = rollout(robot, policies[job.policy], job.seed, setup.max_steps, job.family, film)
        return result if film is None else keep_film(film, result, job, setup.out, robot)

    return play


def keep_film(
    film: Film, result: EpisodeResult, job: EpisodeJob, out: Path, robot: SimRobot
) -> EpisodeResult:
    """Write the film and the strip of an episode; the result says where."""
    name = "-".join(part for part in (_slug(job.policy), job.family, str(job.seed)) if part)
    video, strip = f"videos/{name}.mp4", f"filmstrips/{name}.png"
    ending = outcome(Entry(job.policy, job.family, job.seed, result))
    film.write_video(out / video, result.instruction, ending, result.success, robot.rate_hz)
    film.write_strip(out / strip)
    return replace(result, video=video, filmstrip=strip)


def _slug(policy: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in policy.strip("./"))
