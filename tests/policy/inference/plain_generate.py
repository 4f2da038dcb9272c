"""The answers that the engine must give: transformers' own `generate` on all images, and random episodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.history import History
from spatialbot_policy.model import SpatialBotConfig, SpatialBotForActionPrediction, SpatialBotProcessor
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.types import Observation, RgbdFrame

STEP_NS = 100_000_000
INSTRUCTIONS = (
    "pick up the red cup",
    "put the smallest ball on the left board seen by the camera",
    "stack the cubes",
    "push it",
)


class OnlyActions(LogitsProcessor):
    """Allows the action tokens alone."""

    def __init__(self, config: SpatialBotConfig) -> None:
        self.config = config

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        allowed = torch.full_like(scores, -torch.inf)
        place = self.config.action_token_slice
        allowed[:, place] = scores[:, place]
        return allowed


class PlainGenerate:
    """Encodes the whole history at each step and lets `generate` answer."""

    def __init__(
        self, model: SpatialBotForActionPrediction, processor: SpatialBotProcessor, config: PolicyConfig
    ) -> None:
        self.model, self.processor = model.eval(), processor
        self.pipeline = build_pipeline(config)
        self.history = History(config.history_length, config.max_gap_ns)

    def reset(self) -> None:
        self.history.reset()

    @torch.inference_mode()
    def predict_bins(self, observation: Observation) -> np.ndarray:
        inputs = self.pipeline(self.history.push(observation))
        batch = self.processor(inputs.prompt, list(inputs.images))
        dimensions, config = self.pipeline.action_space.dimensions, self.model.config
        said = self.model.generate(
            **batch,
            max_new_tokens=dimensions,
            min_new_tokens=dimensions,
            do_sample=False,
            logits_processor=LogitsProcessorList([OnlyActions(config)]),
            pad_token_id=config.pad_token_id,
        )
        return (said[0, -dimensions:] - config.first_action_token_id).numpy()


def observation(
    camera: str, stamp_ns: int, rng: np.random.Generator, instruction: str, size: tuple[int, int] = (48, 64)
) -> Observation:
    """Random pictures of random contrast, so that the answers differ."""
    low, high = np.sort(rng.integers(0, 257, 2))
    color = rng.integers(low, max(high, low + 1), (*size, 3)).astype(np.uint8)
    depth = rng.integers(300, int(rng.integers(400, 2000)), size).astype(np.uint16)
    return Observation(stamp_ns, instruction, {camera: RgbdFrame(camera, stamp_ns, color, depth)})


def episodes(config: PolicyConfig, count: int, seed: int = 0) -> Iterator[Observation | None]:
    """`count` observations with gaps, changed instructions and pauses; None where an episode ends."""
    rng = np.random.default_rng(seed)
    stamp_ns, instruction = STEP_NS, INSTRUCTIONS[0]
    for _ in range(count):
        if rng.random() < 0.08:
            yield None
        if rng.random() < 0.15:
            instruction = str(rng.choice(INSTRUCTIONS))
        stamp_ns += config.max_gap_ns + 1 if rng.random() < 0.05 else STEP_NS
        yield observation(config.cameras[0].name, stamp_ns, rng, instruction)
