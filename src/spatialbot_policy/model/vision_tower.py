"""The seam for vision towers: what a tower offers, and the registry that builds one from its config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from torch import Tensor, nn

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model.conv_tower import ConvTower
from spatialbot_policy.model.pretrained_tower import PretrainedTower


class VisionTower(Protocol):
    """What the model asks of a tower; its config has `tokens_per_image`, `images_per_frame`, `hidden_size`.

    A frame is what the tower reads together, `images_per_frame` images: one, or a colour image and the
    depth image after it. The flat feature vector of a frame is what auxiliary training heads read; the
    tokens are computed from it.
    `float32_only` says whether its weights stay float32 when the model is loaded in half precision.
    """

    float32_only: bool

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, tokens_per_image, hidden_size)."""

    def frame_features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (frames, F) float32."""

    def tokens(self, features: Tensor) -> Tensor:
        """(frames, F) -> (N, tokens_per_image, hidden_size)."""

    def token_layers(self) -> list[nn.Module]:
        """Layers that make tokens of the frame features; where the tower is frozen they may learn still."""

    def reset_parameters(self) -> None:
        """Initialise the weights from nothing."""


TOWERS: dict[str, Callable[[Any], nn.Module]] = {"conv": ConvTower, "pretrained": PretrainedTower}


def build_tower(config: Any) -> nn.Module:
    """Build the tower that `config.model_type` names.

    Raises:
        ConfigError: no tower of that name is registered in `TOWERS`.
    """
    if config.model_type not in TOWERS:
        raise ConfigError(
            f"unknown vision tower '{config.model_type}'; vision_config.model_type must be one of "
            f"{', '.join(sorted(TOWERS))}"
        )
    return TOWERS[config.model_type](config)


def as_tower(module: nn.Module) -> VisionTower:
    """Give the built module its interface's type."""
    return cast(VisionTower, module)
