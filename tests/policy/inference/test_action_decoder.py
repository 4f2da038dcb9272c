"""Decoding on a guess: whatever the guess, the tokens are those of reading one after the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spatialbot_policy.inference import ActionDecoder
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]
DIMENSIONS = 7


class Counting:
    """A decoder of one fixed prompt that counts how often the language model is read."""

    def __init__(self, model: SpatialBotForActionPrediction) -> None:
        self.decoder = ActionDecoder(model.eval())
        self.embeds = torch.randn(1, 23, model.config.text_config.hidden_size)
        self.reads = 0
        read = self.decoder._reader.read

        def counted(*arguments: object) -> Tensor:
            self.reads += 1
            return read(*arguments)  # type: ignore[arg-type]

        self.decoder._reader.read = counted  # type: ignore[method-assign, assignment]

    @torch.no_grad()
    def decode(self, guess: Tensor | None) -> list[int]:
        self.reads, length = 0, self.embeds.shape[1]
        self.decoder.reserve(1, length, DIMENSIONS)
        logits = self.decoder.prefill(self.embeds, None, DIMENSIONS, guess=guess)
        bins = self.decoder.finish(logits, None, length, DIMENSIONS, guess)
        return bins.checked()[0].tolist()


@pytest.fixture
def counting(small: Small) -> Counting:
    return Counting(small[0])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wrong=st.lists(st.integers(0, 100) | st.none(), min_size=DIMENSIONS, max_size=DIMENSIONS))
def test_any_guess_gives_the_tokens_of_none(counting: Counting, wrong: list[int | None]) -> None:
    expected = counting.decode(None)
    assert counting.reads == DIMENSIONS
    guess = [right if bin_ is None else bin_ for right, bin_ in zip(expected, wrong, strict=True)]
    assert counting.decode(torch.tensor([guess])) == expected
    assert counting.reads <= DIMENSIONS


def test_a_right_guess_needs_one_pass(counting: Counting) -> None:
    expected = counting.decode(None)
    assert counting.decode(torch.tensor([expected])) == expected
    assert counting.reads == 1
    # The last token is nobody's input.
    assert counting.decode(torch.tensor([[*expected[:-1], (expected[-1] + 1) % 101]])) == expected
    assert counting.reads == 1


def test_one_wrong_token_costs_one_pass_more_at_least(counting: Counting) -> None:
    expected = counting.decode(None)
    guess = torch.tensor([expected])
    guess[0, 3] = (guess[0, 3] + 1) % 101
    assert counting.decode(guess) == expected
    assert counting.reads >= 2


def test_logits_that_are_not_finite_are_told_with_a_guess_too(counting: Counting) -> None:
    counting.embeds = counting.embeds * float("nan")
    with pytest.raises(ValueError, match="not finite"):
        counting.decode(torch.zeros((1, DIMENSIONS), dtype=torch.long))
