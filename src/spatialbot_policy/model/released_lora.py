"""The released LoRA layout: adapter, other trained tensors, and the language model they belong on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.released_files import Tensors, WeightReader, listed, read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
OTHER_FILES = ("non_lora_trainables.safetensors", "non_lora_trainables.bin")
# peft wraps the model twice, and puts the adapted layer itself one level deeper.
PEFT_PREFIX = "base_model.model."
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")
# Forms of LoRA that change more than one product added to a weight; none of them was released.
PLAIN: dict[str, object] = {
    "peft_type": "LORA",
    "bias": "none",
    "use_dora": False,
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "alpha_pattern": {},
}


def is_lora(directory: Path) -> bool:
    """Whether a directory holds an adapter rather than a whole model."""
    return (directory / ADAPTER_CONFIG).is_file()


def read_lora(directory: Path, base: Path, reader: WeightReader) -> Tensors:
    """Merge a released LoRA checkpoint into its language model.

    Args:
        directory: adapter_config.json, adapter_model, non_lora_trainables.
        base: the language model that it was trained on.
        reader: opens the files.

    Returns:
        Tensors by their released names: those of the base, then the other trained ones in place of them or
        beside them, then the adapter's products added.

    Raises:
        CheckpointError: a file is missing or damaged, an adapter of another form, or one that belongs to no
            tensor.
    """
    config = read_json(directory / ADAPTER_CONFIG)
    other = {key: config[key] for key, plain in PLAIN.items() if not _same(config.get(key, plain), plain)}
    if other:
        raise CheckpointError(
            f"{directory / ADAPTER_CONFIG} asks for {other}, which the released layout does not have and "
            "this import does not merge; merge it with peft first"
        )
    if not isinstance(config.get("lora_alpha"), (int, float)):
        raise CheckpointError(f"{directory / ADAPTER_CONFIG} has no lora_alpha; copy it again")
    tensors = reader.directory(base)
    tensors.update(_unwrapped(reader.first_of(directory, OTHER_FILES)))
    adapter = _unwrapped(reader.first_of(directory, ADAPTER_FILES))
    return merge_lora(tensors, adapter, config, directory)


def merge_lora(tensors: Tensors, adapter: Tensors, config: Mapping[str, Any], where: Path) -> Tensors:
    """Add scale * B @ A to each adapted weight, in float32; scale is alpha / r (Hu et al. 2021, section 4.1).

    Raises:
        CheckpointError: a factor without its partner, on no weight, or of another shape.
    """
    factors: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for name, tensor in adapter.items():
        match = FACTOR.fullmatch(name)
        if match is None:
            unknown.append(name)
            continue
        factors.setdefault(match["module"], {})[match["side"]] = tensor
    single = [module for module, sides in factors.items() if set(sides) != {"A", "B"}]
    homeless = [module for module in factors if f"{module}.weight" not in tensors]
    if unknown or single or homeless:
        raise CheckpointError(
            f"the adapter of {where} does not fit its base: {listed([*unknown, *single, *homeless])}; "
            "give the language model that it was trained on as --base"
        )
    merged = dict(tensors)
    for module, sides in factors.items():
        weight, low, high = tensors[f"{module}.weight"], sides["A"].float(), sides["B"].float()
        if high.shape[1] != low.shape[0] or (high.shape[0], low.shape[1]) != tuple(weight.shape):
            raise CheckpointError(
                f"the adapter of {where} has factors {tuple(high.shape)} and {tuple(low.shape)} for {module} "
                f"of shape {tuple(weight.shape)}; give the language model that it was trained on as --base"
            )
        rank = low.shape[0]
        scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
        merged[f"{module}.weight"] = (weight.float() + scale * (high @ low)).to(weight.dtype)
    return merged


def _same(value: object, plain: object) -> bool:
    return value == plain or (not value and not plain)


def _unwrapped(tensors: Tensors) -> Tensors:
    """Names as the model itself has them."""
    names = {name: name.removeprefix(PEFT_PREFIX).replace(".base_layer.", ".") for name in tensors}
    return {names[name]: value for name, value in tensors.items()}
