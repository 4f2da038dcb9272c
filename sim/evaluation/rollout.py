"""One closed-loop episode: a policy drives the simulated robot until the task is done or time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import cast

import numpy as np

from spatialbot_policy.serving.access import load_api_key
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, Policy
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_sim.evaluation.film import Film
from spatialbot_sim.evaluation.guarded import GuardedRobot
from spatialbot_sim.experts.choose import expert_for
from spatialbot_sim.task.failures import failure_kind
from spatialbot_sim.task.robot import SimRobot

EXPERT = "expert"
DO_NOTHING = "do-nothing"
BASELINES = (EXPERT, DO_NOTHING)
"""Policies without a checkpoint: what is possible, and what comes for free."""
SERVERS = ("ws://", "wss://")
"""How the address of a policy server begins."""
_PATIENCE_S = 60.0  # nothing moves while a server is waited for

MakePolicy = Callable[[str, SimRobot, str], Policy]


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended.

    Attributes:
        seed: of the scene.
        family: family of SpatialPickPlace, "" for other tasks.
        instruction: the words that the policy was given.
        success: whether the task was done.
        failure: "" after a success, otherwise the kind of failure, or why the guard refused an action.
        steps: control steps taken.
        seconds: time the episode took to compute; beside others in a batch, theirs meanwhile included.
        seen: the task's signs that were true at some step, e.g. "lifted".
        video: path of the film in the output directory, "" if none was made.
        filmstrip: path of the picture that goes with it.
        replayed: how it ended when it was played again for the film, "" if in the same way.
    """

    seed: int
    family: str
    instruction: str
    success: bool
    failure: str
    steps: int
    seconds: float
    seen: tuple[str, ...] = ()
    video: str = ""
    filmstrip: str = ""
    replayed: str = ""


@dataclass(frozen=True)
class ExpertPolicy:
    """The scripted expert, which looks at the simulator instead of the images."""

    robot: SimRobot

    def reset(self) -> None:
        """The expert remembers nothing."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer the present state of the simulator."""
        return ActionChunk(observation.stamp_ns, (expert_for(self.robot)(),))


@dataclass(frozen=True)
class DoNothingPolicy:
    """Stays where it is with open fingers: its successes come from the scene, not from a policy."""

    def reset(self) -> None:
        """There is nothing to forget."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer with no motion."""
        return ActionChunk(observation.stamp_ns, (ActionStep(np.zeros(3), np.zeros(3), 0.0),))


def make_policy(name: str, robot: SimRobot, device: str = "cpu") -> Policy:
    """Build the policy of a name: one of BASELINES, the address of a server, or a checkpoint directory.

    Raises:
        CheckpointError: the directory is no sound checkpoint.
        LinkError: there is no server, or it refuses.
        TaskError: the expert is asked for and the robot's task has none.
    """
    if name == EXPERT:
        expert_for(robot)
        return ExpertPolicy(robot)
    if name == DO_NOTHING:
        return DoNothingPolicy()
    if name.startswith(SERVERS):
        return connect(name)
    from spatialbot_policy.inference.local_policy import LocalPolicy  # imports torch

    return LocalPolicy.from_checkpoint(name, device)


def connect(url: str) -> RemotePolicy:
    """Connect to a policy server; the key comes from the environment variable SPATIALBOT_API_KEY.

    Raises:
        LinkError: there is no server, or it refuses.
    """
    settings = LinkSettings(timeout_s=_PATIENCE_S, reset_wait_s=_PATIENCE_S, api_key=load_api_key(None))
    return RemotePolicy(url, settings)


def rollout(
    robot: SimRobot,
    policy: Policy,
    seed: int,
    max_steps: int = 100,
    family: str = "",
    film: Film | None = None,
) -> EpisodeResult:
    """Play the scene of a seed with a policy, which is reset first; the rest is as in `play`."""
    policy.reset()
    playing = play(robot, seed, max_steps, family, film)
    observation = next(playing)
    try:
        while True:
            observation = playing.send(policy.act(observation))
    except StopIteration as end:
        return cast(EpisodeResult, end.value)


def play(
    robot: SimRobot, seed: int, max_steps: int = 100, family: str = "", film: Film | None = None
) -> Generator[Observation, ActionChunk, EpisodeResult]:
    """One episode from the robot's side: yields observations, is sent the answers, returns how it ended.

    The first step of each answer goes through the guard, as in the graph.

    Args:
        robot: simulated robot, with cameras unless the policy needs none.
        seed: of the scene.
        max_steps: control steps until the episode counts as a failure.
        family: family of SpatialPickPlace, "" to leave the robot's own.
        film: gets a picture of every step.
    """
    started = time.monotonic()
    observation = robot.reset(seed, family or None)
    guarded = GuardedRobot(robot)
    instruction = observation.instruction
    flags: dict[str, bool] = {}
    seen: set[str] = set()
    refused = ""
    steps = 0
    while steps < max_steps and not flags.get("success", False):
        action = (yield observation).steps[0]
        if film is not None:
            film.add(robot.picture(), observation)
        result = guarded.step(action, observation)
        if isinstance(result, Refusal):
            refused = str(result.reason)
            break
        observation, flags = result.observation, result.flags
        seen |= {name for name, value in flags.items() if value}
        steps += 1
        if action.terminate:
            break
    if film is not None:
        film.add(robot.picture(), observation)
    success = flags.get("success", False)
    failure = "" if success else refused or failure_kind(flags)
    seconds = round(time.monotonic() - started, 3)
    return EpisodeResult(seed, family, instruction, success, failure, steps, seconds, tuple(sorted(seen)))
