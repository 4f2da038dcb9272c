"""The projector from the tower's tokens to the language model's embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init


class Mlp2xGeluProjector(nn.Module):
    """Linear, GELU, Linear (`mlp2x_gelu`), in float32 even under autocast: image tokens carry coordinates."""

    def __init__(self, vision_size: int, text_size: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(vision_size, text_size)
        self.linear_2 = nn.Linear(text_size, text_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise so that the variance of the tokens is kept."""
        for linear in (self.linear_1, self.linear_2):
            init.normal_(linear.weight, std=linear.in_features**-0.5)
            init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., vision_size) -> (..., text_size) float32."""
        with torch.autocast(tokens.device.type, enabled=False):
            hidden: Tensor = self.linear_2(F.gelu(self.linear_1(tokens.to(self.linear_1.weight.dtype))))
        return hidden
