"""Steps of episodes as examples: what serving sees, with the recorded action as the answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.conversation_samples import make_processor
from tests.training.training_samples import POLICY

from spatialbot_policy.model.processor import ActionForm, SpatialBotProcessor
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.prompt import PromptStyle
from spatialbot_training.episode_cache import open_store
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.frame_store import FrameStore


@pytest.fixture(scope="module")
def store(train_set: Path, cache: Path) -> FrameStore:
    return open_store((train_set,), POLICY, cache)


def test_an_example_is_what_the_pipeline_and_the_processor_make_of_its_step(store: FrameStore) -> None:
    pipeline, processor = build_pipeline(POLICY), make_processor()
    source = EpisodeExamples(store, pipeline, processor)
    assert len(source) == len(store)
    bins = POLICY.action_space.encode_vectors(store.actions)
    for row in (0, 4, 9, 25):
        example = source.example(row)
        batch = processor(pipeline.prompt(store.instructions[row]), answers=bins[row : row + 1])
        assert list(example.input_ids) == batch["input_ids"][0].tolist()
        assert list(example.labels) == batch["labels"][0].tolist()
        assert example.frames == tuple(store.history[row])
        assert source.length(row) == len(example.input_ids)


def test_a_frame_is_all_images_of_its_step_with_its_answers(store: FrameStore) -> None:
    pipeline = build_pipeline(POLICY)
    source = EpisodeExamples(store, pipeline, make_processor())
    for row in (0, 8):
        expected = pipeline.encode_observation(store.observation(row))
        for image, right in zip(source.frame(row), expected, strict=True):
            assert np.array_equal(image, right)
        assert np.array_equal(source.target(row), store.targets[row], equal_nan=True)
    with pytest.raises(TypeError, match="named by their row"):
        source.frame(("a.png",))


def test_each_instruction_is_tokenised_once(store: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    processor, asked = make_processor(), []
    form = SpatialBotProcessor.action_form

    def count(self: SpatialBotProcessor, prompt: str, *rest: Any) -> ActionForm:
        asked.append(prompt)
        return form(self, prompt, *rest)

    monkeypatch.setattr(SpatialBotProcessor, "action_form", count)
    source = EpisodeExamples(store, build_pipeline(POLICY), processor)
    for row in range(len(store)):
        assert source.length(row) == len(source.example(row).input_ids)
    assert len(asked) == len(set(asked)) == len(set(store.instructions)) < len(store)


def test_an_example_says_what_its_words_mean(store: FrameStore) -> None:
    source = EpisodeExamples(store, build_pipeline(POLICY), make_processor())
    assert np.array_equal(source.example(4).meant, store.meant[4])
    assert replace(source, store=replace(store, meant=None)).example(4).meant is None


def test_in_the_papers_wording_the_sentence_around_the_action_is_learned(store: FrameStore) -> None:
    policy, processor = replace(POLICY, prompt=PromptStyle.PAPER), make_processor()
    example = EpisodeExamples(store, build_pipeline(policy), processor).example(3)
    learned = processor.tokenizer.decode([label for label in example.labels if label != -100])
    tokens = "".join(POLICY.action_space.to_tokens(POLICY.action_space.encode_vectors(store.actions[3:4])[0]))
    assert learned == f" The robot should {tokens}.<eos>"
