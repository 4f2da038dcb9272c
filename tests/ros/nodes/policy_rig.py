"""A camera, an operator and a policy made of paper around a real policy_node, in simulated time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tests.ros.harness import Graph

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_ros.convert.images import from_color, from_depth
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.nodes.policy_node import PolicyNode

COLOR, DEPTH = "/camera/camera/color/image_raw", "/camera/camera/aligned_depth_to_color/image_raw"
START, STOP = "/spatialbot/policy/start", "/spatialbot/policy/stop"
INSTRUCTION = "put the red cup on the left board"
CONFIG = PolicyConfig((CameraConfig("camera", 32, 32),), rate_hz=30.0, depth_variant=DepthVariant.PAPER)
WIDTH, HEIGHT = 24, 16
PERIOD_S = 1 / 30
TWO_PERIODS_S = 2 * PERIOD_S
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PARAMETERS = {"robot.rate_hz": 30.0, "camera_rate_hz": 30.0}


class PaperPolicy:
    """Answers each observation with a step that counts; can be told to raise, to hang or to answer chunks.

    Attributes:
        seen: observations since the last reset.
        resets: how often it was reset.
        error: raised instead of answering, when set.
        may_answer: cleared by a test to let the policy hang.
        make_chunk: builds the answer to the n-th observation.
    """

    def __init__(self, config: PolicyConfig | None = CONFIG) -> None:
        self.config = config
        self.seen: list[Observation] = []
        self.resets = 0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.make_chunk: Callable[[Observation, int], Any] = one_step

    def reset(self) -> None:
        self.resets += 1
        self.seen.clear()

    def act(self, observation: Observation) -> ActionChunk:
        self.seen.append(observation)
        self.may_answer.wait(20.0)
        if self.error is not None:
            raise self.error
        return self.make_chunk(observation, len(self.seen))


def step(number: int, terminate: bool = False) -> ActionStep:
    """An action that tells its number, in values that no rounding leaves as they are."""
    values = np.array([0.1, 0.2, 0.3]) * number / 7.0
    return ActionStep(values, -values, float(number % 2), terminate)


def one_step(observation: Observation, number: int) -> ActionChunk:
    """A chunk with the step of that number."""
    return ActionChunk(observation.stamp_ns, (step(number),))


class PolicyRig:
    """A running policy_node with everything around it.

    Args:
        graph: to run on.
        parameters: of the node, beside `PARAMETERS`.
        policy: asked by the node.
        make_policy: builds what the node asks, where that is not `policy` itself.
        kwargs: for PolicyNode.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: dict[str, Any] | None = None,
        policy: PaperPolicy | None = None,
        make_policy: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.graph = graph
        self.policy = PaperPolicy() if policy is None else policy
        self.actions = graph.record(JointState, "/spatialbot/action")
        self.latencies = graph.record(JointState, "/spatialbot/latency")
        self.statuses = graph.record(DiagnosticStatus, "/spatialbot/policy/status", LATCHED)
        self.diagnostics = graph.record(DiagnosticArray, "/diagnostics")
        overrides = graph.parameters(PARAMETERS | (parameters or {}))
        self.node = graph.add(
            PolicyNode(make_policy or (lambda _: self.policy), parameter_overrides=overrides, **kwargs)
        )
        graph.until(lambda: self.statuses)

    @property
    def status(self) -> DiagnosticStatus:
        """The newest status."""
        return self.statuses[-1]

    @property
    def reason(self) -> str:
        """Why the policy is not active; "" while it is."""
        return self.status.values[0].value

    @property
    def active(self) -> bool:
        """Whether the status is OK."""
        return self.status.level == DiagnosticStatus.OK

    def instruct(self, text: str = INSTRUCTION) -> None:
        self.graph.publish("/spatialbot/instruction", String(data=text), LATCHED)

    def color(self, stamp: int | None = None, encoding: str = "rgb8", width: int = WIDTH) -> None:
        image = np.full((HEIGHT, width, 3), 7, np.uint8)
        self.graph.publish(COLOR, from_color(image, self.stamp(stamp), "camera", encoding))

    def depth(self, stamp: int | None = None, value: int = 800, width: int = WIDTH) -> None:
        image = np.full((HEIGHT, width), value, np.uint16 if value < 2**16 else np.uint32)
        self.graph.publish(DEPTH, from_depth(image, self.stamp(stamp), "camera"))

    def stamp(self, stamp: int | None = None) -> int:
        return self.graph.now_ns if stamp is None else stamp

    def frame(self, **kwargs: Any) -> None:
        """A sound frame, stamped now."""
        self.color(**kwargs)
        self.depth(**kwargs)

    def pause(self, periods: float = 1.0) -> None:
        """Let frame periods pass."""
        self.graph.advance(periods * PERIOD_S, PERIOD_S / 8)

    def start(self) -> None:
        """Everything in place, and the policy active."""
        self.instruct()
        self.frame()
        response = self.graph.call(START)
        assert response.success, response.message
        self.graph.until(lambda: self.active)
        self.pause()

    def follow(self, frames: int = 3) -> None:
        """Sound frames, each answered by an action; the last one has just been answered."""
        for number in range(frames):
            if number:
                self.pause()
            self.expect_action(self.frame)

    def expect_action(self, cause: Callable[[], Any]) -> JointState:
        """Do something that leads to one more action, and return the action."""
        before = len(self.actions)
        cause()
        self.graph.until(lambda: len(self.actions) > before)
        self.graph.settle()
        return self.actions[-1]

    def expect_stop(self, reason: str, since_ns: int | None = None) -> None:
        """The status has become not OK for this reason, and nothing moves or restarts any more.

        Frames come back, and time passes: no action is published and the status stays.
        """
        assert (self.reason, self.active) == (reason, False), self.status.message
        before = len(self.actions)
        self.policy.may_answer.set()
        for _ in range(4):
            self.pause()
            self.frame()
        self.graph.settle()
        assert len(self.actions) == before
        assert (self.reason, self.active) == (reason, False), self.status.message

    def hang(self) -> None:
        """A frame that the policy works on until the test sets `may_answer`."""
        before = len(self.policy.seen)
        self.policy.may_answer.clear()
        self.frame()
        self.graph.until(lambda: len(self.policy.seen) > before)

    def restart(self) -> None:
        """The operator starts the policy again, as soon as it is done with what it did, and it follows."""
        self.graph.until(lambda: self.graph.call(START).success)
        self.pause()
        self.follow(1)


def stamps(messages: list[Any]) -> list[int]:
    """Header stamps in nanoseconds."""
    return [stamp_ns(message.header) for message in messages]


def contract(**changes: Any) -> PolicyConfig:
    """CONFIG with changes."""
    return replace(CONFIG, **changes)
