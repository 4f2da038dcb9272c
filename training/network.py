"""Builds the network that a recipe starts from, refusing fields that its configurations do not have."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, PreTrainedTokenizerFast

from spatialbot_policy.errors import ConfigError, SpatialBotError
from spatialbot_policy.model import (
    ModelSize,
    SpatialBotForActionPrediction,
    SpatialBotProcessor,
    StartWeights,
    build_model,
    load_size,
    train_tokenizer,
)
from spatialbot_policy.model.checkpoint import load_conversation
from spatialbot_policy.model.tokenizer import load_tokenizer
from spatialbot_training.new_actions import add_actions
from spatialbot_training.recipe import Recipe
from spatialbot_training.tower_start import take_tower

Network = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]


def build_network(recipe: Recipe, corpus: Iterable[str]) -> Network:
    """Build model and processor as the recipe starts them; seed torch before for repeatable fresh weights.

    Args:
        recipe: its policy, model and start.
        corpus: prompts to learn the tokenizer's merges from, when no start brings a tokenizer.

    Raises:
        ConfigError: an unknown field in `model.vision` or `model.text`, or a value that gives no network.
        CheckpointError: weights that cannot be read, or that promise something else than the recipe.
    """
    made = _fresh(recipe, corpus) if recipe.start.checkpoint is None else _from_checkpoint(recipe)
    made[0].config.action_decoding = recipe.model.action_decoding
    cast(Any, made[0].language_model).set_attn_implementation(recipe.model.attention)
    return made


def _fresh(recipe: Recipe, corpus: Iterable[str]) -> Network:
    """A network of the recipe's size, with fresh or with pretrained weights."""
    size = _size(recipe)
    start = None
    if recipe.start.language is not None:
        half = recipe.parts.frozen_dtype == "bfloat16" and recipe.parts.language != "full"
        start = StartWeights(recipe.start.language, recipe.start.vision, bfloat16=half)
    try:
        made = build_model(size, recipe.policy, _tokenizer(recipe, corpus), start)
    except SpatialBotError:
        raise
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError, StrictDataclassError) as error:
        raise ConfigError(
            f"the recipe's model gives no network: {error}; mend model.vision or model.text"
        ) from error
    if recipe.start.tower is not None:
        take_tower(made[0], recipe.start.tower)
    return made


def _from_checkpoint(recipe: Recipe) -> Network:
    """The whole network of a checkpoint, if it promises what the recipe does."""
    directory = recipe.start.checkpoint
    if directory is None:
        raise ConfigError("start.checkpoint is not set")
    found = load_conversation(directory)
    model, processor = found.model.train(), found.processor
    if recipe.policy is not None and found.policy is None:
        smoothing, longest = recipe.model.bin_smoothing, recipe.data.max_length
        processor = add_actions(model, directory, recipe.policy, smoothing, longest)
    elif recipe.policy is not None and found.policy is not None:
        found.policy.check_matches(recipe.policy, "the recipe")
    return model, processor


def _size(recipe: Recipe) -> ModelSize:
    options, size = recipe.model, load_size(recipe.model.size)
    text_type = str(options.text.get("model_type", size.text["model_type"]))
    vision_type = str(options.vision.get("model_type", size.vision["model_type"]))
    if text_type not in CONFIG_MAPPING:
        raise ConfigError(f"model.text: transformers knows no model_type '{text_type}'; use e.g. qwen2")
    if vision_type in CONFIG_MAPPING:
        _refuse_unknown(options.vision, CONFIG_MAPPING[vision_type], "model.vision")
    _refuse_unknown(options.text, CONFIG_MAPPING[text_type], "model.text")
    return size.changed(vision=options.vision, text=options.text, bin_smoothing=options.bin_smoothing)


def _tokenizer(recipe: Recipe, corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    actions = None if recipe.policy is None else recipe.policy.action_space
    if recipe.start.language is not None:
        return load_tokenizer(recipe.start.language, actions, recipe.data.max_length)
    if actions is None:
        raise ConfigError(
            "a model that only converses is not trained from nothing; set start.checkpoint or start.language"
        )
    return train_tokenizer(corpus, actions, recipe.model.vocab_size)


def _refuse_unknown(given: Mapping[str, object], config: type, where: str) -> None:
    """Transformers keeps any field it is given, and a misspelt one would be ignored in silence."""
    known = {"model_type", *(field.name for field in dataclasses.fields(config))}
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; it has {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: unknown key '{key}'{hint}")
