"""Which parts of a model learn: each frozen, through LoRA adapters (peft), or in full."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_policy.model.vision_tower import as_tower

Way = Literal["frozen", "lora", "full"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class PartsConfig:
    """How each part of the model learns.

    Attributes:
        vision: the vision tower. Where the convolutional one is frozen, the linear layer from its frame
            features to its tokens counts with the projector.
        projector: the projector.
        language: the language model with its embeddings and head.
        frozen_dtype: in which the frozen weights of language model and pretrained towers are held;
            "bfloat16" halves their memory, and the adapters stay float32.

    Raises:
        ConfigError: nothing is trained.
    """

    vision: Way = "full"
    projector: Literal["frozen", "full"] = "full"
    language: Way = "full"
    frozen_dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if {self.vision, self.projector, self.language} == {"frozen"}:
            raise ConfigError("vision, projector and language are all frozen; let one of them learn")

    @property
    def all_full(self) -> bool:
        """Whether every weight is trained, so that a run's result is a checkpoint and no adapter."""
        return {self.vision, self.projector, self.language} == {"full"}


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters on linear layers.

    Attributes:
        r: rank.
        alpha: the adapters' product is scaled by alpha / r.
        dropout: on the adapters' input.
        targets: names of linear layers, e.g. q_proj; empty takes all of them but the head.
        action_tokens: also train the rows of the action tokens in embeddings and head, which a language
            model that never saw an action needs.

    Raises:
        ConfigError: a value outside its range.
    """

    r: int = 128
    alpha: int = 256
    dropout: float = 0.05
    targets: tuple[str, ...] = field(default_factory=tuple)
    action_tokens: bool = True

    def __post_init__(self) -> None:
        if min(self.r, self.alpha) < 1 or not 0.0 <= self.dropout < 1.0:
            raise ConfigError("lora: need r >= 1, alpha >= 1 and 0 <= dropout < 1")


def prepare_parts(model: SpatialBotForActionPrediction, parts: PartsConfig, lora: LoraSettings) -> None:
    """Freeze, wrap into adapters or free each part, in place; seed torch before for repeatable adapters.

    Raises:
        ConfigError: a part that has no linear layers of these names, or a head whose action tokens cannot
            be trained by themselves.
    """
    for name, way in _ways(parts).items():
        getattr(model, name).requires_grad_(way == "full")
    if parts.vision == "frozen":
        for layer in as_tower(model.vision_tower).token_layers():
            layer.requires_grad_(parts.projector == "full")
    hold_frozen(model, parts)
    for path in adapted_paths(model, parts):
        config = _lora_config(model, path, lora)
        with without_deprecations():
            replace_module(model, path, get_peft_model(cast(Any, model.get_submodule(path)), config))
    for value in model.parameters():
        if value.requires_grad:
            value.data = value.data.float()


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Leave out what transformers tells peft's authors: peft asks for names that are going to change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def adapted_paths(model: SpatialBotForActionPrediction, parts: PartsConfig) -> list[str]:
    """The modules that carry adapters: transformers' own, as peft knows them."""
    paths = []
    if parts.vision == "lora":
        if not _may_be_half(model, "vision_tower"):
            raise ConfigError(
                "parts.vision: lora needs a pretrained tower; the convolutional one is small, use full or "
                "frozen"
            )
        paths += [f"vision_tower.backbones.{number}" for number in range(len(_backbones(model)))]
    return [*paths, "language_model"] if parts.language == "lora" else paths


def _backbones(model: SpatialBotForActionPrediction) -> nn.ModuleList:
    return cast(nn.ModuleList, model.vision_tower.backbones)


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put another module in the place of one."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def hold_frozen(model: SpatialBotForActionPrediction, parts: PartsConfig) -> None:
    """Bring the weights that will not be trained into the precision in which the others are trained on."""
    for name, way in _ways(parts).items():
        if way != "full" and _may_be_half(model, name):
            getattr(model, name).to(_DTYPES[parts.frozen_dtype])


def base_fingerprint(model: SpatialBotForActionPrediction, parts: PartsConfig) -> str:
    """A short mark of the weights that will not be trained, before `prepare_parts`; others have another."""
    digest = hashlib.sha256()
    kept = tuple(f"{name}." for name, way in _ways(parts).items() if way != "full")
    for name, value in sorted(model.named_parameters()):
        if kept and name.startswith(kept):
            total = value.detach().double().abs().sum().item()
            digest.update(f"{name} {tuple(value.shape)} {total:.6e}\n".encode())
    return digest.hexdigest()[:16]


def _ways(parts: PartsConfig) -> dict[str, Way]:
    """How each module of the model learns."""
    return {"vision_tower": parts.vision, "projector": parts.projector, "language_model": parts.language}


def _may_be_half(model: SpatialBotForActionPrediction, name: str) -> bool:
    """A convolutional tower and the projector stay float32: their outputs carry coordinates."""
    if name == "vision_tower":
        return not cast(Any, model.vision_tower).float32_only
    return name == "language_model"


def _lora_config(model: SpatialBotForActionPrediction, path: str, lora: LoraSettings) -> LoraConfig:
    module = model.get_submodule(path)
    known = _linear_names(module)
    wrong = sorted(set(lora.targets) - known)
    # one list of targets serves both parts; a name must be in at least one of them
    targets = sorted(set(lora.targets) & known if lora.targets else known)
    if not targets:
        raise ConfigError(
            f"lora.targets {wrong} name no linear layer of {path}; it has {', '.join(sorted(known))}"
        )
    rows = None
    if path == "language_model" and lora.action_tokens and model.config.action_bins:
        rows = _token_rows(model)
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        trainable_token_indices=rows,
    )


def _linear_names(module: nn.Module) -> set[str]:
    """Last names of the linear layers, without the head of a language model."""
    head = cast(Any, module).get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    return {
        name.rsplit(".", 1)[-1]
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer is not head
    }


def _token_rows(model: SpatialBotForActionPrediction) -> dict[str, list[int]]:
    """The action tokens' rows of the embeddings, and of the head where it has its own."""
    place = model.config.action_token_slice
    rows = list(range(place.start, place.stop))
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in cast(nn.Module, model.language_model).named_modules()}
    chosen = {names[id(embeddings)].rsplit(".", 1)[-1]: rows}
    if cast(Any, head).weight is not cast(Any, embeddings).weight:
        if cast(Any, head).bias is not None:
            raise ConfigError(
                "lora.action_tokens: peft cannot train single rows of this language model's head, which has "
                "a bias; set it to false, and parts.language to full where action tokens are new"
            )
        chosen[names[id(head)].rsplit(".", 1)[-1]] = rows
    return chosen
