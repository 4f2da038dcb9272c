"""Plays a recorded episode into the graph with its own clock; recorded actions go where no arm listens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState

from spatialbot_policy.episodes.packed import plain_cdr
from spatialbot_policy.episodes.topics import ACTION_TOPIC, EXECUTED_TOPIC, INSTRUCTION_TOPIC
from spatialbot_policy.errors import ConfigError
from spatialbot_ros.convert.stamps import stamp_ns, to_time
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.step_pacing import StepPacing
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.replay_episode import Beat, ReplayEpisode
from spatialbot_ros.nodes.reporting import STATUS_QOS, Reporter
from spatialbot_ros.nodes.running import run

TICK_S = 0.005
AGAIN_S = 0.2
"""Until the policy is active its contract needs frames: the first one is shown again and again."""
QUEUE = 10
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class ReplayParameters:
    """Parameters of replay_node."""

    episode: str = parameter("", "Directory of the episode, such as DATASET/episodes/000042.")
    lockstep: bool = parameter(False, "Wait for the policy's action after each of its frames.")
    rate: float = parameter(1.0, "Speed of play without lockstep.", low=0.01, high=100.0)
    wait_for_policy: bool = parameter(True, "Show the first frame until the policy is active.")
    policy_rate_hz: float = parameter(10.0, "robot.rate_hz of policy_node.", low=0.1, high=200.0)
    camera_rate_hz: float = parameter(10.0, "camera_rate_hz of policy_node.", low=0.1, high=200.0)
    pair_tolerance_ms: float = parameter(10.0, "pair_tolerance_ms of policy_node.", low=0.0, high=1000.0)
    camera_tolerance_ms: float = parameter(20.0, "camera_tolerance_ms of policy_node.", low=0.0, high=1000.0)
    patience_s: float = parameter(30.0, "Longest wait for an action in lockstep, s.", low=0.1, high=3600.0)
    exit_when_done: bool = parameter(False, "End this node after the last frame.")
    action_topic: str = parameter(ACTION_TOPIC, "The policy's actions.")
    policy_status_topic: str = parameter("/spatialbot/policy/status", "Whether the policy is active.")
    recorded_action_topic: str = parameter("/spatialbot/recorded_action", "Where recorded actions go.")
    recorded_executed_topic: str = parameter(
        "/spatialbot/recorded_executed_action", "Where recorded executed actions go."
    )
    clock_topic: str = parameter("/clock", "Where the recording's time goes.")


class ReplayNode(Node):
    """Publishes an episode's messages as they were recorded.

    The clock stands still while the first frame is shown. Play then runs at `rate`, or in lock-step, where
    each frame that the policy takes as a step is followed by the next one only when its action has come.
    When the policy stops, so does the play.

    Args:
        kwargs: for `rclpy.node.Node`.

    Raises:
        SpatialBotError: a parameter or the episode cannot be used.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("replay_node", **kwargs)
        self._values = values = Parameters(self, ReplayParameters).value
        if not values.episode:
            raise ConfigError("parameter 'episode' is empty, allowed is the directory of an episode")
        self._episode = episode = ReplayEpisode(
            values.episode, round(values.pair_tolerance_ms * 1e6), round(values.camera_tolerance_ms * 1e6)
        )
        self._beats: Iterator[Beat] = episode.beats()
        self._first = self._next = next(self._beats, None)
        self._pacing = StepPacing(values.policy_rate_hz, values.camera_rate_hz)
        self._playing = False
        self._policy_active = not values.wait_for_policy
        self._awaited_ns: int | None = None
        self._began: tuple[float, int] = (0.0, 0)
        self._waited_since_s = 0.0
        self._frames = self._answers = 0

        self._report = Reporter(self, "replay")
        self._clock_out = self.create_publisher(ClockMessage, values.clock_topic, QUEUE)
        self._outputs = {topic: self._publisher(topic, kind) for topic, kind in episode.topics.items()}
        self.create_subscription(JointState, values.action_topic, self._on_action, QUEUE)
        self.create_subscription(
            DiagnosticStatus, values.policy_status_topic, self._on_policy_status, STATUS_QOS
        )
        # The node's own clock may be the one that it publishes.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._player: Any = None
        self.create_timer(AGAIN_S, self._on_look, clock=self._steady)
        self._report.holding(Refusal(Reason.NOT_STARTED, "waiting for the policy to become active"))

    def _publisher(self, topic: str, kind: str) -> Any:
        renamed = {
            ACTION_TOPIC: self._values.recorded_action_topic,
            EXECUTED_TOPIC: self._values.recorded_executed_topic,
        }
        package, _, name = kind.split("/")
        message_type = getattr(import_module(f"{package}.msg"), name)
        qos = LATCHED if topic == INSTRUCTION_TOPIC else QoSProfile(depth=QUEUE)
        return self.create_publisher(message_type, renamed.get(topic, topic), qos)

    # --- what comes in

    def _on_policy_status(self, message: DiagnosticStatus) -> None:
        if not self._values.wait_for_policy:
            return
        self._policy_active = message.level == DiagnosticStatus.OK
        if self._policy_active and self._first is not None and not self._playing:
            self._begin()
        elif not self._policy_active and self._playing:
            self._end(Refusal(Reason.POLICY_STOPPED, message.message))

    def _on_action(self, message: JointState) -> None:
        self._answers += self._playing
        if self._playing and stamp_ns(message.header) == self._awaited_ns:
            self._awaited_ns = None
            self._play_steps()

    def _on_look(self) -> None:
        """Show the first frame until the policy is active; then look whether it still answers."""
        now_s = time.monotonic()
        if not self._playing:
            self._show_first()
        elif self._awaited_ns is not None and now_s - self._waited_since_s > self._values.patience_s:
            detail = f"no action for stamp {self._awaited_ns} ns came within {self._values.patience_s:g} s"
            self._end(Refusal(Reason.POLICY_SILENT, f"{detail}; check policy_rate_hz and camera_rate_hz"))

    # --- play

    def _show_first(self) -> None:
        if self._first is not None and self._policy_active:
            self._begin()
        elif self._first is not None:
            self._publish(self._first)

    def _begin(self) -> None:
        if self._next is None:
            return
        self._playing = True
        self._report.ok(f"playing {self._values.episode}")
        if self._values.lockstep:
            self._play_steps()
        else:
            self._began = (time.monotonic(), self._next.clock_ns)
            self._player = self.create_timer(TICK_S, self._on_play, clock=self._steady)

    def _on_play(self) -> None:
        """Play what is due by now."""
        began_s, began_ns = self._began
        if self._playing:
            self._play_until(began_ns + int((time.monotonic() - began_s) * self._values.rate * 1e9))

    def _play_steps(self) -> None:
        """Play up to the next frame that the policy takes as a step."""
        while self._playing and self._awaited_ns is None:
            beat = self._play_next()
            if beat is not None and beat.frame_ns is not None and self._pacing.accept(beat.frame_ns):
                self._awaited_ns = beat.frame_ns
                self._waited_since_s = time.monotonic()

    def _play_until(self, clock_ns: int) -> None:
        while self._next is not None and self._next.clock_ns <= clock_ns:
            self._play_next()
        if self._next is None:
            self._play_next()
        else:
            self._publish_clock(clock_ns)

    def _play_next(self) -> Beat | None:
        """Publish the next beat; at the end of the episode stop."""
        beat = self._next
        if beat is None:
            self._end(Refusal(Reason.TASK_DONE, self._progress()))
            return None
        self._publish(beat)
        self._frames += beat.frame_ns is not None
        self._next = next(self._beats, None)
        return beat

    def _progress(self) -> str:
        return f"played {self._frames} of {self._episode.frames} frames, got {self._answers} actions"

    def _publish(self, beat: Beat) -> None:
        # The clock first: a frame from the future would be refused.
        self._publish_clock(beat.clock_ns)
        for message in beat.messages:
            self._outputs[message.topic].publish(plain_cdr(message.data, message.topic))

    def _publish_clock(self, clock_ns: int) -> None:
        self._clock_out.publish(ClockMessage(clock=to_time(clock_ns)))

    def _end(self, refusal: Refusal) -> None:
        self._playing, self._first, self._next = False, None, None
        if self._player is not None:
            self._player.cancel()
        if refusal.reason is not Reason.TASK_DONE:
            self._report.stopped(refusal)
            return
        self._report.holding(refusal)
        if self._values.exit_when_done:
            self.context.try_shutdown()

    def close(self) -> None:
        """Say that the play is over."""
        if self._playing:
            self._end(Refusal(Reason.SHUTDOWN, "the node ends"))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until it is interrupted."""
    run(ReplayNode, args)


if __name__ == "__main__":
    main()
