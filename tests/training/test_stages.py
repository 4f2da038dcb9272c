"""The papers' three stages on small random weights, each from the merged result of the one before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.start_samples import SIDE, recipe_of, write_conversations, write_weights
from tests.training.training_samples import POLICY

from spatialbot_policy.config import CameraConfig, PolicyConfig, load_yaml
from spatialbot_policy.conversation_config import ConversationConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.model import load_checkpoint
from spatialbot_policy.model.checkpoint import load_conversation
from spatialbot_policy.prompt import PromptStyle
from spatialbot_training.adapter import merge_adapter
from spatialbot_training.data_config import ConversationSet, DataConfig
from spatialbot_training.recipe import Recipe
from spatialbot_training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
ACTING = PolicyConfig(
    cameras=(CameraConfig("camera", SIDE, SIDE),),
    depth_variant=DepthVariant.RELEASED,
    prompt=PromptStyle.PAPER,
    history_length=2,
    action_space=POLICY.action_space,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("stages")
    write_weights(folder)
    write_conversations(folder / "talk")
    return folder


def train_and_merge(recipe: Recipe, out: Path, cache: Path) -> tuple[Trainer, Path]:
    trainer = Trainer(recipe, out, cache)
    trainer.run()
    return trainer, merge_adapter(out, out / "merged")


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def aligned(place: Path, cache: Path) -> tuple[Trainer, Path]:
    recipe = recipe_of("align", place)
    start = replace(recipe.start, language=place / "language", vision=(place / "vision",))
    return train_and_merge(replace(recipe, start=start), place / "align", cache)


@pytest.fixture(scope="module")
def answering(place: Path, cache: Path, aligned: tuple[Trainer, Path]) -> tuple[Trainer, Path]:
    recipe = recipe_of("vqa", place)
    parts = replace(recipe.parts, vision="lora")
    start = replace(recipe.start, checkpoint=aligned[1])
    return train_and_merge(replace(recipe, start=start, parts=parts), place / "vqa", cache)


def test_alignment_trains_the_projector_alone(aligned: tuple[Trainer, Path]) -> None:
    trainer, merged = aligned
    trained = [name for name, value in trainer.learner.named_parameters() if value.requires_grad]
    assert trained and all(name.startswith("model.projector.") for name in trained)
    assert trainer.learner.head is None
    lines = logged(trainer.out)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert "loss/localisation" not in lines[0] and lines[0]["memory_gib"] > 0
    assert lines[-1]["validation/held out/loss"] > 0
    found = load_conversation(merged)
    assert found.policy is None and found.conversation.template.user == ""
    weights = found.model.projector.state_dict()
    for name, value in trainer.learner.model.projector.state_dict().items():
        torch.testing.assert_close(weights[name], value)


def test_answering_trains_adapters_of_both_parts(answering: tuple[Trainer, Path]) -> None:
    trainer, merged = answering
    trained = {name for name, value in trainer.learner.named_parameters() if value.requires_grad}
    assert any("vision_tower" in name and "lora_A" in name for name in trained)
    assert any("language_model" in name and "lora_B" in name for name in trained)
    rates = {group["rate"] for group in trainer.loop.optimizer.param_groups}
    assert rates == {1.0, 0.1, trainer.schedule.tower_rate}
    samples = [json.loads(line) for line in (trainer.out / "predictions.jsonl").read_text().splitlines()]
    assert len(samples) == 3 and all(set(line) == {"step", "prompt", "wanted", "said"} for line in samples)
    assert samples[0]["wanted"].startswith("it is 0 away") and "USER:" in samples[0]["prompt"]
    template = load_conversation(merged).conversation.template
    assert template.user == "USER"


def test_the_embodied_stage_acts_and_still_converses(
    answering: tuple[Trainer, Path], place: Path, train_set: Path, validation_set: Path, cache: Path
) -> None:
    recipe = recipe_of("embodied", place, ema_decay=0.9)
    data = replace(
        recipe.data,
        train=(train_set,),
        validation=(validation_set,),
        mixture={"episodes": 1.0, "spatialqa": 1.0},
        window_steps=2,
    )
    recipe = replace(recipe, data=data, policy=ACTING, start=replace(recipe.start, checkpoint=answering[1]))
    trainer, merged = train_and_merge(recipe, place / "embodied", cache)
    sources = [{pick.source for pick in trainer.data.draws.picks(step)} for step in range(4)]
    assert set().union(*sources) == {0, 1}
    names = {name for line in logged(trainer.out) for name in line}
    assert {"validation/demo/dx_mm", "validation/held out/loss", "prompts_per_second"} <= names
    policy = LocalPolicy.from_checkpoint(merged)
    observation = next(iter(Dataset(train_set).episode(0).observations()))
    assert np.abs(policy.act(observation).steps[0].translation_m).max() <= 0.05
    both = load_conversation(merged)
    assert both.policy is not None and both.conversation.template.user == "USER"
    assert load_checkpoint(merged).policy.training["conversations"] == {"spatialqa": 12}


def test_two_halves_are_a_whole_with_accumulation_checkpointing_and_dropout(
    aligned: tuple[Trainer, Path], place: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = recipe_of("vqa", place, steps=4, save_every=2, validate_every=9)
    recipe = replace(recipe, start=replace(recipe.start, checkpoint=aligned[1]))
    whole = Trainer(recipe, tmp_path / "whole", cache).take(4)
    first = Trainer(recipe, tmp_path / "half", cache)
    assert first.take(2) == whole[:2]
    first._save_state()
    first.close()
    assert Trainer(recipe, tmp_path / "half", cache).take(2) == whole[2:]


def test_checkpointed_activations_change_no_loss(
    aligned: tuple[Trainer, Path], place: Path, cache: Path, tmp_path: Path
) -> None:
    def losses(checkpointing: bool) -> list[dict[str, float]]:
        recipe = recipe_of("vqa", place, gradient_checkpointing=checkpointing)
        recipe = replace(recipe, start=replace(recipe.start, checkpoint=aligned[1]))
        trainer = Trainer(recipe, tmp_path / str(checkpointing), cache)
        flags = {getattr(module, "gradient_checkpointing", False) for module in trainer.learner.modules()}
        assert (True in flags) == checkpointing
        return trainer.take(2)

    for one, other in zip(losses(True), losses(False), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_a_batch_that_a_budget_cut_short_still_feeds_every_part(
    aligned: tuple[Trainer, Path], place: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = recipe_of("vqa", place, micro_batch=0, bf16=False)
    recipe = replace(
        recipe,
        data=replace(recipe.data, token_budget=400),
        lora=replace(recipe.lora, dropout=0.0),
        start=replace(recipe.start, checkpoint=aligned[1]),
    )
    whole = Trainer(recipe, tmp_path / "whole", cache)
    assert min(len(whole.data.draws.picks(step)) for step in range(4)) < 6
    parts = Trainer(
        replace(recipe, schedule=replace(recipe.schedule, micro_batch=1)), tmp_path / "parts", cache
    )
    for one, other in zip(whole.take(3), parts.take(3), strict=True):
        assert other == pytest.approx(one, abs=1e-4)


def test_epochs_become_steps(aligned: tuple[Trainer, Path], place: Path, cache: Path, tmp_path: Path) -> None:
    recipe = recipe_of("vqa", place, epochs=2.0)
    trainer = Trainer(replace(recipe, start=replace(recipe.start, checkpoint=aligned[1])), tmp_path, cache)
    assert trainer.schedule.steps == 4  # twelve conversations in batches of six, twice


def test_prepared_in_other_processes_a_batch_is_the_same(
    aligned: tuple[Trainer, Path], place: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = recipe_of("vqa", place)
    recipe = replace(recipe, start=replace(recipe.start, checkpoint=aligned[1]))
    here = Trainer(recipe, tmp_path / "here", cache).take(2)
    elsewhere = replace(recipe, data=replace(recipe.data, workers=1))
    assert Trainer(elsewhere, tmp_path / "there", cache).take(2) == here


def test_action_tokens_of_a_head_of_its_own_learn(
    place: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = recipe_of("embodied", place)
    size = replace(recipe.model, text={"tie_word_embeddings": False})
    data = DataConfig(train=(train_set,), stills_per_batch=2, windows_per_batch=1)
    start = replace(recipe.start, checkpoint=None, language=place / "untied", vision=(place / "vision",))
    recipe = replace(recipe, data=data, policy=ACTING, conversation=None, start=start, model=size)
    trainer, merged = train_and_merge(recipe, tmp_path, cache)
    trained = [name for name, value in trainer.learner.named_parameters() if value.requires_grad]
    assert any("lm_head" in name for name in trained) and any("embed_tokens" in name for name in trained)
    with trainer.shipped() as learner:
        delta = learner.model.get_output_embeddings().token_adapter.trainable_tokens_delta["default"]
    model = load_checkpoint(merged).model
    torch.testing.assert_close(model.get_output_embeddings().weight[model.config.action_token_slice], delta)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conversation": None}, "conversations need their wording"),
        ({"data": DataConfig(train=(Path("a"),))}, "episodes are learned as a policy"),
    ],
)
def test_recipes_whose_parts_do_not_fit(place: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(recipe_of("vqa", place), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": {"spatialqa": 1.0, "others": 1.0}}, "data.mixture names 'others'; known are spatialqa"),
        ({"mixture": {"spatialqa": 0.0}}, "a weight above 0"),
        ({"batch": 0}, "conversations, and a batch of the mixture"),
        ({"conversation_validation": "same"}, "in train and in validation"),
        ({"token_budget": -1}, "0 or more"),
    ],
)
def test_mixtures_out_of_range(place: Path, changes: dict, message: str) -> None:
    data = recipe_of("vqa", place).data
    if changes.get("conversation_validation"):
        changes = {"conversation_validation": data.conversations}
    with pytest.raises(ConfigError, match=message):
        replace(data, **changes)


def test_a_conversation_set_is_not_called_episodes() -> None:
    with pytest.raises(ConfigError, match="'episodes' means the episodes"):
        ConversationSet("episodes", Path("a.json"))


def test_the_stages_have_the_papers_numbers() -> None:
    align, vqa, embodied = (
        load_yaml(Recipe, ROOT / "config" / "train" / f"{name}.yaml") for name in ("align", "vqa", "embodied")
    )
    assert (align.schedule.learning_rate, align.data.batch) == (5e-4, 8 * 8 * 4)
    assert (vqa.schedule.learning_rate, vqa.data.batch, vqa.schedule.micro_batch) == (2e-4, 8 * 8 * 2, 8)
    assert vqa.schedule.learning_rate * vqa.schedule.projector_rate == pytest.approx(2e-5)
    assert embodied.schedule.learning_rate * embodied.schedule.projector_rate == pytest.approx(1e-5)
    assert (vqa.lora.r, vqa.lora.alpha, vqa.schedule.warmup_ratio, vqa.data.max_length) == (
        128,
        256,
        0.03,
        2048,
    )
    assert isinstance(vqa.conversation, ConversationConfig)
