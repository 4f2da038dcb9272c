"""Batches: every distinct frame once, over prompts and sources, gathered in the order that prompts show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.conversation_samples import entry, make_processor, write_file
from tests.training.training_samples import POLICY

from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ConversationError, FrameError
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.collate import Batch, Pick, collate
from spatialbot_training.conversation_data import ConversationExamples
from spatialbot_training.episode_cache import open_store
from spatialbot_training.examples import EpisodeExamples, ExampleSource
from spatialbot_training.frame_store import FrameStore

TALK = [
    entry(["a.png", "a_d.png"], "how far?", "far"),
    entry(["b.png", "a.png"], "and these?", "near", "sure?", "yes"),
    entry([], "2 + 2?", "4"),
]


@pytest.fixture(scope="module")
def processor() -> SpatialBotProcessor:
    return make_processor()


@pytest.fixture
def store(train_set: Path, cache: Path) -> FrameStore:
    return open_store((train_set,), POLICY, cache)


@pytest.fixture
def sources(store: FrameStore, tmp_path: Path, processor: SpatialBotProcessor) -> list[ExampleSource]:
    """Episodes, and conversations at the same size of image."""
    template = ConversationTemplate(end="<eos>", begin="<bos>")
    config = ConversationConfig(32, 32, depth_variant=DepthVariant.PAPER, template=template)
    talk = ConversationExamples(write_file(tmp_path, TALK), config, processor)
    return [EpisodeExamples(store, build_pipeline(POLICY), processor), talk]


def shown(batch: Batch) -> np.ndarray:
    """The images in reading order, (S, 3, H, W)."""
    return batch.pixel_values[batch.slots].numpy()


def expected(picks: list[Pick], sources: list[ExampleSource]) -> np.ndarray:
    images = [
        image
        for pick in picks
        for key in sources[pick.source].example(pick.index).frames
        for image in sources[pick.source].frame(key)
    ]
    return np.stack(images).transpose(0, 3, 1, 2)


PICKS = [Pick(0, 0), Pick(1, 1), Pick(0, 2), Pick(0, 1), Pick(1, 2), Pick(1, 0), Pick(0, 9)]


def test_each_image_slot_shows_its_image_and_each_frame_is_there_once(
    sources: list[ExampleSource], store: FrameStore, processor: SpatialBotProcessor
) -> None:
    batch = collate(PICKS, sources, processor)
    assert np.array_equal(shown(batch), expected(PICKS, sources))
    steps = {int(row) for pick in PICKS if pick.source == 0 for row in store.history[pick.index]}
    assert len(batch.pixel_values) == 2 * len(steps) + 3  # colour and depth of a step; a, a_d and b
    assert len(batch.first_images) == len(steps) + 3
    assert sorted(set(batch.slots.tolist())) == list(range(len(batch.pixel_values)))
    assert batch.picks == tuple(PICKS)


def test_embeddings_are_gathered_for_every_image_token(
    sources: list[ExampleSource], processor: SpatialBotProcessor
) -> None:
    batch = collate(PICKS, sources, processor)
    embeds = torch.arange(len(batch.pixel_values) * 2 * 5).view(-1, 2, 5)
    gathered = batch.gather(embeds)
    image = processor.tokenizer.image_token_id
    assert len(gathered) == int((batch.inputs["input_ids"] == image).sum())
    assert torch.equal(gathered, torch.cat([embeds[slot] for slot in batch.slots.tolist()]))


def test_prompts_are_those_of_the_examples(
    sources: list[ExampleSource], processor: SpatialBotProcessor
) -> None:
    batch = collate(PICKS, sources, processor)
    for row, pick in enumerate(PICKS):
        example = sources[pick.source].example(pick.index)
        mask = batch.inputs["attention_mask"][row].bool()
        assert mask[-len(example.input_ids) :].all() and int(mask.sum()) == len(example.input_ids)
        assert batch.inputs["input_ids"][row][mask].tolist() == list(example.input_ids)
        assert batch.inputs["labels"][row][mask].tolist() == list(example.labels)
        assert (batch.inputs["labels"][row][~mask] == -100).all()
    assert batch.weights.tolist() == [1.0] * len(PICKS)


def test_frames_of_episodes_have_answers_and_those_of_conversations_none(
    sources: list[ExampleSource], store: FrameStore, processor: SpatialBotProcessor
) -> None:
    batch = collate([Pick(0, 0), Pick(1, 0)], sources, processor)
    assert np.array_equal(batch.targets[0].numpy(), store.targets[0], equal_nan=True)
    assert torch.isnan(batch.targets[1:]).all() and len(batch.targets) == 3
    assert batch.first_images.tolist() == [0, 2, 3]


def test_a_batch_may_hold_no_image(sources: list[ExampleSource], processor: SpatialBotProcessor) -> None:
    batch = collate([Pick(1, 2)], sources, processor)
    assert len(batch.pixel_values) == len(batch.slots) == len(batch.targets) == 0
    assert batch.gather(torch.zeros(0, 2, 5)).shape == (0, 5)


def test_moving_keeps_everything(sources: list[ExampleSource], processor: SpatialBotProcessor) -> None:
    batch = collate(PICKS, sources, processor)
    moved = batch.to("cpu")
    assert torch.equal(moved.slots, batch.slots) and moved.picks == batch.picks
    assert moved.inputs.keys() == {"input_ids", "attention_mask", "labels"}


def test_no_example_and_images_of_two_sizes_are_refused(
    sources: list[ExampleSource], tmp_path: Path, processor: SpatialBotProcessor
) -> None:
    with pytest.raises(ConversationError, match="at least one example"):
        collate([], sources, processor)
    template = ConversationTemplate(end="<eos>", begin="<bos>")
    small = ConversationExamples(
        tmp_path / "talk.json", ConversationConfig(8, 8, template=template), processor
    )
    with pytest.raises(FrameError, match="of one size"):
        collate([Pick(0, 0), Pick(1, 0)], [sources[0], small], processor)


def test_images_that_do_not_fill_the_image_tokens_are_refused(
    sources: list[ExampleSource], processor: SpatialBotProcessor
) -> None:
    other = SpatialBotProcessor(processor.tokenizer, tokens_per_image=3)
    with pytest.raises(ConversationError, match="example 0 of source 1 has 4 image tokens and 2 images"):
        collate([Pick(1, 0)], sources, other)
