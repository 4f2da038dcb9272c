"""The network: loss, image embeddings, constrained decoding and round trips through files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from spatialbot_policy.errors import ActionError, ConfigError, FrameError
from spatialbot_policy.inference import ActionDecoder
from spatialbot_policy.model import SpatialBotConfig, SpatialBotForActionPrediction, SpatialBotProcessor
from spatialbot_policy.model.loss import answer_loss
from spatialbot_policy.prompt import PromptStyle, build_prompt

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]
INSTRUCTIONS = ("pick up the red cup", "put the smallest ball on the left board seen by the camera", "stack")


def batch(processor: SpatialBotProcessor, answers: bool = False, images: int = 4) -> dict[str, Tensor]:
    """Three prompts of different lengths with different images."""
    rng = np.random.default_rng(3)
    prompts = [build_prompt(text, images, PromptStyle.REFERENCE) for text in INSTRUCTIONS]
    pixels = rng.integers(0, 256, (3, images, 32, 32, 3), dtype=np.uint8)
    bins = rng.integers(0, 101, (3, 7)) if answers else None
    return dict(processor(prompts, [list(group) for group in pixels], bins))


class OnlyActions(LogitsProcessor):
    """Allows `dimensions` action tokens, then the end."""

    def __init__(self, config: SpatialBotConfig, prompt_length: int, dimensions: int) -> None:
        self.config, self.prompt_length, self.dimensions = config, prompt_length, dimensions

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        allowed = torch.full_like(scores, -torch.inf)
        if input_ids.shape[1] - self.prompt_length < self.dimensions:
            place = self.config.action_token_slice
            allowed[:, place] = scores[:, place]
        else:
            allowed[:, self.config.eos_token_id] = 0.0
        return allowed


@pytest.mark.parametrize("dimensions", [7, 8])
def test_decoding_equals_generate_with_a_logits_processor(small: Small, dimensions: int) -> None:
    model, processor = small
    inputs = batch(processor)
    length = inputs["input_ids"].shape[1]
    reference = model.generate(
        **inputs,
        max_new_tokens=dimensions + 1,
        do_sample=False,
        logits_processor=LogitsProcessorList([OnlyActions(model.config, length, dimensions)]),
    )
    assert (reference[:, -1] == model.config.eos_token_id).all()
    expected = reference[:, length:-1] - model.config.first_action_token_id
    bins = ActionDecoder(model).decode(inputs, dimensions)
    assert bins.tolist() == expected.tolist()
    assert len(set(map(tuple, bins.tolist()))) > 1, "random weights that ignore their inputs prove nothing"


def test_padding_does_not_change_the_answer(small: Small) -> None:
    model, processor = small
    inputs = batch(processor)
    together = ActionDecoder(model).decode(inputs, 7)
    for row, text in enumerate(INSTRUCTIONS):
        alone = dict(processor(build_prompt(text, 4, PromptStyle.REFERENCE)))
        alone["pixel_values"] = inputs["pixel_values"][4 * row : 4 * row + 4]
        assert ActionDecoder(model).decode(alone, 7).tolist() == together[row : row + 1].tolist()


def test_cached_decoding_agrees_with_one_full_pass(small: Small) -> None:
    model, processor = small
    inputs = batch(processor)
    bins = ActionDecoder(model).decode(inputs, 7)
    full = dict(inputs)
    answer = bins + model.config.first_action_token_id
    full["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
    full["attention_mask"] = torch.cat([inputs["attention_mask"], torch.ones_like(answer)], dim=1)
    logits = model(**full, logits_to_keep=8).logits[:, :-1, model.config.action_token_slice]
    assert logits.argmax(-1).tolist() == bins.tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_an_error(small: Small, value: float) -> None:
    model, processor = small
    with torch.no_grad():
        model.projector.linear_2.bias[0] = value
    with pytest.raises(ActionError, match="not finite.*another checkpoint"):
        ActionDecoder(model).decode(batch(processor), 7)


def test_right_padding_is_refused(small: Small) -> None:
    model, processor = small
    inputs = batch(processor)
    inputs["attention_mask"][0, -1] = 0
    with pytest.raises(ActionError, match="padded on the left"):
        ActionDecoder(model).decode(inputs, 7)


def test_image_embeddings_can_be_kept_and_gathered(small: Small) -> None:
    model, processor = small
    inputs = batch(processor, answers=True)
    direct = model(**inputs)
    pixels = inputs.pop("pixel_values")
    # Encode the frames (colour and depth) in another order and gather them back.
    order = torch.randperm(len(pixels) // 2)
    embeds = model.encode_images(pixels.unflatten(0, (-1, 2))[order].flatten(0, 1))
    gathered = embeds.unflatten(0, (-1, 2))[torch.argsort(order)]
    again = model(**inputs, image_embeds=gathered)
    assert torch.allclose(direct.logits, again.logits, atol=1e-4)
    assert torch.allclose(direct.loss, again.loss, atol=1e-5)


def test_images_and_image_tokens_must_agree(small: Small) -> None:
    model, processor = small
    inputs = batch(processor)
    inputs["pixel_values"] = inputs["pixel_values"][:-2]
    with pytest.raises(FrameError, match="24 image tokens, but the images give 20"):
        model(**inputs)


def test_answer_logits_alone(small: Small) -> None:
    model, processor = small
    inputs = batch(processor, answers=True)
    full, short = model(**inputs), model(**inputs, answer_logits_only=True)
    assert short.logits.shape[0] == 3 * 8
    expected = full.logits[:, :-1][inputs["labels"][:, 1:] != -100]
    assert torch.allclose(short.logits, expected, atol=1e-4)
    assert torch.allclose(short.loss, full.loss)


def test_loss_is_cross_entropy_on_the_answer_alone(small: Small) -> None:
    model, processor = small
    model.config.bin_smoothing = 0.0
    inputs = batch(processor, answers=True)
    output = model(**inputs)
    expected = torch.nn.functional.cross_entropy(
        output.logits[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten(), ignore_index=-100
    )
    assert torch.allclose(output.loss, expected, atol=1e-5)


def test_soft_labels_ignore_other_tokens_and_forgive_neighbours(small: Small) -> None:
    config = small[0].config
    first, vocab = config.first_action_token_id, config.text_config.vocab_size
    label = torch.tensor([first + 50])

    def loss(bin_index: int, sigma: float, other: float = 0.0) -> float:
        config.bin_smoothing = sigma
        logits = torch.zeros((1, vocab))
        logits[0, first + bin_index] = 5.0
        logits[0, config.eos_token_id] = other
        return float(answer_loss(logits, label, config))

    assert loss(51, 2.0) < loss(60, 2.0)
    assert loss(51, 0.0) == pytest.approx(loss(60, 0.0))
    assert loss(50, 2.0, other=0.0) == pytest.approx(loss(50, 2.0, other=9.0))
    assert loss(50, 0.0, other=0.0) < loss(50, 0.0, other=9.0)


def test_narrow_soft_labels_become_one_hot_labels(small: Small) -> None:
    config = small[0].config
    first = config.first_action_token_id
    logits = torch.full((2, config.text_config.vocab_size), -1e4)
    logits[:, config.action_token_slice] = torch.randn(2, 101)
    labels = torch.tensor([first + 3, first + 77])
    config.bin_smoothing = 1e-2
    soft = answer_loss(logits, labels, config)
    config.bin_smoothing = 0.0
    assert torch.allclose(soft, answer_loss(logits, labels, config), atol=1e-5)


def test_loss_weights(small: Small) -> None:
    model, processor = small
    inputs = batch(processor, answers=True)
    weighted = model(**inputs, loss_weights=torch.tensor([1.0, 0.0, 0.0])).loss
    inputs["labels"][1:] = -100
    assert torch.allclose(weighted, model(**inputs).loss, atol=1e-5)
    assert model(**inputs, loss_weights=torch.zeros(3)).loss == 0


def test_every_weight_receives_a_gradient(small: Small) -> None:
    model, processor = small
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(**batch(processor, answers=True)).loss
    loss.backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert without == []
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in model.parameters())


@pytest.mark.parametrize("decoding", ["sequential", "parallel"])
def test_a_few_steps_learn_a_few_answers(small: Small, decoding: str) -> None:
    model, processor = small
    model.config.action_decoding = decoding
    inputs = batch(processor, answers=True)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**inputs, answer_logits_only=True).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    prompts = {key: inputs[key][:, :-8] for key in ("input_ids", "attention_mask")}
    bins = ActionDecoder(model).decode({**prompts, "pixel_values": inputs["pixel_values"]}, 7)
    wanted = inputs["labels"][:, -8:-1] - model.config.first_action_token_id
    assert (bins - wanted).abs().max() <= 1


def test_parallel_training_never_sees_an_action(small: Small) -> None:
    model, processor = small
    model.config.action_decoding = "parallel"
    inputs, other = batch(processor, answers=True), batch(processor, answers=True)
    place = model.config.action_token_slice
    shown = (other["labels"] >= place.start) & (other["labels"] < place.stop)
    other["input_ids"][shown] = place.stop - 1  # another answer is shown, the same is asked for
    assert torch.equal(model(**inputs).logits, model(**other).logits)
    model.config.action_decoding = "sequential"
    assert not torch.equal(model(**inputs).logits, model(**other).logits)


def test_save_and_load_keep_every_weight(small: Small, tmp_path: Path) -> None:
    model, processor = small
    model.save_pretrained(tmp_path)
    again = SpatialBotForActionPrediction.from_pretrained(tmp_path)
    inputs = batch(processor)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in model.state_dict().items())
    assert torch.allclose(model(**inputs).logits, again.eval()(**inputs).logits, atol=1e-4)
    assert again.config.vision_config.channels == model.config.vision_config.channels
    assert again.config.action_token_slice == model.config.action_token_slice


def test_two_seeds_build_the_same_shapes_and_other_weights(small: Small) -> None:
    torch.manual_seed(7)
    other = SpatialBotForActionPrediction(small[0].config)
    stds = [float(weight.detach().std()) for weight in other.parameters() if weight.ndim > 1]
    assert not torch.equal(other.vision_tower.stem.weight, small[0].vision_tower.stem.weight)
    assert min(stds) > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projector_type": "qformer"}, "unknown projector_type 'qformer'"),
        ({"first_action_token_id": 10_000_000}, "do not fit a vocabulary"),
        ({"image_token_id": 50}, "among the action tokens"),
        ({"bin_smoothing": -1.0}, "bin_smoothing"),
        ({"action_decoding": "backwards"}, "unknown action_decoding 'backwards'"),
    ],
)
def test_configurations_that_cannot_work_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpatialBotConfig(**changes)
