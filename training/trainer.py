"""Trains a policy from a recipe: one step, the schedule, and a run that resumes exactly where it was."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spatialbot_policy.config import to_dict
from spatialbot_policy.errors import CheckpointError, EpisodeError
from spatialbot_policy.model import SpatialBotForActionPrediction, save_checkpoint
from spatialbot_policy.pipeline import Pipeline, build_pipeline
from spatialbot_training.batches import BatchSource, Sampler
from spatialbot_training.episode_cache import open_store
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.learner import Learner, build_optimizer, learning_rate
from spatialbot_training.network import build_network
from spatialbot_training.open_loop import plot_open_loop, validate
from spatialbot_training.recipe import Recipe
from spatialbot_training.run_directory import CHECKPOINT, STATE_FILE, RunDirectory


class Trainer:
    """One run in one directory, from its recipe to its checkpoint.

    Args:
        recipe: what to train.
        out: the run's directory; a run that is there goes on if its recipe is the same.
        cache: where decoded episodes are kept.
        on_progress: told (what, done, total) while episodes are decoded and steps are taken.

    Raises:
        CheckpointError: the directory holds a run of another recipe or of other episodes, or data and
            recipe disagree.
        ConfigError: the network cannot be built as the recipe says.
        EpisodeError: there is nothing to learn from, or validation shares seeds with training.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        cache: Path,
        on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self.recipe, self.out = recipe, out
        self._on_progress = on_progress
        self._directory = RunDirectory(out, recipe)
        try:
            self._prepare(cache)
        except BaseException:
            self.close()
            raise

    def _prepare(self, cache: Path) -> None:
        """Open the data, build the network, and load the state that is there."""
        recipe, schedule = self.recipe, self.recipe.schedule
        self.pipeline = build_pipeline(recipe.policy)
        self.store, self.validation = self._open_stores(cache)
        self.sampler = Sampler(self.store, recipe.data, schedule.seed, schedule.localisation_steps > 0)
        torch.manual_seed(schedule.seed)
        model, self.processor = build_network(recipe, _corpus(self.store, self.pipeline))
        self.learner = Learner(model, schedule.rotation_weight, recipe.policy.action_space.dimensions)
        self.averaged = copy.deepcopy(self.learner).requires_grad_(False)
        self.optimizer = build_optimizer(self.learner, schedule)
        self.source = BatchSource(self.store, self.pipeline, self.processor)
        self.step = 0
        self._sums: dict[str, float] = {}
        self._resume()

    def _open_stores(self, cache: Path) -> tuple[FrameStore, FrameStore | None]:
        data, policy = self.recipe.data, self.recipe.policy

        def show(done: int, total: int) -> None:
            self._on_progress("decoding episodes", done, total)

        train = open_store(data.train, policy, cache, show)
        if not data.validation:
            return train, None
        validation = open_store(data.validation, policy, cache, show)
        _check_apart(train, validation)
        return train, validation

    @property
    def model(self) -> SpatialBotForActionPrediction:
        """The network that ships: the averaged weights, or the last ones without averaging."""
        return self._shipped.model

    @property
    def _shipped(self) -> Learner:
        return self.averaged if self.recipe.schedule.ema_decay else self.learner

    def run(self) -> Path:
        """Train to the end of the schedule.

        Returns:
            directory of the checkpoint.

        Raises:
            CheckpointError: the gradient is not finite, or the run's files cannot be written.
        """
        try:
            self._directory.start_log(self.step)
            self._train()
        finally:
            self.close()
        return self.out / CHECKPOINT

    def close(self) -> None:
        """Let another process go on with the run."""
        self._directory.close()

    def _train(self) -> None:
        schedule = self.recipe.schedule
        started, first = time.monotonic(), self.step
        while self.step < schedule.steps:
            for name, value in self.train_step().items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._on_progress("steps", self.step, schedule.steps)
            last = self.step == schedule.steps
            if self.step % schedule.log_every == 0:
                values = {name: value / schedule.log_every for name, value in self._sums.items()}
                values["seconds_per_step"] = (time.monotonic() - started) / (self.step - first)
                self._directory.record(self.step, values)
                self._sums = {}
            if self.step % schedule.validate_every == 0 or last:
                self._validate()
                self.save_checkpoint(self.out / CHECKPOINT)
            if schedule.keep_every and self.step % schedule.keep_every == 0:
                self.save_checkpoint(self.out / "checkpoints" / f"step-{self.step}")
            if self.step % schedule.save_every == 0 or last:
                self._save_state()
        if not (self.out / CHECKPOINT).exists():
            self.save_checkpoint(self.out / CHECKPOINT)

    def train_step(self) -> dict[str, float]:
        """Take one step; returns its losses and the gradient's norm.

        Raises:
            CheckpointError: the gradient is not finite; the weights stay as they were.
        """
        schedule = self.recipe.schedule
        localise_only = self.step < schedule.localisation_steps
        batch = self.source.make(self.sampler.rows(self.step, localise_only))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, schedule) * group["rate"]
        self.learner.train()
        # dropout, where a recipe asks for it, is a function of seed and step as the batch is
        torch.manual_seed(int(np.random.SeedSequence([schedule.seed, self.step]).generate_state(1)[0]))
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
            answer, where = self.learner(batch, localise_only)
        loss = answer + schedule.localisation_weight * where
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), schedule.clip_norm)
        if not bool(torch.isfinite(norm)):
            raise CheckpointError(
                f"the gradient at step {self.step} is not finite; lower schedule.learning_rate in the recipe "
                f"and train into another --out ({self.out / STATE_FILE} stays as it was saved)"
            )
        self.optimizer.step()
        self.step += 1
        self._average()
        return {"loss/answer": answer.item(), "loss/localisation": where.item(), "grad_norm": norm.item()}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.schedule.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.averaged.parameters(), self.learner.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)

    def _validate(self) -> None:
        if self.validation is None:
            return
        source = BatchSource(self.validation, self.pipeline, self.processor)
        report, example = validate(self._shipped, source)
        self._directory.record(self.step, {f"validation/{name}": value for name, value in report.items()})
        plot_open_loop(example, self.pipeline.action_space, self.out / "open_loop.png")

    def save_checkpoint(self, target: Path) -> None:
        """Write a checkpoint that `spatialbot evaluate` reads, with a summary of what it was trained on."""
        policy = replace(self.recipe.policy, training=self._summary())
        save_checkpoint(target, self.model, self.processor, policy)

    def _summary(self) -> dict[str, object]:
        families = sorted({f"{task}/{family}" if family else task for task, family, _ in self.store.seeds})
        seeds = [seed for _, _, seed in self.store.seeds if seed is not None]
        return {
            "step": self.step,
            "episodes": len(self.store.seeds),
            "frames": len(self.store),
            "stills": int(np.count_nonzero(self.store.stills)),
            "tasks": families,
            "seed_min": min(seeds, default=None),
            "seed_max": max(seeds, default=None),
            "recipe": to_dict(replace(self.recipe, policy=replace(self.recipe.policy, training={}))),
        }

    def _save_state(self) -> None:
        state: dict[str, Any] = {
            "step": self.step,
            "learner": self.learner.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self._sums,
            "episodes": self.store.fingerprint,
        }
        self._directory.save_state(state)

    def _resume(self) -> None:
        state = self._directory.load_state()
        if state is None:
            return
        # the first runs saved neither 'episodes' nor 'sums'
        if state.get("episodes", self.store.fingerprint) != self.store.fingerprint:
            raise CheckpointError(
                f"the training episodes are not those that the run in {self.out} began with, so it cannot go "
                "on; bring them back, or choose another --out"
            )
        try:
            self.learner.load_state_dict(state["learner"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self._sums = int(state["step"]), dict(state.get("sums", {}))
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{self.out / STATE_FILE} is not of this network ({reason}); remove it to train from step 0, "
                "or choose another --out"
            ) from error


def _corpus(store: FrameStore, pipeline: Pipeline) -> list[str]:
    """Every prompt of the training data once, for the tokenizer."""
    return sorted({pipeline.prompt(text) for text in set(store.instructions)})


def _check_apart(train: FrameStore, validation: FrameStore) -> None:
    shared = {entry for entry in train.seeds if entry[2] is not None} & set(validation.seeds)
    if shared:
        task, family, seed = sorted(shared)[0]
        raise EpisodeError(
            f"seed {seed} of {task}/{family} is in training and in validation; collect the validation "
            "episodes with another --first-seed"
        )
