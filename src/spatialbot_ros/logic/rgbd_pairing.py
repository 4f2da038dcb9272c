"""Colour and depth images paired by header stamp, whatever order they arrive in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.stamped_buffer import StampedBuffer, partner_ns

Color = TypeVar("Color")
Depth = TypeVar("Depth")
Image = TypeVar("Image")


@dataclass(frozen=True)
class Pair(Generic[Color, Depth]):
    """A colour image and the depth image nearest to it.

    Attributes:
        stamp_ns: stamp of the colour image, which is the stamp of the observation.
        depth_stamp_ns: stamp of the depth image.
        color, depth: what was pushed: messages or arrays.
    """

    stamp_ns: int
    depth_stamp_ns: int
    color: Color
    depth: Depth

    @property
    def skew_ns(self) -> int:
        """How much later the depth image is than the colour image; negative if it is earlier."""
        return self.depth_stamp_ns - self.stamp_ns


class RgbdPairing(Generic[Color, Depth]):
    """Pairs two streams; each image is used once and pairs come out with rising stamps.

    Images pair when they are the nearest to each other. Equal stamps pair at once. Otherwise the older image
    of the two may still be followed by a nearer one of its stream: the pair then waits for that stream's next
    image, unless the gaps seen in the stream rule it out. So a constant offset below half a frame period
    costs no time, and a lost image never shifts the streams against each other, not even with a tolerance
    of several periods.

    Args:
        tolerance_ns: largest distance between the stamps of a pair.
        capacity: images kept of each stream.

    Attributes:
        paired: pairs given out.
        dropped: images that were forgotten without a partner.
        duplicates: images whose stamp had come before.
        late: images older than one of their stream that is already in a pair.

    Raises:
        ConfigError: the tolerance is negative or the capacity below 1.
    """

    def __init__(self, tolerance_ns: int, capacity: int = 8) -> None:
        if tolerance_ns < 0:
            raise ConfigError(f"the pairing tolerance must not be negative, got {tolerance_ns} ns")
        self._tolerance_ns = tolerance_ns
        self._color: StampedBuffer[Color] = StampedBuffer(capacity)
        self._depth: StampedBuffer[Depth] = StampedBuffer(capacity)
        self._last: Pair[Color, Depth] | None = None
        self.paired = self.dropped = self.duplicates = self.late = 0

    def push_color(self, stamp_ns: int, image: Color) -> Pair[Color, Depth] | None:
        """Add a colour image; return the next pair if one is complete."""
        last_ns = None if self._last is None else self._last.stamp_ns
        self._add(self._color, stamp_ns, image, last_ns)
        return self._next_pair()

    def push_depth(self, stamp_ns: int, image: Depth) -> Pair[Color, Depth] | None:
        """Add a depth image; return the next pair if one is complete."""
        last_ns = None if self._last is None else self._last.depth_stamp_ns
        self._add(self._depth, stamp_ns, image, last_ns)
        return self._next_pair()

    @property
    def skew_ns(self) -> int | None:
        """Newest depth stamp minus newest colour stamp, paired or not; None before both streams spoke."""
        color_ns, depth_ns = self._color.newest_seen_ns, self._depth.newest_seen_ns
        return None if color_ns is None or depth_ns is None else depth_ns - color_ns

    @property
    def waiting(self) -> int:
        """Images of both streams kept now."""
        return len(self._color) + len(self._depth)

    def reset(self) -> None:
        """Forget all images, as when the clock jumps back; the counters go on."""
        self._color.clear()
        self._depth.clear()
        self._last = None

    def _add(self, stream: StampedBuffer[Image], stamp_ns: int, image: Image, last_ns: int | None) -> None:
        if stream.saw(stamp_ns):
            self.duplicates += 1
        elif last_ns is not None and stamp_ns <= last_ns:
            self.late += 1
        else:
            self.dropped += stream.add(stamp_ns, image)

    def _next_pair(self) -> Pair[Color, Depth] | None:
        for color_ns in self._color.stamps_ns:
            depth_ns = partner_ns(self._color, self._depth, color_ns, self._tolerance_ns)
            if depth_ns is not None:
                return self._give(color_ns, depth_ns)
        return None

    def _give(self, color_ns: int, depth_ns: int) -> Pair[Color, Depth]:
        pair = Pair(color_ns, depth_ns, self._color.get(color_ns), self._depth.get(depth_ns))
        self.dropped += self._color.drop_until(color_ns) + self._depth.drop_until(depth_ns) - 2
        self.paired += 1
        self._last = pair
        return pair
