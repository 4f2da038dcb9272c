"""Causal attention of the newest positions to all kept ones, with a mask only where one is needed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class CausalAttention:
    """What the last `rows` of `length` positions may see, worked out once for all layers.

    A dense mask doubles the time of a long prompt on a CPU, so there is none for a prompt that is read from
    its start, nor for a single position.

    Args:
        rows: positions that ask.
        length: positions that are kept, those that ask included.
        first: (B,) first position of each prompt that is no padding; None when there is no padding.
        device: of the tensors.
        at: (rows,) the positions that ask, on the device; None when they are the last ones.
    """

    def __init__(
        self,
        rows: int,
        length: int,
        first: Tensor | None,
        device: torch.device,
        at: Tensor | None = None,
    ) -> None:
        self._rows, self._length, self._first, self._device, self._at = rows, length, first, device, at
        self._masks: dict[int | None, Tensor | None] = {}

    def __call__(
        self, query: Tensor, keys: Tensor, values: Tensor, scale: float, window: int | None = None
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, heads, rows, width).
            keys: (B, key heads, length, width); the heads are a multiple of the key heads.
            values: the same shape.
            scale: factor of the products.
            window: how many positions back a layer sees, its own included; None = all.

        Returns:
            (B, rows, heads * width).
        """
        if window is not None and window >= self._length:
            window = None
        if window not in self._masks:
            self._masks[window] = self._mask(window)
        mask = self._masks[window]
        seen = F.scaled_dot_product_attention(
            query,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None and self._rows > 1,
            scale=scale,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        return seen.transpose(1, 2).flatten(2)

    def _mask(self, window: int | None) -> Tensor | None:
        """(rows, length) or (B, 1, rows, length), True where a position is seen."""
        plain = self._first is None and window is None and self._at is None
        if plain and self._rows in (1, self._length):
            return None
        every = torch.arange(self._length, device=self._device)
        asking = (every[self._length - self._rows :] if self._at is None else self._at)[:, None]
        seen = every <= asking
        if window is not None:
            seen = seen & (every > asking - window)
        if self._first is None:
            return seen
        # Padding sees itself: a row that sees nothing would be NaN and spoil the values of the others.
        return (seen & (every >= self._first[:, None, None]) | (every == asking))[:, None]
