"""Watches the streams of a recording message by message, cheaply, and says what is wrong with them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from spatialbot_policy.errors import FrameError
from spatialbot_policy.image_head import ImageHead, image_head
from spatialbot_policy.types import FloatArray
from spatialbot_ros.logic.image_look import (
    clipped_shares,
    fingerprint,
    hole_share,
    pose_of,
)
from spatialbot_ros.logic.rate_meter import RateMeter
from spatialbot_ros.logic.recording_warnings import LiveWarning, WarningSettings

_STILL_RAD = 0.02
_ALL_HOLES = 0.999
_SILENT_S = 1.0


class Kind(Enum):
    """What a stream carries, as far as its warnings differ."""

    COLOR = "color"
    DEPTH = "depth"
    POSE = "pose"
    STAMPED = "stamped"
    OTHER = "other"


@dataclass
class _Stream:
    """What is known of one topic."""

    kind: Kind
    min_hz: float
    max_gap_s: float
    meter: RateMeter = field(default_factory=RateMeter)
    stamp_ns: int | None = None
    ahead_ns: int = 0
    head: ImageHead | None = None
    looked_ns: int | None = None
    holes: float | None = None
    clipped: tuple[float, float] | None = None
    print: int | None = None
    equal: int = 0
    broken: str = ""

    @property
    def silent_ns(self) -> float:
        """A pause that is told."""
        return max(self.max_gap_s, _SILENT_S) * 1e9


class StreamWatch:
    """The streams of one recorder.

    Args:
        settings: when to warn; may be replaced.
        kinds: topic to what it carries.
        demands: topic to lowest rate in Hz and longest pause in seconds; others may be as slow as they like.
    """

    def __init__(
        self,
        settings: WarningSettings,
        kinds: Mapping[str, Kind],
        demands: Mapping[str, tuple[float, float]],
    ) -> None:
        self.settings = settings
        self._streams = {
            topic: _Stream(kind, *demands.get(topic, (0.0, 0.0))) for topic, kind in kinds.items()
        }
        self._still: tuple[FloatArray, int] | None = None
        self._born_ns: int | None = None

    # -- what comes

    def take(self, topic: str, now_ns: int, stamp_ns: int, data: bytes) -> str:
        """Note a message.

        Args:
            topic: one of `kinds`.
            now_ns: when it was received.
            stamp_ns: of its header.
            data: in CDR.

        Returns:
            why a recording cannot go on with this message, "" where it can: its clock jumped, its picture
            has another size or encoding.
        """
        stream = self._streams[topic]
        if (stream.meter.age_ns(now_ns) or 0) > stream.silent_ns:
            stream.meter.reset()  # a pause was told as such: what comes after it is not slow
        stream.meter.tick(now_ns)
        if stream.kind is Kind.OTHER:
            return ""
        before_ns, stream.stamp_ns = stream.stamp_ns, stamp_ns
        stream.ahead_ns = stamp_ns - now_ns
        why = ""
        if before_ns is not None and before_ns - stamp_ns > self.settings.jump_s * 1e9:
            why = (
                f"{topic}: the clock jumped back by {(before_ns - stamp_ns) / 1e9:.2f} s; look at the time "
                "synchronisation of its computer"
            )
        try:
            if stream.kind in (Kind.COLOR, Kind.DEPTH):
                why = self._take_image(topic, stream, now_ns, data) or why
            elif stream.kind is Kind.POSE:
                self._take_pose(pose_of(data), now_ns)
            stream.broken = ""
        except FrameError as error:
            stream.broken = str(error)
        return why

    def _take_image(self, topic: str, stream: _Stream, now_ns: int, data: bytes) -> str:
        head = image_head(data)
        before, stream.head = stream.head, head
        seen = fingerprint(head, data)
        stream.equal = stream.equal + 1 if seen == stream.print else 1
        stream.print = seen
        looked = stream.looked_ns
        if looked is None or not 0 <= now_ns - looked < 1e9 / self.settings.look_hz:
            stream.looked_ns = now_ns
            if stream.kind is Kind.DEPTH:
                stream.holes = hole_share(head, data)
            else:
                stream.clipped = clipped_shares(head, data)
        if before is not None and before.form != head.form:
            return f"{topic}: the picture changed from {before} to {head}; let nobody reconfigure the camera"
        return ""

    def _take_pose(self, pose: FloatArray, now_ns: int) -> None:
        if self._still is not None:
            anchor = self._still[0]
            moved_m = float(np.linalg.norm(pose[:3] - anchor[:3]))
            turned_rad = 2.0 * float(np.arccos(min(1.0, abs(float(pose[3:] @ anchor[3:])))))
            if moved_m <= self.settings.still_m and turned_rad <= _STILL_RAD and now_ns >= self._still[1]:
                return
        self._still = (pose, now_ns)

    def begin_episode(self, now_ns: int) -> None:
        """An episode starts: the arm has stood still since now at the earliest."""
        if self._still is not None:
            self._still = (self._still[0], now_ns)

    # -- what is known

    def rates_hz(self, now_ns: int) -> dict[str, float]:
        """Topic to its present rate."""
        return {topic: stream.meter.rate_hz(now_ns) for topic, stream in self._streams.items()}

    def age_ns(self, topic: str, now_ns: int) -> int | None:
        """Time since the last message of a topic; None before the first."""
        return self._streams[topic].meter.age_ns(now_ns)

    def size(self, topic: str) -> tuple[int, int] | None:
        """Width and height of the last picture of a topic; None before the first."""
        head = self._streams[topic].head
        return None if head is None else (head.width, head.height)

    def blind(self) -> list[str]:
        """Depth topics whose last look found no measurement at all."""
        return [topic for topic, stream in self._streams.items() if (stream.holes or 0.0) > _ALL_HOLES]

    def warnings(self, now_ns: int, recording: bool) -> Iterator[LiveWarning]:
        """What is wrong now; that the arm stands still is wrong only while `recording`."""
        if self._born_ns is None or now_ns < self._born_ns:
            self._born_ns = now_ns
        for topic, stream in self._streams.items():
            yield from self._rate_warnings(topic, stream, now_ns, now_ns - self._born_ns)
            if stream.broken:
                yield LiveWarning("broken", topic, stream.broken)
            yield from self._clock_warnings(topic, stream)
            yield from self._image_warnings(topic, stream)
        limit_s = self.settings.still_s
        if recording and self._still is not None and 0.0 < limit_s < (now_ns - self._still[1]) / 1e9:
            yield LiveWarning(
                "arm_still", "", f"the arm has not moved for {limit_s:g} s; end the episode, or is it held?"
            )

    def _rate_warnings(
        self, topic: str, stream: _Stream, now_ns: int, watched_ns: int
    ) -> Iterator[LiveWarning]:
        if stream.max_gap_s <= 0.0:
            return
        min_hz = stream.min_hz
        if stream.kind in (Kind.COLOR, Kind.DEPTH) and self.settings.camera_hz > 0.0:
            min_hz = self.settings.camera_hz
        age_ns, rate_hz = stream.meter.age_ns(now_ns), stream.meter.rate_hz(now_ns)
        silent_ns = watched_ns if age_ns is None else age_ns
        if silent_ns > stream.silent_ns:
            since = "ever" if age_ns is None else f"for {silent_ns / 1e9:.1f} s"
            yield LiveWarning("silent", topic, f"no message {since}; look at its node and its cable")
        elif 0.0 < rate_hz < min_hz:
            yield LiveWarning(
                "slow", topic, f"{rate_hz:.1f} Hz of {min_hz:g} Hz; look at the USB port and load"
            )

    def _clock_warnings(self, topic: str, stream: _Stream) -> Iterator[LiveWarning]:
        if stream.stamp_ns is not None and 0.0 < self.settings.clock_s < abs(stream.ahead_ns) / 1e9:
            side = "ahead of" if stream.ahead_ns > 0 else "behind"
            yield LiveWarning(
                "clock",
                topic,
                f"stamps are {abs(stream.ahead_ns) / 1e9:.1f} s {side} the recorder's clock; synchronise the "
                "computers (chrony), or set use_sim_time alike for all",
            )

    def _image_warnings(self, topic: str, stream: _Stream) -> Iterator[LiveWarning]:
        limits = self.settings
        if stream.holes is not None and 0.0 < limits.hole_share < stream.holes:
            yield LiveWarning(
                "depth_holes",
                topic,
                f"{stream.holes:.0%} of the pixels have no depth; distance, glare, cover?",
            )
        for share, word in zip(stream.clipped or (), ("black", "white"), strict=False):
            if 0.0 < limits.clipped_share < share:
                yield LiveWarning(
                    "clipped", topic, f"{share:.0%} of the pixels are {word}; set light or exposure"
                )
        if stream.head is not None and 0 < limits.frozen_frames <= stream.equal:
            yield LiveWarning("frozen", topic, f"{stream.equal} equal pictures in a row; restart the camera")
