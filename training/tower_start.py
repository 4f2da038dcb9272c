"""The vision tower of another checkpoint as a start: its weights alone, under the same configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.configuration_utils import PreTrainedConfig

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_policy.model.checkpoint import load_conversation
from spatialbot_policy.model.vision_tower import as_tower


def take_tower(model: SpatialBotForActionPrediction, directory: Path) -> None:
    """Give a model the vision tower's weights of a checkpoint of this project, in place.

    Raises:
        CheckpointError: no checkpoint there, or a damaged one.
        ConfigError: its tower has another configuration.
    """
    found = load_conversation(directory).model
    given, wanted = (describe_tower(some.config.vision_config) for some in (found, model))
    differences = [
        f"{name}: {given.get(name)} != {wanted.get(name)}"
        for name in sorted({*given, *wanted})
        if given.get(name) != wanted.get(name)
    ]
    if differences:
        raise ConfigError(
            f"start.tower: the vision tower of {directory} is not that of the recipe (checkpoint != recipe): "
            f"{'; '.join(differences)}; set model.size, model.vision and policy.depth_variant as they were"
        )
    model.vision_tower.load_state_dict(found.vision_tower.state_dict())


def describe_tower(config: PreTrainedConfig) -> dict[str, Any]:
    """The fields of a tower's configuration, without those that every configuration of transformers has."""
    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = [field.name for field in dataclasses.fields(config) if field.name not in common]
    described = {name: getattr(config, name) for name in own}
    return {"model_type": config.model_type, **json.loads(json.dumps(described))}


def features_mark(tower: nn.Module) -> str:
    """A short mark of everything that decides a tower's frame features; another tower has another."""
    later = {id(value) for layer in as_tower(tower).token_layers() for value in layer.parameters()}
    config: Any = tower.config
    digest = hashlib.sha256(json.dumps(describe_tower(config), sort_keys=True).encode())
    for name, value in sorted([*tower.named_parameters(), *tower.named_buffers()], key=lambda item: item[0]):
        if id(value) not in later:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
