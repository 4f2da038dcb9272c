"""The worker of an evaluation: plays one episode at a time and keeps its film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spatialbot_policy.types import Policy
from spatialbot_sim.evaluation.film import Film
from spatialbot_sim.evaluation.log import NOMINAL, Entry
from spatialbot_sim.evaluation.outcome import outcome
from spatialbot_sim.evaluation.plan import EpisodeJob
from spatialbot_sim.evaluation.rollout import BASELINES, EpisodeResult, MakePolicy, rollout
from spatialbot_sim.task.robot import SPATIAL_TASK, SimRobot
from spatialbot_sim.task.shift import parse_shift


@dataclass(frozen=True)
class PlayerSetup:
    """What a worker needs to know."""

    task: str
    phrasing: str
    max_steps: int
    out: Path
    device: str
    video: bool
    wrist_camera: bool
    make: MakePolicy


class Simulators:
    """The simulators of one process, made when they are first needed.

    The baselines look at no image: without cameras they are ten times faster.
    """

    def __init__(self, setup: PlayerSetup) -> None:
        self._setup = setup
        self._made: dict[bool, SimRobot] = {}

    def robot_for(self, job: EpisodeJob) -> SimRobot:
        """The simulator for an episode; its next reset builds the scene in the episode's shift."""
        looks = job.film or job.policy not in BASELINES
        if looks not in self._made:
            self._made[looks] = _make_robot(self._setup, looks)
        robot = self._made[looks]
        if self._setup.task == SPATIAL_TASK:
            robot.env.shift = parse_shift(job.shift)
        return robot

    def close(self) -> None:
        """Release them."""
        for robot in self._made.values():
            robot.close()


def _make_robot(setup: PlayerSetup, looks: bool) -> SimRobot:
    options: dict[str, Any] = {}
    if setup.task == SPATIAL_TASK:
        options = {"phrasing": setup.phrasing, "wrist_camera": setup.wrist_camera}
    return SimRobot(setup.task, render=looks, video=setup.video and looks, **options)


def make_player(setup: PlayerSetup) -> Callable[[EpisodeJob], EpisodeResult]:
    """Handler of an evaluating worker: keeps its simulators, and each policy once it was loaded."""
    simulators = Simulators(setup)
    policies: dict[tuple[str, SimRobot], Policy] = {}

    def play(job: EpisodeJob) -> EpisodeResult:
        robot = simulators.robot_for(job)
        if (job.policy, robot) not in policies:
            policies[job.policy, robot] = setup.make(job.policy, robot, setup.device)
        film = Film() if job.film else None
        policy = policies[job.policy, robot]
        result = rollout(robot, policy, job.seed, setup.max_steps, job.family, film)
        return result if film is None else keep_film(film, result, job, setup.out, robot)

    return play


def keep_film(
    film: Film, result: EpisodeResult, job: EpisodeJob, out: Path, robot: SimRobot
) -> EpisodeResult:
    """Write the film and the strip of an episode; the result says where."""
    shift = "" if job.shift == NOMINAL else job.shift
    name = "-".join(part for part in (_slug(job.policy), job.family, shift, str(job.seed)) if part)
    video, strip = f"videos/{name}.mp4", f"filmstrips/{name}.png"
    ending = outcome(Entry(job.policy, job.family, job.seed, result))
    film.write_video(out / video, result.instruction, ending, result.success, robot.rate_hz)
    film.write_strip(out / strip)
    return replace(result, video=video, filmstrip=strip)


def _slug(policy: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in policy.strip("./"))
