"""Sizes count like the published models, and start from directories of their weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
)

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.model import (
    ModelSize,
    SpatialBotForActionPrediction,
    StartWeights,
    build_model,
    load_checkpoint,
    load_size,
    train_tokenizer,
)
from spatialbot_policy.model.factory import model_config
from spatialbot_policy.model.pretrained_tower import PretrainedTowerConfig
from spatialbot_policy.model.sizes import size_names
from spatialbot_policy.model.tokenizer import load_tokenizer

ROOT = Path(__file__).resolve().parents[3]
# As their weight files have it, tied heads once; in parentheses what a size reads of a backbone.
QWEN_05B, QWEN_4B, PHI_2, PHI_3_MINI, LLAMA_3_8B = (
    463_987_712,
    3_950_369_280,
    2_779_683_840,
    3_821_079_552,
    8_030_261_248,
)
CLIP, SIGLIP, DINO = (303_507_456, 290_911_232), (428_225_600, 397_747_744), (304_368_640, 291_770_368)
PUBLISHED: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "0.5b": (QWEN_05B, [CLIP]),
    "0.5b-mixed": (QWEN_05B, [CLIP, DINO]),
    "3b": (PHI_2, [SIGLIP]),
    "4b-phi3": (PHI_3_MINI, [SIGLIP]),
    "4b-qwen": (QWEN_4B, [SIGLIP]),
    "8b": (LLAMA_3_8B, [SIGLIP]),
}

TEXT = {
    "model_type": "qwen2",
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
CLIP_FIELDS = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
DINO_FIELDS = {**CLIP_FIELDS, "image_size": 48, "mlp_ratio": 2}
del DINO_FIELDS["intermediate_size"]
MIXED = ModelSize(
    "mixed",
    TEXT,
    {
        "model_type": "pretrained",
        "image_size": 32,
        "select_layers": [-2, -2],
        "image_means": [[0.5] * 3] * 2,
        "image_stds": [[0.5] * 3] * 2,
        "backbones": [
            {"model_type": "clip_vision_model", **CLIP_FIELDS},
            {"model_type": "dinov2", **DINO_FIELDS},
        ],
    },
)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def policy() -> PolicyConfig:
    return PolicyConfig(cameras=(CameraConfig("base", 32, 32),), depth_variant=DepthVariant.RELEASED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_models(name: str) -> None:
    size = load_size(name)
    language, backbones = PUBLISHED[name]
    assert size.published is not None
    assert (size.published.language, size.published.backbones) == (language, tuple(w for w, _ in backbones))
    tower = PretrainedTowerConfig(**{k: v for k, v in size.vision.items() if k != "model_type"})
    text = {key: value for key, value in size.text.items() if key != "model_type"}
    tokenizer = train_tokenizer(["pick"], ActionSpace(), 260)
    with torch.device("meta"):
        assert (
            count(AutoModelForCausalLM.from_config(CONFIG_MAPPING[size.text["model_type"]](**text)))
            == language
        )
        for index, (whole, _) in enumerate(backbones):
            assert count(AutoModel.from_config(tower.published_config(index))) == whole
        model = SpatialBotForActionPrediction(model_config(size, None, tokenizer))
    vision, width = tower.hidden_size, model.config.text_config.hidden_size
    assert [count(backbone) for backbone in model.vision_tower.backbones] == [used for _, used in backbones]
    assert count(model.projector) == (vision + 1) * width + (width + 1) * width
    assert count(model.language_model) == language
    assert count(model) == language + count(model.projector) + sum(used for _, used in backbones)


def test_every_size_has_published_counts_but_our_own() -> None:
    assert set(size_names()) == {*PUBLISHED, "tiny"}
    assert all(load_size(name).name == name for name in size_names())


@pytest.mark.parametrize(
    ("name", "tokens", "width"),
    [("0.5b", 576, 1024), ("0.5b-mixed", 576, 2048), ("3b", 729, 1152), ("8b", 729, 1152)],
)
def test_tokens_of_an_image(name: str, tokens: int, width: int) -> None:
    tower = PretrainedTowerConfig(**{k: v for k, v in load_size(name).vision.items() if k != "model_type"})
    assert (tower.tokens_per_image, tower.hidden_size) == (tokens, width)


def test_the_shipped_checkpoint_is_the_tiny_size_with_its_recipe() -> None:
    shipped = load_checkpoint(ROOT / "checkpoints" / "tiny")
    recipe = yaml.safe_load((ROOT / "config" / "train" / "tiny.yaml").read_text())["model"]
    size = load_size("tiny").changed(**{key: recipe[key] for key in ("text", "vision") if key in recipe})
    model, processor = build_model(size, shipped.policy, shipped.processor.tokenizer)
    shapes = {name: tensor.shape for name, tensor in shipped.model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes
    assert processor.tokens_per_image == shipped.processor.tokens_per_image
    for part in ("vision_config", "text_config"):
        made, kept = (getattr(net.config, part).to_dict() for net in (model, shipped.model))
        made["dtype"] = kept["dtype"] = None
        made.pop("architectures", None), kept.pop("architectures", None)
        assert made == kept


def test_a_size_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("name: own\ntext: {model_type: qwen2}\nvision: {model_type: conv}\n")
    assert load_size(file) == ModelSize("own", {"model_type": "qwen2"}, {"model_type": "conv"})
    file.write_text("name: own\ntext: {}\nvision: {model_type: conv}\n")
    with pytest.raises(ConfigError, match="text of the size 'own' needs a model_type"):
        load_size(file)
    with pytest.raises(ConfigError, match="no model size '7b'; use one of 0.5b"):
        load_size("7b")
    unknown = ModelSize("own", TEXT, {"model_type": "eva"})
    with pytest.raises(ConfigError, match="unknown vision tower 'eva'"):
        model_config(unknown, None, train_tokenizer(["pick"], ActionSpace(), 260))


def test_changed_sizes_have_no_published_count() -> None:
    size = load_size("3b")
    assert size.changed(bin_smoothing=0.5).published == size.published
    changed = size.changed(text={"num_hidden_layers": 2}, vision={"pooled_tokens": 144})
    assert (changed.published, changed.text["hidden_size"]) == (None, 2560)
    assert (size.text["num_hidden_layers"], "pooled_tokens" in size.vision) == (32, False)


def test_what_does_not_fit_the_policy_is_refused(policy: PolicyConfig) -> None:
    tokenizer = train_tokenizer(["pick"], policy.action_space, 260)
    small = MIXED.changed(text={"max_position_embeddings": 128})
    with pytest.raises(ConfigError, match="8 images of 16 tokens do not fit the 128 tokens"):
        build_model(small, policy, tokenizer)
    wide = PolicyConfig(cameras=(CameraConfig("base", 64, 32),))
    with pytest.raises(ConfigError, match=r"32 x 32 pixels, got the camera base 64x32"):
        build_model(MIXED, wide, tokenizer)
    coarse = train_tokenizer(["pick"], ActionSpace(bins=11), 260)
    with pytest.raises(ConfigError, match="11 action tokens, but the policy has 101 bins"):
        build_model(MIXED, policy, coarse)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories as the hubs have them: a language model with its tokenizer, a whole CLIP, a DINOv2."""
    place = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    fields = {key: value for key, value in TEXT.items() if key != "model_type"}
    language = AutoModelForCausalLM.from_config(CONFIG_MAPPING["qwen2"](**fields, rope_theta=5e5))
    language.save_pretrained(place / "language")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    CLIPModel(CLIPConfig(vision_config=CLIP_FIELDS, text_config=text)).save_pretrained(place / "clip")
    AutoModel.from_config(CONFIG_MAPPING["dinov2"](**DINO_FIELDS)).save_pretrained(place / "dino")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["pick up the red cup and put it on the left board"] * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", model_max_length=2048
    )
    fast.save_pretrained(place / "language")
    return place


