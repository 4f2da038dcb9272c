"""What an engine remembers of one robot: the last observations and the embeddings of their images."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.history import History
from spatialbot_policy.types import IntArray, Observation


@dataclass(frozen=True)
class FrameEmbedding:
    """The images of one observation, encoded.

    Attributes:
        number: of the embedding within its engine; the same number means the same values.
        pixels: (N, 3, H, W) uint8 that were encoded.
        embeds: (N, tokens_per_image, hidden).
    """

    number: int
    pixels: Tensor
    embeds: Tensor


class Session:
    """One episode at a time; made by `Engine.new_session`, filled by `Engine.answer`.

    Args:
        config: length of the history and its largest gap.

    Attributes:
        bins: (dimensions,) of the last action, of whichever episode; None before the first.
    """

    def __init__(self, config: PolicyConfig) -> None:
        self.history = History(config.history_length, config.max_gap_ns)
        self._before = self.history
        self._frames: dict[int, FrameEmbedding] = {}
        self._newest: FrameEmbedding | None = None
        self.bins: IntArray | None = None

    @property
    def gaps(self) -> int:
        """How often a pause in the stamps restarted the history since the last reset."""
        return self.history.gaps

    def reset(self) -> None:
        """Forget the history: a new episode begins."""
        self.history.reset()
        self._frames.clear()

    @property
    def frames(self) -> int:
        """How many observations' embeddings are kept."""
        return len(self._frames)

    def push(self, observation: Observation) -> tuple[Observation, ...]:
        """Take an observation into the history, see `History.push`."""
        before = copy.copy(self.history)
        pushed = self.history.push(observation)
        self._before = before
        return pushed

    def undo(self) -> None:
        """Forget the last `push`: its images could not be encoded."""
        self.history = self._before

    def known(self, pixels: Tensor) -> FrameEmbedding | None:
        """The newest embedding, if exactly these images were encoded: the camera shows the same again."""
        newest = self._newest
        return newest if newest is not None and torch.equal(newest.pixels, pixels) else None

    def remember(self, history: tuple[Observation, ...], frame: FrameEmbedding) -> tuple[FrameEmbedding, ...]:
        """Keep the newest observation's embedding, drop those that left, and return the history's."""
        known = {**self._frames, history[0].stamp_ns: frame}
        self._frames = {past.stamp_ns: known[past.stamp_ns] for past in history}
        self._newest = frame
        return tuple(self._frames[past.stamp_ns] for past in history)
