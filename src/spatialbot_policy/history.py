"""The last frames by stamp: live, one push at a time, and offline, as indices into an episode."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spatialbot_policy.errors import HistoryError
from spatialbot_policy.types import Observation


def _check_parameters(length: int, max_gap_ns: int) -> None:
    if length < 1 or max_gap_ns < 1:
        raise HistoryError(
            f"a history needs length >= 1 and max_gap_ns >= 1, got {length} and {max_gap_ns}; "
            "set history_length and max_gap_ms in policy.yaml"
        )


def _not_increasing(stamp_ns: int, previous_ns: int) -> HistoryError:
    return HistoryError(
        f"stamp {stamp_ns} ns does not come after {previous_ns} ns; reset the history at the start of an "
        "episode, and check that one clock stamps all frames (use_sim_time)"
    )


@dataclass
class History:
    """The last `length` observations, newest first.

    Attributes:
        length: observations in each answer.
        max_gap_ns: a longer pause between two stamps starts the history afresh.
        gaps: how many such pauses there were since the last reset.
    """

    length: int = 4
    max_gap_ns: int = 500_000_000
    gaps: int = field(default=0, init=False)
    _observations: tuple[Observation, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        _check_parameters(self.length, self.max_gap_ns)

    def push(self, observation: Observation) -> tuple[Observation, ...]:
        """Add an observation and return exactly `length`, newest first, the oldest repeated as padding.

        Raises:
            HistoryError: the stamp does not come after the last one; the history stays as it was.
        """
        kept = self._observations
        if kept:
            pause_ns = observation.stamp_ns - kept[0].stamp_ns
            if pause_ns <= 0:
                raise _not_increasing(observation.stamp_ns, kept[0].stamp_ns)
            if pause_ns > self.max_gap_ns:
                self.gaps += 1
                kept = ()
        self._observations = (observation, *kept)[: self.length]
        padding = self.length - len(self._observations)
        return self._observations + self._observations[-1:] * padding

    def reset(self) -> None:
        """Forget everything: a new episode begins."""
        self._observations = ()
        self.gaps = 0


def history_indices(stamps_ns: ArrayLike, length: int, max_gap_ns: int) -> NDArray[np.int64]:
    """Say for each step of an episode which steps `History.push` would have returned.

    Args:
        stamps_ns: (T,) integer stamps in nanoseconds, increasing.
        length: observations in each history.
        max_gap_ns: a longer pause starts the history afresh.

    Returns:
        (T, length) indices into the episode, newest first.

    Raises:
        HistoryError: the stamps are not integers or do not increase.
    """
    _check_parameters(length, max_gap_ns)
    given = np.asarray(stamps_ns)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise HistoryError(f"stamps must be (T,) integer nanoseconds, got {given.shape} {given.dtype}")
    stamps = given.astype(np.int64)
    pauses = np.diff(stamps)
    if np.any(pauses <= 0):
        at = int(np.argmax(pauses <= 0))
        raise _not_increasing(int(stamps[at + 1]), int(stamps[at]))
    steps = np.arange(stamps.size)
    starts = np.zeros_like(steps)
    starts[1:] = np.where(pauses > max_gap_ns, steps[1:], 0)
    starts = np.maximum.accumulate(starts)
    indices: NDArray[np.int64] = np.maximum(steps[:, None] - np.arange(length), starts[:, None])
    return indices