def start(place: Path, **changes: Any) -> StartWeights:
    return StartWeights(
        **{"language": place / "language", "vision": (place / "clip", place / "dino"), **changes}
    )


def test_a_network_starts_from_directories(weights: Path, policy: PolicyConfig) -> None:
    tokenizer = load_tokenizer(weights / "language", policy.action_space)
    torch.manual_seed(1)
    model, processor = build_model(MIXED, policy, tokenizer, start(weights))
    assert model.training
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    clip = load_file(weights / "clip" / "model.safetensors")
    dino = AutoModel.from_pretrained(weights / "dino").state_dict()  # whose file has older names
    language = load_file(weights / "language" / "model.safetensors")
    for name, tensor in model.vision_tower.backbones[0].state_dict().items():
        assert torch.equal(tensor, clip[f"vision_model.{name}"]), name
    for name, tensor in model.vision_tower.backbones[1].state_dict().items():
        assert torch.equal(tensor, dino[name]), name
    for name, tensor in model.language_model.state_dict().items():
        if "embed" not in name and "lm_head" not in name:
            assert torch.equal(tensor, language[name]), name
    assert model.config.text_config.rope_parameters["rope_theta"] == 5e5
    assert processor.action_bins == 101


def test_a_language_model_can_start_behind_a_tower_of_our_own(weights: Path, policy: PolicyConfig) -> None:
    tokenizer = load_tokenizer(weights / "language", policy.action_space)
    size = ModelSize("own", TEXT, {"model_type": "conv", "channels": [8, 8, 16], "keypoints": 4})
    model, _ = build_model(size, policy, tokenizer, StartWeights(weights / "language"))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert model.encode_images(images).isfinite().all()
    with pytest.raises(ConfigError, match="0 pretrained backbones, but 2 directories"):
        build_model(size, policy, tokenizer, start(weights))


def test_rows_of_added_tokens_start_near_the_others(weights: Path, policy: PolicyConfig) -> None:
    tokenizer = load_tokenizer(weights / "language", policy.action_space)
    model, _ = build_model(MIXED, policy, tokenizer, start(weights))
    old = load_file(weights / "language" / "model.safetensors")["model.embed_tokens.weight"]
    rows = model.get_input_embeddings().weight.detach()
    first = tokenizer.image_token_id
    assert first < 300 < len(tokenizer) <= len(rows) == 448
    assert torch.equal(rows[:first], old[:first])
    assert torch.equal(rows, model.get_output_embeddings().weight)
    mean, spread = old[:first].mean(0), old[:first].std(0)
    assert ((rows[first:] - mean).abs() < 0.6 * spread).all()
    assert len(rows[first : len(tokenizer)].unique(dim=0)) == len(tokenizer) - first


