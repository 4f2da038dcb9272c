"""Exact integer decoding of three-channel depth images on tensors, one function per variant."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def decode_paper(image: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 of [d // 1024 * 2, d // 32 % 32 * 8, d % 32 * 8] -> (..., H, W) int32 mm."""
    high, middle, low = image.to(torch.int32).unbind(-3)
    return ((high & 0xFE) << 9) | ((middle & 0xF8) << 2) | (low >> 3)


def decode_released(image: Tensor) -> Tensor:
    """Like `decode_paper` with d // 1024 * 4 in the first channel, as the released checkpoints have it."""
    high, middle, low = image.to(torch.int32).unbind(-3)
    return ((high & 0xFC) << 8) | ((middle & 0xF8) << 2) | (low >> 3)


def decode_uint24(image: Tensor) -> Tensor:
    """(..., 3, H, W) uint8, big-endian bytes of the millimetres -> (..., H, W) int32 mm."""
    high, middle, low = image.to(torch.int32).unbind(-3)
    return (high << 16) | (middle << 8) | low


DEPTH_DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "paper": decode_paper,
    "released": decode_released,
    "uint24": decode_uint24,
}
