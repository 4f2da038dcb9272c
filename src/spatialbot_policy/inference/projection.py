"""One or several linear maps of the same input, in as few operations as their size is worth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 2**20
"""Weights up to which maps are copied into one matrix: calling them costs more there than computing."""


class Projection:
    """Maps an input by one or several linear modules.

    Small plain ones are copied into one matrix. Large ones are read where they are, and wrapped ones
    (adapters) are called, for only they know what they add.

    Args:
        modules: with one width of input.
        sizes: parts into which the output of a single module is split.
    """

    def __init__(self, modules: Sequence[nn.Module], sizes: Sequence[int] | None = None) -> None:
        plain = [module for module in modules if type(module) is nn.Linear]
        self._sizes = list(sizes or [])
        if len(plain) < len(modules):
            self._maps = [cast("partial[Tensor]", partial(module)) for module in modules]
            return
        pairs: list[tuple[Tensor, Tensor | None]] = [(linear.weight, linear.bias) for linear in plain]
        if len(plain) > 1 and sum(weight.numel() for weight, _ in pairs) <= SMALL:
            self._sizes = [linear.out_features for linear in plain]
            pairs = [_joined(plain)]
        self._maps = [partial(F.linear, weight=weight, bias=bias) for weight, bias in pairs]

    def __call__(self, hidden: Tensor) -> Sequence[Tensor]:
        """(..., C) -> one (..., size) for each map."""
        if self._sizes:
            return self._maps[0](hidden).split(self._sizes, dim=-1)
        return [each(hidden) for each in self._maps]


def _joined(linears: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([linear.weight.detach() for linear in linears])
    if all(linear.bias is None for linear in linears):
        return weight, None
    return weight, torch.cat([_bias(linear) for linear in linears])


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
