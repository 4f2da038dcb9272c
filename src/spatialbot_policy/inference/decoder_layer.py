"""One decoder layer of Qwen2, Llama, Phi-3 or Phi, with its keys and values written in place."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialbot_policy.inference.attention import CausalAttention
from spatialbot_policy.inference.kv_cache import KeyValueCache
from spatialbot_policy.inference.projection import Projection
from spatialbot_policy.inference.rotation import Turn, turned


class DecoderLayer:
    """Runs a layer's weights in the order of its architecture.

    The four architectures differ in four places: Phi-3 keeps queries, keys and values in one matrix, and gate
    and up; Phi has no gate, reads attention and MLP from the same norm, and may norm queries and keys.

    Args:
        layer: of transformers, with `self_attn`, `mlp` and its norms.
        index: its number.
    """

    def __init__(self, layer: nn.Module, index: int) -> None:
        parts = cast(Any, layer)
        attention, mlp = parts.self_attn, parts.mlp
        config, self._index = attention.config, index
        self._width, self._scale = int(attention.head_dim), float(attention.scaling)
        counts = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
        if hasattr(attention, "qkv_proj"):
            self._heads = Projection([attention.qkv_proj], [count * self._width for count in counts])
        else:
            self._heads = Projection([attention.q_proj, attention.k_proj, attention.v_proj])
        self._out = Projection([attention.dense if hasattr(attention, "dense") else attention.o_proj])
        if hasattr(mlp, "gate_up_proj"):
            self._up = Projection([mlp.gate_up_proj], [config.intermediate_size] * 2)
        else:
            self._up = Projection([mlp.gate_proj, mlp.up_proj] if hasattr(mlp, "gate_proj") else [mlp.fc1])
        self._down = Projection([mlp.fc2 if hasattr(mlp, "fc2") else mlp.down_proj])
        self._activation = mlp.act_fn if hasattr(mlp, "act_fn") else mlp.activation_fn
        self._norm, self._after = parts.input_layernorm, getattr(layer, "post_attention_layernorm", None)
        head_norms = (
            (attention.q_layernorm, attention.k_layernorm) if hasattr(attention, "q_layernorm") else ()
        )
        self._head_norms = cast("tuple[nn.Module, ...]", head_norms)
        # Phi-3 keeps its window in the config alone.
        window = config.sliding_window if config.model_type == "phi3" else None
        self._window: int | None = getattr(attention, "sliding_window", window)

    def __call__(
        self,
        hidden: Tensor,
        keep: int,
        turn: Turn,
        attend: CausalAttention,
        cache: KeyValueCache,
        start: int | Tensor,
    ) -> Tensor:
        """Read positions.

        Args:
            hidden: (B, L, C).
            keep: how many last positions go on to the next layer.
            turn: of the L positions.
            attend: attention of the kept positions.
            cache: takes the L positions' keys and values at `start`.
            start: how many positions come before.

        Returns:
            (B, keep, C).
        """
        normed = norm(self._norm, hidden)
        query, keys, values = (self._split(part) for part in self._heads(normed))
        if self._head_norms:
            query, keys = self._head_norms[0](query), self._head_norms[1](keys)
        asking = turn
        if keep < hidden.shape[1]:
            asking = turn[0][:, :, -keep:], turn[1][:, :, -keep:]
            query, normed, hidden = query[:, :, -keep:], normed[:, -keep:], hidden[:, -keep:]
        query = turned(query, asking)
        keys, values = cache.write(self._index, start, turned(keys, turn), values)
        (seen,) = self._out(attend(query, keys, values, self._scale, self._window))
        if self._after is None:
            return seen + self._mlp(normed) + hidden
        hidden = hidden + seen
        return hidden + self._mlp(norm(self._after, hidden))

    def _split(self, part: Tensor) -> Tensor:
        """(B, L, heads * width) -> (B, heads, L, width)."""
        return part.unflatten(2, (-1, self._width)).transpose(1, 2)

    def _mlp(self, normed: Tensor) -> Tensor:
        first, *up = self._up(normed)
        active = self._activation(first)
        return self._down(active * up[0] if up else active)[0]


def norm(module: nn.Module, hidden: Tensor) -> Tensor:
    """A norm in few operations: transformers writes root mean square norms as eight."""
    if not hasattr(module, "variance_epsilon"):
        return cast(Tensor, module(hidden))
    eps, weight = cast(float, module.variance_epsilon), cast(Tensor, module.weight)
    if hidden.dtype is not torch.float32:
        return F.rms_norm(hidden, weight.shape, weight, eps)
    length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
    return hidden * (length.square() / weight.numel() + eps).rsqrt_() * weight
