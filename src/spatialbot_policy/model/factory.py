"""How a size, a policy and a tokenizer become a network, with fresh or with pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedTokenizerFast

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction
from spatialbot_policy.model.processor import SpatialBotProcessor
from spatialbot_policy.model.sizes import ModelSize, load_size
from spatialbot_policy.model.start_weights import VOCABULARY_MULTIPLE, StartWeights, build_from_weights
from spatialbot_policy.model.tokenizer import IMAGE, train_tokenizer
from spatialbot_policy.model.vision_tower import TOWERS


def build_model(
    size: ModelSize,
    policy: PolicyConfig | None,
    tokenizer: PreTrainedTokenizerFast,
    start: StartWeights | None = None,
) -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor]:
    """Build a size's network and its processor.

    Args:
        size: see `load_size`.
        policy: the configuration that the checkpoint will carry; None for a model that only converses.
        tokenizer: with `<image>` and the action tokens, from `train_tokenizer` or `load_tokenizer`.
        start: local directories of pretrained weights; None for fresh weights everywhere. Seed torch
            before for repeatable fresh weights.

    Returns:
        The model, in training mode, and the processor.

    Raises:
        ConfigError: size, policy, tokenizer and weights do not fit each other.
        CheckpointError: the weights cannot be read, or lack tensors.
    """
    config = model_config(size, policy, tokenizer)
    processor = SpatialBotProcessor(tokenizer, tokens_per_image=config.vision_config.tokens_per_image)
    if start is None:
        return SpatialBotForActionPrediction(config), processor
    return build_from_weights(config, start), processor


def model_config(
    size: ModelSize, policy: PolicyConfig | None, tokenizer: PreTrainedTokenizerFast
) -> SpatialBotConfig:
    """Describe a size's network for a policy and a tokenizer; the arguments are those of `build_model`."""
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    published = int(str(size.text.get("vocab_size", 0)))
    text = {**size.text, **special, "vocab_size": _vocabulary(published, len(tokenizer))}
    vision = dict(size.vision)
    promises: dict[str, Any] = {}
    if policy is not None:
        vision["depth_variant"] = None if policy.depth_variant is None else str(policy.depth_variant.value)
        promises = {
            "cameras": [f"{camera.name} {camera.width}x{camera.height}" for camera in policy.cameras],
            "history_length": policy.history_length,
            "action_kind": policy.action_space.kind,
        }
    config = SpatialBotConfig(
        vision_config=_tower_config(vision),
        text_config=text,
        projector_type=size.projector,
        **_action_tokens(tokenizer, policy),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        bin_smoothing=size.bin_smoothing,
        **promises,
        **special,
    )
    if policy is not None:
        _check_fits(size.name, config, policy)
    return config


def build_tiny(
    policy: PolicyConfig,
    corpus: Iterable[str],
    *,
    vocab_size: int = 512,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    bin_smoothing: float | None = None,
) -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor]:
    """Build the `tiny` size with a tokenizer that is learned from the corpus.

    Args:
        policy: the configuration that the checkpoint will carry.
        corpus: instructions or prompts to learn the tokenizer's merges from.
        vocab_size: text tokens of the vocabulary; the special tokens are added to these.
        vision: fields of `ConvTowerConfig` to set otherwise, e.g. depth_range_m.
        text: fields of the language model's config to set otherwise.
        bin_smoothing: standard deviation of the soft labels in bins; 0 = one-hot.

    Returns:
        As `build_model`.
    """
    size = load_size("tiny").changed(vision=vision, text=text, bin_smoothing=bin_smoothing)
    return build_model(size, policy, train_tokenizer(corpus, policy.action_space, vocab_size))


def _action_tokens(tokenizer: PreTrainedTokenizerFast, policy: PolicyConfig | None) -> dict[str, int]:
    """The action tokens' place in the vocabulary; a policy's must be there, and no others."""
    names = [name for name in tokenizer.get_added_vocab() if name.startswith("<action_")]
    if policy is not None and set(names) != set(policy.action_space.token_strings):
        raise ConfigError(
            f"the tokenizer has {len(names)} action tokens, but the policy has {policy.action_space.bins} "
            "bins; make it with train_tokenizer or load_tokenizer for this action space"
        )
    first = int(tokenizer.convert_tokens_to_ids("<action_000>")) if names else 0
    return {"action_bins": len(names), "first_action_token_id": first}


def _vocabulary(published: int, tokens: int) -> int:
    """Rows of the embeddings: the published ones if all tokens fit, else rounded up for fast kernels."""
    if not published:
        return tokens
    return published if tokens <= published else math.ceil(tokens / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def _tower_config(fields: dict[str, Any]) -> Any:
    name = fields.pop("model_type")
    if name not in TOWERS:
        raise ConfigError(f"unknown vision tower '{name}'; use one of {', '.join(sorted(TOWERS))}")
    return CONFIG_MAPPING[name](**fields)


def _check_fits(name: str, config: SpatialBotConfig, policy: PolicyConfig) -> None:
    """Refuse cameras of another size than the tower's, and prompts longer than the language model reads."""
    tower, longest = config.vision_config, config.text_config.max_position_embeddings
    side = getattr(tower, "image_size", None)
    wrong = [camera for camera in config.cameras if side and not camera.endswith(f" {side}x{side}")]
    if wrong:
        raise ConfigError(
            f"the size '{name}' sees images of {side} x {side} pixels, got the camera {wrong[0]}; set width "
            "and height of the policy's cameras so"
        )
    images = policy.history_length * len(policy.cameras) * (2 if policy.depth_variant else 1)
    if images * tower.tokens_per_image >= longest:
        raise ConfigError(
            f"{images} images of {tower.tokens_per_image} tokens do not fit the {longest} tokens that the "
            f"language model of '{name}' reads; set pooled_tokens to 144 or 64, or shorten history_length"
        )
