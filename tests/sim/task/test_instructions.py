"""Instructions: templates filled in, and held-out phrasings that training never shows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_sim.task.instructions import DEGREES, Phrasing, write_instruction

rngs = st.integers(0, 10**9).map(np.random.default_rng)
DRAWS = 200


def skeletons(phrasing: Phrasing, viewer: str | None) -> set[str]:
    """Every wording of a set, with marks where the words go."""
    rng = np.random.default_rng(0)
    return {write_instruction(rng, phrasing, "OBJECT", "BOARD", viewer) for _ in range(DRAWS)}


@pytest.mark.parametrize("viewer", [None, "robot", "camera"])
def test_held_out_phrasings_never_occur_in_training(viewer):
    train, held_out = skeletons(Phrasing.TRAIN, viewer), skeletons(Phrasing.HELD_OUT, viewer)
    assert len(train) >= 5 and len(held_out) >= 3
    assert train.isdisjoint(held_out)


def test_each_part_of_a_held_out_phrasing_is_new_not_only_the_whole():
    def parts(phrasing: Phrasing) -> tuple[set[str], set[str]]:
        texts = [text.split(", ") for text in skeletons(phrasing, "robot")]
        return {text[0] for text in texts}, {text[1] for text in texts}

    (train_sentences, train_endings), (sentences, endings) = parts(Phrasing.TRAIN), parts(Phrasing.HELD_OUT)
    assert train_sentences.isdisjoint(sentences)
    assert train_endings.isdisjoint(endings)


@given(rngs, st.sampled_from(Phrasing), st.sampled_from([None, "robot", "camera"]))
def test_an_instruction_names_object_and_board_once_and_the_viewer_when_it_matters(rng, phrasing, viewer):
    text = write_instruction(rng, phrasing, "red cup", "left board", viewer)
    assert text.count("red cup") == 1 and text.count("left board") == 1
    assert not re.search(r"[{}\n]", text)
    named = re.findall(r"\b(robot|camera)\b", text)
    assert named == ([] if viewer is None else [viewer])


@given(st.integers(0, 10**9), st.sampled_from(Phrasing))
def test_the_same_generator_writes_the_same_words(seed, phrasing):
    texts = {
        write_instruction(np.random.default_rng(seed), phrasing, "red cup", "left board", "robot")
        for _ in range(2)
    }
    assert len(texts) == 1


def test_every_word_of_size_has_three_different_degrees():
    assert all(len(set(degrees)) == 3 for degrees in DEGREES.values())
    assert [degrees[0] for degrees in DEGREES.values()] == list(DEGREES)
