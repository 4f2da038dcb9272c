"""Reads embeddings into a language model's memory: layer by layer where the model's form is known."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from spatialbot_policy.inference.attention import CausalAttention
from spatialbot_policy.inference.compilation import Compiled
from spatialbot_policy.inference.decoder_layer import DecoderLayer, norm
from spatialbot_policy.inference.kv_cache import KeyValueCache
from spatialbot_policy.inference.rotation import Rotation
from spatialbot_policy.model import SpatialBotForActionPrediction

KNOWN = ("qwen2", "llama", "phi3", "phi")
"""Language models whose layers `LayerReader` can read; the others are read by transformers' own forward."""


class LanguageReader(Protocol):
    """Reads positions after those that it has in memory."""

    keeps: bool
    """Whether a prompt can begin with positions that were read with the one before."""

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` prompts of `length` positions."""

    def read(self, embeds: Tensor, start: int, mask: Tensor | None, keep: int) -> Tensor:
        """Read (B, L, hidden) embeddings at position `start`, and forget what lay at and behind it.

        Args:
            embeds: of these positions.
            start: how many positions come before, all of them read already.
            mask: (B, start + L), 0 = padding on the left; None when there is none.
            keep: how many last positions' hidden states are asked for.

        Returns:
            (B, keep, hidden) states behind the final norm.
        """


def language_reader(model: SpatialBotForActionPrediction, compiled: bool = False) -> LanguageReader:
    """The fastest reader that knows the model's language model; `compiled` where that can be done."""
    language, decoder = model.language_model.config, model.language_model.get_decoder()
    return LayerReader(decoder, compiled) if language.model_type in KNOWN else PlainReader(decoder)


class PlainReader:
    """transformers' own forward and cache: any causal language model, at its usual speed."""

    keeps = False

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder
        self._cache: Any = None

    def reserve(self, rows: int, length: int) -> None:
        """Nothing to reserve: the cache grows with what is read."""

    def read(self, embeds: Tensor, start: int, mask: Tensor | None, keep: int) -> Tensor:
        """As `LanguageReader.read`."""
        if start == 0:
            self._cache = DynamicCache(config=self._decoder.config)
        end = start + embeds.shape[1]
        whole = embeds.new_ones((embeds.shape[0], end), dtype=torch.long) if mask is None else mask
        positions = (whole.cumsum(1) - 1).clamp(min=0)[:, start:]
        output = self._decoder(
            inputs_embeds=embeds,
            attention_mask=whole,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return cast(Tensor, output.last_hidden_state)[:, -keep:]


class LayerReader:
    """The decoder's own weights, without what transformers does around them for every token.

    What is left out: building masks, growing caches, position tables, calls of many small modules, and in the
    last layer the queries and the MLP of positions that nobody asks for. Small matrices of one input are
    copied into one, so a reader is made anew when weights have changed.

    Args:
        decoder: of the language model.
        compiled: translate the reading of a single position, which has the same shape at every step.
    """

    keeps = True

    def __init__(self, decoder: nn.Module, compiled: bool = False) -> None:
        parts = cast(Any, decoder)
        self._layers = [DecoderLayer(layer, index) for index, layer in enumerate(parts.layers)]
        self._norm = parts.norm if hasattr(decoder, "norm") else parts.final_layernorm
        self._rotation = Rotation(parts.rotary_emb)
        self._cache = KeyValueCache(len(self._layers))
        compiled = compiled and self._rotation.fixed
        self._one = Compiled(self._read_one, "the language model") if compiled else None

    def reserve(self, rows: int, length: int) -> None:
        """As `LanguageReader.reserve`."""
        self._cache.reserve(rows, length)

    def read(self, embeds: Tensor, start: int, mask: Tensor | None, keep: int) -> Tensor:
        """As `LanguageReader.read`."""
        count = embeds.shape[1]
        if self._one is not None and count == 1 and mask is None:
            at = torch.tensor([start], device=embeds.device)
            return self._one(embeds, at, *self._rotation.table(self._cache.capacity, embeds))
        end, first = start + count, None if mask is None else mask.argmax(1)
        turn = self._rotation(start, end, mask, embeds)
        whole = CausalAttention(count, end, first, embeds.device)
        short = CausalAttention(keep, end, first, embeds.device) if keep < count else whole
        hidden, last = embeds, len(self._layers) - 1
        for index, layer in enumerate(self._layers):
            kept, attend = (keep, short) if index == last else (count, whole)
            hidden = layer(hidden, kept, turn, attend, self._cache, start)
        return norm(self._norm, hidden)

    def _read_one(self, embeds: Tensor, at: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`read` of (B, 1, hidden) at the (1,) position `at`, over the whole capacity: one graph for all."""
        attend = CausalAttention(1, self._cache.capacity, None, embeds.device, at)
        turn, hidden = (cos.index_select(2, at), sin.index_select(2, at)), embeds
        for layer in self._layers:
            hidden = layer(hidden, 1, turn, attend, self._cache, at)
        return norm(self._norm, hidden)
