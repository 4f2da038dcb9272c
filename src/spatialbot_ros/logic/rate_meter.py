"""The rate and age of a stream, from the times at which it spoke."""

from __future__ import annotations

from collections import deque

from spatialbot_policy.errors import ConfigError


class RateMeter:
    """Mean rate over the last messages; it falls as soon as the stream falls silent.

    Args:
        window: gaps between messages that are averaged.

    Raises:
        ConfigError: the window is below 1.
    """

    def __init__(self, window: int = 30) -> None:
        if window < 1:
            raise ConfigError(f"a rate meter needs a window of at least 1, got {window}")
        self._stamps_ns: deque[int] = deque(maxlen=window + 1)

    def tick(self, stamp_ns: int) -> None:
        """Note a message; a time before the last one starts the measurement afresh, as a new clock does."""
        if self._stamps_ns and stamp_ns < self._stamps_ns[-1]:
            self._stamps_ns.clear()
        self._stamps_ns.append(stamp_ns)

    def rate_hz(self, now_ns: int) -> float:
        """Messages per second; 0 before there are two.

        A silence longer than the mean gap counts with what it is longer, so that a stopped stream goes to 0.
        """
        gaps = len(self._stamps_ns) - 1
        if gaps < 1:
            return 0.0
        span_ns = self._stamps_ns[-1] - self._stamps_ns[0]
        overdue_ns = max(0.0, now_ns - self._stamps_ns[-1] - span_ns / gaps)
        total_ns = span_ns + overdue_ns
        return gaps * 1e9 / total_ns if total_ns > 0 else 0.0

    def age_ns(self, now_ns: int) -> int | None:
        """Time since the last message; None before the first."""
        return now_ns - self._stamps_ns[-1] if self._stamps_ns else None

    def reset(self) -> None:
        """Forget all messages."""
        self._stamps_ns.clear()
