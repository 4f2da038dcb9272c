"""Adapters: they alone are trained and saved, and merging gives the network that was trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.training.training_samples import POLICY, small_recipe
from torch import Tensor

from spatialbot_cli import main as cli
from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.model import SpatialBotForActionPrediction, load_checkpoint
from spatialbot_training.adapter import merge_adapter
from spatialbot_training.collate import Pick, collate
from spatialbot_training.parts import LoraSettings, PartsConfig, prepare_parts
from spatialbot_training.recipe import ModelConfig, Recipe, StartConfig
from spatialbot_training.trainer import Trainer


@pytest.fixture(scope="module")
def start(train_set: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to start from."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("start")
    return Trainer(small_recipe(train_set, steps=4), out, cache).run()


def lora_recipe(train_set: Path, start: Path, **schedule: object) -> Recipe:
    options = {"localisation_steps": 0, "bf16": False, "learning_rate": 1e-2, "warmup_steps": 1, **schedule}
    return replace(
        small_recipe(train_set, **options),
        model=ModelConfig(),
        start=StartConfig(checkpoint=start),
        parts=PartsConfig(vision="frozen", projector="full", language="lora"),
        lora=LoraSettings(r=4, alpha=8, dropout=0.1),
    )


@pytest.fixture(scope="module")
def run(train_set: Path, start: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A whole run that trains adapters."""
    torch.set_num_threads(1)
    trainer = Trainer(lora_recipe(train_set, start), tmp_path_factory.mktemp("lora"), cache)
    trainer.run()
    return trainer


def logits(model: SpatialBotForActionPrediction, trainer: Trainer) -> Tensor:
    """Of the answers to a few steps."""
    source = trainer.data.sources[0]
    batch = collate([Pick(0, row) for row in (0, 3, 9, 22)], [source], trainer.processor)
    model.eval()
    with torch.no_grad():
        embeds = batch.gather(model.encode_images(batch.pixel_values))
        found = model(**batch.inputs, image_embeds=embeds, answer_logits_only=True).logits
    assert found is not None
    return found


def test_only_adapters_action_tokens_and_projector_learn(run: Trainer, start: Path) -> None:
    trained = {name for name, value in run.learner.named_parameters() if value.requires_grad}
    kinds = ("lora_A", "lora_B", "trainable_tokens_delta", "model.projector.", "to_tokens.", "head.")
    assert trained and all(any(kind in name for kind in kinds) for name in trained)
    assert all(any(kind in name for name in trained) for kind in kinds)
    before = load_checkpoint(start).model.state_dict()
    for name, value in run.learner.model.state_dict().items():
        plain = name.replace("base_model.model.", "").replace(".base_layer", "")
        if plain in before and not name.startswith(("projector.", "vision_tower.to_tokens.")):
            assert torch.equal(value, before[plain]), name


def test_what_is_saved_is_small_and_in_pefts_own_form(run: Trainer, start: Path) -> None:
    place = run.out / "adapter"
    assert {path.name for path in place.iterdir()} == {
        "config.json", "language_model", "processor", "trained.safetensors"
    }  # fmt: skip
    assert not (run.out / "checkpoint").exists()
    kept = load_file(place / "trained.safetensors")
    assert all(name.startswith(("projector.", "vision_tower.to_tokens.")) for name in kept)
    language = PeftModel.from_pretrained(
        load_checkpoint(start).model.language_model, str(place / "language_model")
    )
    with run.shipped() as learner:
        expected = learner.model.language_model.state_dict()
        for name, value in language.state_dict().items():
            torch.testing.assert_close(value, expected[name])


def test_merging_gives_the_network_that_was_trained(run: Trainer, train_set: Path, tmp_path: Path) -> None:
    assert cli.main(["merge", str(run.out), "--out", str(tmp_path / "merged")]) == 0
    merged = load_checkpoint(tmp_path / "merged")
    with run.shipped() as learner:
        expected = logits(learner.model, run)
    assert (logits(merged.model, run) - expected).abs().max() < 1e-4 < expected.abs().max()
    assert merged.policy.training["step"] == 6 and merged.policy.training["episodes"] == 5
    policy = LocalPolicy.from_checkpoint(tmp_path / "merged")
    observation = next(iter(Dataset(train_set).episode(0).observations()))
    assert np.abs(policy.act(observation).steps[0].translation_m).max() <= 0.05


