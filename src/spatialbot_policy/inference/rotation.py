"""Rotary position embedding from a table that is worked out once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Turn = tuple[Tensor, Tensor]
"""(B or 1, 1, L, part) cosines, and sines whose first half is negative."""

_BY_LENGTH = ("dynamic", "longrope")
"""Kinds whose frequencies depend on the length that was read; they are asked anew each time."""


class Rotation:
    """Cosines and sines of positions.

    Args:
        module: the decoder's `rotary_emb`.

    Attributes:
        fixed: whether a position's turn is the same whatever the length that was read.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module: Any = module
        self.fixed = getattr(module, "rope_type", None) not in _BY_LENGTH
        self._table: Turn | None = None

    def __call__(self, start: int, end: int, mask: Tensor | None, like: Tensor) -> Turn:
        """Turn of the positions from `start` to `end`.

        Args:
            start: first of them.
            end: behind the last.
            mask: (B, end), 0 = padding, which does not count as a position; None when there is none.
            like: tensor of the type and device that is wanted.
        """
        if mask is not None:
            return self._turn((mask.cumsum(1) - 1).clamp(min=0)[:, start:], like)
        if not self.fixed:
            return self._turn(torch.arange(start, end, device=like.device)[None], like)
        table = self.table(end, like)
        return table[0][:, :, start:end], table[1][:, :, start:end]

    def table(self, length: int, like: Tensor) -> Turn:
        """Turn of all positions, at least up to `length`; only where they are fixed."""
        table = self._table
        if table is None or table[0].shape[2] < length or table[0].dtype is not like.dtype:
            table = self._table = self._turn(torch.arange(2 * length, device=like.device)[None], like)
        return table

    def _turn(self, positions: Tensor, like: Tensor) -> Turn:
        cos, sin = self._module(like, positions)
        sign = torch.ones_like(sin[0, 0])
        sign[: sin.shape[-1] // 2] = -1
        return cos[:, None], (sin * sign)[:, None]


def turned(heads: Tensor, turn: Turn) -> Tensor:
    """(B, H, L, width) heads, turned by their positions; what lies behind the turn's width stays."""
    cos, sin = turn
    part = cos.shape[-1]
    if part < heads.shape[-1]:
        return torch.cat((turned(heads[..., :part], turn), heads[..., part:]), dim=-1)
    return torch.addcmul(heads * cos, heads.roll(part // 2, -1), sin)
