"""`spatialbot evaluate` and the graph in lock-step are one closed loop: the same actions, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from tests.policy.serving.digest_policy import LoopThread, RealServer
from tests.ros.harness import Graph
from tests.ros.nodes.sim_graph import add_arm, add_policy, add_sim, parsed, record_outcomes

from spatialbot_policy.inference import Engine, LocalPolicy
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.host import EngineHost
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.types import ActionChunk, Observation, Policy
from spatialbot_ros.convert.actions import to_action
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_sim.evaluation.rollout import EpisodeResult, rollout
from spatialbot_sim.task.robot import EPISODE_START_NS, SimRobot
from spatialbot_sim.task.seeds import EVAL_SEEDS

CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "tiny"
STEP_S = 2.0  # of wall time, for the slowest machine


class Listening:
    """A policy that keeps what it saw and said."""

    def __init__(self, policy: LocalPolicy) -> None:
        self._policy = policy
        self.config = policy.config
        self.heard: list[tuple[Observation, np.ndarray]] = []

    def reset(self) -> None:
        self._policy.reset()

    def act(self, observation: Observation) -> ActionChunk:
        chunk = self._policy.act(observation)
        self.heard.append((observation, chunk.steps[0].as_vector()))
        return chunk


@pytest.fixture(scope="module")
def policy() -> LocalPolicy:
    return LocalPolicy.from_checkpoint(CHECKPOINT)


@pytest.fixture(scope="module")
def robot() -> Iterator[SimRobot]:
    made = SimRobot(phrasing="held_out")
    yield made
    made.close()


def evaluate(
    robot: SimRobot, policy: LocalPolicy, family: str, seeds: range, max_steps: int
) -> tuple[list[EpisodeResult], list[np.ndarray]]:
    """Results of `spatialbot evaluate`'s rollouts, and the (T, 7) actions of each."""
    results, actions = [], []
    for seed in seeds:
        listening = Listening(policy)
        results.append(rollout(robot, listening, seed, max_steps, family))
        actions.append(np.array([vector for _, vector in listening.heard]))
    return results, actions


def check_parity(
    graph: Graph,
    robot: SimRobot,
    policy: LocalPolicy,
    family: str,
    seeds: range,
    max_steps: int,
    in_graph: Policy | None = None,
):
    results, actions = evaluate(robot, policy, family, seeds, max_steps)
    graph.set_time(EPISODE_START_NS - 100_000_000)
    outcomes = record_outcomes(graph)
    executed = graph.record(JointState, "/spatialbot/executed_action", 1000)
    add_arm(graph)
    add_policy(graph, make_policy=lambda parameters: in_graph or policy)
    add_sim(graph, robot, family=family, first_seed=seeds.start, episodes=len(seeds), max_steps=max_steps)
    graph.until(lambda: len(outcomes) == len(seeds), timeout_s=60.0 + len(seeds) * max_steps * STEP_S)

    for outcome, result in zip(parsed(outcomes), results, strict=True):
        assert outcome == {
            "seed": result.seed,
            "family": result.family,
            "instruction": result.instruction,
            "success": result.success,
            "failure": result.failure,
            "steps": result.steps,
            "seen": list(result.seen),
        }
    sent = np.array([to_action(message)[0] for message in executed])
    assert np.array_equal(sent, np.concatenate(actions))
    stamps = [stamp_ns(message) for message in executed]
    assert stamps == sorted(set(stamps))


def test_two_seeds_lead_to_identical_actions_and_outcomes(graph, robot, policy):
    check_parity(graph, robot, policy, "pick", EVAL_SEEDS[:2], max_steps=12)


def test_a_policy_behind_a_server_leads_to_the_same_actions_bit_by_bit(graph, robot):
    loop, engine = LoopThread(), Engine.from_checkpoint(CHECKPOINT)
    server = RealServer(loop, EngineHost(engine))
    remote = RemotePolicy(server.url, LinkSettings(timeout_s=60.0))
    check_parity(graph, robot, LocalPolicy(engine), "pick", EVAL_SEEDS[2:4], max_steps=12, in_graph=remote)
    assert remote.timing is not None and "vision_ms" in remote.timing.policy
    remote.close()
    server.stop()
    loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["pick", "position"])
def test_twenty_seeds_lead_to_identical_actions_and_outcomes(graph, robot, policy, family):
    check_parity(graph, robot, policy, family, EVAL_SEEDS[:20], max_steps=100)
