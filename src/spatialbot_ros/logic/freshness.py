"""Whether images are fit to act on: their age, the skew of a pair, and that their form stays the same."""

from __future__ import annotations

from dataclasses import dataclass

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.reasons import Reason, Refusal


@dataclass(frozen=True)
class FreshnessGate:
    """Refuses images whose stamps are unset, too old, from the future, or too far apart.

    Attributes:
        max_age_ns: largest age of either image.
        max_skew_ns: largest distance between the stamps of colour and depth.
        max_future_ns: how far a stamp may lie ahead of the clock: two machines never agree exactly.

    Raises:
        ConfigError: a limit is negative, or no age is allowed at all.
    """

    max_age_ns: int
    max_skew_ns: int
    max_future_ns: int = 20_000_000

    def __post_init__(self) -> None:
        if self.max_age_ns <= 0 or self.max_skew_ns < 0 or self.max_future_ns < 0:
            raise ConfigError(
                f"the freshness limits must be positive, got max_age_ns={self.max_age_ns}, "
                f"max_skew_ns={self.max_skew_ns}, max_future_ns={self.max_future_ns}"
            )

    def check(self, color_stamp_ns: int, depth_stamp_ns: int | None, now_ns: int) -> Refusal | None:
        """Judge a frame at the moment it is used.

        Args:
            color_stamp_ns: header stamp of the colour image.
            depth_stamp_ns: header stamp of the depth image; None for a colour camera.
            now_ns: the node's clock, the same clock as the stamps.

        Returns:
            None if the frame may be used, else STAMP_INVALID, FRAMES_SKEWED or FRAME_STALE.
        """
        stamps = {"colour": color_stamp_ns}
        if depth_stamp_ns is not None:
            stamps["depth"] = depth_stamp_ns
        for name, stamp_ns in stamps.items():
            if stamp_ns <= 0:
                detail = f"the {name} image has stamp {stamp_ns} ns; its driver must fill header.stamp"
                return Refusal(Reason.STAMP_INVALID, detail)
        if depth_stamp_ns is not None and abs(depth_stamp_ns - color_stamp_ns) > self.max_skew_ns:
            return Refusal(
                Reason.FRAMES_SKEWED,
                f"depth is {_ms(depth_stamp_ns - color_stamp_ns)} from colour, allowed are "
                f"{_ms(self.max_skew_ns)}; let one device stamp both (realsense2_camera: enable_sync:=true)",
            )
        for name, stamp_ns in stamps.items():
            refusal = self._check_age(name, now_ns - stamp_ns)
            if refusal is not None:
                return refusal
        return None

    def _check_age(self, name: str, age_ns: int) -> Refusal | None:
        if age_ns > self.max_age_ns:
            detail = f"the {name} image is {_ms(age_ns)} old, allowed are {_ms(self.max_age_ns)}"
            return Refusal(Reason.FRAME_STALE, f"{detail}; look at the camera's rate and the network")
        if age_ns < -self.max_future_ns:
            detail = f"the {name} image is stamped {_ms(-age_ns)} in the future"
            return Refusal(Reason.FRAME_STALE, f"{detail}; let one clock stamp all (use_sim_time, chrony)")
        return None


@dataclass(frozen=True)
class FrameForm:
    """What must not change between two images of one stream."""

    width: int
    height: int
    encoding: str

    def __str__(self) -> str:
        """As in `640 x 480 rgb8`."""
        return f"{self.width} x {self.height} {self.encoding}"


class FrameContract:
    """Holds every stream to the size and encoding of its first image since the last `reset`."""

    def __init__(self) -> None:
        self._forms: dict[str, FrameForm] = {}

    def check(self, stream: str, form: FrameForm) -> Refusal | None:
        """Compare an image with the first of its stream.

        Returns:
            None if they agree, else FRAME_CHANGED; the first form stays the measure until `reset`.
        """
        first = self._forms.setdefault(stream, form)
        if form == first:
            return None
        detail = f"{stream} changed from {first} to {form}; restart the policy if that is meant"
        return Refusal(Reason.FRAME_CHANGED, detail)

    def form(self, stream: str) -> FrameForm | None:
        """Form of a stream's first image; None before it came."""
        return self._forms.get(stream)

    def reset(self) -> None:
        """Take the next image of every stream as its first."""
        self._forms.clear()


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.1f} ms"
