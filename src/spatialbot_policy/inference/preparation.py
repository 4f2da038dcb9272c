"""Brings a loaded network into the form in which it is run: precision, device, threads."""

from __future__ import annotations

import torch

from spatialbot_policy.inference.settings import EngineSettings
from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_policy.model.vision_tower import as_tower

LARGE = 100_000_000
"""Weights from which on half precision gains: below, a step is bound by the number of operations."""


def prepare(model: SpatialBotForActionPrediction, settings: EngineSettings) -> SpatialBotForActionPrediction:
    """Change the model in place as the settings ask, and return it."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = model.to(settings.device).eval()
    if pick_dtype(model, settings) is torch.bfloat16:
        model.language_model.to(torch.bfloat16)
        if not as_tower(model.vision_tower).float32_only:
            model.vision_tower.to(torch.bfloat16)
    return model


def pick_dtype(model: SpatialBotForActionPrediction, settings: EngineSettings) -> torch.dtype:
    """The dtype of the language model: with "auto", bfloat16 for a large model where it is native.

    Native means: a GPU that says so, or a processor with AVX512-BF16 or AMX. Elsewhere bfloat16 is emulated
    and slower than float32.
    """
    if settings.dtype != "auto":
        return torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    large = sum(weight.numel() for weight in model.language_model.parameters()) >= LARGE
    return torch.bfloat16 if large and _native_bfloat16(settings.device) else torch.float32


def _native_bfloat16(device: str) -> bool:
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
