"""A checkpoint as a `Policy` in this process: keeps the history, encodes only the newest frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.history import History
from spatialbot_policy.model.checkpoint import Checkpoint, load_checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.types import ActionChunk, Observation


class LocalPolicy:
    """Answers observations with actions, one control step at a time.

    The image embeddings of the frames in the history are kept by stamp, so that a step runs the vision
    tower on the newest frame alone; the language model reads the whole prompt each time.

    Args:
        checkpoint: model, processor and policy configuration that agree with each other.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config = checkpoint.policy
        self._model = checkpoint.model.eval()
        self._processor = checkpoint.processor
        self._pipeline = build_pipeline(checkpoint.policy)
        self._history = History(self.config.history_length, self.config.max_gap_ns)
        self._embeddings: dict[int, Tensor] = {}

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, device: str = "cpu", expected: PolicyConfig | None = None
    ) -> LocalPolicy:
        """Load a checkpoint directory.

        Raises:
            CheckpointError: a file is missing or damaged, its parts disagree, or it is not what
                `expected` asks for.
        """
        return cls(load_checkpoint(path, device, expected))

    @property
    def gaps(self) -> int:
        """How often a pause in the stamps restarted the history since the last reset."""
        return self._history.gaps

    def reset(self) -> None:
        """Forget the history: a new episode begins."""
        self._history.reset()
        self._embeddings.clear()

    def act(self, observation: Observation) -> ActionChunk:
        """Answer one observation with one action.

        Raises:
            FrameError: a frame that must not reach the model; the history stays as it was.
            HistoryError: the stamp does not come after the last one; the history stays as it was.
            PromptError: an instruction that cannot be used.
            ActionError: the model's answer is not finite.
        """
        bins = self.predict_bins(observation)
        step = self._pipeline.action_bins.inverse(bins)
        return ActionChunk(observation.stamp_ns, (step,))

    @torch.inference_mode()
    def predict_bins(self, observation: Observation) -> np.ndarray:
        """Answer one observation with the (dimensions,) bins behind `act`'s action; raises the same."""
        prompt = self._pipeline.prompt(observation.instruction)
        images = self._pipeline.encode_observation(observation)
        pixels = self._processor.stack_images(images).to(self._model.device)
        history = self._history.push(observation)
        newest = self._model.encode_images(pixels)
        known = {**self._embeddings, observation.stamp_ns: newest}
        self._embeddings = {past.stamp_ns: known[past.stamp_ns] for past in history}
        inputs = self._processor(prompt).to(self._model.device)
        inputs["image_embeds"] = torch.cat([self._embeddings[past.stamp_ns] for past in history])
        bins = self._model.generate_actions(inputs, self._pipeline.action_space.dimensions)
        return np.asarray(bins[0].cpu().numpy())
