"""The model's configuration in Hugging Face form: a tower, a projector, a language model, action tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model.conv_tower import ConvTowerConfig
from spatialbot_policy.model.pretrained_tower import PretrainedTowerConfig

PROJECTOR_TYPES = ("mlp2x_gelu",)
ACTION_DECODINGS = ("sequential", "parallel")


class SpatialBotConfig(PreTrainedConfig):
    """Everything `SpatialBotForActionPrediction` is built from.

    Attributes:
        vision_config: the tower; its `model_type` names an entry of the registry in `vision_tower`.
        text_config: any causal language model that transformers knows, e.g. `qwen2`.
        projector_type: "mlp2x_gelu".
        action_bins: number of action tokens, shared by all dimensions of an action; 0 for a model that only
            converses.
        first_action_token_id: id of `<action_000>`; the others follow it without a gap.
        image_token_id: id of `<image>`, of which the processor writes `tokens_per_image` per image.
        cameras: "name WIDTHxHEIGHT" of each camera that the weights were trained with; empty = not stated.
        history_length: observations in each prompt the weights were trained with; 0 = not stated.
        action_kind: kind of the action space they were trained for; empty = not stated.
        bin_smoothing: standard deviation, in bins, of the soft labels of action tokens; 0 = one-hot.
        action_decoding: "sequential" when each action token was learned from those before it, "parallel" when
            all were learned from the prompt alone, with placeholders in their places.

    Raises:
        ConfigError: an unknown projector or decoding, or token ids that do not fit the vocabulary.
    """

    model_type = "spatialbot"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="conv"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
    }

    vision_config: Any = None
    text_config: Any = None
    projector_type: str = "mlp2x_gelu"
    action_bins: int = 101
    first_action_token_id: int = 4
    image_token_id: int = 3
    cameras: list[str] | tuple[str, ...] = ()
    history_length: int = 0
    action_kind: str = ""
    bin_smoothing: float = 0.0
    action_decoding: str = "sequential"
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.cameras = list(self.cameras)
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)
        if self.projector_type not in PROJECTOR_TYPES:
            raise ConfigError(
                f"unknown projector_type '{self.projector_type}'; use one of {', '.join(PROJECTOR_TYPES)}"
            )
        if self.action_decoding not in ACTION_DECODINGS:
            raise ConfigError(
                f"unknown action_decoding '{self.action_decoding}'; use one of {', '.join(ACTION_DECODINGS)}"
            )
        last = self.first_action_token_id + self.action_bins - 1
        acts = self.action_bins != 0
        if acts and not 0 <= self.first_action_token_id <= last < self.text_config.vocab_size:
            raise ConfigError(
                f"action tokens {self.first_action_token_id}..{last} do not fit a vocabulary of "
                f"{self.text_config.vocab_size}; text_config.vocab_size must cover the tokenizer"
            )
        if self.first_action_token_id <= self.image_token_id <= last:
            raise ConfigError(f"image_token_id {self.image_token_id} lies among the action tokens; move it")
        if self.bin_smoothing < 0:
            raise ConfigError(f"bin_smoothing must be 0 or more bins, got {self.bin_smoothing}")

    @property
    def action_token_slice(self) -> slice:
        """The action tokens' place in the vocabulary."""
        return slice(self.first_action_token_id, self.first_action_token_id + self.action_bins)

    def hide_actions(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        """(B, L) ids, in the actions' places what parallel decoding reads there: `<action_000>`."""
        place = self.action_token_slice
        hidden = (labels >= place.start) & (labels < place.stop)
        return input_ids.masked_fill(hidden, self.first_action_token_id)


AutoConfig.register(ConvTowerConfig.model_type, ConvTowerConfig, exist_ok=True)
AutoConfig.register(PretrainedTowerConfig.model_type, PretrainedTowerConfig, exist_ok=True)
AutoConfig.register(SpatialBotConfig.model_type, SpatialBotConfig, exist_ok=True)
