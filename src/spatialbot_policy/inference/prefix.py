"""Which leading positions of a prompt are already in the decoder's memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spatialbot_policy.inference.session import FrameEmbedding
from spatialbot_policy.types import IntArray


def prompt_keys(ids: Sequence[int], image_token_id: int, frames: Sequence[FrameEmbedding]) -> IntArray:
    """Say what each position of a prompt holds, so that equal keys mean equal embeddings.

    Args:
        ids: (L,) token ids.
        image_token_id: of the image tokens.
        frames: embeddings of the history, in the prompt's order.

    Returns:
        (L,) the token's id, or a negative number for a place in an embedding.
    """
    keys = np.asarray(ids, dtype=np.int64)
    slots = np.flatnonzero(keys == image_token_id)
    places = np.concatenate([_places(frame) for frame in frames])
    keys[slots] = places[: len(slots)]
    return keys


def _places(frame: FrameEmbedding) -> IntArray:
    """A negative number for each token of an embedding, different from those of all other embeddings."""
    count = frame.embeds.shape[0] * frame.embeds.shape[1]
    return -1 - np.arange(frame.number * count, (frame.number + 1) * count, dtype=np.int64)


class PrefixMemory:
    """The last prompt that was read by itself.

    A sliding history puts the newest frame first, so that two steps of an episode share nothing but the
    leading token. Another instruction for the same frames, or a camera that shows the same picture again
    while the history is still filled up with it, share the images, which is nearly all of the prompt.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, np.int64)

    def shared(self, keys: IntArray) -> int:
        """How many leading positions are those of the last prompt; the last one must always be read."""
        count = min(len(keys) - 1, len(self._keys))
        differs = np.flatnonzero(keys[:count] != self._keys[:count])
        return int(differs[0]) if len(differs) else count

    def store(self, keys: IntArray) -> None:
        """Remember a prompt that was read."""
        self._keys = keys

    def forget(self) -> None:
        """The decoder's memory holds something else now."""
        self._keys = np.empty(0, np.int64)
