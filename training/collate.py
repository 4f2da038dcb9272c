"""Examples to one batch of tensors: every distinct frame is prepared once, however many prompts show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from spatialbot_policy.errors import ConversationError
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_training.examples import Example, ExampleSource, FrameKey
from spatialbot_training.intention import MEANT
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
        pixel_values: (N, 3, H, W) uint8, frame after frame; (0, 3, 1, 1) when no prompt has an image, and
            where the features are there in their stead.
        slots: (S,) which of the N images each image slot of the prompts shows, in reading order.
        inputs: `input_ids`, `attention_mask` and `labels`, (B, L) padded on the left.
        weights: (B,) float32 weight of each prompt's losses.
        targets: (M, A) float32 localisation answers, NaN where unknown.
        first_images: (M,) where each frame's images begin among the N.
        picks: what the prompts are, in order.
        meant: (B, 5) float32 places that each prompt's words mean, NaN where unknown.
        features: (tower frames, F) float32 of all frames, by a frozen tower; None where it is to encode the
            images.
    """

    pixel_values: Tensor
    slots: Tensor
    inputs: dict[str, Tensor]
    weights: Tensor
    targets: Tensor
    first_images: Tensor
    picks: tuple[Pick, ...]
    meant: Tensor
    features: Tensor | None = None

    @property
    def blind(self) -> bool:
        """Whether no prompt has an image."""
        return self.features is None and not len(self.pixel_values)

    def gather(self, image_embeds: Tensor) -> Tensor:
        """Lay out the images' embeddings as the prompts show them.

        Args:
            image_embeds: (N, tokens_per_image, hidden) of all images.

        Returns:
            (S * tokens_per_image, hidden), one row for each image token of `input_ids` in reading order.
        """
        return image_embeds[self.slots].flatten(0, 1)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on a device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("pixel_values", "slots", "weights", "targets", "first_images", "meant")
        }
        moved["features"] = None if self.features is None else self.features.to(device)
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
    features, counts, images = _frames(distinct, sources, processor)
    firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    place = {item: range(firsts[number], firsts[number + 1]) for number, item in enumerate(distinct)}
    image_token = int(processor.tokenizer.image_token_id)
    slots = [_slots(pick, made, place, image_token, processor.tokens_per_image)
             for pick, made in zip(picks, examples, strict=True)]  # fmt: skip
    return Batch(
        pixel_values=images,
        slots=torch.tensor([number for group in slots for number in group], dtype=torch.long),
        inputs=processor.pad_rows([made.input_ids for made in examples], [made.labels for made in examples]),
        weights=torch.tensor([made.weight for made in examples], dtype=torch.float32),
        targets=_targets(distinct, sources),
        first_images=torch.from_numpy(firsts[:-1].copy()),
        picks=tuple(picks),
        meant=_meant(examples),
        features=features,
    )


def _frames(
    distinct: Sequence[tuple[int, FrameKey]], sources: Sequence[ExampleSource], processor: SpatialBotProcessor
) -> tuple[Tensor | None, list[int], Tensor]:
    """Features of the distinct frames if all are known, how many images each has, and else the images."""
    empty = torch.zeros((0, 3, 1, 1), dtype=torch.uint8)
    known = []
    for source, group in groupby(distinct, key=lambda item: item[0]):
        keys = [key for _, key in group]
        known.append((sources[source].features(keys), len(keys)))
    found = [(features, count) for features, count in known if features is not None]
    if found and len(found) == len(known):
        flat = torch.from_numpy(np.concatenate([features.values for features, _ in found]))
        return flat.flatten(0, 1), [features.images for features, count in found for _ in range(count)], empty
    groups = [sources[source].frame(key) for source, key in distinct]
    images = [image for group in groups for image in group]
    return None, [len(group) for group in groups], processor.stack_images(images) if images else empty


def _slots(
    pick: Pick,
    made: Example,
    place: dict[tuple[int, FrameKey], range],
    image_token: int,
    tokens_per_image: int,
) -> list[int]:
    """Places of the images that one example shows; as many as its image tokens ask for."""
    shown = [number for key in made.frames for number in place[pick.source, key]]
    tokens = made.input_ids.count(image_token)
    if tokens != len(shown) * tokens_per_image:
        raise ConversationError(
            f"example {pick.index} of source {pick.source} has {tokens} image tokens and {len(shown)} images "
            f"of {tokens_per_image} tokens; its placeholders and its images disagree"
        )
    return shown


def _targets(distinct: Sequence[tuple[int, FrameKey]], sources: Sequence[ExampleSource]) -> Tensor:
    targets = np.full((len(distinct), len(NAMES)), np.nan, dtype=np.float32)
    for row, (source, key) in enumerate(distinct):
        answers = sources[source].target(key)
        if answers is not None:
            targets[row] = answers
    return torch.from_numpy(targets)


def _meant(examples: Sequence[Example]) -> Tensor:
    unsaid = np.full(len(MEANT), np.nan, dtype=np.float32)
    rows = [unsaid if made.meant is None else made.meant for made in examples]
    return torch.from_numpy(np.stack(rows).astype(np.float32))
