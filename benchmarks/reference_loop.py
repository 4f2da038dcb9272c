"""The two loops people run today, written down as they are run: what the engine is measured against.

Both keep the last frames as pictures and encode all of them anew in each step: depth to three channels,
resize, vision tower, projector. The prompt is tokenized, and `generate` of transformers decodes greedily with
a cache over the whole vocabulary: the action as free text, as the paper prints it, or seven action tokens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, pre_tokenizers
from torch import Tensor

from spatialbot_policy.conversation import Role, Turn, plain_template
from spatialbot_policy.errors import ActionError
from spatialbot_policy.history import History
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.prompt import answer_separator
from spatialbot_policy.types import ActionStep, Observation

EXAMPLE = "<0.17, 0.51, 0.44, 0.62, 0.83, 0.07, 1>"
"""An action as text, from the paper; most values have two decimals, so most actions are as long."""
STAGES = ("encode", "vision", "prefill", "tokens", "action")

_QWEN_PIECES = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
"""Where Qwen's tokenizers cut a text before they merge bytes (pre_tokenizer of Qwen1.5's tokenizer.json)."""


def qwen_tokens(text: str = EXAMPLE) -> int:
    """Count the tokens that Qwen's vocabulary gives an action's text, without having the vocabulary.

    Qwen cuts at every digit, and no merge crosses a cut. Around the digits an action's text leaves pieces of
    one byte each, and every single byte is a token: the count is that of the pieces, whatever the merges are.

    Raises:
        ActionError: the text has a longer piece, whose tokens depend on the merges.
    """
    pieces = [piece for piece, _ in pre_tokenizers.Split(_QWEN_PIECES, "isolated").pre_tokenize_str(text)]
    longer = [piece for piece in pieces if len(piece.encode()) > 1]
    if longer:
        raise ActionError(f"the pieces {longer} of {text!r} need the vocabulary to be counted")
    return len(pieces)


def own_tokens(made: Checkpoint, text: str = EXAMPLE) -> int:
    """Count the tokens of an action's text in the checkpoint's own tokenizer."""
    return len(made.processor.tokenizer(text, add_special_tokens=False)["input_ids"])


class Clock:
    """Milliseconds between laps; waits for the device at each, so that a stage pays for its own work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = self._now()

    def lap(self) -> float:
        """Milliseconds since the last lap."""
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() * 1e3


@dataclass
class ReferenceLoop:
    """Four frames anew each step, and plain `generate` over the whole vocabulary.

    Attributes:
        made: the checkpoint, in the type and on the device it is to run on.
        new_tokens: how many tokens are generated, neither fewer nor more, so that the time does not depend
            on what the weights say.
        as_text: the answer is the action as text and is parsed; otherwise it is action tokens.
        suppressed: tokens that may not be said; with all but the action tokens it says what the engine does.
        stages: milliseconds of the last step by STAGES.
    """

    made: Checkpoint
    new_tokens: int
    as_text: bool
    suppressed: list[int] | None = None
    stages: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pipeline = build_pipeline(self.made.policy)
        self._history = History(self.made.policy.history_length, self.made.policy.max_gap_ns)

    @torch.inference_mode()
    def step(self, observation: Observation) -> ActionStep | None:
        """Answer one observation; None where the answer is no action, as with most weights it is not."""
        model, clock = self.made.model, Clock(self.made.model.device)
        pictures = [
            image
            for past in self._history.push(observation)
            for image in self._pipeline.encode_observation(past)
        ]
        pixels = self.made.processor.stack_images(pictures).to(model.device)
        inputs = self._tokenize(self._pipeline.prompt(observation.instruction))
        encode_ms = clock.lap()
        embeds = model.encode_images(pixels)
        vision_ms = clock.lap()
        prefill: list[float] = []

        def after_forward(*_: Any) -> None:
            if not prefill:
                prefill.append(clock.lap())

        hook = model.register_forward_hook(after_forward)
        said = model.generate(
            **inputs,
            image_embeds=embeds,
            min_new_tokens=self.new_tokens,
            max_new_tokens=self.new_tokens,
            do_sample=False,
            use_cache=True,
            suppress_tokens=self.suppressed,
            pad_token_id=0,
        )
        hook.remove()
        answer = said[0, -self.new_tokens :].tolist()
        tokens_ms = clock.lap()
        action = self._parse(answer)
        times = (encode_ms, vision_ms, prefill[0], tokens_ms, clock.lap())
        self.stages = dict(zip(STAGES, times, strict=True))
        return action

    def _tokenize(self, prompt: str) -> dict[str, Tensor]:
        """The prompt's ids; the processor itself remembers them, which this loop does not."""
        processor = self.made.processor
        ids = processor.encode_turns([Turn(Role.USER, prompt)], self._template).input_ids
        device = self.made.model.device
        return {name: value.to(device) for name, value in processor.pad_rows([ids]).items()}

    @cached_property
    def _template(self) -> Any:
        tokenizer = self.made.processor.tokenizer
        separator = answer_separator(self.made.policy.prompt)
        return plain_template(tokenizer.bos_token or "", tokenizer.eos_token, separator)

    def _parse(self, answer: list[int]) -> ActionStep | None:
        tokenizer, space = self.made.processor.tokenizer, self._pipeline.action_space
        try:
            if self.as_text:
                bins = space.from_text(tokenizer.decode(answer, skip_special_tokens=True))
            else:
                bins = space.from_tokens(tokenizer.convert_ids_to_tokens(answer))
        except (ActionError, TypeError):  # TypeError: an id beyond the tokenizer's
            return None
        return self._pipeline.action_bins.inverse(np.asarray(bins))
