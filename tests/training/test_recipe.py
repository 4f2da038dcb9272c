"""Recipes: the shipped ones load, and a mistake in one is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spatialbot_policy.config import from_dict, load_yaml, to_dict
from spatialbot_policy.errors import ConfigError
from spatialbot_training.network import build_network
from spatialbot_training.recipe import (
    ConversationSet,
    DataConfig,
    ModelConfig,
    PartsConfig,
    Recipe,
    ScheduleConfig,
    StartConfig,
)

TALK = (ConversationSet("talk", Path("talk.json")),)
RECIPES = sorted((Path(__file__).resolve().parents[2] / "config" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_come_back_from_their_dictionary(path: Path) -> None:
    recipe = load_yaml(Recipe, path)
    assert from_dict(Recipe, to_dict(recipe), "again") == recipe


@pytest.mark.parametrize(
    ("place", "key", "hint"),
    [
        ((), "modle", "did you mean 'model'"),
        (("data",), "trian", "did you mean 'train'"),
        (("schedule",), "learning_rat", "did you mean 'learning_rate'"),
        (("policy",), "deph_variant", "did you mean 'depth_variant'"),
        (("model",), "visoin", "did you mean 'vision'"),
    ],
)
def test_unknown_keys_are_refused_with_a_hint(recipe: Recipe, place: tuple, key: str, hint: str) -> None:
    data = to_dict(recipe)
    inner = data
    for part in place:
        inner = inner[part]
    inner[key] = 1
    with pytest.raises(ConfigError, match=f"unknown key '{key}'.*{hint}"):
        from_dict(Recipe, data, "recipe.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ()}, "at least one train data set"),
        ({"stills_per_batch": 0, "windows_per_batch": 0}, "stills or windows"),
        ({"stills_per_batch": -1}, "0 or more"),
        ({"window_steps": 0}, "window_steps at least 1"),
        ({"approach_weight": 0.0}, "approach_weight"),
        ({"reading_weight": 0.0}, "reading_weight"),
        ({"demonstrations_per_localisation_batch": -1}, "0 or more"),
        (
            {"train": (), "batch": 4, "cache_features": True, "conversations": TALK},
            "conversations are not kept",
        ),
        ({"validation": (Path("b/../a"),)}, "a in train and in validation; keep them apart"),
    ],
)
def test_data_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(**{"train": (Path("a"),), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"save_every": 0}, "at least 1"),
        ({"localisation_steps": 11}, "got 11 of 10"),
        ({"localisation_steps": 5, "localisation_weight": 0.0}, "localisation_weight above 0"),
        ({"ema_decay": 1.0}, "ema_decay < 1"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"rotation_weight": -1.0}, "loss weights"),
        ({"intention_weight": -1.0}, "loss weights"),
        ({"tower_rate": 0.0}, "tower_rate > 0"),
        ({"seed": -1}, "seed >= 0"),
        ({"micro_batch": -1}, "micro_batch and epochs must be 0 or more"),
        ({"projector_rate": 0.0}, "projector_rate > 0"),
        ({"warmup_ratio": 1.0}, "0 <= warmup_ratio < 1"),
        ({"final_rate": 1.5}, "0 <= final_rate <= 1"),
        ({"beta2": 1.0}, "0 < beta2 < 1"),
    ],
)
def test_schedule_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ScheduleConfig(**{"steps": 10, **changes})


def test_a_localisation_phase_needs_stills_in_its_batches(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="stills_per_localisation_batch above 0"):
        replace(recipe, data=replace(recipe.data, stills_per_localisation_batch=0))
    demos = replace(recipe.data, stills_per_localisation_batch=0, demonstrations_per_localisation_batch=2)
    assert replace(recipe, data=demos).data.localisation_batch == 2


@pytest.mark.parametrize(
    ("parts", "start", "message"),
    [
        (PartsConfig(vision="frozen"), StartConfig(), "need trained weights: set start.checkpoint"),
        (
            PartsConfig(projector="frozen"),
            StartConfig(tower=Path("a")),
            "start.tower allows parts.vision: frozen",
        ),
        (
            PartsConfig(language="frozen"),
            StartConfig(tower=Path("a")),
            "start.tower allows parts.vision: frozen",
        ),
        (PartsConfig(vision="lora"), StartConfig(tower=Path("a")), "start.tower allows parts.vision: frozen"),
    ],
)
def test_only_a_tower_that_learned_may_be_frozen(
    recipe: Recipe, parts: PartsConfig, start: StartConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(recipe, parts=parts, start=start)
    frozen = replace(recipe, parts=PartsConfig(vision="frozen"), start=StartConfig(tower=Path("a")))
    assert frozen.whole_result and not frozen.parts.all_full


def test_a_tower_is_not_taken_beside_other_weights() -> None:
    for others in ({"checkpoint": Path("b")}, {"language": Path("b")}):
        with pytest.raises(ConfigError, match="start.tower brings a vision tower, beside which all else"):
            StartConfig(tower=Path("a"), **others)


def test_features_are_kept_of_a_frozen_tower_alone(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="parts.vision is full; set it to frozen"):
        replace(recipe, data=replace(recipe.data, cache_features=True))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig(vision={"chanels": [8, 8, 16]}), "model.vision: unknown key 'chanels'.*'channels'"),
        (ModelConfig(text={"hidden_sise": 8}), "model.text: unknown key 'hidden_sise'.*'hidden_size'"),
        (ModelConfig(text={"model_type": "qwen99"}), "no model_type 'qwen99'"),
        (ModelConfig(vision={"channels": [8, 9, 16]}), "three multiples of norm_groups"),
        (ModelConfig(text={"hidden_size": "wide"}), "gives no network.*hidden_size"),
        (ModelConfig(vision={"keypoints": "many"}), "gives no network"),
    ],
)
def test_fields_that_give_no_network_are_refused(recipe: Recipe, model: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match="(?s)" + message):
        build_network(replace(recipe, model=model), ["pick up the red cup"])
