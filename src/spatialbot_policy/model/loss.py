"""The loss of answer tokens: cross entropy, with soft labels over neighbouring bins for actions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spatialbot_policy.model.configuration import SpatialBotConfig

IGNORE = -100


def answer_loss(
    logits: Tensor, labels: Tensor, config: SpatialBotConfig, weights: Tensor | None = None
) -> Tensor:
    """Mean loss of answer tokens.

    With `config.bin_smoothing` > 0 an action token's loss is taken among the action tokens alone,
    against a Gaussian over the bins around the label; other tokens keep ordinary cross entropy.

    Args:
        logits: (T, V) for the T answer tokens.
        labels: (T,) their ids.
        config: vocabulary layout and smoothing.
        weights: (T,) or None.

    Returns:
        A float32 scalar; 0 when there is no answer token or all weights are 0.
    """
    logits = logits.float()
    losses = F.cross_entropy(logits, labels, reduction="none")
    if config.bin_smoothing > 0:
        place = config.action_token_slice
        is_action = (labels >= place.start) & (labels < place.stop)
        soft = _soft_label_loss(logits[:, place], labels - place.start, config.bin_smoothing)
        losses = torch.where(is_action, soft, losses)
    if weights is None:
        return losses.sum() / max(losses.numel(), 1)
    weights = weights.to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)


def _soft_label_loss(logits: Tensor, bins: Tensor, sigma: float) -> Tensor:
    """(T, bins) logits and (T,) bins -> (T,) cross entropy against Gaussians of `sigma` bins."""
    steps = torch.arange(logits.shape[1], device=logits.device, dtype=logits.dtype)
    distance = steps - bins[:, None].to(logits.dtype)
    target = torch.softmax(-0.5 * (distance / sigma) ** 2, dim=1)
    return -(target * F.log_softmax(logits, dim=1)).sum(1)
