"""Cuts each step's batch into parts for processes and accumulation: a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_training.collate import Batch, Pick, collate
from spatialbot_training.examples import ExampleSource, FrameKey, newest_only


class Draws(Protocol):
    """Which examples a step's whole batch holds."""

    def picks(self, step: int) -> Sequence[Pick]:
        """The batch of a step, always the same."""


@dataclass(frozen=True)
class Part:
    """One part of a step's batch.

    Attributes:
        batch: what to learn from; a frame's localisation answers are in the first part that shows it.
        localise_only: whether the step is one of the localisation phase.
        seed: of dropout in this part.
    """

    batch: Batch
    localise_only: bool
    seed: int


@dataclass(frozen=True)
class Sharing:
    """How a batch is shared out.

    Attributes:
        processes: number of processes.
        index: of this process.
        accumulation: parts that each process takes one after the other.
    """

    processes: int = 1
    index: int = 0
    accumulation: int = 1

    @property
    def parts(self) -> int:
        """Parts of a batch, over all processes."""
        return self.processes * self.accumulation

    def number(self, turn: int) -> int:
        """Which part this process takes in a turn; neighbours go to different processes."""
        return turn * self.processes + self.index


def share_out(sizes: Sequence[int], micro_batch: int, processes: int, index: int) -> Sharing:
    """Decide into how many parts batches are cut.

    Args:
        sizes: of the batches that occur.
        micro_batch: most examples in a part; 0 for no limit.
        processes: number of processes.
        index: of this process.

    Raises:
        ConfigError: even the largest batch has fewer examples than there are parts.
    """
    largest = max(sizes)
    accumulation = -(-largest // (micro_batch * processes)) if micro_batch else 1
    sharing = Sharing(processes, index, accumulation)
    if largest < sharing.parts:
        raise ConfigError(
            f"a batch of {largest} examples cannot be cut into {sharing.parts} parts ({processes} "
            f"processes, {accumulation} turns each); use fewer processes, a larger batch or a larger "
            "schedule.micro_batch"
        )
    return sharing


class BatchParts(Dataset[Part]):
    """This process's parts of the batches of steps `first` to `last`, in the order of training.

    Args:
        draws: which examples the whole batches hold.
        sources: what the picks' first numbers count.
        processor: prepares them.
        sharing: which of the parts are this process's.
        steps: the first step and the one after the last.
        localisation_steps: first steps of the run, that localise only.
        seed: of the run.
    """

    def __init__(
        self,
        draws: Draws,
        sources: Sequence[ExampleSource],
        processor: SpatialBotProcessor,
        sharing: Sharing,
        steps: tuple[int, int],
        localisation_steps: int,
        seed: int,
    ) -> None:
        self._draws, self._sources, self._processor = draws, sources, processor
        self._frames_alone = [newest_only(source) for source in sources]
        self._sharing, self._steps = sharing, steps
        self._localisation_steps, self._seed = localisation_steps, seed

    def __len__(self) -> int:
        """Parts of this process."""
        first, end = self._steps
        return (end - first) * self._sharing.accumulation

    def __getitem__(self, index: int) -> Part:
        """One part; only its own images are read."""
        turn = index % self._sharing.accumulation
        step, number = self._steps[0] + index // self._sharing.accumulation, self._sharing.number(turn)
        picks = self._draws.picks(step)
        edges = np.linspace(0, len(picks), self._sharing.parts + 1).astype(int)
        own = picks[edges[number] : edges[number + 1]]
        localise = step < self._localisation_steps
        sources = self._frames_alone if localise else self._sources
        batch = collate(own or picks[:1], sources, self._processor)
        if not own:  # a batch that its token budget cut short: other processes wait, so take part for nothing
            nothing = torch.full_like(batch.targets, float("nan"))
            unsaid = torch.full_like(batch.meant, float("nan"))
            batch = replace(batch, weights=torch.zeros_like(batch.weights), targets=nothing, meant=unsaid)
        elif number:
            batch = _without_targets_of(picks[: edges[number]], batch, sources)
        seed = np.random.SeedSequence([self._seed, step, number]).generate_state(1)[0]
        return Part(batch, localise, int(seed))


def _without_targets_of(earlier: Sequence[Pick], batch: Batch, sources: Sequence[ExampleSource]) -> Batch:
    """Ask each frame once in a batch, however many parts show it: so the parts add up to the whole."""
    if bool(torch.isnan(batch.targets).all()):
        return batch
    asked = _frames(earlier, sources)
    # collate lays out a batch's frames in this order
    known = [frame in asked for frame in sorted(_frames(batch.picks, sources))]
    targets = batch.targets.clone()
    targets[torch.tensor(known)] = float("nan")
    return replace(batch, targets=targets)


def _frames(picks: Sequence[Pick], sources: Sequence[ExampleSource]) -> set[tuple[int, FrameKey]]:
    return {(pick.source, key) for pick in picks for key in sources[pick.source].example(pick.index).frames}
