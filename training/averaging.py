"""Averaged weights: a running mean of what is trained, which is validated and shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """The exponential mean of a module's trained weights; sharded ones are averaged in their shards.

    Args:
        module: its weights begin the mean.
        decay: share of the mean that each step keeps, less in the first steps; 0 leaves the module as it is.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.values: dict[str, Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Begin with the module's present weights."""
        if self._decay:
            self.values = {name: value.detach().clone() for name, value in self._trained()}

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, value) for name, value in self._module.named_parameters() if value.requires_grad)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._trained():
            if self._decay:
                self.values[name].lerp_(value.detach(), 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the mean for a while, and then its own weights back, bit for bit."""
        if not self._decay:
            yield
            return
        own = {name: value.detach().clone() for name, value in self._trained()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, value in self._trained():
            value.copy_(values[name])
