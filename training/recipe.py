"""A training run as one YAML file: data, policy, network and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ConfigError


@dataclass(frozen=True)
class DataConfig:
    """Which episodes are learned from, and how a batch is drawn from them.

    Attributes:
        train: data sets to learn from.
        validation: data sets to measure the open-loop error on; their seeds must not be in `train`.
        stills_per_batch: single images with random arm poses in each batch.
        stills_per_localisation_batch: the same in the localisation phase.
        windows_per_batch: stretches of demonstrations in each batch.
        window_steps: consecutive steps in a stretch; their histories share frames, each encoded once.
        approach_weight: how much more often a stretch begins where the gripper is open.
    """

    train: tuple[Path, ...]
    validation: tuple[Path, ...] = ()
    stills_per_batch: int = 64
    stills_per_localisation_batch: int = 96
    windows_per_batch: int = 8
    window_steps: int = 4
    approach_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.train or self.stills_per_batch + self.windows_per_batch < 1 or self.window_steps < 1:
            raise ConfigError("data: name at least one train data set, and stills or windows for a batch")
        shared = {path.resolve() for path in self.train} & {path.resolve() for path in self.validation}
        if shared:
            raise ConfigError(
                f"data: {sorted(map(str, shared))} are in train and in validation; keep them apart"
            )


@dataclass(frozen=True)
class ModelConfig:
    """What differs from the `tiny` size's own defaults.

    Attributes:
        vision: fields of the vision tower's configuration.
        text: fields of the language model's configuration.
        vocab_size: text tokens of the tokenizer.
        bin_smoothing: standard deviation of the soft labels, in bins.
    """

    vision: dict[str, object] = field(default_factory=dict)
    text: dict[str, object] = field(default_factory=dict)
    vocab_size: int = 512
    bin_smoothing: float = 1.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Optimisation.

    Attributes:
        steps: batches in the run.
        localisation_steps: first steps, on stills, that teach the tower where things are and nothing else.
        learning_rate: at its peak; linear warm-up at the start of both phases, cosine to a hundredth.
        tower_rate: the vision tower's learning rate in multiples of the others'.
        warmup_steps: steps to the peak.
        weight_decay: of AdamW, on matrices only.
        clip_norm: largest norm of the gradient.
        ema_decay: of the averaged weights that are validated and shipped; 0 switches averaging off.
        rotation_weight: weight of the three rotation tokens' losses against the other tokens'.
        localisation_weight: weight of the auxiliary localisation loss; 0 switches it off.
        bf16: bfloat16 autocast for the convolutions and the language model.
        log_every, validate_every, save_every: in steps.
        seed: of weights and batches.
    """

    steps: int = 8000
    localisation_steps: int = 0
    learning_rate: float = 1e-3
    tower_rate: float = 2.0
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    rotation_weight: float = 0.3
    localisation_weight: float = 1.0
    bf16: bool = True
    log_every: int = 20
    validate_every: int = 1000
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.log_every, self.validate_every, self.save_every) < 1:
            raise ConfigError("schedule: steps, log_every, validate_every and save_every must be at least 1")
        if not 0 <= self.localisation_steps <= self.steps:
            raise ConfigError("schedule: localisation_steps must lie between 0 and steps")
        if not 0.0 <= self.ema_decay < 1.0 or self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ConfigError("schedule: need 0 <= ema_decay < 1, learning_rate > 0 and clip_norm > 0")


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs, so that anyone can run it again.

    Attributes:
        data: episodes.
        policy: what the checkpoint will promise; see PolicyConfig.
        model: network.
        schedule: optimisation.
    """

    data: DataConfig
    policy: PolicyConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
