"""Picks the frames that become control steps from a stream that is as fast as the policy or faster."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from spatialbot_policy.errors import ConfigError

_GAPS = 8  # stamps' gaps whose median is the stream's period
_LEARNING = 4  # gaps before that median is trusted
_LIKELY_EQUAL = 0.58  # of the period: two stamps that jitter by a fifth come no closer than 0.6


class StepPacing:
    """Chooses the frames nearest to a grid of the policy's period.

    30 Hz give every third frame to a policy of 10 Hz; 25 Hz give the second and the third in turn. The grid
    follows half of each frame's deviation, so that a camera whose clock is a little off, or whose frames
    jitter by a fifth of the period, still gives every frame at equal rates: to the history, steps at even
    distances matter more than the last percent of the rate. After a missing frame the grid starts anew: no
    step is hurried.

    Args:
        rate_hz: control steps per second.
        stream_rate_hz: the camera's nominal rate, which counts until the stamps have shown it; None: unknown.

    Raises:
        ConfigError: a rate is not positive and finite.
    """

    def __init__(self, rate_hz: float, stream_rate_hz: float | None = None) -> None:
        for rate in (rate_hz, rate_hz if stream_rate_hz is None else stream_rate_hz):
            if not (math.isfinite(rate) and rate > 0):
                raise ConfigError(f"control and camera rates must be positive, got {rate} Hz")
        self._period_ns = round(1e9 / rate_hz)
        self._stream_period_ns = None if stream_rate_hz is None else round(1e9 / stream_rate_hz)
        self._gaps_ns: deque[int] = deque(maxlen=_GAPS)
        self._last_ns: int | None = None
        self._next_ns: int | None = None

    def accept(self, stamp_ns: int) -> bool:
        """Whether this frame is a control step; stamps must rise, and one that does not is no step."""
        if self._last_ns is not None:
            if stamp_ns <= self._last_ns:
                return False
            self._gaps_ns.append(stamp_ns - self._last_ns)
        self._last_ns = stamp_ns
        if self._next_ns is None:
            self._next_ns = stamp_ns + self._period_ns
            return True
        slack_ns = self._slack_ns()
        early_ns = self._next_ns - stamp_ns
        if early_ns > slack_ns:
            return False
        missed = -early_ns > slack_ns
        self._next_ns = (stamp_ns if missed else self._next_ns - (early_ns + 1) // 2) + self._period_ns
        return True

    def reset(self) -> None:
        """Take the next frame as the first step of a new grid, as at the start of an episode."""
        self._last_ns = self._next_ns = None

    def _slack_ns(self) -> int:
        """Half a period of the stream: the frame on the grid side of it is the nearest one."""
        if len(self._gaps_ns) >= _LEARNING or self._stream_period_ns is None:
            gap_ns = int(median(self._gaps_ns))  # unlike the mean, not moved by a pause
        else:
            gap_ns = self._stream_period_ns
        if len(self._gaps_ns) < _LEARNING and gap_ns > _LIKELY_EQUAL * self._period_ns:
            gap_ns = self._period_ns  # rather jitter at equal rates than a camera in between
        return min(gap_ns, self._period_ns) // 2
