"""Draws batches: a pure function of the seed and the step number, so that a resumed run goes on exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_policy.pipeline import Pipeline
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.recipe import DataConfig


@dataclass(frozen=True)
class Batch:
    """B samples over M distinct steps; each distinct step's images are encoded once.

    Attributes:
        pixel_values: (M * images per step, 3, H, W) uint8.
        history: (B, length) which of the M steps each history holds, newest first.
        inputs: the processor's `input_ids`, `attention_mask` and `labels`, (B, L).
        targets: (M, A) localisation answers.
        rows: (B,) rows in the store.
    """

    pixel_values: Tensor
    history: Tensor
    inputs: dict[str, Tensor]
    targets: Tensor
    rows: np.ndarray


@dataclass(frozen=True)
class BatchSource:
    """Makes batches from a store through the policy's own pipeline and processor."""

    store: FrameStore
    pipeline: Pipeline
    processor: SpatialBotProcessor

    def make(self, rows: np.ndarray) -> Batch:
        """Build the batch of these (B,) rows of the store."""
        store = self.store
        history = store.history[rows]
        distinct, inverse = np.unique(history, return_inverse=True)
        images = [image for row in distinct for image in store.images(int(row), self.pipeline)]
        ends = None if store.terminate is None else store.terminate[rows]
        answers = self.pipeline.action_space.encode_vectors(store.actions[rows], ends)
        inputs = self.processor(self.prompts(rows), answers=answers)
        return Batch(
            pixel_values=self.processor.stack_images(images),
            history=torch.from_numpy(inverse.reshape(history.shape)),
            inputs={name: inputs[name] for name in ("input_ids", "attention_mask", "labels")},
            targets=torch.from_numpy(store.targets[distinct]),
            rows=rows,
        )

    def prompts(self, rows: np.ndarray) -> list[str]:
        """The prompts of these (B,) rows of the store."""
        return [self.pipeline.prompt(self.store.instructions[row]) for row in rows]


class Sampler:
    """Which steps a batch holds: stills, and stretches of demonstrations.

    Args:
        store: where the steps are.
        config: how many of each.
        seed: together with a step's number it says which.
        stills_needed: whether batches of stills alone will be asked for.

    Raises:
        EpisodeError: the store lacks stills, or demonstrations of `window_steps`, that batches are made of.
    """

    def __init__(self, store: FrameStore, config: DataConfig, seed: int, stills_needed: bool = False) -> None:
        self._config, self._seed = config, seed
        self._stills = np.flatnonzero(store.stills)
        self._starts = _window_starts(store, config.window_steps)
        weights = np.where(store.actions[self._starts, 6] < 0.5, config.approach_weight, 1.0)
        self._start_weights = np.cumsum(weights) / weights.sum() if len(weights) else weights
        if (config.stills_per_batch or stills_needed) and not len(self._stills):
            raise EpisodeError(
                "the recipe asks for stills, and the data sets hold none; collect some with "
                "'spatialbot collect --stills N', or set data.stills_per_batch and "
                "schedule.localisation_steps to 0"
            )
        if config.windows_per_batch and not len(self._starts):
            raise EpisodeError(
                f"no demonstration is {config.window_steps} steps long; collect some, or set "
                "data.windows_per_batch to 0"
            )

    def rows(self, step: int, stills_only: bool = False) -> np.ndarray:
        """(B,) rows of the batch of a step; `stills_only` in the localisation phase."""
        rng = np.random.default_rng([self._seed, step])
        config = self._config
        if stills_only:
            return rng.choice(self._stills, config.stills_per_localisation_batch)
        parts = []
        if config.stills_per_batch:
            parts.append(rng.choice(self._stills, config.stills_per_batch))
        if config.windows_per_batch:
            chosen = np.searchsorted(self._start_weights, rng.random(config.windows_per_batch))
            starts = self._starts[np.minimum(chosen, len(self._starts) - 1)]
            parts.append((starts[:, None] + np.arange(config.window_steps)).ravel())
        return np.concatenate(parts)


def _window_starts(store: FrameStore, window_steps: int) -> np.ndarray:
    """Steps of demonstrations from which a window fits before the episode ends."""
    demos = np.flatnonzero(~store.stills)
    ends = np.searchsorted(store.episode, store.episode[demos], side="right")
    return demos[demos + window_steps <= ends]
