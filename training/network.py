"""Builds the network of a recipe, refusing fields that its configurations do not have."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING

from spatialbot_policy.errors import ConfigError, SpatialBotError
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, build_tiny
from spatialbot_policy.model.conv_tower import ConvTowerConfig
from spatialbot_policy.model.factory import TINY_TEXT
from spatialbot_training.recipe import Recipe


def build_network(
    recipe: Recipe, corpus: Iterable[str]
) -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor]:
    """Build model and processor with fresh weights; seed torch before for repeatable ones.

    Args:
        recipe: its policy and model.
        corpus: prompts to learn the tokenizer's merges from.

    Raises:
        ConfigError: an unknown field in `model.vision` or `model.text`, or a value that gives no network.
    """
    options = recipe.model
    text_type = options.text.get("model_type", TINY_TEXT["model_type"])
    if text_type not in CONFIG_MAPPING:
        raise ConfigError(f"model.text: transformers knows no model_type '{text_type}'; use e.g. qwen2")
    _refuse_unknown(options.vision, ConvTowerConfig, "model.vision")
    _refuse_unknown(options.text, CONFIG_MAPPING[str(text_type)], "model.text")
    try:
        return build_tiny(
            recipe.policy,
            corpus,
            vocab_size=options.vocab_size,
            vision=options.vision,
            text=options.text,
            bin_smoothing=options.bin_smoothing,
        )
    except SpatialBotError:
        raise
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError, StrictDataclassError) as error:
        raise ConfigError(
            f"the recipe's model gives no network: {error}; mend model.vision or model.text"
        ) from error


def _refuse_unknown(given: Mapping[str, object], config: type, where: str) -> None:
    """Transformers keeps any field it is given, and a misspelt one would be ignored in silence."""
    known = {"model_type", *(field.name for field in dataclasses.fields(config))}
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; it has {', '.join(sorted(known))}"
            raise ConfigError(f"{where}: unknown key '{key}'{hint}")
