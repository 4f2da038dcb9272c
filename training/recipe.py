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

    Raises:
        ConfigError: a value outside its range, or a data set in both lists.
    """

    train: tuple[Path, ...]
    validation: tuple[Path, ...] = ()
    stills_per_batch: int = 64
    stills_per_localisation_batch: int = 96
    windows_per_batch: int = 8
    window_steps: int = 4
    approach_weight: float = 1.0

    def __post_init__(self) -> None:
        counts = (self.stills_per_batch, self.windows_per_batch, self.stills_per_localisation_batch)
        if not self.train or sum(counts[:2]) < 1:
            raise ConfigError("name at least one train data set, and stills or windows for a batch")
        if min(counts) < 0 or self.window_steps < 1 or self.approach_weight <= 0:
            raise ConfigError(
                "stills and windows must be 0 or more, window_steps at least 1 and approach_weight above 0"
            )
        shared = {path.resolve() for path in self.train} & {path.resolve() for path in self.validation}
        if shared:
            names = ", ".join(sorted(map(str, shared)))
            raise ConfigError(f"{names} in train and in validation; keep them apart")


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
        keep_every: in steps, checkpoints kept in `checkpoints/step-N` to plot success against; 0 keeps none.
        seed: of weights and batches.

    Raises:
        ConfigError: a value outside its range.
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
    keep_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.keep_every < 0:
            raise ConfigError("keep_every must be 0 or a number of steps")
        if min(self.steps, self.log_every, self.validate_every, self.save_every) < 1:
            raise ConfigError("steps, log_every, validate_every and save_every must be at least 1")
        if not 0 <= self.localisation_steps <= self.steps:
            raise ConfigError(
                f"localisation_steps must lie between 0 and steps, got {self.localisation_steps} "
                f"of {self.steps}"
            )
        if self.localisation_steps and self.localisation_weight <= 0:
            raise ConfigError("localisation_steps needs a localisation_weight above 0")
        if min(self.warmup_steps, self.weight_decay, self.rotation_weight, self.localisation_weight) < 0:
            raise ConfigError("warm-up, weight decay and loss weights must be 0 or more")
        if self.tower_rate <= 0 or self.seed < 0:
            raise ConfigError("need tower_rate > 0 and seed >= 0")
        if not 0.0 <= self.ema_decay < 1.0 or self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ConfigError("need 0 <= ema_decay < 1, learning_rate > 0 and clip_norm > 0")


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

    def __post_init__(self) -> None:
        if self.schedule.localisation_steps and not self.data.stills_per_localisation_batch:
            raise ConfigError("schedule.localisation_steps needs data.stills_per_localisation_batch above 0")
