"""Which lossless way of sending images a link answers fastest: found by trying, never at a step's expense."""

from __future__ import annotations

from collections import deque
from statistics import median

from spatialbot_policy.serving.image_codec import ImageMode

TRIAL = 4
"""Answers that make one opinion."""
AGAIN_AFTER = 300
"""Answers after which the slower way is tried once more: links change."""
SMALLEST, PLAINEST = ImageMode.ZSTD, ImageMode.FIT


class ImageChoice:
    """Chooses between `zstd`, which sends the fewest bytes, and `fit`, which takes the least arithmetic.

    It begins with `zstd`. `fit` is tried once its guessed time, that of `zstd` times the ratio of the bytes,
    leaves half of the deadline free: a slow link is never filled to find out that it is slow.

    Args:
        deadline_ms: the longest that an answer may take.
    """

    def __init__(self, deadline_ms: float) -> None:
        self._allowed_ms = deadline_ms / 2
        self._taken = {mode: deque[float](maxlen=TRIAL) for mode in (SMALLEST, PLAINEST)}
        self._growth = 1.0  # bytes of PLAINEST for each of SMALLEST
        self._trying = False
        self._until_decision = TRIAL
        self.mode = SMALLEST

    def note(self, taken_ms: float, sent_bytes: int, plain_bytes: int) -> None:
        """Learn from an answer to an observation that was sent in the present mode.

        Args:
            taken_ms: all of it but the server's own work.
            sent_bytes: of the message.
            plain_bytes: of the same message with uncompressed images.
        """
        self._taken[self.mode].append(taken_ms)
        if self.mode is SMALLEST:
            self._growth = max(1.0, plain_bytes / max(1, sent_bytes))
        self._until_decision -= 1
        if self._until_decision > 0:
            return
        if self._trying:
            self._settle()
        else:
            self._try(PLAINEST if self.mode is SMALLEST else SMALLEST)

    def _try(self, other: ImageMode) -> None:
        guess_ms = median(self._taken[SMALLEST]) * self._growth
        self._trying = other is SMALLEST or guess_ms < self._allowed_ms
        self._until_decision = TRIAL if self._trying else AGAIN_AFTER
        if self._trying:
            self.mode = other
            self._taken[other].clear()

    def _settle(self) -> None:
        self.mode = min(self._taken, key=lambda mode: median(self._taken[mode]))
        self._trying = False
        self._until_decision = AGAIN_AFTER