def test_half_precision_holds_what_is_pretrained(weights: Path, policy: PolicyConfig) -> None:
    tokenizer = load_tokenizer(weights / "language", policy.action_space)
    model, _ = build_model(MIXED, policy, tokenizer, start(weights, bfloat16=True))
    assert {parameter.dtype for parameter in model.projector.parameters()} == {torch.float32}
    for part in (model.vision_tower, model.language_model):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.bfloat16}


def pickled_only(place: Path) -> None:
    (place / "language" / "model.safetensors").rename(place / "language" / "pytorch_model.bin")


def change_tensors(file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(place: Path) -> None:
        tensors = load_file(place / file)
        change(tensors)
        save_file(tensors, place / file, metadata={"format": "pt"})

    return apply


def untie(tensors: dict[str, torch.Tensor]) -> None:
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (pickled_only, "no .safetensors file"),
        (
            change_tensors("language/model.safetensors", lambda t: t.pop("model.norm.weight")),
            "model.norm.weight",
        ),
        (
            change_tensors("language/model.safetensors", lambda t: t.update(extra=torch.zeros(1))),
            r"unknown: \['extra'\]",
        ),
        (change_tensors("language/model.safetensors", untie), "its head is not its embeddings"),
        (
            change_tensors("dino/model.safetensors", lambda t: t.pop("encoder.layer.0.norm1.weight")),
            "encoder.layer.0.norm1.weight",
        ),
        (
            change_tensors(
                "dino/model.safetensors", lambda t: t.update({"encoder.layer.0.extra": torch.zeros(1)})
            ),
            "layer.0.extra",
        ),
        (lambda place: (place / "clip" / "config.json").unlink(), "cannot read config.json"),
    ],
)
def test_damaged_directories_are_refused(
    weights: Path, policy: PolicyConfig, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    tokenizer = load_tokenizer(weights / "language", policy.action_space)
    place = Path(shutil.copytree(weights, tmp_path / "damaged"))
    damage(place)
    with pytest.raises(CheckpointError, match=message):
        build_model(MIXED, policy, tokenizer, start(place))


def test_weights_of_another_model_are_refused(weights: Path, policy: PolicyConfig) -> None:
    tokenizer = load_tokenizer(weights / "language", policy.action_space)
    deeper = MIXED.changed(text={"num_hidden_layers": 3})
    with pytest.raises(ConfigError, match="num_hidden_layers: 2 instead of 3"):
        build_model(deeper, policy, tokenizer, start(weights))
    with pytest.raises(ConfigError, match="model_type: dinov2 instead of clip_vision_model"):
        build_model(MIXED, policy, tokenizer, start(weights, vision=(weights / "dino", weights / "clip")))
    with pytest.raises(ConfigError, match="2 pretrained backbones, but 1 directories"):
        build_model(MIXED, policy, tokenizer, start(weights, vision=(weights / "clip",)))
    without_rows = ModelSize("own", {k: v for k, v in TEXT.items() if k != "vocab_size"}, MIXED.vision)
    few = train_tokenizer(["pick"], ActionSpace(bins=11), 257)
    with pytest.raises(ConfigError, match="300 embeddings, more than the size's"):
        build_model(without_rows, None, few, start(weights))


def test_a_language_models_own_tokenizer(weights: Path, tmp_path: Path) -> None:
    space = ActionSpace()
    tokenizer = load_tokenizer(weights / "language", space, max_length=100)
    plain = PreTrainedTokenizerFast.from_pretrained(weights / "language")
    assert tokenizer.convert_tokens_to_ids("<image>") == tokenizer.image_token_id == len(plain)
    first = tokenizer.convert_tokens_to_ids("<action_000>")
    names = list(space.token_strings)
    assert tokenizer.convert_tokens_to_ids(names) == list(range(first, first + 101))
    assert tokenizer("".join(names[:9]))["input_ids"] == list(range(first, first + 9))
    assert tokenizer("pick up")["input_ids"] == plain("pick up")["input_ids"]
    assert (tokenizer.model_max_length, tokenizer.padding_side) == (100, "left")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path, space)
    assert (len(again), again.image_token_id) == (len(tokenizer), tokenizer.image_token_id)
    with pytest.raises(ConfigError, match="not these 121 in a row"):
        load_tokenizer(_with_a_token_after(tokenizer, tmp_path), ActionSpace(bins=121))
    with pytest.raises(ConfigError, match="cannot read a tokenizer"):
        load_tokenizer(weights / "nowhere", space)


def _with_a_token_after(tokenizer: PreTrainedTokenizerFast, place: Path) -> Path:
    tokenizer.add_tokens(["<other>"])
    tokenizer.save_pretrained(place)
    return place
