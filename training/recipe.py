"""A training run as one YAML file: data, promises, network, what learns, and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
        attention: how transformers computes attention in training; on a CPU and short prompts "eager" is the
            fastest. The weights do not depend on it.
    """

    size: str = "tiny"
    vision: dict[str, object] = field(default_factory=dict)
    text: dict[str, object] = field(default_factory=dict)
    vocab_size: int = 512
    bin_smoothing: float = 1.0
    action_decoding: Literal["sequential", "parallel"] = "sequential"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"


@dataclass(frozen=True)
class StartConfig:
    """Which weights a run starts from; what is not named starts fresh.

    Attributes:
        checkpoint: directory of a checkpoint of this project: the whole network, its size and tokenizer.
        language: directory of Hugging Face weights of the language model, and its tokenizer.
        vision: directories of Hugging Face weights of the tower's backbones, in order.
        tower: directory of a checkpoint of this project whose vision tower is taken; all else starts fresh.

    Raises:
        ConfigError: a checkpoint and weights at once, or a tower's weights without the language model's.
    """

    checkpoint: Path | None = None
    language: Path | None = None
    vision: tuple[Path, ...] = ()
    tower: Path | None = None

    def __post_init__(self) -> None:
        if self.tower is not None and (self.given or self.vision):
            raise ConfigError(
                "start.tower brings a vision tower, beside which all else starts fresh; leave out "
                "checkpoint, language and vision"
            )
        if self.checkpoint is not None and (self.language is not None or self.vision):
            raise ConfigError("start: give a checkpoint, or weights of language model and tower, not both")
        if self.vision and self.language is None:
            raise ConfigError("start: weights of a tower need those of a language model, for its tokenizer")

    @property
    def given(self) -> bool:
        """Whether weights are named that a language model starts from."""
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
        if schedule.localisation_steps and not (data.train and data.localisation_batch):
            raise ConfigError(
                "schedule.localisation_steps needs data.stills_per_localisation_batch above 0, or "
                "data.demonstrations_per_localisation_batch"
            )
        if data.train and self.policy is None:
            raise ConfigError("episodes are learned as a policy: add 'policy' to the recipe")
        if data.conversations and self.conversation is None:
            raise ConfigError(
                "conversations need their wording and image form: add 'conversation' to the recipe"
            )
        if not (data.train or data.conversations):
            raise ConfigError("there is nothing to learn from; name data.train or data.conversations")
        self._check_parts()
        if schedule.epochs and not data.batch:
            raise ConfigError(
                "schedule.epochs counts passes over a mixture; set data.batch, or schedule.steps"
            )

    def _check_parts(self) -> None:
        """Refuse parts that are not trained in full and have no trained weights, and features of such."""
        parts = self.parts
        learning = (
            parts if self.start.tower is None or parts.vision == "lora" else replace(parts, vision="full")
        )
        if not learning.all_full and not self.start.given:
            raise ConfigError(
                "parts that are frozen or learn through lora need trained weights: set start.checkpoint, or "
                "start.language; start.tower allows parts.vision: frozen alone"
            )
        if self.data.cache_features and parts.vision != "frozen":
            raise ConfigError(
                f"data.cache_features keeps what a frozen tower sees, and parts.vision is {parts.vision}; "
                "set it to frozen, or leave cache_features out"
            )

    @property
    def whole_result(self) -> bool:
        """Whether a run leaves a checkpoint and no adapter: nothing of a base to adapt is left out."""
        return self.parts.all_full or self.start.tower is not None
