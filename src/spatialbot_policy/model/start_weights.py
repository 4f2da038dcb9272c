"""Pretrained weights as the start of a network: local Hugging Face directories, safetensors alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging as hf_logging

from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction
from spatialbot_policy.model.pretrained_tower import PretrainedTower
from spatialbot_policy.model.projector import Mlp2xGeluProjector
from spatialbot_policy.model.vision_tower import as_tower, build_tower

READ_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, StrictDataclassError)
# What tells whether weights are those of the size. The other fields of a language model, such as the base
# of its rotary embeddings, are taken from the directory.
TEXT_SHAPE = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "intermediate_size", "tie_word_embeddings",
)  # fmt: skip
VISION_SHAPE = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "mlp_ratio",
    "image_size", "patch_size", "hidden_act", "layer_norm_eps",
)  # fmt: skip
LAYER = re.compile(r"^(?:vision_model\.)?encoder\.layers?\.(\d+)\.")
# SigLIP's pooling head, and what a whole CLIP or SigLIP has beside its vision model.
HEAD_AND_TEXT = re.compile(r"^(vision_model\.)?head\.|^(text_model|text_projection|visual_projection|logit_)")
NEW_ROW_SPREAD = 0.1
VOCABULARY_MULTIPLE = 64


@dataclass(frozen=True)
class StartWeights:
    """Where the weights of a network's parts come from; a part that is not named starts fresh.

    Attributes:
        language: directory of a causal language model.
        vision: directories of the tower's backbones in order, or empty. Whole CLIP and SigLIP models do
            as well as their vision parts.
        bfloat16: hold the language model and a pretrained tower in bfloat16; the rest is float32.
    """

    language: Path | None = None
    vision: tuple[Path, ...] = ()
    bfloat16: bool = False


def build_from_weights(config: SpatialBotConfig, start: StartWeights) -> SpatialBotForActionPrediction:
    """Build the network of a config around pretrained parts; no part is allocated twice.

    Args:
        config: of the whole network; its vocabulary may be larger than the published one, and its text
            config is replaced by the directory's.
        start: where the parts come from.

    Raises:
        ConfigError: the directories hold models of other shapes.
        CheckpointError: weights that cannot be read, or that lack tensors.
    """
    tower = _build_tower(config, start)
    language = _build_language(config, start)
    projector = Mlp2xGeluProjector(config.vision_config.hidden_size, config.text_config.hidden_size)
    with torch.device("meta"):
        model = SpatialBotForActionPrediction(config)
    model.vision_tower, model.projector, model.language_model = tower, projector, language
    return model


def _build_language(config: SpatialBotConfig, start: StartWeights) -> PreTrainedModel:
    dtype = torch.bfloat16 if start.bfloat16 else torch.float32
    if start.language is None:
        return cast(PreTrainedModel, AutoModelForCausalLM.from_config(config.text_config).to(dtype))
    published = _read_config(start.language)
    _check_shape(config.text_config, published, TEXT_SHAPE, start.language)
    model = _read_model(AutoModelForCausalLM, start.language, published, dtype)
    embeddings, head = _token_layers(model)
    if published.tie_word_embeddings and head.weight is not embeddings.weight:
        raise CheckpointError(
            f"{start.language} says tie_word_embeddings, but its head is not its embeddings; set "
            "tie_word_embeddings to false in its config.json and in the size's text"
        )
    rows, known = config.text_config.vocab_size, published.vocab_size
    if rows < known:
        raise ConfigError(
            f"{start.language} has {known} embeddings, more than the size's {rows}; set text.vocab_size so"
        )
    if rows > known:
        model.resize_token_embeddings(rows, pad_to_multiple_of=VOCABULARY_MULTIPLE, mean_resizing=False)
    start_new_rows(model, config, known)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.config, name, getattr(config, name))
    config.text_config = model.config
    return model


@torch.no_grad()
def start_new_rows(model: PreTrainedModel, config: SpatialBotConfig, published: int) -> None:
    """Start the image and action tokens' rows near the mean of the others: none begins as an outlier.

    They are set anew even where the published model has rows to spare, since nothing was ever learned there.
    """
    added = {config.image_token_id, *range(published, config.text_config.vocab_size)}
    actions = config.action_token_slice
    added |= set(range(actions.start, actions.stop))
    layers = {id(layer.weight): layer for layer in _token_layers(model)}
    for layer in layers.values():
        new = torch.zeros(layer.weight.shape[0], dtype=torch.bool)
        new[sorted(added)] = True
        known = layer.weight[~new].float()
        noise = torch.randn(len(added), known.shape[1]) * NEW_ROW_SPREAD
        layer.weight[new] = (known.mean(0) + noise * known.std(0)).to(layer.weight.dtype)
        if getattr(layer, "bias", None) is not None:
            layer.bias[new] = layer.bias[~new].mean()


def _token_layers(model: PreTrainedModel) -> list[Any]:
    return [model.get_input_embeddings(), model.get_output_embeddings()]


def _build_tower(config: SpatialBotConfig, start: StartWeights) -> nn.Module:
    tower = build_tower(config.vision_config)
    if start.vision:
        if not isinstance(tower, PretrainedTower) or len(start.vision) != len(tower.backbones):
            count = len(getattr(tower, "backbones", ()))
            raise ConfigError(
                f"the tower has {count} pretrained backbones, but {len(start.vision)} directories were "
                "given; give one directory for each backbone, in the order of vision.backbones"
            )
        for index, directory in enumerate(start.vision):
            tower.backbones[index] = _read_backbone(config, index, directory)
        tower.requires_grad_(True)
    if start.bfloat16 and not as_tower(tower).float32_only:
        tower.to(torch.bfloat16)
    return tower


def _read_backbone(config: SpatialBotConfig, index: int, directory: Path) -> PreTrainedModel:
    found = _read_config(directory)
    _check_shape(
        config.vision_config.published_config(index),
        getattr(found, "vision_config", found),
        VISION_SHAPE,
        directory,
    )
    built = config.vision_config.backbone_config(index)

    def unused(name: str) -> bool:
        layer = LAYER.match(name)
        return bool(HEAD_AND_TEXT.match(name)) or (
            layer is not None and int(layer[1]) >= built.num_hidden_layers
        )

    return _read_model(AutoModel, directory, built, torch.float32, unused)


def _read_config(directory: Path) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(directory, local_files_only=True)
    except READ_ERRORS as error:
        raise CheckpointError(
            f"cannot read config.json in {directory}: {error}; give a local directory of Hugging Face weights"
        ) from error


def _check_shape(
    wanted: PreTrainedConfig, found: PreTrainedConfig, names: tuple[str, ...], directory: Path
) -> None:
    differences = [
        f"{name}: {getattr(found, name, None)} instead of {getattr(wanted, name, None)}"
        for name in names
        if getattr(found, name, None) != getattr(wanted, name, None)
    ]
    if differences:
        raise ConfigError(
            f"{directory} holds another model than the size asks for ({'; '.join(differences)}); choose the "
            "size that fits it, or write a size file of your own"
        )


def _read_model(
    cls: Any,
    directory: Path,
    config: PreTrainedConfig,
    dtype: torch.dtype,
    unused: Callable[[str], bool] = lambda name: False,
) -> PreTrainedModel:
    """Read every tensor of the model; others may be there only if `unused` knows them by name."""
    if not any(directory.glob("*.safetensors")):
        raise CheckpointError(
            f"{directory} has no .safetensors file, and pickled weights are not read; open them where you "
            "trust them, and save them again with transformers' save_pretrained"
        )
    shown = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()  # the report of unused tensors is judged below
    try:
        model, report = cls.from_pretrained(
            directory, config=config, dtype=dtype, use_safetensors=True, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
    except READ_ERRORS as error:
        raise CheckpointError(f"cannot read the weights in {directory}: {error}; copy them again") from error
    finally:
        hf_logging.set_verbosity(shown)
    wrong = {
        key: sorted(map(str, names)) for key, names in report.items() if key != "unexpected_keys" and names
    }
    extra = [name for name in report["unexpected_keys"] if not unused(name)]
    if wrong or extra:
        raise CheckpointError(
            f"the weights in {directory} are not those of their config.json: {wrong}, unknown: "
            f"{sorted(extra)}; copy them again"
        )
    return cast(PreTrainedModel, model)
