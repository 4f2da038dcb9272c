"""Several processes as one run: who is who, sums over all of them, and weights sharded among them (FSDP)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

_log = logging.getLogger(__name__)
_ACCELERATE_FSDP = "ACCELERATE_USE_FSDP"


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as torchrun or `accelerate launch` started them; one when nobody did.

    Attributes:
        index: of this one.
        count: of all.
        device: that this one computes on.
        sharded: whether the weights are spread over all of them.
    """

    index: int
    count: int
    device: torch.device
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Whether this one writes the run's files."""
        return self.index == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def leave(self) -> None:
        """Say goodbye to the other processes."""
        if self.count > 1:
            PartialState().destroy_process_group()

    def agree(self, answer: bool) -> bool:
        """The main process's answer, for all of them."""
        return self.sum([float(answer and self.main)])[0] > 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add up numbers over all processes."""
        if self.count == 1:
            return list(values)
        # gloo and NCCL both add float64, in which the weights of a batch are exact
        total = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]


def join_processes(shard: bool = False) -> Processes:
    """Meet the other processes of this run.

    Args:
        shard: spread the weights over all processes. `accelerate launch --use_fsdp` asks for the same.
    """
    # One way to shard: accelerate's own wraps no CPU processes, and would be a second one around ours.
    asked = os.environ.pop(_ACCELERATE_FSDP, "false").lower() in ("true", "1")
    state = PartialState(cpu=not torch.cuda.is_available())
    sharded = (shard or asked) and state.num_processes > 1
    if shard and not sharded:
        _log.info("one process alone holds all weights; --shard is for several (torchrun, accelerate launch)")
    return Processes(state.process_index, state.num_processes, state.device, sharded)


def shard(learner: nn.Module, processes: Processes) -> None:
    """Spread a learner's weights over all processes, layer by layer; they meet where they are needed.

    Each layer goes to the device in shards, so that no device ever holds the whole model.
    """
    if not processes.sharded:
        return
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for parameter in learner.parameters():
        parameter.data = parameter.data.contiguous()  # the convolutional tower's are in channels-last order
    for module in learner.modules():
        # every layer of transformers' language models and vision backbones is one of these
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mesh=mesh)
    fully_shard(learner, mesh=mesh)
    for method in ("answer", "say"):
        register_fsdp_forward_method(learner, method)
    # tells the Trainer that weights and gradients look after themselves
    cast(Any, learner).is_distributed_loading_by_transformers = True


@contextmanager
def layers_gathered(learner: nn.Module) -> Iterator[None]:
    """Hold all layers' weights whole: the decoder of actions reads layers without calling them."""
    layers = [
        module for module in learner.modules() if isinstance(module, FSDPModule) and module is not learner
    ]
    for layer in layers:
        layer.unshard()
    try:
        yield
    finally:
        for layer in layers:
            layer.reshard()


def reshard(learner: nn.Module) -> None:
    """Let go of weights that a forward pass without a backward pass left whole."""
    if isinstance(learner, FSDPModule):
        learner.reshard()


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shards, on the CPU; every process must ask at the same time."""
    full = value.detach()
    if isinstance(full, DTensor):
        full = cast(Any, full).full_tensor()
    return full.cpu()


def shard_like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's share of a whole tensor, as a parameter has it; scalars stay as they are."""
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        mesh, placements = cast(Any, parameter).device_mesh, cast(Any, parameter).placements
        return cast(Tensor, distribute_tensor(value.to(parameter.device), mesh, placements))
    return value