def test_ten_steps_and_a_resume_are_twenty(train_set: Path, start: Path, cache: Path, tmp_path: Path) -> None:
    recipe = lora_recipe(train_set, start, steps=20, log_every=1, save_every=10, validate_every=20)
    whole = Trainer(recipe, tmp_path / "whole", cache)
    whole.run()
    first = Trainer(recipe, tmp_path / "half", cache)
    expected = first.take(10)
    first._save_state()
    first.close()
    second = Trainer(recipe, tmp_path / "half", cache)
    assert second.step == 10
    figures = [*expected, *second.take(10)]
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    for line, found in zip(lines, figures, strict=False):
        assert found == {name: pytest.approx(line[name], abs=1e-6) for name in found}, line["step"]
    for name, value in whole.learner.state_dict().items():
        assert torch.equal(value, second.learner.state_dict()[name]), name


def test_adapters_learn(train_set: Path, start: Path, cache: Path, tmp_path: Path) -> None:
    losses = Trainer(lora_recipe(train_set, start, steps=30), tmp_path, cache).take(30)
    first, last = (np.mean([entry["loss/answer"] for entry in part]) for part in (losses[:5], losses[-5:]))
    assert last < 0.8 * first


def test_a_base_that_changed_is_noticed(run: Trainer, start: Path, train_set: Path, cache: Path,
                                        tmp_path: Path) -> None:  # fmt: skip
    moved = tmp_path / "start"
    shutil.copytree(start, moved)
    recipe = lora_recipe(train_set, moved)
    Trainer(recipe, tmp_path / "run", cache).run()
    weights = load_file(moved / "model.safetensors")
    name = next(name for name in weights if "q_proj.weight" in name)
    weights[name] = weights[name] + 0.1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="bring back the weights that the run started from"):
        merge_adapter(tmp_path / "run", tmp_path / "merged")
    with pytest.raises(CheckpointError, match="weights that the run in .* started from have changed"):
        Trainer(recipe, tmp_path / "run", cache)


def test_what_is_no_adapter_is_refused(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["merge", str(start), "--out", str(tmp_path / "merged")]) == 2
    assert "is no adapter; give the directory of a run" in capsys.readouterr().err


def test_a_damaged_adapter_is_named(run: Trainer, tmp_path: Path) -> None:
    shutil.copytree(run.out / "adapter", tmp_path / "adapter")
    (tmp_path / "adapter" / "language_model" / "adapter_model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="cannot read the adapter .*copy it again"):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    (tmp_path / "adapter" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json is damaged"):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged")


def test_a_checkpoint_of_another_promise_is_no_start(train_set: Path, start: Path, cache: Path,
                                                     tmp_path: Path) -> None:  # fmt: skip
    recipe = lora_recipe(train_set, start)
    with pytest.raises(CheckpointError, match="the checkpoint and the recipe disagree.*history_length"):
        Trainer(replace(recipe, policy=replace(POLICY, history_length=2)), tmp_path, cache)


def test_frozen_parts_need_a_start(train_set: Path) -> None:
    with pytest.raises(ConfigError, match="need trained weights: set start.checkpoint"):
        replace(small_recipe(train_set), parts=PartsConfig(language="lora"))
    with pytest.raises(ConfigError, match="all frozen; let one of them learn"):
        PartsConfig("frozen", "frozen", "frozen")


def test_targets_must_be_layers_of_the_part(start: Path) -> None:
    model = load_checkpoint(start).model
    with pytest.raises(ConfigError, match=r"\['query'\] name no linear layer.*q_proj"):
        prepare_parts(model, PartsConfig(language="lora"), LoraSettings(targets=("query",)))
    with pytest.raises(ConfigError, match="lora needs a pretrained tower"):
        prepare_parts(model, PartsConfig(vision="lora"), LoraSettings())


def test_half_precision_is_for_frozen_weights_alone(start: Path) -> None:
    model = load_checkpoint(start).model
    parts = PartsConfig("frozen", "full", "lora", frozen_dtype="bfloat16")
    prepare_parts(model, parts, LoraSettings(r=2))
    for name, value in model.named_parameters():
        half = name.startswith("language_model.") and not value.requires_grad
        assert value.dtype == (torch.bfloat16 if half else torch.float32), name
