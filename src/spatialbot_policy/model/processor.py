"""Prompts and images to model inputs, and answers to labels: the model's Hugging Face processor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessorMixin

from spatialbot_policy.errors import ActionError, FrameError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.loss import IGNORE
from spatialbot_policy.types import UInt8Array

PLACEHOLDER = re.compile(r"<image (\d+)>")


class SpatialBotProcessor(ProcessorMixin):
    """Turns `<image k>` placeholders into image tokens and images into one uint8 tensor.

    Args:
        tokenizer: a tokenizer with `<image>` and the action tokens, see `train_tokenizer`.
        tokens_per_image: image tokens that the tower gives for each image.
        chat_template: unused; kept for `save_pretrained`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast | None = None,
        tokens_per_image: int = 2,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(tokenizer, chat_template=chat_template)
        self.tokens_per_image = tokens_per_image
        self._prompt_ids = lru_cache(maxsize=4096)(self._tokenize)

    def __call__(
        self,
        prompts: str | Sequence[str],
        images: Sequence[UInt8Array] | Sequence[Sequence[UInt8Array]] | None = None,
        answers: np.ndarray | None = None,
    ) -> BatchFeature:
        """Prepare one prompt or a batch.

        Args:
            prompts: one prompt, or B of them, with placeholders `<image 1>` .. `<image N>` in order.
            images: the prompt's (H, W, 3) uint8 images, or one such list per prompt, all of one size;
                None leaves the images out (they are passed to the model as `image_embeds`).
            answers: (B, D) bins of the answers, for training.

        Returns:
            input_ids, attention_mask (B, L) padded on the left; pixel_values (N, 3, H, W) uint8 in
            reading order when images were given; labels (B, L) when answers were given.

        Raises:
            FrameError: placeholders and images disagree, or an image is of another type or size.
            ActionError: answers of another shape, or outside the bins.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        rows = [list(self._prompt_ids(text)) for text in texts]
        batch: dict[str, Tensor] = {}
        if images is not None:
            groups = cast("Sequence[Sequence[UInt8Array]]", [images] if isinstance(prompts, str) else images)
            _check_counts(texts, groups)
            batch["pixel_values"] = self.stack_images([image for group in groups for image in group])
        tails = [[] for _ in rows] if answers is None else self._answer_ids(answers, len(rows))
        batch.update(self._pad([row + tail for row, tail in zip(rows, tails, strict=True)]))
        if answers is not None:
            labels = torch.full_like(batch["input_ids"], IGNORE)
            width = len(tails[0])
            labels[:, -width:] = batch["input_ids"][:, -width:]
            batch["labels"] = labels
        return BatchFeature(batch)

    def stack_images(self, images: Sequence[UInt8Array]) -> Tensor:
        """Stack images of one size: (N, 3, H, W) uint8.

        Raises:
            FrameError: no image, or one of another type or size.
        """
        if not images:
            raise FrameError("there is no image to encode; pass the images of the prompt, or images=None")
        shape = images[0].shape
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape != shape:
                raise FrameError(
                    f"images must be (H, W, 3) uint8 and of one size, got {image.shape} {image.dtype} beside "
                    f"{shape}; give all cameras of policy.yaml the same width and height"
                )
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    def _tokenize(self, prompt: str) -> tuple[int, ...]:
        image_count(prompt)
        text = PLACEHOLDER.sub(self.tokenizer.image_token * self.tokens_per_image, prompt)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        longest = self.tokenizer.model_max_length
        if len(ids) >= longest:
            raise FrameError(
                f"the prompt has {len(ids)} tokens and the model reads {longest}; shorten the instruction or "
                "the history (policy.yaml: history_length)"
            )
        return (self.tokenizer.bos_token_id, *ids)

    def _answer_ids(self, answers: np.ndarray, count: int) -> list[list[int]]:
        bins = self.action_bins
        if answers.ndim != 2 or len(answers) != count or answers.dtype.kind not in "iu":
            raise ActionError(
                f"answers must be ({count}, dimensions) integers, got {answers.shape} {answers.dtype}; "
                "encode actions with ActionSpace.encode_vectors"
            )
        if answers.size and (answers.min() < 0 or answers.max() >= bins):
            raise ActionError(
                f"answers must be bins in 0..{bins - 1}, got {answers.min()}..{answers.max()}; "
                "encode actions with the ActionSpace of policy.yaml"
            )
        ids = answers.astype(np.int64) + self.first_action_token_id
        return [[*row, self.tokenizer.eos_token_id] for row in ids.tolist()]

    @property
    def first_action_token_id(self) -> int:
        """Id of `<action_000>`."""
        return int(self.tokenizer.convert_tokens_to_ids("<action_000>"))

    @property
    def action_bins(self) -> int:
        """Number of action tokens in the vocabulary."""
        return sum(token.startswith("<action_") for token in self.tokenizer.get_added_vocab())

    def _pad(self, rows: list[list[int]]) -> dict[str, Tensor]:
        longest = max(len(row) for row in rows)
        input_ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            input_ids[index, longest - len(row) :] = torch.tensor(row)
            mask[index, longest - len(row) :] = 1
        return {"input_ids": input_ids, "attention_mask": mask}

    @property
    def model_input_names(self) -> list[str]:
        """The keys of a prepared batch."""
        return ["input_ids", "attention_mask", "pixel_values"]


def image_count(prompt: str) -> int:
    """Count the placeholders of a prompt; they must be `<image 1>`, `<image 2>`, ... in order."""
    numbers = [int(number) for number in PLACEHOLDER.findall(prompt)]
    if numbers != list(range(1, len(numbers) + 1)):
        raise FrameError(
            f"image placeholders must count up from <image 1>, got {numbers}; write prompts with "
            "spatialbot_policy.prompt.build_prompt"
        )
    return len(numbers)


def _check_counts(prompts: Sequence[str], images: Sequence[Sequence[UInt8Array]]) -> None:
    if len(images) != len(prompts):
        raise FrameError(f"{len(prompts)} prompts need as many lists of images, got {len(images)}")
    for prompt, group in zip(prompts, images, strict=True):
        count = image_count(prompt)
        if count != len(group):
            raise FrameError(
                f"the prompt names {count} images, but {len(group)} were given; build prompt and images "
                "with the same pipeline (spatialbot_policy.pipeline.build_pipeline)"
            )


AutoProcessor.register(SpatialBotConfig, SpatialBotProcessor, exist_ok=True)
