"""A training run as one YAML file: data, promises, network, what learns, and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.conversation_config import ConversationConfig
from spatialbot_policy.errors import ConfigError
from spatialbot_training.data_config import ConversationSet, DataConfig
from spatialbot_training.parts import LoraSettings, PartsConfig
from spatialbot_training.schedule import ScheduleConfig

__all__ = [
    "ConversationSet",
    "DataConfig",
    "LoraSettings",
    "ModelConfig",
    "PartsConfig",
    "Recipe",
    "ScheduleConfig",
    "StartConfig",
]


@dataclass(frozen=True)
class ModelConfig:
    """Which size is trained, and what differs from its own defaults.

    Attributes:
        size: a name in config/model, or a YAML file.
        vision: fields of the vision tower's configuration.
        text: fields of the language model's configuration.
        vocab_size: text tokens of a tokenizer that is learned from the prompts (no `start`).
        bin_smoothing: standard deviation of the soft labels, in bins.
        action_decoding: "sequential": each action token is learned from those before it; "parallel": all from
            the prompt alone, so that one pass answers.
    """

    size: str = "tiny"
    vision: dict[str, object] = field(default_factory=dict)
    text: dict[str, object] = field(default_factory=dict)
    vocab_size: int = 512
    bin_smoothing: float = 1.0
    action_decoding: Literal["sequential", "parallel"] = "sequential"


@dataclass(frozen=True)
class StartConfig:
    """Which weights a run starts from; what is not named starts fresh.

    Attributes:
        checkpoint: directory of a checkpoint of this project: the whole network, its size and tokenizer.
        language: directory of Hugging Face weights of the language model, and its tokenizer.
        vision: directories of Hugging Face weights of the tower's backbones, in order.

    Raises:
        ConfigError: a checkpoint and weights at once, or a tower's weights without the language model's.
    """

    checkpoint: Path | None = None
    language: Path | None = None
    vision: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.checkpoint is not None and (self.language is not None or self.vision):
            raise ConfigError("start: give a checkpoint, or weights of language model and tower, not both")
        if self.vision and self.language is None:
            raise ConfigError("start: weights of a tower need those of a language model, for its tokenizer")

    @property
    def given(self) -> bool:
        """Whether any weights are named."""
        return self.checkpoint is not None or self.language is not None


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs, so that anyone can run it again.

    Attributes:
        data: episodes and conversations.
        policy: what the checkpoint will promise as a policy; None for one that only converses.
        model: network.
        schedule: optimisation.
        parts: what learns.
        lora: adapters of the parts that learn through them.
        start: weights to start from.
        conversation: what the checkpoint will promise in conversation; None for one that only acts.

    Raises:
        ConfigError: parts of the recipe that do not fit each other.
    """

    data: DataConfig
    policy: PolicyConfig | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    parts: PartsConfig = field(default_factory=PartsConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)
    start: StartConfig = field(default_factory=StartConfig)
    conversation: ConversationConfig | None = None

    def __post_init__(self) -> None:
        data, schedule = self.data, self.schedule
        if schedule.localisation_steps and not (data.train and data.stills_per_localisation_batch):
            raise ConfigError("schedule.localisation_steps needs data.stills_per_localisation_batch above 0")
        if data.train and self.policy is None:
            raise ConfigError("episodes are learned as a policy: add 'policy' to the recipe")
        if data.conversations and self.conversation is None:
            raise ConfigError(
                "conversations need their wording and image form: add 'conversation' to the recipe"
            )
        if not (data.train or data.conversations):
            raise ConfigError("there is nothing to learn from; name data.train or data.conversations")
        if not self.parts.all_full and not self.start.given:
            raise ConfigError(
                "parts that are frozen or learn through lora need trained weights: set start.checkpoint, or "
                "start.language"
            )
        if schedule.epochs and not data.batch:
            raise ConfigError(
                "schedule.epochs counts passes over a mixture; set data.batch, or schedule.steps"
            )
