"""The policy node's share of the latency trace: from the camera's stamp to the published action."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

from sensor_msgs.msg import JointState

from spatialbot_ros.convert.stamps import to_time
from spatialbot_ros.logic import latency
from spatialbot_ros.nodes.camera_streams import Arrival
from spatialbot_ros.nodes.policy_worker import Answer

REMEMBERED = 64
Value = TypeVar("Value")


class PolicyLatency:
    """Collects the duration of each stage by observation stamp.

    `transport` is the node's clock minus the header's stamp; all else is measured on the monotonic clock.
    """

    def __init__(self) -> None:
        self._trace = latency.LatencyTrace()
        self._arrivals: dict[int, Arrival] = {}
        self._answered_ns: dict[int, int] = {}

    def forget(self) -> None:
        """Forget the frames on their way; the statistics stay."""
        self._arrivals.clear()
        self._answered_ns.clear()

    def arrived(self, stamp_ns: int, arrival: Arrival) -> None:
        """Note a frame of the first camera."""
        _remember(self._arrivals, stamp_ns, arrival)

    def submitted(self, stamp_ns: int) -> None:
        """Note that an observation went to the policy."""
        arrival = self._arrivals.get(stamp_ns)
        if arrival is not None:
            self._trace.add(stamp_ns, latency.TRANSPORT, arrival.node_ns - stamp_ns)
            self._trace.add(stamp_ns, latency.PAIRING, time.monotonic_ns() - arrival.monotonic_ns)

    def answered(self, answer: Answer) -> None:
        """Note an answer."""
        stamp_ns = answer.job.observation.stamp_ns
        self._trace.add(stamp_ns, latency.QUEUE, answer.queue_ns)
        self._trace.add(stamp_ns, latency.INFERENCE, answer.inference_ns)
        _remember(self._answered_ns, stamp_ns, time.monotonic_ns())

    def published(self, observation_stamp_ns: int, action_stamp_ns: int) -> JointState | None:
        """Note an action; the stages as a named vector in seconds, None for a later step of a chunk.

        The message carries the action's own stamp, under which the arm adds its stages: the first step of a
        chunk that was in time need not be the one for the observation's stamp.
        """
        answered_ns = self._answered_ns.pop(observation_stamp_ns, None)
        if answered_ns is None:
            return None
        self._trace.add(observation_stamp_ns, latency.PUBLISH, time.monotonic_ns() - answered_ns)
        stages = self._trace.step(observation_stamp_ns)
        message = JointState(name=list(stages), position=[value / 1e9 for value in stages.values()])
        message.header.stamp = to_time(action_stamp_ns)
        return message

    def values(self) -> Mapping[str, str]:
        """Percentiles of every stage for /diagnostics."""
        return {f"latency {row.stage}": str(row) for row in self._trace.table()}


def _remember(entries: dict[int, Value], key: int, value: Value) -> None:
    entries[key] = value
    if len(entries) > REMEMBERED:
        del entries[next(iter(entries))]
