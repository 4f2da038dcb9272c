"""The processor puts image tokens where the placeholders are and refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialbot_policy.errors import ActionError, ConversationError, FrameError
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor
from spatialbot_policy.prompt import PromptStyle, build_prompt

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]


def images(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_any_number_of_images(small: Small, count: int) -> None:
    model, processor = small
    batch = processor(build_prompt("pick up the cup", count, PromptStyle.REFERENCE), images(count))
    assert (batch["input_ids"] == model.config.image_token_id).sum() == 2 * count
    assert batch["pixel_values"].shape == (count, 3, 32, 32)
    assert batch["pixel_values"].dtype == torch.uint8


def test_pixels_keep_their_values_and_order(small: Small) -> None:
    given = images(4)
    batch = small[1](["<image 1><image 2>a", "<image 1><image 2>b"], [given[:2], given[2:]])
    for image, tensor in zip(given, batch["pixel_values"], strict=True):
        assert np.array_equal(tensor.permute(1, 2, 0).numpy(), image)


def test_prompts_are_padded_on_the_left(small: Small) -> None:
    batch = small[1](["short", "a much longer prompt"], None)
    assert batch["attention_mask"][0, 0] == 0
    assert batch["attention_mask"][:, -1].all()
    assert "pixel_values" not in batch


def test_labels_are_the_answer_and_the_end(small: Small) -> None:
    model, processor = small
    answers = np.arange(14).reshape(2, 7)
    batch = processor(["a", "a longer prompt"], None, answers)
    first = model.config.first_action_token_id
    assert (batch["labels"][:, -8:-1] - first).tolist() == answers.tolist()
    assert (batch["labels"][:, -1] == processor.tokenizer.eos_token_id).all()
    assert (batch["labels"][:, :-8] == -100).all()
    assert torch.equal(batch["labels"][:, -8:], batch["input_ids"][:, -8:])


@pytest.mark.parametrize("given", [0, 1, 3])
def test_another_number_of_images_is_refused(small: Small, given: int) -> None:
    with pytest.raises(FrameError, match=f"names 2 images, but {given} were given.*build_pipeline"):
        small[1]("<image 1><image 2>go", images(given))


def test_another_number_of_lists_is_refused(small: Small) -> None:
    with pytest.raises(FrameError, match="2 prompts need as many lists"):
        small[1](["<image 1>a", "<image 1>b"], [images(1)])


def test_placeholders_out_of_order_are_refused(small: Small) -> None:
    with pytest.raises(ConversationError, match="count up from <image 1>"):
        small[1]("<image 2><image 1>go", images(2))


@pytest.mark.parametrize(
    "second",
    [np.zeros((32, 48, 3), np.uint8), np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.uint8)],
)
def test_images_of_another_kind_are_refused(small: Small, second: np.ndarray) -> None:
    with pytest.raises(FrameError, match="of one size.*policy.yaml"):
        small[1]("<image 1><image 2>go", [np.zeros((32, 32, 3), np.uint8), second])


def test_too_long_a_prompt_is_refused(small: Small) -> None:
    with pytest.raises(FrameError, match="shorten the instruction"):
        small[1]("zq" * 600)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (np.full((1, 7), 101), "bins in 0..100"),
        (np.full((1, 7), -1), "bins in 0..100"),
        (np.zeros((2, 7), int), "answers must be"),
        (np.zeros((1, 7)), "integers"),
    ],
)
def test_wrong_answers_are_refused(small: Small, answers: np.ndarray, message: str) -> None:
    with pytest.raises(ActionError, match=message):
        small[1](["a"], None, answers)
