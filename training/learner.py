"""What is trained: the policy network with the auxiliary head, their losses and their optimizer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_policy.model.vision_tower import as_tower
from spatialbot_training.batches import Batch
from spatialbot_training.localisation import LocalisationHead, localisation_loss
from spatialbot_training.recipe import ScheduleConfig

_ROTATIONS = slice(3, 6)  # of an action's dimensions


class Learner(nn.Module):
    """The policy network with the auxiliary head that is left behind after training.

    Args:
        model: the network that ships.
        rotation_weight: weight of the three rotation tokens' losses against the other tokens'.
        dimensions: tokens of an action, 7 or 8.
    """

    def __init__(
        self, model: SpatialBotForActionPrediction, rotation_weight: float, dimensions: int = 7
    ) -> None:
        super().__init__()
        self.model = model
        self.head = LocalisationHead(model.config.vision_config.frame_feature_size)
        self._rotation_weight, self._dimensions = rotation_weight, dimensions

    def forward(self, batch: Batch, localise_only: bool = False) -> tuple[Tensor, Tensor]:
        """Losses of a batch: answers (0 when `localise_only`) and localisation."""
        features = as_tower(self.model.vision_tower).frame_features(batch.pixel_values)
        where = localisation_loss(self.locate(features, len(batch.targets)), batch.targets)
        if localise_only:
            return torch.zeros(()), where
        output = self.model(
            **batch.inputs,
            image_embeds=gather_history(self.model, features, batch),
            loss_weights=self._weights(batch.inputs["labels"]),
            answer_logits_only=True,
        )
        return output.loss, where

    def locate(self, features: Tensor, steps: int) -> Tensor:
        """(frames of all steps, F) -> (steps, A) answers; with several cameras the first one's."""
        answers: Tensor = self.head(features.view(steps, -1, features.shape[-1])[:, 0])
        return answers

    def _weights(self, labels: Tensor) -> Tensor:
        """(B, L) weights: the last labels are an action's tokens and the end; rotations weigh less."""
        answer = torch.ones(self._dimensions + 1)
        answer[_ROTATIONS] = self._rotation_weight
        weights = torch.ones(labels.shape)
        weights[:, -len(answer) :] = answer
        return weights


def gather_history(model: SpatialBotForActionPrediction, features: Tensor, batch: Batch) -> Tensor:
    """(frames of the batch's distinct steps, F) -> (image tokens of all prompts, hidden) in reading order."""
    embeds = model.embed_features(features)
    of_step = embeds.reshape(len(batch.targets), -1, embeds.shape[-1])
    return of_step[batch.history].reshape(-1, embeds.shape[-1])


def build_optimizer(learner: Learner, schedule: ScheduleConfig) -> torch.optim.Optimizer:
    """AdamW; the vision tower at its own rate, vectors without weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in learner.named_parameters():
        rate = schedule.tower_rate if name.startswith(("model.vision_tower.", "head.")) else 1.0
        decay = schedule.weight_decay if value.ndim >= 2 else 0.0
        groups.setdefault((rate, decay), []).append(value)
    return torch.optim.AdamW(
        [{"params": values, "rate": rate, "weight_decay": decay} for (rate, decay), values in groups.items()],
        lr=schedule.learning_rate,
        betas=(0.9, 0.98),
    )


def learning_rate(step: int, schedule: ScheduleConfig) -> float:
    """A cosine to a hundredth of the peak, with a linear warm-up at the start of each phase."""
    into_phase = step if step < schedule.localisation_steps else step - schedule.localisation_steps
    warmup = min(1.0, (into_phase + 1) / max(1, schedule.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / schedule.steps))
    return schedule.learning_rate * warmup * (0.01 + 0.99 * cosine)
