"""A run's state as one file of whole tensors: it goes on with any number of processes, sharded or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from spatialbot_policy.errors import CheckpointError
from spatialbot_training.averaging import AveragedWeights
from spatialbot_training.distributed import shard_like, whole

Tensors = dict[str, Tensor]


def trained_parameters(learner: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that learn, by name."""
    return ((name, value) for name, value in learner.named_parameters() if value.requires_grad)


def gather(values: Mapping[str, Tensor]) -> Tensors:
    """Whole tensors on the CPU; every process must ask at the same time."""
    return {name: whole(value) for name, value in values.items()}


def gather_weights(learner: nn.Module) -> Tensors:
    """The weights that learn."""
    return gather(dict(trained_parameters(learner)))


def gather_optimizer(learner: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensors]:
    """The optimizer's memory of each weight, by the weight's name; none of one that had no gradient yet."""
    memory = cast(Mapping[nn.Parameter, Mapping[str, Tensor]], optimizer.state)
    return {name: gather(memory[value]) for name, value in trained_parameters(learner) if value in memory}


@torch.no_grad()
def restore_weights(learner: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Give the learner saved weights.

    Raises:
        ValueError: names or shapes are not those of this learner.
    """
    parameters = dict(trained_parameters(learner))
    _check(parameters, saved)
    for name, value in parameters.items():
        value.copy_(shard_like(saved[name].to(value.device), value))


def restore_tensors(like: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> Tensors:
    """Saved tensors in the places and shards of present ones.

    Raises:
        ValueError: names or shapes differ.
    """
    _check(like, saved)
    return {name: shard_like(saved[name].to(value.device), value) for name, value in like.items()}


def restore_optimizer(
    learner: nn.Module, optimizer: torch.optim.Optimizer, saved: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Give the optimizer its memory back.

    Raises:
        ValueError: it is of other weights.
    """
    parameters = dict(trained_parameters(learner))
    unknown = sorted(set(saved) - set(parameters))
    if unknown:
        raise ValueError(f"the optimizer remembers {unknown[0]}, which does not learn here")
    memory = cast(Any, optimizer.state)
    memory.clear()
    for name, entries in saved.items():
        parameter = parameters[name]
        memory[parameter] = {
            key: value if value.ndim == 0 else shard_like(value.to(parameter.device), parameter)
            for key, value in entries.items()
        }


@dataclass(frozen=True)
class RunState:
    """Everything that decides how a run goes on.

    Attributes:
        learner: its trained weights.
        average: their mean.
        optimizer: its memory.
        data: mark of what batches are drawn from.
        base: fingerprint of the weights that are not trained.
    """

    learner: nn.Module
    average: AveragedWeights
    optimizer: torch.optim.Optimizer
    data: str
    base: str

    def gather(self, step: int, sums: Mapping[str, float]) -> dict[str, Any]:
        """The state as one dictionary; every process must ask at the same time."""
        return {
            "step": step,
            "learner": gather_weights(self.learner),
            "averaged": gather(self.average.values),
            "optimizer": gather_optimizer(self.learner, self.optimizer),
            "sums": dict(sums),
            "data": self.data,
            "base": self.base,
        }

    def restore(self, state: Mapping[str, Any], file: Path) -> tuple[int, dict[str, float]]:
        """Go on from a state.

        Returns:
            the number of steps taken, and the figures summed since the last line of the log.

        Raises:
            CheckpointError: it is of another network, other data or other starting weights.
        """
        if state.get("data", self.data) != self.data:
            raise CheckpointError(
                f"the training data is not that which the run in {file.parent} began with, so it cannot go "
                "on; bring it back, or choose another --out"
            )
        if state.get("base", self.base) != self.base:
            raise CheckpointError(
                f"the weights that the run in {file.parent} started from have changed, so it cannot go on; "
                "bring them back (start in its recipe), or choose another --out"
            )
        try:
            restore_weights(self.learner, state["learner"])
            self.average.values = restore_tensors(self.average.values, state["averaged"])
            restore_optimizer(self.learner, self.optimizer, state["optimizer"])
            return int(state["step"]), dict(state.get("sums", {}))
        except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{file} is not of this network ({reason}); remove it to train from step 0, or choose "
                "another --out"
            ) from error


def _check(wanted: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    odd = sorted(set(wanted) ^ set(saved))
    if odd:
        raise ValueError(f"{odd[0]} is on one side only")
    for name, value in wanted.items():
        if value.shape != saved[name].shape:
            raise ValueError(f"{name} is {tuple(saved[name].shape)} and not {tuple(value.shape)}")
