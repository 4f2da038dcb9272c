"""A checkpoint that only converses, made ready to learn actions: tokens, their rows, and what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from transformers.modeling_utils import PreTrainedModel

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model import ModelSize, SpatialBotForActionPrediction, SpatialBotProcessor
from spatialbot_policy.model.factory import model_config
from spatialbot_policy.model.start_weights import start_new_rows
from spatialbot_policy.model.tokenizer import load_tokenizer


def add_actions(
    model: SpatialBotForActionPrediction,
    directory: Path,
    policy: PolicyConfig,
    bin_smoothing: float,
    max_length: int,
) -> SpatialBotProcessor:
    """Give a conversing model the action tokens of a policy, in place.

    Args:
        model: from that directory.
        directory: of the checkpoint, for its tokenizer.
        policy: that is to be learned.
        bin_smoothing: standard deviation of the soft labels, in bins.
        max_length: tokens of the longest prompt.

    Returns:
        the processor with the new tokens.

    Raises:
        ConfigError: a tower that would see other images as a policy than it saw in conversation.
    """
    old = model.config
    if old.vision_config.model_type == "conv":
        raise ConfigError(
            f"{directory} has a convolutional tower, which cannot become a policy's; start from nothing"
        )
    tokenizer = load_tokenizer(directory, policy.action_space, max_length)
    text, vision = old.text_config.to_dict(), old.vision_config.to_dict()
    size = ModelSize(str(directory), text, vision, old.projector_type, bin_smoothing)
    config = model_config(size, policy, tokenizer)
    language = cast(PreTrainedModel, model.language_model)
    rows = cast(Any, language.get_input_embeddings()).weight.shape[0]
    if config.text_config.vocab_size > rows:
        language.resize_token_embeddings(config.text_config.vocab_size, mean_resizing=False)
    start_new_rows(language, config, min(rows, config.first_action_token_id))
    model.config, language.config = config, config.text_config
    cast(Any, model.vision_tower).config = config.vision_config
    return SpatialBotProcessor(tokenizer, tokens_per_image=config.vision_config.tokens_per_image)
