"""Small checkpoints with random weights that fit the simulator."""

from __future__ import annotations

from pathlib import Path

from tests.policy.conftest import CORPUS, SMALL_TEXT, SMALL_VISION

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_sim.task.workplace import IMAGE_SIZE


def write_checkpoint(path: Path, cameras: tuple[str, ...], depth: bool) -> str:
    """Write a checkpoint that looks through the cameras of these names; its path as text."""
    import torch

    from spatialbot_policy.model import build_tiny, save_checkpoint

    config = PolicyConfig(
        cameras=tuple(CameraConfig(name, IMAGE_SIZE, IMAGE_SIZE) for name in cameras),
        depth_variant=DepthVariant.PAPER if depth else None,
    )
    torch.manual_seed(len(cameras))
    parts = build_tiny(config, CORPUS, vocab_size=300, vision=SMALL_VISION, text=SMALL_TEXT)
    save_checkpoint(path, *parts, config)
    return str(path)
