"""The engine gives exactly the tokens of a plain `generate`, whatever the language model and the history."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.policy.inference.plain_generate import INSTRUCTIONS, PlainGenerate, episodes

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.inference.language_reader import LayerReader, PlainReader, language_reader
from spatialbot_policy.model import (
    ModelSize,
    SpatialBotForActionPrediction,
    SpatialBotProcessor,
    build_model,
    load_checkpoint,
    train_tokenizer,
)
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.resources import share_directory

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]
SIZE = 24
POLICY = PolicyConfig(
    cameras=(CameraConfig("base", SIZE, SIZE),), depth_variant=DepthVariant.PAPER, history_length=3
)
CLIP = {
    "model_type": "clip_vision_model",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "image_size": SIZE,
    "initializer_range": 0.2,
}
VISION = {
    "model_type": "pretrained",
    "backbones": [CLIP],
    "select_layers": [-2],
    "image_size": SIZE,
    "image_means": [(0.4, 0.5, 0.6)],
    "image_stds": [(0.2, 0.25, 0.3)],
}
TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 96,
    "initializer_range": 0.2,
    "max_position_embeddings": 512,
}
LANGUAGES: dict[str, dict[str, Any]] = {
    "qwen2": {"model_type": "qwen2"},
    "qwen2 with shared keys": {"model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen2 with a window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 17,
        "max_window_layers": 1,
    },
    "phi": {"model_type": "phi", "partial_rotary_factor": 0.5, "hidden_act": "gelu_new"},
    "phi with norms of heads": {"model_type": "phi", "qk_layernorm": True},
    "phi3": {"model_type": "phi3", "num_key_value_heads": 2, "partial_rotary_factor": 0.75},
    "phi3 with a window": {"model_type": "phi3", "sliding_window": 17},
    "llama": {"model_type": "llama", "num_key_value_heads": 2, "attention_bias": True},
    "llama with scaled turns": {
        "model_type": "llama",
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
        "max_position_embeddings": 512,
    },
    "one that is read plainly": {"model_type": "gemma2", "head_dim": 16},
}


def build(text: dict[str, Any], policy: PolicyConfig = POLICY) -> Small:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    tokenizer = train_tokenizer(INSTRUCTIONS, policy.action_space, 280, max_length=512)
    model, processor = build_model(ModelSize("small", {**TEXT, **text}, VISION), policy, tokenizer)
    with torch.no_grad():  # biases and norms that are all alike would hide a mix-up
        for weight in model.language_model.parameters():
            if weight.ndim == 1:
                weight += 0.1 * torch.randn_like(weight)
    return model.eval(), processor


def compare(
    policy: LocalPolicy, plain: PlainGenerate, config: PolicyConfig, count: int
) -> set[tuple[int, ...]]:
    answers = set()
    for number, seen in enumerate(episodes(config, count)):
        if seen is None:
            policy.reset()
            plain.reset()
            continue
        bins, expected = policy.predict_bins(seen).tolist(), plain.predict_bins(seen).tolist()
        assert bins == expected, f"observation {number}"
        answers.add(tuple(bins))
    return answers


@pytest.mark.parametrize("name", LANGUAGES)
def test_tokens_are_those_of_generate_for_every_language_model(name: str) -> None:
    model, processor = build(LANGUAGES[name])
    known = isinstance(language_reader(model), LayerReader)
    assert known == (LANGUAGES[name]["model_type"] != "gemma2")
    policy = LocalPolicy(Checkpoint(copy.deepcopy(model), processor, POLICY))
    answers = compare(policy, PlainGenerate(model, processor, POLICY), POLICY, 25)
    assert len(answers) > 3, "weights that ignore their inputs prove nothing"


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_padded_batch_gives_the_hidden_states_of_the_plain_forward(name: str) -> None:
    model, _ = build(LANGUAGES[name])
    decoder = model.language_model.get_decoder()
    torch.manual_seed(2)
    embeds = torch.randn(3, 40, 64)
    mask = torch.ones(3, 40, dtype=torch.long)
    mask[0, :9], mask[2, :25] = 0, 0
    plain, lean = PlainReader(decoder), language_reader(model)
    lean.reserve(3, 41)
    more = torch.nn.functional.pad(mask, (0, 1), value=1)
    after = torch.randn(3, 1, 64)
    with torch.inference_mode():
        first = [reader.read(embeds, 0, mask, 4) for reader in (lean, plain)]
        second = [reader.read(after, 40, more, 1) for reader in (lean, plain)]
    torch.testing.assert_close(*first, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(*second, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["qwen2", "phi", "phi3 with a window"])
def test_what_is_read_in_two_parts_is_what_is_read_at_once(name: str) -> None:
    model, _ = build(LANGUAGES[name])
    reader = language_reader(model)
    reader.reserve(1, 30)
    embeds = torch.randn(1, 30, 64)
    with torch.inference_mode():
        whole = reader.read(embeds, 0, None, 3)
        reader.read(embeds[:, :19], 0, None, 1)
        parts = reader.read(embeds[:, 19:], 19, None, 3)
    torch.testing.assert_close(whole, parts, atol=2e-5, rtol=1e-5)


def test_an_adapter_on_the_language_model_counts() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model, processor = build(LANGUAGES["qwen2"])
    config = LoraConfig(target_modules=["q_proj", "up_proj", "down_proj"], r=4, init_lora_weights=False)
    adapted = copy.deepcopy(model)
    inject_adapter_in_model(config, adapted.language_model)
    policy = LocalPolicy(Checkpoint(copy.deepcopy(adapted), processor, POLICY))
    with_it = compare(policy, PlainGenerate(adapted.eval(), processor, POLICY), POLICY, 8)
    without = PlainGenerate(model, processor, POLICY)
    seen = next(each for each in episodes(POLICY, 1) if each is not None)
    assert tuple(without.predict_bins(seen).tolist()) not in with_it


def shipped(count: int) -> set[tuple[int, ...]]:
    directory = share_directory() / "checkpoints" / "tiny"
    checkpoint = load_checkpoint(directory)
    torch.set_num_threads(1)
    policy = LocalPolicy.from_checkpoint(directory)
    plain = PlainGenerate(checkpoint.model, checkpoint.processor, checkpoint.policy)
    return compare(policy, plain, checkpoint.policy, count)


def test_tokens_of_the_shipped_checkpoint_are_those_of_generate() -> None:
    assert len(shipped(30)) > 10


@pytest.mark.slow
def test_tokens_of_the_shipped_checkpoint_are_those_of_generate_a_thousand_times() -> None:
    assert len(shipped(1000)) > 300
