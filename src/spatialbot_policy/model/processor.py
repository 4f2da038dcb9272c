"""Prompts, conversations and images to model inputs, and answers to labels: the model's processor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessorMixin

from spatialbot_policy.conversation import Role, Turn, count_images, plain_template
from spatialbot_policy.conversation_config import ConversationTemplate
from spatialbot_policy.errors import ActionError, ConversationError, FrameError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.loss import IGNORE
from spatialbot_policy.model.turn_tokens import encode_conversations
from spatialbot_policy.prompt import PromptStyle, answer_separator, build_answer
from spatialbot_policy.types import UInt8Array


class Encoded(NamedTuple):
    """Token ids of a text, and as many labels: -100 everywhere but on the answers and their ends."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


class ActionForm(NamedTuple):
    """A prompt with an answer of zeros, and the places of the action's tokens."""

    encoded: Encoded
    places: tuple[int, ...]

    def filled(self, tokens: Sequence[int]) -> Encoded:
        """The same with these action tokens."""
        ids, labels = list(self.encoded.input_ids), list(self.encoded.labels)
        for place, token in zip(self.places, tokens, strict=True):
            ids[place] = labels[place] = token
        return Encoded(tuple(ids), tuple(labels))


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
        self._answer_form = lru_cache(maxsize=4096)(self._encode_answer_form)

    def __call__(
        self,
        prompts: str | Sequence[str],
        images: Sequence[UInt8Array] | Sequence[Sequence[UInt8Array]] | None = None,
        answers: np.ndarray | None = None,
        style: PromptStyle = PromptStyle.REFERENCE,
    ) -> BatchFeature:
        """Prepare one robot prompt or a batch of them.

        Args:
            prompts: one prompt, or B of them, with placeholders `<image 1>` .. `<image N>` in order.
            images: the prompt's (H, W, 3) uint8 images, or one such list per prompt, all of one size;
                None leaves the images out (they are passed to the model as `image_embeds`).
            answers: (B, D) bins of the answers, for training.
            style: wording of the answers.

        Returns:
            input_ids, attention_mask (B, L) padded on the left; pixel_values (N, 3, H, W) uint8 in
            reading order when images were given; labels (B, L) when answers were given.

        Raises:
            FrameError: placeholders and images disagree in number, or an image is of another type or size.
            ConversationError: placeholders out of order.
            ActionError: answers of another shape, or outside the bins.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        batch: dict[str, Tensor] = {}
        if images is not None:
            groups = cast("Sequence[Sequence[UInt8Array]]", [images] if isinstance(prompts, str) else images)
            _check_counts(texts, groups)
            batch["pixel_values"] = self.stack_images([image for group in groups for image in group])
        if answers is None:
            batch.update(self.pad_rows([self.prompt_ids(text) for text in texts]))
            return BatchFeature(batch)
        self._check_answers(answers, len(texts))
        encoded = [self.encode_action(text, row, style) for text, row in zip(texts, answers, strict=True)]
        batch.update(self.pad_rows([row.input_ids for row in encoded], [row.labels for row in encoded]))
        return BatchFeature(batch)

    def prompt_ids(self, prompt: str) -> tuple[int, ...]:
        """Token ids of one robot prompt, remembered: an instruction is asked many times.

        Raises:
            ConversationError: placeholders out of order.
            FrameError: a prompt longer than the model reads.
        """
        return self._prompt_ids(prompt)

    def encode_action(
        self, prompt: str, bins: np.ndarray, style: PromptStyle = PromptStyle.REFERENCE
    ) -> Encoded:
        """Encode a robot prompt with its action: action tokens, in the sentence that the style has for them.

        Args:
            prompt: with placeholders, as `build_prompt` writes it.
            bins: (D,) bins of the action.
            style: wording of the answer.

        Raises:
            ActionError: bins of another shape, or outside the vocabulary's.
            ConversationError: placeholders out of order.
            FrameError: a prompt longer than the model reads.
        """
        tokens = self.action_tokens(np.asarray(bins)[None])[0]
        return self.action_form(prompt, len(tokens), style).filled(tokens.tolist())

    def action_tokens(self, bins: np.ndarray) -> np.ndarray:
        """(N, D) bins of actions -> (N, D) ids of their tokens.

        Raises:
            ActionError: bins of another shape, or outside the vocabulary's.
        """
        self._check_answers(bins, len(bins))
        return np.asarray(bins + self.first_action_token_id)

    def action_form(
        self, prompt: str, dimensions: int, style: PromptStyle = PromptStyle.REFERENCE
    ) -> ActionForm:
        """What all answers to a robot prompt share, to be filled with an action's tokens; remembered.

        Raises:
            ConversationError: placeholders out of order.
            FrameError: a prompt longer than the model reads.
        """
        return self._answer_form(prompt, dimensions, style)

    def encode_turns(
        self, turns: Sequence[Turn], template: ConversationTemplate, max_length: int | None = None
    ) -> Encoded:
        """Encode a conversation: labels on the answers and their end tokens alone.

        Args:
            turns: the user's with numbered placeholders; the last one may be a question to be answered.
            template: the checkpoint's wording around the turns.
            max_length: tokens that a conversation may have; None takes the tokenizer's own limit.

        Raises:
            ConversationError: roles or placeholders out of order, a turn that holds a special token, or a
                conversation that is too long: nothing is ever cut off.
        """
        return self.encode_conversations([turns], template, max_length)[0]

    def encode_conversations(
        self,
        conversations: Sequence[Sequence[Turn]],
        template: ConversationTemplate,
        max_length: int | None = None,
    ) -> list[Encoded]:
        """Encode several conversations as `encode_turns` does each, in one call of the tokenizer."""
        limit = min(max_length or self.tokenizer.model_max_length, self.tokenizer.model_max_length)
        rows = encode_conversations(self.tokenizer, conversations, template, self.tokens_per_image)
        for ids, _ in rows:
            if len(ids) > limit:
                raise ConversationError(
                    f"the conversation has {len(ids)} tokens ({ids.count(self.tokenizer.image_token_id)} of "
                    f"images) and the limit is {limit}; shorten it, show fewer images, or raise the limit"
                )
        return [Encoded(ids, labels) for ids, labels in rows]

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

    def pad_rows(
        self, rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Pad B rows of ids and their labels on the left: `input_ids`, `attention_mask`, `labels` (B, L)."""
        lengths = np.array([len(row) for row in rows])
        longest = int(lengths.max())
        mask = np.arange(longest) >= longest - lengths[:, None]
        padded = {
            "input_ids": _laid_out(rows, mask, self._pad_id),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }
        return padded if labels is None else {**padded, "labels": _laid_out(labels, mask, IGNORE)}

    @property
    def _pad_id(self) -> int:
        """Any id will do under the mask; some published tokenizers have no padding token."""
        tokenizer = self.tokenizer
        return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)

    def _tokenize(self, prompt: str) -> tuple[int, ...]:
        ids = self._encode_robot_turns([Turn(Role.USER, prompt)], PromptStyle.REFERENCE).input_ids
        longest = self.tokenizer.model_max_length
        if len(ids) > longest:
            raise FrameError(
                f"the prompt has {len(ids)} tokens and the model reads {longest}; shorten the instruction or "
                "the history (policy.yaml: history_length)"
            )
        return ids

    def _encode_robot_turns(self, turns: Sequence[Turn], style: PromptStyle) -> Encoded:
        tokenizer = self.tokenizer
        template = plain_template(tokenizer.bos_token or "", tokenizer.eos_token, answer_separator(style))
        return Encoded(*encode_conversations(tokenizer, [turns], template, self.tokens_per_image)[0])

    def _encode_answer_form(self, prompt: str, dimensions: int, style: PromptStyle) -> ActionForm:
        self._prompt_ids(prompt)
        answer = build_answer("<action_000>" * dimensions, style)
        form = self._encode_robot_turns([Turn(Role.USER, prompt), Turn(Role.ASSISTANT, answer)], style)
        zero = self.first_action_token_id
        return ActionForm(form, tuple(place for place, token in enumerate(form.labels) if token == zero))

    def _check_answers(self, answers: np.ndarray, count: int) -> None:
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

    @property
    def first_action_token_id(self) -> int:
        """Id of `<action_000>`."""
        return int(self.tokenizer.convert_tokens_to_ids("<action_000>"))

    @property
    def action_bins(self) -> int:
        """Number of action tokens in the vocabulary."""
        return sum(token.startswith("<action_") for token in self.tokenizer.get_added_vocab())

    @property
    def model_input_names(self) -> list[str]:
        """The keys of a prepared batch."""
        return ["input_ids", "attention_mask", "pixel_values"]


def _laid_out(rows: Sequence[Sequence[int]], mask: np.ndarray, filling: int) -> Tensor:
    """Rows of numbers in reading order where the (B, L) mask is true, and `filling` elsewhere."""
    values = np.full(mask.shape, filling, dtype=np.int64)
    values[mask] = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(mask.sum()))
    return torch.from_numpy(values)


def _check_counts(prompts: Sequence[str], images: Sequence[Sequence[UInt8Array]]) -> None:
    if len(images) != len(prompts):
        raise FrameError(f"{len(prompts)} prompts need as many lists of images, got {len(images)}")
    for prompt, group in zip(prompts, images, strict=True):
        count = count_images([Turn(Role.USER, prompt)])
        if count != len(group):
            raise FrameError(
                f"the prompt names {count} images, but {len(group)} were given; build prompt and images "
                "with the same pipeline (spatialbot_policy.pipeline.build_pipeline)"
            )


AutoProcessor.register(SpatialBotConfig, SpatialBotProcessor, exist_ok=True)
