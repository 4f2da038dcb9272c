"""The tokenizer loses nothing, and its action tokens are consecutive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.model import train_tokenizer

CORPUS = ["pick up the red cup", "put the ball on the left board", "pick the tallest cup"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(CORPUS * 5, ActionSpace(), vocab_size=300)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=60))
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_known_words_are_short(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer("pick up the cup")["input_ids"]) < len("pick up the cup") / 2


def test_action_tokens_are_consecutive_and_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    names = ActionSpace().token_strings
    ids = tokenizer.convert_tokens_to_ids(list(names))
    assert ids == list(range(ids[0], ids[0] + 101))
    assert tokenizer("".join(names), add_special_tokens=False)["input_ids"] == ids


def test_same_corpus_gives_same_vocabulary(tokenizer: PreTrainedTokenizerFast) -> None:
    again = train_tokenizer(CORPUS * 5, ActionSpace(), vocab_size=300)
    assert again.get_vocab() == tokenizer.get_vocab()


def test_other_number_of_bins() -> None:
    tokenizer = train_tokenizer(CORPUS, ActionSpace(bins=51), vocab_size=300)
    assert "<action_050>" in tokenizer.get_vocab()
    assert "<action_051>" not in tokenizer.get_vocab()
