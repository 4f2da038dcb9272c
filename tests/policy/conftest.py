"""A small model with its processor, shared by the tests of the network and of inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant

if TYPE_CHECKING:
    from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor

CORPUS = ["Instruct the robot to pick up the red cup\nAnswer with robot parameters."]
SMALL_VISION = {"channels": (8, 8, 16), "keypoints": 4, "keypoint_features": 2, "hidden_size": 32}
SMALL_TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}


@pytest.fixture
def policy_config() -> PolicyConfig:
    return PolicyConfig(cameras=(CameraConfig("base", 32, 32),), depth_variant=DepthVariant.PAPER)


@pytest.fixture
def small(policy_config: PolicyConfig) -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor]:
    """Random weights, wide enough for the argmax to differ between prompts."""
    import torch  # here, so that the tests beside this file's folders start without it

    from spatialbot_policy.model import build_tiny

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, processor = build_tiny(policy_config, CORPUS, vocab_size=300, vision=SMALL_VISION, text=SMALL_TEXT)
    return model.eval(), processor
