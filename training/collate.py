"""Examples to one batch of tensors: every distinct frame is prepared once, however many prompts show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spatialbot_policy.errors import ConversationError
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_training.examples import Example, ExampleSource, FrameKey
from spatialbot_training.localisation import NAMES


@dataclass(frozen=True)
class Pick:
    """One example of a batch: which source, and its number there."""

    source: int
    index: int


@dataclass(frozen=True)
class Batch:
    """B prompts over M distinct frames with N images in all.

    Attributes:
        pixel_values: (N, 3, H, W) uint8, frame after frame; (0, 3, 1, 1) when no prompt has an image.
        slots: (S,) which of the N images each image slot of the prompts shows, in reading order.
        inputs: `input_ids`, `attention_mask` and `labels`, (B, L) padded on the left.
        weights: (B,) float32 weight of each prompt's losses.
        targets: (M, A) float32 localisation answers, NaN where unknown.
        first_images: (M,) where each frame's images begin among the N.
        picks: what the prompts are, in order.
    """

    pixel_values: Tensor
    slots: Tensor
    inputs: dict[str, Tensor]
    weights: Tensor
    targets: Tensor
    first_images: Tensor
    picks: tuple[Pick, ...]

    def gather(self, image_embeds: Tensor) -> Tensor:
        """Lay out the images' embeddings as the prompts show them.

        Args:
            image_embeds: (N, tokens_per_image, hidden) of `pixel_values`.

        Returns:
            (S * tokens_per_image, hidden), one row for each image token of `input_ids` in reading order.
        """
        return image_embeds[self.slots].flatten(0, 1)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on a device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("pixel_values", "slots", "weights", "targets", "first_images")
        }
        return replace(self, inputs={key: value.to(device) for key, value in self.inputs.items()}, **moved)


def collate(picks: Sequence[Pick], sources: Sequence[ExampleSource], processor: SpatialBotProcessor) -> Batch:
    """Build the batch of some examples.

    Args:
        picks: at least one; their order is that of the prompts.
        sources: what the picks' first numbers count.
        processor: pads the prompts and stacks the images.

    Raises:
        ConversationError: no pick, or the images of a prompt do not fill its image tokens.
        FrameError: images of different sizes.
    """
    if not picks:
        raise ConversationError("a batch needs at least one example; ask for a batch size of 1 or more")
    examples = [sources[pick.source].example(pick.index) for pick in picks]
    distinct = sorted({(pick.source, key) for pick, made in zip(picks, examples, strict=True)
                       for key in made.frames}, key=lambda item: (item[0], item[1]))  # fmt: skip
    images = [sources[source].frame(key) for source, key in distinct]
    counts = [len(group) for group in images]
    firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    place = {item: range(firsts[number], firsts[number + 1]) for number, item in enumerate(distinct)}
    slots = [_slots(pick, made, place, processor) for pick, made in zip(picks, examples, strict=True)]
    flat = [image for group in images for image in group]
    empty = torch.zeros((0, 3, 1, 1), dtype=torch.uint8)
    return Batch(
        pixel_values=processor.stack_images(flat) if flat else empty,
        slots=torch.tensor([number for group in slots for number in group], dtype=torch.long),
        inputs=processor.pad_rows([made.input_ids for made in examples], [made.labels for made in examples]),
        weights=torch.tensor([made.weight for made in examples], dtype=torch.float32),
        targets=_targets(distinct, sources),
        first_images=torch.from_numpy(firsts[:-1].copy()),
        picks=tuple(picks),
    )


def _slots(
    pick: Pick, made: Example, place: dict[tuple[int, FrameKey], range], processor: SpatialBotProcessor
) -> list[int]:
    """Places of the images that one example shows; as many as its image tokens ask for."""
    shown = [number for key in made.frames for number in place[pick.source, key]]
    tokens = made.input_ids.count(processor.tokenizer.image_token_id)
    if tokens != len(shown) * processor.tokens_per_image:
        raise ConversationError(
            f"example {pick.index} of source {pick.source} has {tokens} image tokens and {len(shown)} images "
            f"of {processor.tokens_per_image} tokens; its placeholders and its images disagree"
        )
    return shown


def _targets(distinct: Sequence[tuple[int, FrameKey]], sources: Sequence[ExampleSource]) -> Tensor:
    targets = np.full((len(distinct), len(NAMES)), np.nan, dtype=np.float32)
    for row, (source, key) in enumerate(distinct):
        answers = sources[source].target(key)
        if answers is not None:
            targets[row] = answers
    return torch.from_numpy(targets)
