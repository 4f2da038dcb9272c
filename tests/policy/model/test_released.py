"""Released checkpoints come in with the authors' logits, all tensors accounted for, and go out bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.policy.model.released_samples import (
    SIDE,
    SYSTEM,
    TEXT,
    Released,
    make_released,
    random_images,
    train_small_tokenizer,
    vision_fields,
    write_merged,
    write_tower,
    write_weights,
)

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.conversation import Role, Turn
from spatialbot_policy.conversation_config import ConversationConfig, ImagePadding
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model import (
    SpatialBotForActionPrediction,
    SpatialBotProcessor,
    build_model,
    load_checkpoint,
    load_size,
    save_checkpoint,
)
from spatialbot_policy.model.checkpoint import load_conversation
from spatialbot_policy.model.factory import model_config
from spatialbot_policy.model.released import import_released
from spatialbot_policy.model.released_export import export_released
from spatialbot_policy.model.released_layout import (
    HEAD_BIAS,
    published_tower,
    tower_config_of,
    tower_name_of,
)
from spatialbot_policy.model.tokenizer import load_tokenizer

MOST = 1e-4
QUESTION = "<image 1>\n<image 2>\nWhat is in front of the cup?"


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    return write_tower(tmp_path / "tower", make_released())


def difference(released: Released, checkpoint_directory: Path) -> float:
    """Largest difference of the logits of one prompt with two images, after comparing its tokens."""
    checkpoint = load_conversation(checkpoint_directory)
    processor, model = checkpoint.processor, checkpoint.model
    ids = released.token_ids(f"{SYSTEM} USER: {QUESTION} ASSISTANT:")
    encoded = processor.encode_turns([Turn(Role.USER, QUESTION)], checkpoint.conversation.template)
    ours = list(encoded.input_ids)
    image, patches = model.config.image_token_id, processor.tokens_per_image
    assert ours == [token for one in ids for token in ([image] * patches if one < 0 else [one])]
    images = processor.stack_images(random_images(2))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ours]), pixel_values=images).logits[0]
    expected = released.logits(ids, images)
    own = len(released.tokenizer)
    assert expected.abs().max() > 1, "logits that are all alike would prove nothing"
    return float((logits[:, :own] - expected[:, :own]).abs().max())


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("vision", ["siglip", "clip"])
@pytest.mark.parametrize("kind", ["bunny-phi", "bunny-phi3", "bunny-qwen2", "bunny-llama"])
def test_logits_equal_the_released_architecture(kind: str, vision: str, shards: int, tmp_path: Path) -> None:
    released = make_released(kind, vision)
    source = write_merged(tmp_path / "released", released, shards)
    tower = write_tower(tmp_path / "tower", released)
    report = import_released(source, tmp_path / "out", vision_tower=tower)
    assert difference(released, tmp_path / "out") < MOST
    assert report.tensors == len(load_file(tmp_path / "out" / "model.safetensors"))


def test_a_checkpoint_without_tower_takes_it_from_its_own_directory(tmp_path: Path) -> None:
    released = make_released()
    source = write_merged(tmp_path / "released", released)
    tensors = {name: t for name, t in released.tensors().items() if ".vision_tower." not in name}
    write_weights(source, tensors)
    with pytest.raises(CheckpointError, match="siglip-small.*--vision-tower"):
        import_released(source, tmp_path / "out")
    report = import_released(
        source, tmp_path / "out", vision_tower=write_tower(tmp_path / "tower", released, whole=True)
    )
    assert difference(released, tmp_path / "out") < MOST
    assert sum("encoder.layers.2." in name for name in report.left_out) == 16
    assert any("head.probe" in name for name in report.left_out)


def test_what_the_weights_expect_is_written_down(tower: Path, tmp_path: Path) -> None:
    source = write_merged(tmp_path / "released", make_released())
    import_released(source, tmp_path / "out", vision_tower=tower)
    checkpoint = load_conversation(tmp_path / "out")
    conversation = checkpoint.conversation
    assert conversation.depth_variant is DepthVariant.RELEASED
    assert conversation.image_padding is ImagePadding.MEAN and conversation.pad_color == (127, 127, 127)
    assert (conversation.image_width, conversation.image_height) == (12, 12)
    assert conversation.template.system == SYSTEM and conversation.template.end == "<|endoftext|>"
    assert conversation.max_images == 8 and checkpoint.policy is None
    assert checkpoint.processor.tokenizer.model_max_length == 400
    assert checkpoint.model.generation_config.eos_token_id == 0
    with pytest.raises(CheckpointError, match="can converse.*knows no actions.*spatialbot ask"):
        load_checkpoint(tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "vision", "colour", "end", "begin"),
    [
        ("bunny-llama", "clip", (122, 116, 104), "<|end_of_text|>", "<|begin_of_text|>"),
        ("bunny-qwen2", "siglip", (127, 127, 127), "<|endoftext|>", ""),
    ],
)
def test_padding_and_wording_follow_tower_and_family(
    kind: str, vision: str, colour: tuple[int, ...], end: str, begin: str, tmp_path: Path
) -> None:
    released = make_released(kind, vision)
    source = write_merged(tmp_path / "released", released)
    import_released(source, tmp_path / "out", vision_tower=write_tower(tmp_path / "tower", released))
    checkpoint = load_conversation(tmp_path / "out")
    template = checkpoint.conversation.template
    assert checkpoint.conversation.pad_color == colour
    assert (template.end, template.begin) == (end, begin)
    assert checkpoint.processor.tokenizer.eos_token == end


def test_it_never_says_the_image_token(tower: Path, tmp_path: Path) -> None:
    import_released(
        write_merged(tmp_path / "released", make_released()), tmp_path / "out", vision_tower=tower
    )
    checkpoint = load_conversation(tmp_path / "out")
    model, image = checkpoint.model, checkpoint.model.config.image_token_id
    with torch.no_grad():  # as likely as can be
        model.language_model.lm_head.bias[image] = 1e4
    said = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=4, do_sample=False)
    assert image not in said


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "vision"), [("bunny-phi", "siglip"), ("bunny-qwen2", "clip"), ("bunny-llama", "siglip")]
)
def test_out_and_in_again_is_exact(kind: str, vision: str, dtype: torch.dtype, tmp_path: Path) -> None:
    released = make_released(kind, vision)
    source = write_merged(tmp_path / "released", released, dtype=dtype)
    tower = write_tower(tmp_path / "tower", released)
    import_released(source, tmp_path / "first", vision_tower=tower)
    export_released(tmp_path / "first", tmp_path / "exported")
    import_released(tmp_path / "exported", tmp_path / "second", vision_tower=tower)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == dtype == second[name].dtype and torch.equal(tensor, second[name]), name
    original, exported = (load_file(place / "model.safetensors") for place in (source, tmp_path / "exported"))
    unread = {name for name in original if vision == "clip" and "encoder.layers.2." in name}
    assert exported.keys() == original.keys() - unread
    assert all(torch.equal(original[name], tensor) for name, tensor in exported.items())
    for name in ("config.json", "conversation.yaml", "tokenizer.json"):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "second" / name).read_text()


def test_an_export_is_what_the_authors_code_reads(tower: Path, tmp_path: Path) -> None:
    released = make_released()
    source = write_merged(tmp_path / "released", released)
    import_released(source, tmp_path / "ours", vision_tower=tower)
    export_released(tmp_path / "ours", tmp_path / "out", shard_size="20KB")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    before = json.loads((source / "config.json").read_text())
    of_training = {"_name_or_path", "auto_map", "torch_dtype", "transformers_version", "mm_projector_lr"}
    assert {key: written[key] for key in before.keys() - of_training} == {
        key: before[key] for key in before.keys() - of_training
    }
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert index["weight_map"].keys() == released.tensors().keys()
    original, back = (
        json.loads((place / "tokenizer.json").read_text()) for place in (source, tmp_path / "out")
    )
    assert original["added_tokens"] == back["added_tokens"] and original["model"] == back["model"]
    import_released(tmp_path / "out", tmp_path / "again", vision_tower=tower)
    assert difference(released, tmp_path / "again") < MOST


def test_spare_rows_go_as_in_the_released_loader(tower: Path, tmp_path: Path) -> None:
    own = len(train_small_tokenizer())
    released = make_released(rows=own + 30)
    source = write_merged(tmp_path / "released", released)
    report = import_released(source, tmp_path / "out", vision_tower=tower)
    assert f"lm_head.weight[{own}:{own + 30}], rows of no token" in report.left_out
    assert load_conversation(tmp_path / "out").model.config.text_config.vocab_size == own + 1
    assert difference(released, tmp_path / "out") < MOST


def refused(source: Path, tmp_path: Path, tower: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        import_released(source, tmp_path / "out", vision_tower=tower)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_missing_unknown_and_misshapen_tensors_are_named(tower: Path, tmp_path: Path) -> None:
    released = make_released()
    source = write_merged(tmp_path / "released", released)
    tensors = released.tensors()
    del tensors["model.layers.1.mlp.fc1.bias"]
    del tensors["model.vision_tower.vision_tower.vision_model.post_layernorm.bias"]
    tensors["model.mm_projector.4.weight"] = torch.zeros(2)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(2)
    tensors["model.mm_projector.2.weight"] = torch.zeros(32, 31)
    write_weights(source, tensors)
    message = refused(source, tmp_path, tower)
    assert (
        "2 missing: model.layers.1.mlp.fc1.bias, "
        "model.vision_tower.vision_tower.vision_model.post_layernorm.bias" in message
    )
    assert "2 unknown: model.layers.0.self_attn.rotary_emb.inv_freq, model.mm_projector.4.weight" in message
    assert "1 of another shape: model.mm_projector.2.weight (32, 31) instead of (32, 32)" in message


def test_vocabulary_and_tokenizer_that_disagree_are_named(tower: Path, tmp_path: Path) -> None:
    own = len(train_small_tokenizer())
    few = write_merged(tmp_path / "few", make_released(rows=own - 5))
    assert f"has {own - 5} rows for a tokenizer of {own} tokens" in refused(few, tmp_path, tower)
    other = write_merged(tmp_path / "other", make_released())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "vocab_size": own + 7}))
    assert f"a vocabulary of {own + 7}, but model.embed_tokens.weight has {own} rows" in refused(
        other, tmp_path, tower
    )
    (other / "tokenizer.json").unlink()
    assert "no tokenizer.json" in refused(other, tmp_path, tower)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bunny-gemma"}, "bunny-gemma.*must be one of bunny-phi"),
        ({"mm_projector_type": "ldp"}, "projector 'ldp'.*only mlp2x_gelu"),
        ({"use_s2": True}, "use_s2"),
        ({"num_attention_heads": "many"}, "does not describe a phi model"),
    ],
)
def test_other_models_are_refused(
    changes: dict[str, object], message: str, tower: Path, tmp_path: Path
) -> None:
    source = write_merged(tmp_path / "released", make_released())
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=message):
        import_released(source, tmp_path / "out", vision_tower=tower)


def test_damaged_shards_are_named(tower: Path, tmp_path: Path) -> None:
    source = write_merged(tmp_path / "released", make_released(), shards=2)
    second = source / "model-00002-of-00002.safetensors"
    whole = second.read_bytes()
    second.write_bytes(whole[:1000])
    assert "cannot read the weights" in refused(source, tmp_path, tower)
    second.unlink()
    assert "names the shard model-00002-of-00002.safetensors" in refused(source, tmp_path, tower)
    second.write_bytes((source / "model-00001-of-00002.safetensors").read_bytes())
    assert "disagree about lm_head.weight" in refused(source, tmp_path, tower)


def test_a_tied_head_must_be_the_embeddings(tmp_path: Path) -> None:
    released = make_released("bunny-qwen2")
    tower = write_tower(tmp_path / "tower", released)
    source = write_merged(tmp_path / "released", released)
    table = released.tensors()["model.embed_tokens.weight"]
    write_weights(source, {**released.tensors(), "lm_head.weight": table.clone()})
    import_released(source, tmp_path / "out", vision_tower=tower)
    assert difference(released, tmp_path / "out") < MOST
    write_weights(source, {**released.tensors(), "lm_head.weight": table + 1})
    with pytest.raises(CheckpointError, match="ties the head.*lm_head.weight differs"):
        import_released(source, tmp_path / "other", vision_tower=tower)


def test_an_export_refuses_what_the_layout_cannot_describe(
    small: tuple[SpatialBotForActionPrediction, SpatialBotProcessor],
    policy_config: PolicyConfig,
    tower: Path,
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path / "tiny", *small, policy_config)
    with pytest.raises(CheckpointError, match="a vision tower of type conv"):
        export_released(tmp_path / "tiny", tmp_path / "out")
    source = write_merged(tmp_path / "released", make_released())
    import_released(source, tmp_path / "ours", vision_tower=tower)
    checkpoint = load_conversation(tmp_path / "ours")
    with torch.no_grad():
        checkpoint.model.language_model.lm_head.bias[3] = 1.0
    save_checkpoint(
        tmp_path / "ours", checkpoint.model, checkpoint.processor, conversation=checkpoint.conversation
    )
    with pytest.raises(CheckpointError, match="trained lm_head.bias"):
        export_released(tmp_path / "ours", tmp_path / "out")


def test_the_3b_size_has_as_many_numbers_as_the_released_file() -> None:
    # Bunny-v1.0-3B, of the same architecture: float16 in two shards of 6,364,624,584 bytes together. What the
    # numbers do not take are the headers: the name, type, shape and place of each tensor, some 130 bytes.
    tokens, published = 50295, 6_364_624_584
    size = load_size("3b").changed(text={"vocab_size": tokens})
    tokenizer = train_small_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    config = model_config(size, None, tokenizer)
    with torch.device("meta"):
        model = SpatialBotForActionPrediction(config)
    sizes = [tensor.numel() for name, tensor in model.state_dict().items() if name != HEAD_BIAS]
    assert 100 < (published - 2 * sum(sizes)) / len(sizes) < 150


@pytest.mark.parametrize(
    ("kind", "rope"),
    [
        ("bunny-phi", {"rope_theta": 5000.0, "partial_rotary_factor": 0.5, "rope_type": "default"}),
        ("bunny-llama", {"rope_theta": 500000.0, "rope_type": "default"}),
    ],
)
def test_rotary_embeddings_of_the_older_form_are_understood(
    kind: str, rope: dict[str, object], tower: Path, tmp_path: Path
) -> None:
    source = write_merged(tmp_path / "released", make_released(kind))
    import_released(source, tmp_path / "out", vision_tower=tower)
    assert load_conversation(tmp_path / "out").model.config.text_config.rope_parameters == rope


def test_the_published_config_of_a_tower_may_hold_more_than_its_sizes(tmp_path: Path) -> None:
    released = make_released("bunny-phi", "clip")
    place = write_tower(tmp_path / "tower", released, whole=True)
    config = json.loads((place / "config.json").read_text())
    config["vision_config"] |= {"torch_dtype": None, "top_k": 50, "_name_or_path": "", "pruned_heads": {}}
    (place / "config.json").write_text(json.dumps(config))
    import_released(write_merged(tmp_path / "released", released), tmp_path / "out", vision_tower=place)
    assert difference(released, tmp_path / "out") < MOST


def test_the_towers_that_released_configs_name_are_known() -> None:
    for name, tokens, width in (
        ("google/siglip-so400m-patch14-384", 729, 1152),
        ("openai/clip-vit-large-patch14-336", 576, 1024),
    ):
        backbone = published_tower(name)
        assert backbone is not None
        config = tower_config_of(backbone, name)
        assert (config.tokens_per_image, config.hidden_size) == (tokens, width)
        assert tower_name_of(config) == name.partition("/")[2]
    assert published_tower("google/siglip-base-patch16-224") is None


def test_a_policy_goes_out_with_its_action_tokens(tmp_path: Path) -> None:
    released = make_released()
    tower = write_tower(tmp_path / "tower", released)
    released.tokenizer.save_pretrained(tmp_path / "tokenizer")
    policy = PolicyConfig(cameras=(CameraConfig("base", SIDE, SIDE),), history_length=1)
    tokenizer = load_tokenizer(tmp_path / "tokenizer", policy.action_space)
    backbone = {"model_type": "siglip_vision_model", **vision_fields()}
    size = load_size("3b").changed(
        text={**TEXT, "num_key_value_heads": 4, "vocab_size": 0, "partial_rotary_factor": 0.5},
        vision={"backbones": [backbone], "image_size": SIDE},
    )
    torch.manual_seed(0)
    model, processor = build_model(size, policy, tokenizer)
    save_checkpoint(tmp_path / "ours", model, processor, policy)
    with pytest.raises(CheckpointError, match="vision tower that is not known by a published name"):
        export_released(tmp_path / "ours", tmp_path / "out")
    conversation = ConversationConfig(SIDE, SIDE, source={"vision_tower": "someone/siglip-small"})
    save_checkpoint(tmp_path / "ours", model, processor, policy, conversation)
    export_released(tmp_path / "ours", tmp_path / "out")
    import_released(tmp_path / "out", tmp_path / "back", vision_tower=tower)
    back = load_conversation(tmp_path / "back")
    inputs = processor("<image 1>\nInstruct the robot to stop", random_images(1))
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, back.model(**inputs).logits)
    assert back.processor.tokenizer.get_vocab() == tokenizer.get_vocab()
