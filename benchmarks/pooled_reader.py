"""A small network that reads a frame's frozen features, pooled or not: what `pooling_accuracy` trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.inference.action_decoder import ActionDecoder
from spatialbot_policy.model import SpatialBotProcessor, build_model, load_size
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.model.loss import IGNORE, answer_loss
from spatialbot_policy.model.pretrained_tower import fit_grid, pool_grid
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.localisation import LocalisationHead

ROWS = 24  # of CLIP ViT-L/14's grid at 336 pixels
WIDTH, LONGEST = 128, 1024
TEXT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "intermediate_size": 352,
    "max_position_embeddings": LONGEST,
}
_CHUNK = 32


@dataclass(frozen=True)
class Frames:
    """Some steps of a store, each with its frame's cells.

    Attributes:
        store: where the steps are.
        rows: (N,) which steps.
        cells: (N, C, ROWS, ROWS) float16 frozen features.
    """

    store: FrameStore
    rows: np.ndarray
    cells: Tensor

    @property
    def targets(self) -> Tensor:
        """(N, A) where things are, NaN where unknown."""
        return torch.from_numpy(np.asarray(self.store.targets[self.rows]))

    def tokens(self, places: Sequence[int], pooled: int | None) -> Tensor:
        """(B, tokens, C) float32 of the frames at these places."""
        return pool_grid(self.cells[places].float(), pooled).flatten(2).transpose(1, 2)


class Reader(nn.Module):
    """Projector, language model and a linear head that says where things are.

    Args:
        policy: one image for a frame.
        tokenizer: of the checkpoint.
        channels: of a cell.
        pooled: tokens of an image; None for all.
    """

    def __init__(
        self, policy: PolicyConfig, tokenizer: PreTrainedTokenizerFast, channels: int, pooled: int | None
    ) -> None:
        super().__init__()
        # A tower of the least size, alike for all, so that a seed gives them the same fresh weights.
        vision = {"channels": [8, 8, 8], "keypoints": 1, "tokens_per_image": 1, "hidden_size": channels}
        self.model, _ = build_model(load_size("tiny").changed(vision=vision, text=TEXT), policy, tokenizer)
        self.model.vision_tower = nn.Identity()
        self.processor = SpatialBotProcessor(tokenizer, tokens_per_image=pooled or ROWS**2)
        self.head = LocalisationHead(WIDTH)
        self.pooled = pooled

    def forward(
        self, frames: Frames, places: Sequence[int], source: EpisodeExamples
    ) -> tuple[Tensor, Tensor]:
        """Loss of the recorded action's tokens, and (B, A) localisation answers."""
        examples = [source.example(int(row)) for row in frames.rows[places]]
        inputs = self.processor.pad_rows(
            [one.input_ids for one in examples], [one.labels for one in examples]
        )
        ids, labels = inputs["input_ids"], inputs["labels"]
        images = self.model.projector(frames.tokens(places, self.pooled))
        embeds = self.model.embed(ids, None, images)
        decoder = self.model.language_model.get_decoder()
        mask = inputs["attention_mask"]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        hidden = decoder(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        asked = labels[:, 1:] != IGNORE
        logits = self.model.get_output_embeddings()(hidden[:, :-1][asked])
        last = asked.int().argmax(1)  # what the first answer token is read from
        where = self.head(hidden[torch.arange(len(ids)), last])
        return answer_loss(logits, labels[:, 1:][asked], self.model.config), where

    @torch.inference_mode()
    def answer(self, frames: Frames, source: EpisodeExamples) -> tuple[float, np.ndarray, np.ndarray]:
        """Mean loss of the recorded actions, (N, 7) bins decoded greedily, (N, A) localisation answers."""
        self.eval()
        decoder = ActionDecoder(self.model)
        losses, bins, located = [], [], []
        for places in np.array_split(np.arange(len(frames.rows)), math.ceil(len(frames.rows) / _CHUNK)):
            prompts = self.processor([source.prompt(int(row)) for row in frames.rows[places]])
            images = self.model.projector(frames.tokens(places, self.pooled))
            bins.append(decoder.decode({**prompts, "image_embeds": images}, len(ACTION_NAMES)))
            loss, where = self(frames, places, source)
            losses.append(loss.item())
            located.append(where)
        return float(np.mean(losses)), torch.cat(bins).numpy(), torch.cat(located).numpy()


def choose_rows(store: FrameStore, stills: int, demos: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of that many stills and demonstrated steps, ascending; all of a kind if it has fewer."""
    parts = [
        rng.permutation(np.flatnonzero(kind))[:count]
        for kind, count in ((store.stills, stills), (~store.stills, demos))
    ]
    return np.sort(np.concatenate(parts))


@torch.no_grad()
def read_frames(checkpoint: Checkpoint, store: FrameStore, rows: np.ndarray) -> Frames:
    """Encode each frame once with the checkpoint's frozen tower."""
    pipeline, tower = build_pipeline(checkpoint.policy), checkpoint.model.vision_tower
    parts = []
    for start in range(0, len(rows), _CHUNK):
        images = [image for row in rows[start : start + _CHUNK] for image in store.images(int(row), pipeline)]
        fine, _, values = tower.maps(checkpoint.processor.stack_images(images))
        places = values.transpose(1, 2).unflatten(2, tuple(fine.shape[2:]))
        parts.append(fit_grid(torch.cat([fine, places], dim=1), ROWS).half())
    return Frames(store, rows, torch.cat(parts))


def same_scale(train: Frames, held_out: Frames) -> tuple[Frames, Frames]:
    """Both with every channel at mean 0 and deviation 1 over the cells of the first."""
    some = train.cells[:: max(1, len(train.rows) // 512)].float()
    mean, std = some.mean((0, 2, 3), keepdim=True), some.std((0, 2, 3), keepdim=True).clamp(min=1e-3)
    for frames in (train, held_out):
        for start in range(0, len(frames.rows), 512):
            part = frames.cells[start : start + 512]
            part.copy_((part.float() - mean) / std)
    return train, held_out
