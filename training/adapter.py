"""Adapters on disk: what a run trained of a larger model, small; and merging it back into that model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spatialbot_policy.config import from_dict, to_dict
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, save_checkpoint
from spatialbot_policy.model.checkpoint_directory import replace_directory
from spatialbot_training.network import build_network
from spatialbot_training.parts import (
    adapted_paths,
    base_fingerprint,
    hold_frozen,
    replace_module,
    without_deprecations,
)
from spatialbot_training.recipe import Recipe
from spatialbot_training.run_directory import ADAPTER

CONFIG, TRAINED, PROCESSOR = "config.json", "trained.safetensors", "processor"


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter belongs to: config.json.

    Attributes:
        recipe: of the run that trained it; its `start` names the weights that it is merged into.
        frozen: fingerprint of the weights that were not trained.
        summary: of the training data, for people.
        schema: version of this file's form.

    Raises:
        ConfigError: another schema.
    """

    recipe: Recipe
    frozen: str
    summary: dict[str, object]
    schema: int = 1

    def __post_init__(self) -> None:
        if self.schema != 1:
            raise ConfigError(f"schema {self.schema} is not known here, only 1; update the software")


def save_adapter(
    directory: Path,
    model: SpatialBotForActionPrediction,
    processor: SpatialBotProcessor,
    config: AdapterConfig,
    weights: Mapping[str, Tensor],
) -> None:
    """Write an adapter: one folder in peft's own form for each adapted part, the rest in one file.

    Args:
        directory: where it is to be; replaced in one step.
        model: with its parts prepared.
        processor: its tokenizer is kept beside the weights.
        config: what it belongs to.
        weights: whole values of what is trained, by name in the model.

    Raises:
        CheckpointError: it cannot be written; what was there stays as it was.
    """

    def write(partial: Path) -> None:
        rest = dict(weights)
        for path in adapted_paths(model, config.recipe.parts):
            own = _take(rest, f"{path}.")
            adapted = cast(PeftModel, model.get_submodule(path))
            adapted.save_pretrained(str(partial / path), state_dict=own, save_embedding_layers=False)
            (partial / path / "README.md").unlink(missing_ok=True)  # a form for the model hub, not filled in
        save_file({name: value.contiguous() for name, value in rest.items()}, partial / TRAINED)
        processor.save_pretrained(partial / PROCESSOR)
        text = json.dumps(to_dict(config), indent=2, default=str)
        (partial / CONFIG).write_text(text, encoding="utf-8")

    replace_directory(directory, write)


def merge_adapter(source: Path, out: Path) -> Path:
    """Put what a run trained into the weights that it started from, as an ordinary checkpoint.

    Args:
        source: an adapter, or the directory of the run that wrote one.
        out: directory of the checkpoint.

    Returns:
        the checkpoint's directory.

    Raises:
        CheckpointError: no adapter there, a damaged one, or other weights than it was trained on.
        ConfigError: the weights that it started from are not where its recipe says.
    """
    place = source if (source / TRAINED).is_file() else source / ADAPTER
    config = read_adapter_config(place)
    torch.manual_seed(config.recipe.schedule.seed)
    model, _ = build_network(config.recipe, [])
    processor = cast(
        SpatialBotProcessor, SpatialBotProcessor.from_pretrained(place / PROCESSOR, local_files_only=True)
    )
    load_adapter(place, model, config)
    policy = config.recipe.policy
    if policy is not None:
        policy = replace(policy, training=config.summary)
    conversation = config.recipe.conversation
    if conversation is not None:
        conversation = replace(conversation, source=config.summary)
    save_checkpoint(out, model, processor, policy, conversation)
    return out


def read_adapter_config(place: Path) -> AdapterConfig:
    """Read what an adapter belongs to.

    Raises:
        CheckpointError: there is no adapter, or its config is damaged.
    """
    file = place / CONFIG
    if not file.is_file() or not (place / TRAINED).is_file():
        raise CheckpointError(
            f"{place} is no adapter; give the directory of a run that trained one (parts: frozen or "
            "lora), or its adapter/"
        )
    try:
        return from_dict(AdapterConfig, json.loads(file.read_text(encoding="utf-8")), str(file))
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: {error}; copy the adapter again") from error


def load_adapter(place: Path, model: SpatialBotForActionPrediction, config: AdapterConfig) -> None:
    """Merge an adapter into the model that it was trained on, in place.

    Raises:
        CheckpointError: damaged files, or another model.
    """
    found = base_fingerprint(model, config.recipe.parts)
    if found != config.frozen:
        raise CheckpointError(
            f"the weights that {place} was trained on have the mark {config.frozen}, those that its recipe "
            f"names now have {found}; bring back the weights that the run started from"
        )
    hold_frozen(model, config.recipe.parts)
    model.float()  # where the sum of weights and adapters loses nothing
    try:
        for path in adapted_paths(model, config.recipe.parts):
            base: Any = model.get_submodule(path)
            with without_deprecations():
                adapted: Any = PeftModel.from_pretrained(base, str(place / path))
            replace_module(model, path, adapted.merge_and_unload(safe_merge=True))
        trained = load_file(place / TRAINED)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the adapter {place}: {error}; copy it again") from error
    parameters = dict(model.named_parameters())
    odd = [name for name, value in trained.items()
           if name not in parameters or parameters[name].shape != value.shape]  # fmt: skip
    if odd:
        raise CheckpointError(f"{place / TRAINED} is of another model: {odd[0]}; copy the adapter again")
    with torch.no_grad():
        for name, value in trained.items():
            parameters[name].copy_(value)


def _take(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the weights of a module out of a dictionary, named as the module names them."""
    own = {name[len(prefix) :]: weights.pop(name) for name in list(weights) if name.startswith(prefix)}
    return own
