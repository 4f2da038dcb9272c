"""The least time that a GPU could take for a step: its memory must bring the bytes, its cores do the sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spatialbot_policy.model import SpatialBotForActionPrediction


@dataclass(frozen=True)
class Peaks:
    """What a GPU does at best: dense bfloat16 sums, and bytes from its memory (the vendor's data sheets)."""

    tflops: float
    bandwidth_gb_s: float


GPUS = {"h200": Peaks(989.0, 4800.0), "4090": Peaks(165.2, 1008.0)}


@dataclass(frozen=True)
class Work:
    """What a stage has to do once: sums, and bytes that are read or written at least once."""

    flops: float
    bytes: float

    def least_ms(self, peaks: Peaks) -> float:
        """Milliseconds at the peak of the two that takes longer."""
        return max(self.flops / (peaks.tflops * 1e12), self.bytes / (peaks.bandwidth_gb_s * 1e9)) * 1e3


@torch.inference_mode()
def step_work(
    model: SpatialBotForActionPrediction, pixels: torch.Tensor, prompt_tokens: int, dimensions: int
) -> dict[str, Work]:
    """Count one step of the engine: the newest frame's images, the whole prompt, and the other tokens.

    Args:
        model: in the type it runs in; the sums are counted while it computes.
        pixels: (N, 3, H, W) uint8 of the newest frame.
        prompt_tokens: length of the prompt.
        dimensions: tokens of an action; the first comes out of the prompt's pass.

    Returns:
        The work of vision, prefill and tokens.
    """
    text = model.config.text_config
    decoder = model.language_model.get_decoder()
    weight = next(decoder.parameters()).element_size()
    layers = sum(parameter.numel() for parameter in decoder.layers.parameters())
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cache_row = 2 * text.num_hidden_layers * text.num_key_value_heads * head_width * weight
    head = model.config.action_bins * text.hidden_size * weight
    embeds = torch.zeros(1, prompt_tokens, text.hidden_size, device=model.device, dtype=model.dtype)
    tower = _bytes_of(model.vision_tower) + _bytes_of(model.projector)
    later = dimensions - 1
    attention = 4 * text.num_hidden_layers * text.num_attention_heads * head_width * prompt_tokens
    return {
        "vision": Work(_flops(lambda: model.encode_images(pixels)), tower),
        "prefill": Work(
            _flops(lambda: decoder(inputs_embeds=embeds)),
            layers * weight + prompt_tokens * cache_row + head,
        ),
        "tokens": Work(
            later * (2.0 * layers + attention),
            later * (layers * weight + prompt_tokens * cache_row + head),
        ),
    }


def _bytes_of(module: nn.Module) -> float:
    return float(sum(value.numel() * value.element_size() for value in module.parameters()))


def _flops(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
