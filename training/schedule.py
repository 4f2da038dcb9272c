"""The schedule of a run: steps, rates, what is logged and kept; and the optimizer that follows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from spatialbot_policy.errors import ConfigError

TOWER, PROJECTOR = ("model.vision_tower.", "head."), ("model.projector.",)
TOKENS = "model.vision_tower.to_tokens."  # of the convolutional tower, see `VisionTower.token_layers`


@dataclass(frozen=True)
class ScheduleConfig:
    """Optimisation.

    Attributes:
        steps: batches in the run.
        epochs: passes over the largest share of the data instead of a number of steps; 0 takes `steps`.
        localisation_steps: first steps, on stills, that teach the tower where things are and nothing else.
        micro_batch: prompts that a device takes at once; the rest of its share of a batch is accumulated.
            0 takes the whole share. It changes memory and time, never the result.
        learning_rate: at its peak; linear warm-up at the start of both phases, then a cosine.
        final_rate: where the cosine ends, as a share of the peak.
        tower_rate: the vision tower's learning rate in multiples of the language model's.
        projector_rate: the projector's, likewise.
        warmup_steps: steps to the peak.
        warmup_ratio: the same as a share of all steps, instead of `warmup_steps`; 0 takes those.
        weight_decay: of AdamW, on matrices only.
        beta2: of AdamW; how long the mean of squared gradients remembers.
        clip_norm: largest norm of the gradient.
        ema_decay: of the averaged weights that are validated and shipped; 0 switches averaging off.
        rotation_weight: weight of the three rotation tokens' losses against the other tokens'.
        localisation_weight: weight of the auxiliary localisation loss; 0 leaves its head out.
        intention_weight: weight of the auxiliary question which object and board the words mean; 0 leaves
            its head out.
        bf16: bfloat16 autocast, except where a tower or the projector says float32.
        gradient_checkpointing: compute activations again in the backward pass: less memory, more time.
        log_every, validate_every, save_every: in steps.
        keep_every: in steps, checkpoints kept in `checkpoints/step-N` to plot success against; 0 keeps none.
        seed: of weights and batches.

    Raises:
        ConfigError: a value outside its range.
    """

    steps: int = 8000
    epochs: float = 0.0
    localisation_steps: int = 0
    micro_batch: int = 0
    learning_rate: float = 1e-3
    final_rate: float = 0.01
    tower_rate: float = 2.0
    projector_rate: float = 1.0
    warmup_steps: int = 200
    warmup_ratio: float = 0.0
    weight_decay: float = 0.01
    beta2: float = 0.98
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    rotation_weight: float = 0.3
    localisation_weight: float = 1.0
    intention_weight: float = 0.0
    bf16: bool = True
    gradient_checkpointing: bool = False
    log_every: int = 20
    validate_every: int = 1000
    save_every: int = 200
    keep_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.keep_every, self.micro_batch, self.epochs) < 0:
            raise ConfigError("keep_every, micro_batch and epochs must be 0 or more")
        if min(self.steps, self.log_every, self.validate_every, self.save_every) < 1:
            raise ConfigError("steps, log_every, validate_every and save_every must be at least 1")
        if not 0 <= self.localisation_steps <= self.steps:
            raise ConfigError(
                f"localisation_steps must lie between 0 and steps, got {self.localisation_steps} "
                f"of {self.steps}"
            )
        if self.localisation_steps and self.localisation_weight <= 0:
            raise ConfigError("localisation_steps needs a localisation_weight above 0")
        weights = (self.rotation_weight, self.localisation_weight, self.intention_weight)
        if min(self.warmup_steps, self.weight_decay, *weights) < 0:
            raise ConfigError("warm-up, weight decay and loss weights must be 0 or more")
        if min(self.tower_rate, self.projector_rate) <= 0 or self.seed < 0:
            raise ConfigError("need tower_rate > 0, projector_rate > 0 and seed >= 0")
        if not 0.0 <= self.ema_decay < 1.0 or self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ConfigError("need 0 <= ema_decay < 1, learning_rate > 0 and clip_norm > 0")
        if not (0.0 <= self.warmup_ratio < 1.0 and 0.0 <= self.final_rate <= 1.0 and 0.0 < self.beta2 < 1.0):
            raise ConfigError("need 0 <= warmup_ratio < 1, 0 <= final_rate <= 1 and 0 < beta2 < 1")

    @property
    def warmup(self) -> float:
        """Steps to the peak, whichever way they are given."""
        return self.warmup_ratio * self.steps if self.warmup_ratio else self.warmup_steps


def rate_factor(step: int, schedule: ScheduleConfig) -> float:
    """The learning rate of a step as a share of the peak: a cosine, with a warm-up at each phase's start."""
    into_phase = step if step < schedule.localisation_steps else step - schedule.localisation_steps
    warmup = min(1.0, (into_phase + 1) / max(1.0, schedule.warmup))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / schedule.steps))
    return warmup * (schedule.final_rate + (1.0 - schedule.final_rate) * cosine)


def build_optimizer(learner: nn.Module, schedule: ScheduleConfig) -> torch.optim.Optimizer:
    """AdamW on what is trained; tower and projector at their own rates, vectors without weight decay.

    Where the tower is frozen up to the layer that makes its tokens, that layer counts with the projector.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    trained = {name: value for name, value in learner.named_parameters() if value.requires_grad}
    frozen = not any(name.startswith(TOWER[0]) and not name.startswith(TOKENS) for name in trained)
    for name, value in trained.items():
        rate = 1.0
        if name.startswith(TOKENS) and frozen:
            rate = schedule.projector_rate
        elif name.startswith(TOWER):
            rate = schedule.tower_rate
        elif name.startswith(PROJECTOR):
            rate = schedule.projector_rate
        decay = schedule.weight_decay if value.ndim >= 2 else 0.0
        groups.setdefault((rate, decay), []).append(value)
    return torch.optim.AdamW(
        [{"params": values, "rate": rate, "weight_decay": decay} for (rate, decay), values in groups.items()],
        lr=schedule.learning_rate,
        betas=(0.9, schedule.beta2),
    )
