"""Export of a checkpoint into the released SpatialBot layout: the inverse of the import."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import save_torch_state_dict

from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.checkpoint import CheckpointParts, read_parts
from spatialbot_policy.model.checkpoint_directory import WEIGHTS, replace_directory
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.pretrained_tower import PretrainedTowerConfig
from spatialbot_policy.model.released_files import Tensors, WeightReader
from spatialbot_policy.model.released_layout import (
    EMBEDDING,
    FAMILIES,
    HEAD,
    HEAD_BIAS,
    released_config_of,
    released_name,
    tower_name_of,
)
from spatialbot_policy.model.tokenizer import IMAGE


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        tensors: in the released layout.
        parameters: numbers in them.
        left_out: what the layout has no place for.
    """

    tensors: int
    parameters: int
    left_out: tuple[str, ...]


def export_released(checkpoint: str | Path, out: str | Path, shard_size: str = "5GB") -> ExportReport:
    """Write a checkpoint as the authors' code reads it: config.json, weights and tokenizer; no policy.yaml.

    Args:
        checkpoint: directory of a checkpoint of ours.
        out: where it is to be.
        shard_size: largest weight file, e.g. "5GB"; larger models are split, with an index.

    Raises:
        CheckpointError: a network that the layout cannot describe, or that cannot be read or written.
    """
    parts = read_parts(checkpoint)
    _check_exportable(parts)
    tower: PretrainedTowerConfig = parts.config.vision_config
    source = {} if parts.conversation is None else parts.conversation.source
    name = str(source.get("vision_tower") or tower_name_of(tower) or "")
    if not name:
        raise CheckpointError(
            f"{checkpoint} has a vision tower that is not known by a published name; write one into "
            "conversation.yaml (source: {vision_tower: google/siglip-so400m-patch14-384})"
        )
    tensors, left_out = _released_tensors(parts)
    rows = tensors[released_name(EMBEDDING)].shape[0]
    config = released_config_of(parts.config.text_config, _family_of(parts), name, tower.hidden_size) | {
        "vocab_size": rows,
        "image_aspect_ratio": "pad" if _pads(parts) else None,
        "tokenizer_model_max_length": parts.processor.tokenizer.model_max_length,
    }

    def write(partial: Path) -> None:
        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_torch_state_dict(
            tensors, partial, max_shard_size=shard_size, metadata={"format": "pt"}, is_main_process=True
        )
        parts.processor.tokenizer.save_pretrained(partial)
        if rows < len(parts.processor.tokenizer):
            _drop_image_token(partial)

    replace_directory(Path(out), write)
    return ExportReport(len(tensors), sum(value.numel() for value in tensors.values()), tuple(left_out))


def _family_of(parts: CheckpointParts) -> str:
    """The released model_type: the one it was imported from, else the first of its language model."""
    text_type = parts.config.text_config.model_type
    source = {} if parts.conversation is None else parts.conversation.source
    kinds = [kind for kind, family in FAMILIES.items() if family.text_type == text_type]
    return str(source["model_type"]) if source.get("model_type") in kinds else kinds[0]


def _pads(parts: CheckpointParts) -> bool:
    return parts.conversation is None or parts.conversation.image_padding.value == "mean"


def _check_exportable(parts: CheckpointParts) -> None:
    config: SpatialBotConfig = parts.config
    tower, text_types = config.vision_config, {family.text_type for family in FAMILIES.values()}
    reasons = []
    if config.text_config.model_type not in text_types:
        reasons.append(f"a language model of type {config.text_config.model_type}")
    if not isinstance(tower, PretrainedTowerConfig):
        reasons.append(f"a vision tower of type {tower.model_type}")
    else:
        kinds = [str(backbone["model_type"]) for backbone in tower.backbones]
        if len(kinds) != 1 or kinds[0] not in ("siglip_vision_model", "clip_vision_model"):
            reasons.append(f"the backbones {' + '.join(kinds)}")
        layers = tower.published_config(0).num_hidden_layers
        if tower.backbone_config(0).num_hidden_layers != layers - 1:
            reasons.append(f"a tower that is read at hidden state {tower.select_layers[0]} instead of -2")
        if tower.pooled_tokens is not None:
            reasons.append(f"image tokens pooled to {tower.pooled_tokens}")
    if reasons:
        raise CheckpointError(
            f"{parts.place} has {'; '.join(reasons)}, which the released layout cannot describe; it "
            f"holds one CLIP or SigLIP and one of {', '.join(sorted(text_types))}"
        )


def _released_tensors(parts: CheckpointParts) -> tuple[Tensors, list[str]]:
    """The weights under their released names, and what is left out."""
    tensors = WeightReader().file(parts.place / WEIGHTS)
    left_out = []
    bias = tensors.pop(HEAD_BIAS, None)
    if bias is not None:
        if bool(bias.any()):
            raise CheckpointError(
                f"{parts.place} has a trained {released_name(HEAD_BIAS)}, for which the released head has no "
                "place; train with a frozen head bias, or keep this project's own layout"
            )
        left_out.append(f"{released_name(HEAD_BIAS)}, which is 0")
    tower: PretrainedTowerConfig = parts.config.vision_config
    if tower.backbones[0]["model_type"] == "clip_vision_model":
        left_out.append("CLIP's last layer, which is not read; the released code has it from elsewhere")
    tokenizer, image = parts.processor.tokenizer, parts.config.image_token_id
    rows = tensors[EMBEDDING].shape[0]
    # Where <image> comes last it was added by the import. Elsewhere it stays: the released code, which cuts
    # the text at its own placeholders before it makes tokens, never meets it.
    if image == len(tokenizer) - 1 == rows - 1:
        left_out.append("the row of <image>, which stands for the placeholders -201, -202, ..")
        rows = image
    for name in (EMBEDDING, HEAD):
        if name in tensors:
            tensors[name] = tensors[name][:rows].clone()
    return {released_name(name): tensor.contiguous() for name, tensor in tensors.items()}, left_out


def _drop_image_token(directory: Path) -> None:
    """Take `<image>` out of the tokenizer's files again."""
    file = directory / "tokenizer.json"
    tokens = json.loads(file.read_text(encoding="utf-8"))
    tokens["added_tokens"] = [token for token in tokens["added_tokens"] if token["content"] != IMAGE]
    file.write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    file = directory / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for key in ("image_token", "extra_special_tokens", "model_specific_special_tokens"):
        config.pop(key, None)
    file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
