"""The one way in which actions are decoded: greedily, among the action tokens alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialbot_policy.errors import ActionError
from spatialbot_policy.inference.language_reader import language_reader
from spatialbot_policy.model import SpatialBotForActionPrediction


@dataclass(frozen=True)
class Bins:
    """Decoded actions.

    Attributes:
        values: (B, dimensions) int64 bins in 0 .. action_bins - 1.
        finite: (B,) whether all logits behind a row were finite; a row of others means nothing.
    """

    values: Tensor
    finite: Tensor

    def checked(self) -> Tensor:
        """The values.

        Raises:
            ActionError: a row's logits are not finite.
        """
        if not bool(self.finite.all()):
            raise not_finite()
        return self.values


def not_finite() -> ActionError:
    """What is said instead of an action when a network diverged."""
    return ActionError(
        "the model's action logits are not finite, so no action was chosen; the weights or the "
        "training diverged: use another checkpoint or train again with a lower learning rate"
    )


class ActionDecoder:
    """Reads prompts and decodes their actions: the same tokens as `generate` restricted to action tokens.

    Sequential decoding reads one token after the other. With a guess, such as the action before, it reads the
    prompt with the guess behind it: tokens are right up to the first that differs from the guess, and what
    the pass says of the later ones is the next guess. The tokens are the same, after fewer passes. Parallel
    decoding reads the prompt and a placeholder in the place of each token but the last, and takes all tokens
    from that one pass. The head is applied to the action tokens' rows alone. Make a new decoder when weights
    have changed: small ones are copied.

    Args:
        model: the network; not copied.
        parallel: decode in parallel; None = as the model's `action_decoding` says.
        compiled: translate what is done for each token with torch.compile.

    Attributes:
        guesses: whether a guess helps: passes over one token or over a few take the same time here.
    """

    def __init__(
        self, model: SpatialBotForActionPrediction, parallel: bool | None = None, compiled: bool = False
    ) -> None:
        self._model = model
        self._parallel = model.config.action_decoding == "parallel" if parallel is None else parallel
        self._reader = language_reader(model, compiled)
        self.guesses = self._reader.keeps and not self._parallel and not compiled

    @torch.no_grad()
    def decode(self, inputs: Mapping[str, Tensor], dimensions: int) -> Tensor:
        """Decode one action per prompt.

        Args:
            inputs: `input_ids`, `attention_mask` (padding on the left) and `pixel_values` or `image_embeds`.
            dimensions: number of tokens of an action, 7 or 8.

        Returns:
            (B, dimensions) int64 bins in 0 .. action_bins - 1.

        Raises:
            ActionError: the logits are not finite, or a prompt is padded on the right.
            FrameError: images and image tokens do not agree in number.
        """
        mask = inputs["attention_mask"]
        if not bool(mask[:, -1].all()):
            raise ActionError(
                "prompts must be padded on the left to be answered; use the checkpoint's own tokenizer"
            )
        embeds = self._model.embed(
            inputs["input_ids"], inputs.get("pixel_values"), inputs.get("image_embeds")
        )
        padded = None if bool(mask.all()) else mask
        self.reserve(len(mask), mask.shape[1], dimensions)
        return self.finish(
            self.prefill(embeds, padded, dimensions), padded, mask.shape[1], dimensions
        ).checked()

    @property
    def keeps(self) -> bool:
        """Whether a prompt can begin with positions that were read with the one before."""
        return self._reader.keeps

    def reserve(self, rows: int, length: int, dimensions: int) -> None:
        """Make room for prompts of that length and their answers."""
        self._reader.reserve(rows, length + dimensions - 1)

    def prefill(
        self,
        embeds: Tensor,
        mask: Tensor | None,
        dimensions: int,
        start: int = 0,
        guess: Tensor | None = None,
    ) -> Tensor:
        """Read prompts, up to the first action token; with parallel decoding or a guess up to the last.

        Args:
            embeds: (B, L, hidden) of the prompts' positions from `start` on.
            mask: (B, start + L), 0 = padding; None when there is none.
            dimensions: of the action.
            start: leading positions that were read with the prompt before, and are the same.
            guess: (1, dimensions) bins that the answer may have; for one prompt alone, where `guesses`.

        Returns:
            (B, 1 or dimensions, action_bins) logits.
        """
        rows, more = len(embeds), dimensions - 1
        if self._parallel:
            guess = torch.zeros((rows, dimensions), dtype=torch.long, device=embeds.device)
        if guess is None:
            return self._logits(self._reader.read(embeds, start, mask, 1))
        places = self._embed_bins(guess[:, :more])
        if mask is not None:
            mask = F.pad(mask, (0, more), value=1)
        embeds = torch.cat((embeds, places.to(embeds.dtype)), dim=1)
        return self._logits(self._reader.read(embeds, start, mask, dimensions))

    def finish(
        self,
        logits: Tensor,
        mask: Tensor | None,
        length: int,
        dimensions: int,
        guess: Tensor | None = None,
    ) -> Bins:
        """Take the actions from the prompts' logits, and read on where tokens are still to come.

        Args:
            logits: of `prefill`.
            mask: (B, length) of the prompts; None when there is no padding.
            length: of the prompts, padding included.
            dimensions: of the action.
            guess: that `prefill` was given.
        """
        if guess is not None and not self._parallel:
            return self._corrected(logits, length, guess)
        seen, chosen = [logits], [logits.argmax(2)]
        while len(chosen) < dimensions and not self._parallel:
            start = length + len(chosen) - 1
            if mask is not None:
                mask = F.pad(mask, (0, 1), value=1)
            logits = self._logits(self._reader.read(self._embed_bins(chosen[-1]), start, mask, 1))
            seen.append(logits)
            chosen.append(logits.argmax(2))
        finite = torch.cat(seen, dim=1).isfinite().all(2).all(1)
        return Bins(torch.cat(chosen, dim=1), finite)

    def _corrected(self, logits: Tensor, length: int, guess: Tensor) -> Bins:
        """Read on from the first wrong token of a (1, dimensions) guess, until all tokens are right."""
        chosen, finite = logits.argmax(2), logits.isfinite().all(2)
        right = 1 + _agreement(chosen, guess)
        while right < guess.shape[1]:
            behind = self._embed_bins(chosen[:, right - 1 : -1])
            logits = self._logits(self._reader.read(behind, length + right - 1, None, behind.shape[1]))
            before, again = chosen[:, right:], logits.argmax(2)
            chosen = torch.cat((chosen[:, :right], again), dim=1)
            finite = torch.cat((finite[:, :right], logits.isfinite().all(2)), dim=1)
            right += 1 + _agreement(again, before)
        return Bins(chosen, finite.all(1))

    def _embed_bins(self, bins: Tensor) -> Tensor:
        """(B, L) bins -> (B, L, hidden) embeddings of their tokens."""
        tokens = bins + self._model.config.first_action_token_id
        return cast(Tensor, self._model.get_input_embeddings()(tokens))

    def _logits(self, hidden: Tensor) -> Tensor:
        """(B, L, hidden) -> (B, L, action_bins)."""
        head, place = self._model.get_output_embeddings(), self._model.config.action_token_slice
        if type(head) is not nn.Linear:  # an adapter around the head: only it knows what it adds
            return cast(Tensor, head(hidden))[..., place]
        return F.linear(hidden, head.weight[place], None if head.bias is None else head.bias[place])


def _agreement(chosen: Tensor, guess: Tensor) -> int:
    """How many leading tokens of two (1, N) answers are the same."""
    return int((chosen == guess)[0].long().cumprod(0).sum())
