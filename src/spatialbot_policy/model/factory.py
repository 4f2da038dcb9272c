"""The model sizes by name: how a policy's configuration becomes a network trained from nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import PreTrainedTokenizerFast

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.conv_tower import ConvTowerConfig
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction
from spatialbot_policy.model.processor import SpatialBotProcessor
from spatialbot_policy.model.tokenizer import train_tokenizer

TINY_TEXT: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "initializer_range": 0.05,
}


def tiny_config(
    policy: PolicyConfig,
    tokenizer: PreTrainedTokenizerFast,
    *,
    bin_smoothing: float = 1.0,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
) -> SpatialBotConfig:
    """Describe the `tiny` size: convolutional tower, projector and a four-layer Qwen2.

    Args:
        policy: gives the depth variant and the number of bins.
        tokenizer: gives the vocabulary and the special tokens' ids.
        bin_smoothing: standard deviation of the soft labels in bins; 0 = one-hot.
        vision: fields of `ConvTowerConfig` to set otherwise, e.g. depth_range_m.
        text: fields of the language model's config to set otherwise.
    """
    variant = None if policy.depth_variant is None else str(policy.depth_variant.value)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return SpatialBotConfig(
        vision_config=ConvTowerConfig(**{"depth_variant": variant, **(vision or {})}),
        text_config={**TINY_TEXT, "vocab_size": len(tokenizer), **special, **(text or {})},
        action_bins=policy.action_space.bins,
        first_action_token_id=tokenizer.convert_tokens_to_ids("<action_000>"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        cameras=[f"{camera.name} {camera.width}x{camera.height}" for camera in policy.cameras],
        history_length=policy.history_length,
        action_kind=policy.action_space.kind,
        bin_smoothing=bin_smoothing,
        **special,
    )


def build_tiny(
    policy: PolicyConfig, corpus: Iterable[str], *, vocab_size: int = 512, **options: Any
) -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor]:
    """Build the `tiny` model and its processor with fresh weights.

    Args:
        policy: the configuration that the checkpoint will carry.
        corpus: instructions or prompts to learn the tokenizer's merges from.
        vocab_size: text tokens of the vocabulary; the special tokens are added to these.
        **options: passed to `tiny_config`.

    Returns:
        The model, in training mode, and the processor; seed torch before for repeatable weights.
    """
    tokenizer = train_tokenizer(corpus, policy.action_space, vocab_size)
    config = tiny_config(policy, tokenizer, **options)
    processor = SpatialBotProcessor(tokenizer, tokens_per_image=config.vision_config.tokens_per_image)
    return SpatialBotForActionPrediction(config), processor
