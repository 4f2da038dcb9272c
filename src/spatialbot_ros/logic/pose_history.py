"""Remembers the robot's poses, so that an action can be applied to the pose its observation saw."""

from __future__ import annotations

from bisect import bisect_left

from spatialbot_ros.logic.pose import Pose, interpolate
from spatialbot_ros.logic.reasons import Reason, Refusal


class PoseHistory:
    """The newest poses by stamp; a stamp between two is interpolated.

    Args:
        capacity: how many are kept; the oldest stamps go first.
        max_gap_ns: longest time between neighbours, and behind the newest, that is bridged.
    """

    def __init__(self, capacity: int, max_gap_ns: int) -> None:
        self._capacity = max(1, capacity)
        self._max_gap_ns = max_gap_ns
        self._stamps: list[int] = []
        self._poses: list[Pose] = []

    @property
    def newest_stamp_ns(self) -> int | None:
        """The newest stamp; None when empty."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forget everything, as when time was set back."""
        self._stamps.clear()
        self._poses.clear()

    def push(self, stamp_ns: int, pose: Pose) -> None:
        """Remember a pose, in any order of stamps; one with the same stamp is replaced."""
        place = bisect_left(self._stamps, stamp_ns)
        if place < len(self._stamps) and self._stamps[place] == stamp_ns:
            self._poses[place] = pose
            return
        self._stamps.insert(place, stamp_ns)
        self._poses.insert(place, pose)
        if len(self._stamps) > self._capacity:
            del self._stamps[0], self._poses[0]

    def at(self, stamp_ns: int) -> Pose | Refusal:
        """Pose at a stamp.

        Returns:
            the very pose of that stamp; between two, one interpolated; up to `max_gap_ns` behind the newest,
            the newest; a refusal where no pose is near enough.
        """
        if not self._stamps:
            return Refusal(Reason.POSE_STOPPED, "the robot has not reported its pose yet; check the topic")
        place = bisect_left(self._stamps, stamp_ns)
        if place == len(self._stamps):
            behind_ns = stamp_ns - self._stamps[-1]
            if behind_ns <= self._max_gap_ns:
                return self._poses[-1]
            return _gap(f"the newest pose is {behind_ns * 1e-6:.0f} ms too old", self._max_gap_ns)
        if self._stamps[place] == stamp_ns:
            return self._poses[place]
        if place == 0:
            early_ns = self._stamps[0] - stamp_ns
            return _gap(f"the oldest pose is {early_ns * 1e-6:.0f} ms newer than the observation", 0)
        before, after = self._stamps[place - 1], self._stamps[place]
        if after - before > self._max_gap_ns:
            return _gap(f"poses are missing for {(after - before) * 1e-6:.0f} ms", self._max_gap_ns)
        fraction = (stamp_ns - before) / (after - before)
        return interpolate(self._poses[place - 1], self._poses[place], fraction)


def _gap(seen: str, allowed_ns: int) -> Refusal:
    return Refusal(
        Reason.POSE_STOPPED,
        f"{seen}, allowed are {allowed_ns * 1e-6:.0f} ms; check the topic's rate",
    )
