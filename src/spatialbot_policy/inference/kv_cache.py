"""Keys and values of every layer in memory that is kept from step to step and written in place."""

from __future__ import annotations

from torch import Tensor

STEP = 64
"""Capacity grows in steps of so many positions: a longer instruction seldom needs new memory."""


class KeyValueCache:
    """The attention memory of one prompt, or of a batch of prompts of one length.

    transformers' own growing cache copies all keys and values for each token; this one never does. It grows
    when a longer prompt or a larger batch comes, and stays as large as the largest one.

    Args:
        layers: of the language model.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._memory: list[tuple[Tensor, Tensor]] = []
        self._rows = self._capacity = 0

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` prompts of `length` positions; what was written stays."""
        if rows <= self._rows and length <= self._capacity:
            return
        self._rows = max(rows, self._rows)
        self._capacity = max(-(-length // STEP) * STEP, self._capacity)
        self._memory = [(self._grown(keys), self._grown(values)) for keys, values in self._memory]

    def _grown(self, kept: Tensor) -> Tensor:
        rows, heads, capacity, width = kept.shape
        grown = kept.new_zeros((self._rows, heads, self._capacity, width))
        grown[:rows, :, :capacity] = kept
        return grown

    def write(self, layer: int, start: int | Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put (B, heads, L, width) keys and values at `start`, and return all of them up to there.

        Layers are written in order; the memory takes the type of the first ones. With (1,) `start` on the
        device and L = 1, all of the capacity is returned: a graph of operations has one shape.
        """
        if layer == len(self._memory):
            shape = (self._rows, keys.shape[1], self._capacity, keys.shape[3])
            self._memory.append((keys.new_zeros(shape), values.new_zeros(shape)))
        rows, count = keys.shape[0], keys.shape[2]
        kept = self._memory[layer]
        if rows < self._rows:
            kept = kept[0][:rows], kept[1][:rows]
        if isinstance(start, Tensor):
            return kept[0].index_copy_(2, start, keys), kept[1].index_copy_(2, start, values)
        kept[0].narrow(2, start, count).copy_(keys)
        kept[1].narrow(2, start, count).copy_(values)
        return kept[0].narrow(2, 0, start + count), kept[1].narrow(2, 0, start + count)

    @property
    def capacity(self) -> int:
        """Positions that there is room for."""
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return sum(tensor.nbytes for pair in self._memory for tensor in pair)
