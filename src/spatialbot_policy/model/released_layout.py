"""How the released SpatialBot and Bunny checkpoints name their tensors and fields, and what that means here.

Facts from the authors' public code (BAAI-DCAI/SpatialBot and BAAI-DCAI/Bunny): one causal language model
whose inner `model` also holds `vision_tower` and `mm_projector`; a head without bias, also on Phi-2; SigLIP
without its last layer and pooling head, CLIP whole, both read at hidden state -2 without the class token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING
from transformers.configuration_utils import PreTrainedConfig

from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.pretrained_tower import PretrainedTowerConfig
from spatialbot_policy.model.sizes import load_size

PROJECTOR_TYPE = "mlp2x_gelu"
BACKBONE = "vision_tower.backbones.0."
HEAD_BIAS = "language_model.lm_head.bias"
EMBEDDING = "language_model.model.embed_tokens.weight"
HEAD = "language_model.lm_head.weight"
VISION_PREFIX = "model.vision_tower.vision_tower.vision_model."
# Released prefix -> ours; the first that fits is taken, in both directions.
PREFIXES = (
    (VISION_PREFIX, BACKBONE),
    ("model.mm_projector.0.", "projector.linear_1."),
    ("model.mm_projector.2.", "projector.linear_2."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", "language_model.model."),
)


@dataclass(frozen=True)
class Family:
    """One released kind of language model.

    Attributes:
        text_type: its `model_type` in transformers.
        architecture: class that the released code loads it with.
        end: text of the token that ends an answer.
    """

    text_type: str
    architecture: str
    end: str = "<|endoftext|>"


# Released model_type -> family. Bunny calls the same Qwen "bunny-qwen".
FAMILIES: dict[str, Family] = {
    "bunny-phi": Family("phi", "BunnyPhiForCausalLM"),
    "bunny-phi3": Family("phi3", "BunnyPhi3ForCausalLM"),
    "bunny-qwen2": Family("qwen2", "BunnyQwen2ForCausalLM"),
    "bunny-qwen": Family("qwen2", "BunnyQwenForCausalLM"),
    "bunny-llama": Family("llama", "BunnyLlamaForCausalLM", end="<|end_of_text|>"),
}

# The towers that released configs name, by the last part of the name, and the size whose file describes it:
# the released config.json itself holds no tower's size.
TOWER_SIZES = {"siglip-so400m-patch14-384": "3b", "clip-vit-large-patch14-336": "0.5b"}


def our_name(released: str) -> str:
    """Our name of a released tensor; an unknown one keeps its own."""
    return _replace_prefix(released, PREFIXES)


def released_name(ours: str) -> str:
    """The released name of one of our tensors: the inverse of `our_name`."""
    return _replace_prefix(ours, [(ours_prefix, prefix) for prefix, ours_prefix in PREFIXES])


def _replace_prefix(name: str, prefixes: Any) -> str:
    for old, new in prefixes:
        if name.startswith(old):
            return str(new + name[len(old) :])
    return name


def is_unread(name: str, config: PretrainedTowerConfig) -> bool:
    """Whether a tensor of ours belongs to what lies above the layer that is read, and is not built."""
    if not name.startswith(BACKBONE):
        return False
    parts = name[len(BACKBONE) :].split(".")
    if parts[0] == "head":
        return True
    layers = int(config.backbone_config(0).num_hidden_layers)
    return parts[:2] == ["encoder", "layers"] and parts[2].isdecimal() and int(parts[2]) >= layers


def family_of(released: Mapping[str, Any], where: Path) -> Family:
    """The family of a released config.json, checked for what this software does not build.

    Raises:
        CheckpointError: another kind of model, projector or resolution.
    """
    kind = released.get("model_type")
    if kind not in FAMILIES or "mm_vision_tower" not in released:
        raise CheckpointError(
            f"{where} is no released SpatialBot or Bunny checkpoint that is known here: its model_type is "
            f"{kind!r} and mm_vision_tower {released.get('mm_vision_tower')!r}; model_type must be one of "
            f"{', '.join(FAMILIES)}"
        )
    projector = released.get("mm_projector_type", PROJECTOR_TYPE)
    if projector != PROJECTOR_TYPE:
        raise CheckpointError(
            f"{where} has the projector '{projector}', but only {PROJECTOR_TYPE} is built here; "
            "import a checkpoint with that one"
        )
    if released.get("use_s2"):
        raise CheckpointError(
            f"{where} joins features of several resolutions (use_s2), which is not built here; "
            "import the checkpoint of one resolution"
        )
    return FAMILIES[kind]


def text_config_of(released: Mapping[str, Any], family: Family, where: Path) -> PreTrainedConfig:
    """The language model's own config out of a released one.

    Raises:
        CheckpointError: transformers refuses a value.
    """
    cls = CONFIG_MAPPING[family.text_type]
    known = {field.name for field in fields(cls)} | {"rope_theta", "rope_scaling", "partial_rotary_factor"}
    try:
        return cls.from_dict({key: value for key, value in released.items() if key in known - {"model_type"}})
    except (KeyError, TypeError, ValueError, AttributeError, StrictDataclassError) as error:
        raise CheckpointError(f"{where} does not describe a {family.text_type} model: {error}") from error


def tower_config_of(backbone: Mapping[str, Any], where: str) -> PretrainedTowerConfig:
    """The tower of a released checkpoint, from the vision config that its backbone was published with.

    Raises:
        CheckpointError: a kind of backbone that was not released.
    """
    for size in TOWER_SIZES.values():
        vision: dict[str, Any] = dict(load_size(size).vision)
        if vision.pop("model_type") == "pretrained" and (
            vision["backbones"][0]["model_type"] == backbone.get("model_type")
        ):
            # Another size of the same kind: the pixels' mean and spread and the layer stay.
            cls = CONFIG_MAPPING[str(backbone["model_type"])]
            own = {field.name for field in fields(cls)} - {field.name for field in fields(PreTrainedConfig)}
            kept = {key: value for key, value in backbone.items() if key in own | {"model_type"}}
            image_size = int(cls.from_dict(kept).image_size)
            return PretrainedTowerConfig(**{**vision, "backbones": [kept], "image_size": image_size})
    raise CheckpointError(
        f"{where} describes a vision tower of model_type {backbone.get('model_type')!r}; the released ones "
        "are siglip_vision_model and clip_vision_model"
    )


def published_tower(name: str) -> Mapping[str, Any] | None:
    """The published vision config of a tower that a released config names; None if it is not known here."""
    size = TOWER_SIZES.get(name.rstrip("/").rpartition("/")[2])
    if size is None:
        return None
    vision: dict[str, Any] = dict(load_size(size).vision)
    return dict(vision["backbones"][0])


def tower_name_of(config: PretrainedTowerConfig) -> str | None:
    """The published name of a tower that was built from a size; None if it is another one."""
    for name in TOWER_SIZES:
        if published_tower(name) == config.backbones[0]:
            return name
    return None


def released_config_of(
    text: PreTrainedConfig, family_type: str, tower_name: str, hidden: int
) -> dict[str, Any]:
    """The config.json of the released layout.

    Args:
        text: the language model's config, with the vocabulary of the layout.
        family_type: a key of `FAMILIES`.
        tower_name: of the vision tower as Hugging Face knows it.
        hidden: width of the tower's tokens.
    """
    drop = {"model_type", "architectures", "transformers_version", "_name_or_path"}
    values = {key: value for key, value in text.to_dict().items() if key not in drop}
    rope = dict(values.get("rope_parameters") or {})
    rotary = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    scaling = {key: value for key, value in rope.items() if key not in rotary}
    plain = scaling.get("rope_type", "default") == "default"
    return {
        "architectures": [FAMILIES[family_type].architecture],
        "model_type": family_type,
        **values,
        **rotary,  # the released code reads the older form
        "rope_scaling": None if plain else {**scaling, "type": scaling["rope_type"]},
        "mm_vision_tower": tower_name,
        "mm_hidden_size": hidden,
        "mm_projector_type": PROJECTOR_TYPE,
        "use_mm_proj": True,
        "tune_mm_mlp_adapter": False,
        "freeze_mm_mlp_adapter": False,
        "tokenizer_padding_side": "right",
    }
