"""Trains a policy from a recipe: one step, the schedule, and a run that resumes exactly where it was."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from spatialbot_policy.config import to_dict
from spatialbot_policy.errors import CheckpointError, EpisodeError
from spatialbot_policy.model import (
    SpatialBotForActionPrediction,
    build_tiny,
    save_checkpoint,
)
from spatialbot_policy.model.vision_tower import as_tower
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.batches import Batch, BatchSource, Sampler
from spatialbot_training.frame_store import FrameStore, open_store
from spatialbot_training.localisation import LocalisationHead, localisation_loss
from spatialbot_training.open_loop import plot_open_loop, validate
from spatialbot_training.recipe import Recipe, ScheduleConfig

_log = logging.getLogger(__name__)
STATE_FILE = "state.pt"


class Learner(nn.Module):
    """The policy network with the auxiliary head that is left behind after training."""

    def __init__(self, model: SpatialBotForActionPrediction, rotation_weight: float) -> None:
        super().__init__()
        self.model = model
        self.head = LocalisationHead(model.config.vision_config.frame_feature_size)
        self._rotation_weight = rotation_weight

    def forward(self, batch: Batch, localise_only: bool = False) -> tuple[Tensor, Tensor]:
        """Losses of a batch: answers (0 when `localise_only`) and localisation."""
        features = as_tower(self.model.vision_tower).frame_features(batch.pixel_values)
        steps = len(batch.targets)
        # with several cameras the first one answers
        where = localisation_loss(
            self.head(features.view(steps, -1, features.shape[-1])[:, 0]), batch.targets
        )
        if localise_only:
            return torch.zeros(()), where
        embeds = self.model.embed_features(features)
        embeds = embeds.reshape(steps, -1, embeds.shape[-1])[batch.history]
        output = self.model(
            **batch.inputs,
            image_embeds=embeds.reshape(-1, embeds.shape[-1]),
            loss_weights=self._weights(batch.inputs["labels"]),
            answer_logits_only=True,
        )
        return output.loss, where

    def _weights(self, labels: Tensor) -> Tensor:
        """(B, L): the last eight labels are seven action tokens and the end; rotations weigh less."""
        weights = torch.ones(labels.shape)
        weights[:, -5:-2] = self._rotation_weight
        return weights


def learning_rate(step: int, schedule: ScheduleConfig) -> float:
    """A cosine to a hundredth of the peak, with a linear warm-up at the start of each phase."""
    into_phase = step if step < schedule.localisation_steps else step - schedule.localisation_steps
    warmup = min(1.0, (into_phase + 1) / max(1, schedule.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / schedule.steps))
    return schedule.learning_rate * warmup * (0.01 + 0.99 * cosine)


class Trainer:
    """One run in one directory: `state.pt` to go on from, `log.jsonl`, TensorBoard events and `checkpoint/`.

    Args:
        recipe: what to train.
        out: the run's directory; a run that is there goes on if its recipe is the same.
        cache: where decoded episodes are kept.
        on_progress: told (what, done, total) while episodes are decoded and steps are taken.

    Raises:
        CheckpointError: the directory holds a run of another recipe, or data and recipe disagree.
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
        _claim(recipe, out)
        schedule = recipe.schedule
        self.pipeline = build_pipeline(recipe.policy)
        decoding = lambda done, total: on_progress("decoding episodes", done, total)  # noqa: E731
        self.store = open_store(recipe.data.train, recipe.policy, cache, decoding)
        self.validation: FrameStore | None = None
        if recipe.data.validation:
            self.validation = open_store(recipe.data.validation, recipe.policy, cache, decoding)
            _check_apart(self.store, self.validation)
        torch.manual_seed(schedule.seed)
        corpus = sorted({self.pipeline.prompt(text) for text in set(self.store.instructions)})
        model, self.processor = build_tiny(
            recipe.policy,
            corpus,
            vocab_size=recipe.model.vocab_size,
            vision=recipe.model.vision,
            text=recipe.model.text,
            bin_smoothing=recipe.model.bin_smoothing,
        )
        self.learner = Learner(model, schedule.rotation_weight)
        self.averaged = copy.deepcopy(self.learner).requires_grad_(False)
        self.optimizer = _optimizer(self.learner, schedule)
        self.source = BatchSource(self.store, self.pipeline, self.processor)
        self.sampler = Sampler(self.store, recipe.data, schedule.seed, schedule.localisation_steps > 0)
        self.step = 0
        self._resume()

    @property
    def model(self) -> SpatialBotForActionPrediction:
        """The network that ships: the averaged weights, or the last ones without averaging."""
        return self.averaged.model if self.recipe.schedule.ema_decay else self.learner.model

    def run(self) -> Path:
        """Train to the end of the schedule.

        Returns:
            directory of the checkpoint.
        """
        schedule = self.recipe.schedule
        writer = SummaryWriter(self.out / "tensorboard", purge_step=self.step)
        started, first = time.monotonic(), self.step
        sums: dict[str, float] = {}
        while self.step < schedule.steps:
            for name, value in self.train_step().items():
                sums[name] = sums.get(name, 0.0) + value
            self._on_progress("steps", self.step, schedule.steps)
            if self.step % schedule.log_every == 0:
                values = {name: value / schedule.log_every for name, value in sums.items()}
                values["seconds_per_step"] = (time.monotonic() - started) / (self.step - first)
                self._record(writer, values)
                sums = {}
            if self.step % schedule.validate_every == 0 or self.step == schedule.steps:
                self._validate(writer)
                self.save_checkpoint()
            if self.step % schedule.save_every == 0 or self.step == schedule.steps:
                self._save_state()
        writer.close()
        return self.out / "checkpoint"

    def train_step(self) -> dict[str, float]:
        """Take one step; returns its losses and the gradient's norm."""
        schedule = self.recipe.schedule
        localise_only = self.step < schedule.localisation_steps
        batch = self.source.make(self.sampler.rows(self.step, localise_only))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, schedule) * group["rate"]
        self.learner.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
            answer, where = self.learner(batch, localise_only)
        loss = answer + schedule.localisation_weight * where
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.learner.parameters(), schedule.clip_norm)
        if not bool(torch.isfinite(norm)):
            raise CheckpointError(
                f"the gradient at step {self.step} is not finite; lower schedule.learning_rate and start "
                f"again from {self.out / STATE_FILE}"
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

    def _validate(self, writer: SummaryWriter) -> None:
        if self.validation is None:
            return
        source = BatchSource(self.validation, self.pipeline, self.processor)
        learner = self.averaged if self.recipe.schedule.ema_decay else self.learner
        report, example = validate(learner.model, learner.head, source)
        self._record(writer, {f"validation/{name}": value for name, value in report.items()})
        plot_open_loop(example, self.pipeline.action_space, self.out / "open_loop.png")

    def _record(self, writer: SummaryWriter, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, self.step)
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps({"step": self.step, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
        _log.info("step %d: %s", self.step, {name: round(value, 4) for name, value in values.items()})

    def save_checkpoint(self) -> Path:
        """Write the checkpoint that `spatialbot evaluate` reads, with a summary of what it was trained on."""
        policy = replace(self.recipe.policy, training=self._summary())
        target = self.out / "checkpoint"
        save_checkpoint(target, self.model, self.processor, policy)
        return target

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
        state = {
            "step": self.step,
            "learner": self.learner.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        temporary = self.out / f".{STATE_FILE}"
        torch.save(state, temporary)
        os.replace(temporary, self.out / STATE_FILE)

    def _resume(self) -> None:
        path = self.out / STATE_FILE
        if not path.is_file():
            return
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def _optimizer(learner: Learner, schedule: ScheduleConfig) -> torch.optim.Optimizer:
    """AdamW; the vision tower at its own rate, vectors without weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in learner.named_parameters():
        rate = schedule.tower_rate if name.startswith(("model.vision_tower.", "head.")) else 1.0
        decay = schedule.weight_decay if value.ndim >= 2 else 0.0
        groups.setdefault((rate, decay), []).append(value)
    return torch.optim.AdamW(
        [{"params": values, "rate": rate, "weight_decay": decay} for (rate, decay), values in groups.items()],
        lr=schedule.learning_rate,
        betas=(0.9, 0.98),
    )


def _claim(recipe: Recipe, out: Path) -> None:
    """Write the recipe into the run's directory, or see that the one there is the same."""
    facts = to_dict(recipe)
    text = json.dumps(facts, indent=2, default=str, sort_keys=True)
    path = out / "recipe.json"
    if path.is_file() and path.read_text() != text:
        known = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        raise CheckpointError(
            f"{out} holds a run of another recipe ({known}, see {path}); choose another --out, or give the "
            "same recipe to go on with that run"
        )
    out.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def _check_apart(train: FrameStore, validation: FrameStore) -> None:
    shared = {entry for entry in train.seeds if entry[2] is not None} & set(validation.seeds)
    if shared:
        task, family, seed = sorted(shared)[0]
        raise EpisodeError(
            f"seed {seed} of {task}/{family} is in training and in validation; collect the validation "
            "episodes with another --first-seed"
        )
