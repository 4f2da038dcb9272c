"""The pretrained tower gives the hidden states of transformers' own models, joined, pooled and trainable."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.history import History
from spatialbot_policy.inference import ActionDecoder, LocalPolicy
from spatialbot_policy.model import (
    ModelSize,
    SpatialBotForActionPrediction,
    SpatialBotProcessor,
    build_model,
    load_checkpoint,
    save_checkpoint,
    train_tokenizer,
)
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.model.pretrained_tower import PretrainedTower, PretrainedTowerConfig
from spatialbot_policy.model.vision_tower import build_tower
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.types import Observation, RgbdFrame

SHAPE = {"num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 4, "initializer_range": 0.1}
BACKBONES: dict[str, dict[str, Any]] = {
    "clip_vision_model": {**SHAPE, "hidden_size": 16, "intermediate_size": 24, "image_size": 48},
    "siglip_vision_model": {**SHAPE, "hidden_size": 12, "intermediate_size": 20, "image_size": 48},
    "dinov2": {**SHAPE, "hidden_size": 8, "mlp_ratio": 2, "image_size": 64},
}
MEANS, STDS = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZE = 48


def config(*types: str, **changes: Any) -> PretrainedTowerConfig:
    fields: dict[str, Any] = {
        "backbones": [{"model_type": name, **BACKBONES[name]} for name in types],
        "select_layers": [-2] * len(types),
        "image_size": SIZE,
        "image_means": [MEANS] * len(types),
        "image_stds": [STDS] * len(types),
    }
    return PretrainedTowerConfig(**{**fields, **changes})


def tower(*types: str, **changes: Any) -> PretrainedTower:
    torch.manual_seed(0)
    return PretrainedTower(config(*types, **changes)).eval()


def images(count: int = 2, size: int = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def hidden_states(net: PretrainedTower, layer: int, pixels: torch.Tensor) -> torch.Tensor:
    """What transformers' whole model, with the tower's weights in it, calls `hidden_states[layer]`."""
    torch.manual_seed(2)
    whole = AutoModel.from_config(net.config.published_config(0)).eval()
    report = whole.load_state_dict(net.backbones[0].state_dict(), strict=False)
    assert not report.unexpected_keys
    scaled = (pixels.float() / 255 - torch.tensor(MEANS).view(3, 1, 1)) / torch.tensor(STDS).view(3, 1, 1)
    return whole(scaled, output_hidden_states=True).hidden_states[layer]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("layer", [-2, -1, 1])
def test_tokens_are_the_patches_of_the_chosen_hidden_state(name: str, layer: int) -> None:
    net = tower(name, select_layers=[layer])
    wanted = hidden_states(net, layer, images())
    patches = wanted if name == "siglip_vision_model" else wanted[:, 1:]
    with torch.no_grad():
        torch.testing.assert_close(net(images()), patches, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_only_the_layers_that_are_read_are_built(name: str) -> None:
    keys = tower(name).backbones[0].state_dict()
    whole = AutoModel.from_config(config(name).published_config(0)).state_dict()
    dropped = [key for key in whole if key not in keys]
    assert dropped
    assert all(key.startswith(("encoder.layers.2.", "encoder.layer.2.", "head.")) for key in dropped)


def test_every_image_is_a_frame_with_or_without_depth() -> None:
    net = tower("clip_vision_model", depth_variant="paper")
    assert (net.config.images_per_frame, net.config.tokens_per_image, net.config.hidden_size) == (1, 144, 16)
    with torch.no_grad():
        features = net.frame_features(images(4))
        assert features.shape == (4, net.config.frame_feature_size)
        assert features.dtype == torch.float32
        assert torch.equal(net.tokens(features), net(images(4)))
        alone = tower("clip_vision_model")(images(4))
        torch.testing.assert_close(net(images(4)), alone)


def test_mixed_towers_are_joined_patch_by_patch() -> None:
    both = tower("clip_vision_model", "dinov2")
    clip, dino = tower("clip_vision_model"), tower("dinov2")
    clip.backbones[0], dino.backbones[0] = both.backbones
    with torch.no_grad():
        joined = torch.cat([clip(images()), dino(images())], dim=2)
        torch.testing.assert_close(both(images()), joined)
    assert both.config.hidden_size == 16 + 8


def test_another_grid_is_fitted_to_the_first() -> None:
    coarse = {"model_type": "dinov2", **BACKBONES["dinov2"], "patch_size": 8}
    both = tower("clip_vision_model", "dinov2", backbones=[config("clip_vision_model").backbones[0], coarse])
    alone = tower("dinov2", backbones=[coarse])
    alone.backbones[0] = both.backbones[1]
    with torch.no_grad():
        fitted = both(images())[..., 16:].unflatten(1, (12, 12))
        plain = alone(images()).unflatten(1, (6, 6))
    # A bilinear doubling keeps the mean of the inner cells and the values of the corners.
    torch.testing.assert_close(
        fitted[:, [0, 0, -1, -1], [0, -1, 0, -1]], plain[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    )
    torch.testing.assert_close(fitted.mean((1, 2)), plain.mean((1, 2)))


@pytest.mark.parametrize(("tokens", "block"), [(144, 2), (64, 3)])
def test_pooling_averages_blocks_of_patches(tokens: int, block: int) -> None:
    small = {"image_size": 96, "backbones": [{**config("clip_vision_model").backbones[0], "image_size": 96}]}
    whole, pooled = (
        tower("clip_vision_model", **small),
        tower("clip_vision_model", **small, pooled_tokens=tokens),
    )
    with torch.no_grad():
        grid = whole(images(1, 96)).unflatten(1, (24 // block, block, 24 // block, block))
        torch.testing.assert_close(pooled(images(1, 96)), grid.mean((2, 4)).flatten(1, 2))
    assert (whole.config.tokens_per_image, pooled.config.tokens_per_image) == (576, tokens)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [36, 38])  # the patches leave out a rest, as 384 pixels with patches of 14
def test_images_of_another_size_than_the_published_one(name: str, size: int) -> None:
    with torch.no_grad():
        assert tower(name, image_size=size)(images(1, size)).shape[1] == 81


@pytest.mark.parametrize("name", BACKBONES)
def test_every_trainable_weight_learns(name: str) -> None:
    net = tower(name)
    net.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    net.requires_grad_(True)
    net(images()).square().sum().backward()
    idle = {id(parameter) for parameter in net.idle_parameters()}
    assert len(idle) in (2, 3)
    for parameter_name, parameter in net.named_parameters():
        assert parameter.requires_grad == (id(parameter) not in idle), parameter_name
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name


def test_bfloat16_backbones_give_float32_features() -> None:
    exact, rounded = tower("clip_vision_model"), tower("clip_vision_model").to(torch.bfloat16)
    with torch.no_grad():
        features = rounded.frame_features(images())
        assert features.dtype == torch.float32
        assert (features - exact.frame_features(images())).abs().max() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": []}, "0 backbones"),
        ({"select_layers": [-2, -2]}, "as many select_layers"),
        ({"select_layers": [4]}, "it has 3 layers"),
        ({"select_layers": [-4]}, "it has 3 layers"),
        ({"backbones": [{"model_type": "vit"}]}, "model_type 'vit'"),
        ({"pooled_tokens": 100}, "null, 64 or 144"),
        ({"pooled_tokens": 144, "image_size": 36}, "at most 81"),
        ({"depth_variant": "metres"}, "depth_variant 'metres'"),
        ({"image_stds": [(0.5, 0.0, 0.5)]}, "stds above 0"),
        ({"image_size": 3}, "no patch"),
    ],
)
def test_configs_that_make_no_tower(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config("clip_vision_model", **changes)


def test_images_that_cannot_be_seen() -> None:
    net = tower("clip_vision_model", depth_variant="paper")
    with pytest.raises(FrameError, match="48, 48"):
        net(images(2, 64))
    with pytest.raises(FrameError, match="uint8"):
        net(images().float())


@pytest.fixture
def policy_config() -> PolicyConfig:
    return PolicyConfig(
        cameras=(CameraConfig("base", SIZE, SIZE),), depth_variant=DepthVariant.RELEASED, history_length=2
    )


def small_model(
    policy: PolicyConfig, **text: Any
) -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor]:
    fields = {
        "model_type": "qwen2",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "initializer_range": 0.3,
        "max_position_embeddings": 1024,
        **text,
    }
    vision = {**config("clip_vision_model", "dinov2", pooled_tokens=64).to_dict(), "model_type": "pretrained"}
    size = ModelSize("small", fields, vision)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["pick up the red cup"], policy.action_space, 270, max_length=1024)
    return build_model(size, policy, tokenizer)


def observation(step: int) -> Observation:
    rng = np.random.default_rng(step)
    color = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    depth_mm = rng.integers(1, 1500, (60, 80)).astype(np.uint16)
    stamp_ns = step * 100_000_000
    return Observation(stamp_ns, "pick up", {"base": RgbdFrame("base", stamp_ns, color, depth_mm)})


def test_a_policy_with_a_pretrained_tower_acts_the_same_from_a_checkpoint_and_with_kept_frames(
    policy_config: PolicyConfig, tmp_path: Path
) -> None:
    model, processor = small_model(policy_config)
    save_checkpoint(tmp_path / "it", model, processor, policy_config)
    loaded = load_checkpoint(tmp_path / "it")
    assert loaded.model.config.vision_config.backbones == model.config.vision_config.backbones
    policy = LocalPolicy(loaded)
    history = History(policy_config.history_length, policy_config.max_gap_ns)
    answers = set()
    for step in range(1, 5):
        inputs = build_pipeline(policy_config)(history.push(observation(step)))
        batch = processor(inputs.prompt, list(inputs.images))
        assert int((batch["input_ids"] == model.config.image_token_id).sum()) == 4 * 64
        bins = policy.predict_bins(observation(step)).tolist()
        assert bins == ActionDecoder(model.eval()).decode(batch, 7)[0].tolist()
        answers.add(tuple(bins))
    assert len(answers) > 1


def test_gradient_checkpointing_gives_the_same_gradients(policy_config: PolicyConfig) -> None:
    model, processor = small_model(policy_config)
    other = copy.deepcopy(model)
    other.activation_checkpointing_enable({"use_reentrant": False})
    layers = other.vision_tower.backbones[0].encoder.layers
    assert all(layer.gradient_checkpointing for layer in layers)
    inputs = build_pipeline(policy_config)(History(2, 10**9).push(observation(1)))
    batch = processor([inputs.prompt], [list(inputs.images)], np.full((1, 7), 50))
    for net in (model, other):
        net.train()(**batch).loss.backward()
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad, msg=name)
    assert model.vision_tower.backbones[0].encoder.layers[0].mlp.fc1.weight.grad is not None


def test_half_precision_is_for_pretrained_towers_alone(
    policy_config: PolicyConfig, small: tuple[SpatialBotForActionPrediction, Any], tmp_path: Path
) -> None:
    model, _ = small_model(policy_config)
    for net, dtype in ((model, torch.bfloat16), (small[0], torch.float32)):
        net.save_pretrained(tmp_path / str(dtype))
        half = SpatialBotForActionPrediction.from_pretrained(tmp_path / str(dtype), dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in half.vision_tower.parameters()} == {dtype}
        assert {parameter.dtype for parameter in half.projector.parameters()} == {torch.float32}
        assert {parameter.dtype for parameter in half.language_model.parameters()} == {torch.bfloat16}


def test_it_is_a_registered_tower(policy_config: PolicyConfig) -> None:
    assert isinstance(build_tower(config("dinov2")), PretrainedTower)
    assert (
        Checkpoint(*small_model(policy_config), policy_config).model.config.vision_config.model_type
        == "pretrained"
    )
