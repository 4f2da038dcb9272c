"""A policy that takes several control periods and answers in chunks: the arm moves on while it thinks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from tests.ros.harness import Graph
from tests.ros.nodes.arm_bench import PARAMETERS as ARM_PARAMETERS
from tests.ros.nodes.fake_robot import LATCHED, FakeRobot
from tests.ros.nodes.policy_rig import PERIOD_S, PaperPolicy, PolicyRig, contract, stamps

from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_ros.convert.states import to_pose
from spatialbot_ros.nodes.arm_node import ArmNode

CONTROL_NS = 100_000_000
LATENCY_NS = 350_000_000
TICK_S = PERIOD_S / 8
STEP_M = 0.001
PATIENT = {"robot.rate_hz": 10.0, "late_after_periods": 6.0, "hung_after_periods": 8.0, "blend_steps": 2}


class SlowPolicy(PaperPolicy):
    """Each answer waits until the test lets it go; then the next observation is begun with."""

    def __init__(self, steps: int) -> None:
        super().__init__(contract(rate_hz=10.0))
        self.gate = threading.Semaphore(0)
        self._steps = steps

    def act(self, observation: Observation) -> ActionChunk:
        self.seen.append(observation)
        self.gate.acquire(timeout=20.0)
        step = ActionStep(np.array([0.0, STEP_M, 0.0]), np.zeros(3), 0.0)
        return ActionChunk(observation.stamp_ns, (step,) * self._steps)


class SlowChain:
    """Camera at 30 Hz, policy at 10 Hz that takes 350 ms of simulated time, arm and robot.

    Attributes:
        sent_ns: when each command to the robot came.
        arrived_ns: when each action came.
    """

    def __init__(self, graph: Graph, steps: int) -> None:
        self.graph, self.policy = graph, SlowPolicy(steps)
        self.robot = graph.add(FakeRobot(graph.parameters()))
        self.targets = graph.record(PoseStamped, "/target_pose")
        self.statuses = graph.record(DiagnosticStatus, "/spatialbot/arm/status", LATCHED)
        arm = ARM_PARAMETERS | {"control_rate_hz": 10.0}
        graph.add(ArmNode(parameter_overrides=graph.parameters(arm)))
        self.rig = PolicyRig(graph, PATIENT, self.policy)
        self.rig.start()
        graph.until(lambda: graph.call("/spatialbot/arm/resume").success)
        self.sent_ns: list[int] = []
        self.arrived_ns: list[int] = []
        self._began_ns: int | None = None

    def run(self, seconds: float) -> None:
        """Let simulated time pass, with a frame every 33 ms and an answer whenever it is due."""
        for number in range(round(seconds / TICK_S)):
            if number % 8 == 0:
                self.rig.frame()
            if self._began_ns is None:
                self.graph.until(lambda: self.policy.seen)
                self._began_ns = self.graph.now_ns
            elif self.graph.now_ns >= self._began_ns + LATENCY_NS:
                self._answer()
            self._note()
            self.graph.advance(TICK_S, TICK_S)
            self._note()

    def _answer(self) -> None:
        """The answer comes now; it is in the node's hands before the policy begins with the next one."""
        begun = len(self.policy.seen)
        self.policy.gate.release()
        self.graph.until(lambda: len(self.policy.seen) > begun)
        self.graph.settle()
        self._began_ns = self.graph.now_ns

    def _note(self) -> None:
        """Remember when what has come since the last look came."""
        for times, messages in ((self.sent_ns, self.targets), (self.arrived_ns, self.rig.actions)):
            times += [self.graph.now_ns] * (len(messages) - len(times))

    @property
    def y_m(self) -> float:
        return float(self.robot.kinematics.forward(self.robot.joints).position_m[1])


@pytest.fixture
def chain(graph) -> Callable[[int], SlowChain]:
    made = []

    def make(steps: int) -> SlowChain:
        made.append(SlowChain(graph, steps))
        return made[-1]

    yield make
    for one in made:
        for _ in range(3):
            one.policy.gate.release()


def test_the_arm_moves_at_the_control_rate_while_inference_takes_several_periods(chain):
    moving = chain(8)
    start_m = moving.y_m
    moving.run(4.0)
    assert moving.rig.active and moving.statuses[-1].level == DiagnosticStatus.OK
    answered = len(moving.policy.seen) - 1
    assert 9 <= answered <= 11, "the policy is asked again as soon as it has answered"
    pauses = np.diff(moving.sent_ns)[1:]  # the first step is sent when the answer comes, in its period
    assert len(pauses) > 30
    assert np.all(np.abs(pauses - CONTROL_NS) <= 2e9 * TICK_S)
    # every step was relative to the pose at its own time: had it been the observation's, most would be lost
    assert moving.y_m - start_m == pytest.approx(STEP_M * len(moving.rig.actions), abs=STEP_M)
    assert to_pose(moving.targets[-1]).position_m[1] == pytest.approx(moving.y_m, abs=1e-4)


def test_no_step_comes_twice_or_late_and_none_before_its_time(chain):
    moving = chain(8)
    moving.run(3.0)
    times = np.array(stamps(moving.rig.actions))
    late = np.array(moving.arrived_ns) - times
    assert len(times) > 20 and np.all(np.diff(times) >= CONTROL_NS / 2)
    assert np.all((late >= 0) & (late < CONTROL_NS))
    assert times[0] >= moving.policy.seen[0].stamp_ns + LATENCY_NS - CONTROL_NS, "the first steps had passed"


def test_the_latency_of_a_chunk_is_told_with_the_first_step_that_is_sent(chain):
    moving = chain(8)
    moving.run(2.0)
    told = stamps(moving.rig.latencies)
    assert len(moving.policy.seen) - 2 <= len(set(told)) and set(told) <= set(stamps(moving.rig.actions))


def test_a_chunk_that_ends_before_the_next_answer_leaves_the_arm_standing(chain):
    short = chain(4)
    short.run(1.5)
    assert len(short.rig.actions) >= 1
    assert short.statuses[-1].level != DiagnosticStatus.OK
    assert short.statuses[-1].message.startswith("policy_silent")
