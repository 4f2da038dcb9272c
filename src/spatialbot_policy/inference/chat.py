"""Plain conversation with a checkpoint: shows images, asks, keeps the turns; any token may be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spatialbot_policy.conversation import Role, Turn, check_turns
from spatialbot_policy.errors import ConversationError
from spatialbot_policy.image_files import ConversationImages
from spatialbot_policy.model.checkpoint import ConversationCheckpoint, load_conversation
from spatialbot_policy.prompt import image_placeholder
from spatialbot_policy.types import DepthArray, UInt8Array

Picture = UInt8Array | DepthArray


@dataclass(frozen=True)
class Answer:
    """What the model said; `complete` is False when it was stopped by the limit of tokens."""

    text: str
    complete: bool


class Chat:
    """One conversation; images are encoded once and stay in view of all later turns.

    Args:
        checkpoint: one that can converse, or a policy: any answer may be asked of both.
    """

    def __init__(self, checkpoint: ConversationCheckpoint) -> None:
        self._model, self._processor = checkpoint.model.eval(), checkpoint.processor
        self._config = checkpoint.conversation
        self._images = ConversationImages(self._config)
        self._end = _end_token(checkpoint)
        self.reset()

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str = "cpu") -> Chat:
        """Load a checkpoint directory.

        Raises:
            CheckpointError: a file is missing or damaged, or its parts disagree.
        """
        return cls(load_conversation(path, device))

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was asked and answered so far."""
        return self._turns

    def reset(self) -> None:
        """Begin another conversation: turns and images are forgotten."""
        self._turns: tuple[Turn, ...] = ()
        self._embeds: list[Tensor] = []
        self._shown = 0
        self._unasked: list[int] = []

    @torch.inference_mode()
    def show(self, pictures: Sequence[Picture]) -> None:
        """Put images before the next question.

        Args:
            pictures: (H, W, 3) uint8 RGB, or (H, W) millimetres of depth, after the colour image it is of.

        Raises:
            ConversationError: a depth image that cannot be used, or more images than a conversation holds.
            FrameError: the tower reads colour and depth together, and one of them is missing.
        """
        count = self._shown + len(pictures)
        if count > self._config.max_images:
            raise ConversationError(
                f"{count} images; this checkpoint converses about at most {self._config.max_images}"
            )
        if not pictures:
            return
        pixels = self._processor.stack_images([self._images.prepare(picture) for picture in pictures])
        self._embeds.append(self._model.encode_images(pixels.to(self._model.device)))
        self._unasked += range(self._shown + 1, count + 1)
        self._shown = count

    @torch.inference_mode()
    def ask(self, question: str, max_new_tokens: int = 512) -> Answer:
        """Ask the next question; the answer becomes part of the conversation, unless it is empty.

        Raises:
            ConversationError: an empty question, one with a placeholder or special token of its own, or a
                conversation longer than the model reads. The conversation stays as it was.
        """
        if max_new_tokens < 1:
            raise ConversationError(f"an answer needs at least 1 token, got max_new_tokens={max_new_tokens}")
        if not question.strip() or "<image" in question:
            raise ConversationError(
                "a question needs words, and images are shown apart from it: no '<image ..>'"
            )
        shown = "".join(f"{image_placeholder(number)}\n" for number in self._unasked)
        asked = (*self._turns, Turn(Role.USER, shown + question.strip()))
        check_turns(asked)
        encoded = self._processor.encode_turns(asked, self._config.template)
        tokenizer, inputs = self._processor.tokenizer, self._processor.pad_rows([encoded.input_ids])
        room = tokenizer.model_max_length - len(encoded.input_ids)
        if room < 1:
            raise ConversationError("the conversation fills all that the model reads; begin another one")
        images = {"image_embeds": torch.cat(self._embeds)} if self._embeds else {}
        said = self._model.generate(
            **{name: value.to(self._model.device) for name, value in inputs.items()},
            **images,
            max_new_tokens=min(max_new_tokens, room),
            do_sample=False,
            eos_token_id=self._end,
            pad_token_id=self._end,
        )[0, len(encoded.input_ids) :].tolist()
        complete = bool(said) and said[-1] == self._end
        text = tokenizer.decode([token for token in said if token not in tokenizer.all_special_ids]).strip()
        if text:
            self._turns, self._unasked = (*asked, Turn(Role.ASSISTANT, text)), []
        return Answer(text, complete)


def _end_token(checkpoint: ConversationCheckpoint) -> int:
    """Id of the token that ends an answer.

    Raises:
        ConversationError: the template's end is no token of the tokenizer.
    """
    end, tokenizer = checkpoint.conversation.template.end, checkpoint.processor.tokenizer
    ids = tokenizer(end, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ConversationError(
            f"answers end with {end!r}, which is {len(ids)} tokens of this tokenizer; take conversation.yaml "
            "and the tokenizer from one checkpoint"
        )
    return int(ids[0])
