"""Checkpoints come back whole, and a damaged or contradicting one names what is wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model import (
    SpatialBotForActionPrediction,
    SpatialBotProcessor,
    load_checkpoint,
    save_checkpoint,
)
from spatialbot_policy.model.checkpoint import load_conversation

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]


@pytest.fixture
def saved(small: Small, policy_config: PolicyConfig, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "tiny", *small, policy_config)
    return tmp_path / "tiny"


def edit_policy(saved: Path, **changes: object) -> None:
    data = yaml.safe_load((saved / "policy.yaml").read_text())
    (saved / "policy.yaml").write_text(yaml.safe_dump({**data, **changes}))


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_everything_comes_back(small: Small, policy_config: PolicyConfig, saved: Path) -> None:
    checkpoint = load_checkpoint(saved, expected=policy_config)
    assert checkpoint.policy == policy_config
    assert checkpoint.processor.tokenizer.get_vocab() == small[1].tokenizer.get_vocab()
    assert not checkpoint.model.training
    for name, weight in small[0].state_dict().items():
        assert torch.equal(checkpoint.model.state_dict()[name], weight)


def test_saving_again_replaces_the_weights_and_keeps_the_model_card(
    small: Small, policy_config: PolicyConfig, saved: Path
) -> None:
    (saved / "README.md").write_text("card")
    with torch.no_grad():
        small[0].projector.linear_1.bias.fill_(3.0)
    save_checkpoint(saved, *small, policy_config)
    assert (saved / "README.md").read_text() == "card"
    assert (load_checkpoint(saved).model.projector.linear_1.bias == 3.0).all()
    assert [file.name for file in saved.parent.iterdir()] == ["tiny"]


def test_a_save_that_fails_leaves_the_old_checkpoint(
    small: Small, policy_config: PolicyConfig, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(saved)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SpatialBotProcessor, "save_pretrained", full_disk)
    with pytest.raises(CheckpointError, match="No space left.*check space"):
        save_checkpoint(saved, *small, policy_config)
    assert contents(saved) == before
    assert [file.name for file in saved.parent.iterdir()] == ["tiny"]


def test_a_rename_that_fails_brings_the_old_checkpoint_back(
    small: Small, policy_config: PolicyConfig, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = contents(saved), Path.rename

    def fail_for_the_new_one(self: Path, target: Path) -> Path:
        if "partial" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(CheckpointError, match="Input/output"):
        save_checkpoint(saved, *small, policy_config)
    assert contents(saved) == before


def test_a_save_killed_between_its_renames_still_loads(saved: Path) -> None:
    saved.rename(saved.with_name(".tiny.previous"))
    assert load_checkpoint(saved).policy.history_length == 4


def test_a_foreign_directory_is_not_replaced(
    small: Small, policy_config: PolicyConfig, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(CheckpointError, match="no checkpoint; choose another directory"):
        save_checkpoint(tmp_path, *small, policy_config)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_parts_that_disagree_are_not_saved(small: Small, policy_config: PolicyConfig, tmp_path: Path) -> None:
    other = dataclasses.replace(policy_config, depth_variant=DepthVariant.UINT24)
    with pytest.raises(CheckpointError, match="depth variant.*paper and uint24"):
        save_checkpoint(tmp_path / "tiny", *small, other)
    assert not (tmp_path / "tiny").exists()


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint directory.*run training"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "policy.yaml"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        load_checkpoint(saved)


def test_pickled_weights_are_never_read(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    (saved / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is pickled and is not read; convert it"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "policy.yaml"])
def test_truncated_file(saved: Path, name: str) -> None:
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="."):
        load_checkpoint(saved)


def test_a_pointer_instead_of_weights_names_git_lfs(saved: Path) -> None:
    (saved / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        load_checkpoint(saved)


def test_weights_of_another_shape(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["vision_config"]["keypoints"] = 8
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="model.safetensors"):
        load_checkpoint(saved)


def test_another_model_type(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["vision_config"]["model_type"] = "clip_vision_model"
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="."):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_variant": "released"}, "depth variant of config.json and policy.yaml: paper and released"),
        ({"depth_variant": None}, "depth variant of config.json and policy.yaml: paper and None"),
        ({"action_space": {"bins": 51}}, "action bins of config.json and policy.yaml: 101 and 51"),
        ({"cameras": [{"name": "wrist", "width": 32, "height": 32}]}, "base 32x32.*wrist 32x32"),
        ({"history_length": 2}, "history length of config.json and policy.yaml: 4 and 2"),
        (
            {"action_space": {"kind": "delta_pose_terminate"}},
            "kind of action of config.json and policy.yaml: delta_pose and delta_pose_terminate",
        ),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_policy_that_contradicts_the_config(saved: Path, changes: dict[str, object], message: str) -> None:
    edit_policy(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_processor_that_contradicts_the_config(saved: Path) -> None:
    edit_json(saved / "processor_config.json", tokens_per_image=3)
    with pytest.raises(CheckpointError, match="tokens per image.*2 and 3"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_variant": DepthVariant.RELEASED}, "depth_variant: paper != released"),
        ({"action_space": ActionSpace(bins=51)}, "bins: 101 != 51"),
        ({"cameras": (CameraConfig("wrist", 32, 32),)}, "cameras: base 32x32 != wrist 32x32"),
    ],
)
def test_checkpoint_that_is_not_what_was_asked_for(
    saved: Path, policy_config: PolicyConfig, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved, expected=dataclasses.replace(policy_config, **changes))


def test_a_copy_elsewhere_loads(saved: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(saved, tmp_path / "copy with spaces")
    assert load_checkpoint(copy).policy.cameras[0].name == "base"


def test_a_device_that_is_not_there_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(CheckpointError, match="device 'bogus'.*use cpu"):
        load_checkpoint(tmp_path / "nowhere", device="bogus")


def test_a_policy_can_be_asked_in_the_released_wording(
    small: Small, policy_config: PolicyConfig, saved: Path
) -> None:
    checkpoint = load_conversation(saved)
    conversation = checkpoint.conversation
    assert checkpoint.policy == policy_config
    assert (conversation.image_width, conversation.image_height) == (32, 32)
    assert conversation.depth_variant is DepthVariant.PAPER and conversation.pad_color == (0, 0, 0)
    assert (conversation.template.begin, conversation.template.end) == ("<bos>", "<eos>")


def test_a_checkpoint_may_act_and_converse(small: Small, policy_config: PolicyConfig, saved: Path) -> None:
    conversation = ConversationConfig(32, 32, template=ConversationTemplate(end="<eos>"), max_images=3)
    save_checkpoint(saved, *small, policy_config, conversation)
    assert load_checkpoint(saved).policy == policy_config
    assert load_conversation(saved).conversation == conversation
    save_checkpoint(saved, *small, policy_config)
    assert not (saved / "conversation.yaml").exists()


def test_an_end_token_that_the_tokenizer_lacks_is_refused(
    small: Small, policy_config: PolicyConfig, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"end tokens of conversation.yaml.*<\|endoftext\|>"):
        save_checkpoint(tmp_path / "it", *small, policy_config, ConversationConfig(32, 32))
    with pytest.raises(CheckpointError, match="needs a policy or a conversation"):
        save_checkpoint(tmp_path / "it", *small)
