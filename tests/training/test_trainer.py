"""Training: resumed runs are the same runs, losses fall, and what comes out can act."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.training_samples import record_demos, small_recipe

from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import CheckpointError, ConfigError, EpisodeError
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.model import load_checkpoint
from spatialbot_training.recipe import Recipe, ScheduleConfig
from spatialbot_training.schedule import rate_factor
from spatialbot_training.trainer import Trainer
from spatialbot_training.usage import CLOCKED


class Killed(BaseException):
    """Ends a run where it stands, as a kill would."""


def logged(out: Path) -> list[dict[str, Any]]:
    """The log without its clock."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCKED} for line in lines]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    averaged = {f"averaged.{key}": value for key, value in trainer.average.values.items()}
    return {**trainer.learner.state_dict(), **averaged}


def kill_at(trainer: Trainer, step: int) -> None:
    """Run until just after a step was taken, then die without any tidying up."""

    def progress(what: str, done: int, total: int) -> None:
        if what == "steps" and done == step:
            raise Killed

    trainer._on_progress = progress
    with pytest.raises(Killed):
        trainer.run()


@pytest.fixture(scope="module")
def whole(
    train_set: Path, validation_set: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trainer:
    """A run that nobody interrupts."""
    torch.set_num_threads(1)
    trainer = Trainer(small_recipe(train_set, validation_set), tmp_path_factory.mktemp("whole"), cache)
    trainer.run()
    return trainer


@pytest.mark.parametrize("step", [1, 3, 5, 6])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    step: int, whole: Trainer, recipe: Recipe, cache: Path, tmp_path: Path
) -> None:
    kill_at(Trainer(recipe, tmp_path, cache), step)
    again = Trainer(recipe, tmp_path, cache)
    assert again.step == (step - 1) // 2 * 2  # of the last save
    again.run()
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())
    assert logged(tmp_path) == logged(whole.out)


def test_figures_between_two_log_lines_survive_a_save(train_set: Path, cache: Path, tmp_path: Path) -> None:
    recipe = small_recipe(train_set, log_every=3, save_every=2)
    Trainer(recipe, tmp_path / "whole", cache).run()
    kill_at(Trainer(recipe, tmp_path / "killed", cache), 3)
    Trainer(recipe, tmp_path / "killed", cache).run()
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")


def test_checkpoints_are_kept_to_plot_success_against_training(
    train_set: Path, cache: Path, tmp_path: Path
) -> None:
    Trainer(small_recipe(train_set, keep_every=3), tmp_path, cache).run()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-3", "step-6"]
    steps = [load_checkpoint(tmp_path / "checkpoints" / name).policy.training["step"] for name in kept]
    assert steps == [3, 6]


def test_a_kill_between_checkpoint_and_state_is_harmless(
    whole: Trainer, recipe: Recipe, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(recipe, tmp_path, cache)
    save = trainer._save_state

    def die_at_the_end() -> None:
        if trainer.step == 6:
            raise Killed
        save()

    monkeypatch.setattr(trainer, "_save_state", die_at_the_end)
    with pytest.raises(Killed):
        trainer.run()
    again = Trainer(recipe, tmp_path, cache)
    assert again.step == 4
    again.run()
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == (
        whole.out / "checkpoint" / "model.safetensors"
    ).read_bytes()


def test_dropout_too_goes_on_exactly(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    recipe = replace(
        recipe, model=replace(recipe.model, text={**recipe.model.text, "attention_dropout": 0.5})
    )
    whole = Trainer(recipe, tmp_path / "whole", cache)
    losses = whole.take(5)
    kill_at(Trainer(recipe, tmp_path / "killed", cache), 5)
    torch.rand(7)  # another process has another generator
    again = Trainer(recipe, tmp_path / "killed", cache)
    assert again.take(1) == losses[4:]


def test_a_finished_run_is_finished(whole: Trainer, recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(whole.out, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    again = Trainer(recipe, tmp_path / "run", cache)
    assert again.step == 6
    assert again.run() == tmp_path / "run" / "checkpoint"
    assert logged(tmp_path / "run") == logged(whole.out)
    LocalPolicy.from_checkpoint(tmp_path / "run" / "checkpoint")


def test_the_checkpoint_acts_and_says_what_it_learned_from(whole: Trainer, train_set: Path) -> None:
    policy = LocalPolicy.from_checkpoint(whole.out / "checkpoint")
    for observation in Dataset(train_set).episode(0).observations():
        (step,) = policy.act(observation).steps
        assert np.abs(step.translation_m).max() <= 0.05
    summary = policy.config.training
    assert {
        key: summary[key] for key in ("step", "episodes", "frames", "stills", "seed_min", "seed_max")
    } == {
        "step": 6,
        "episodes": 5,
        "frames": 29,
        "stills": 8,
        "seed_min": 1,
        "seed_max": 5,
    }
    assert summary["tasks"] == ["Squares/pick"]
    assert not [name for name in whole.learner.model.state_dict() if "head.linear" in name]


def test_a_run_leaves_its_figures_and_a_plot(whole: Trainer) -> None:
    assert {path.name for path in whole.out.iterdir()} == {
        ".lock", "checkpoint", "log.jsonl", "open_loop.png", "predictions.jsonl", "recipe.json", "state.pt",
        "tensorboard",
    }  # fmt: skip
    steps = [line["step"] for line in logged(whole.out)]
    assert steps == [2, 4, 6, 6]
    assert logged(whole.out)[0]["loss/answer"] == 0 < logged(whole.out)[1]["loss/answer"]


def test_losses_fall_on_a_few_episodes(train_set: Path, cache: Path, tmp_path: Path) -> None:
    recipe = small_recipe(
        train_set, steps=60, localisation_steps=0, warmup_steps=5, learning_rate=1e-2, bf16=False
    )
    trainer = Trainer(recipe, tmp_path, cache)
    losses = trainer.take(60)
    for name in ("loss/answer", "loss/localisation"):
        first, last = (np.mean([entry[name] for entry in part]) for part in (losses[:5], losses[-5:]))
        assert last < 0.7 * first, name


def test_only_the_tower_learns_in_the_first_phase(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path, cache)
    before = {name: value.clone() for name, value in trainer.learner.named_parameters()}
    trainer.take(1)
    for name, value in trainer.learner.named_parameters():
        if name.startswith(("model.language_model.", "model.projector.")):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(trainer.learner.head.linear.weight, before["head.linear.weight"])


def test_without_averaging_the_last_weights_ship(train_set: Path, cache: Path, tmp_path: Path) -> None:
    trainer = Trainer(small_recipe(train_set, ema_decay=0.0), tmp_path, cache)
    trainer.take(1)
    before = {name: value.clone() for name, value in trainer.learner.state_dict().items()}
    with trainer.shipped() as learner:
        assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_averaged_weights_ship_and_the_others_come_back(train_set: Path, cache: Path, tmp_path: Path) -> None:
    trainer = Trainer(small_recipe(train_set, localisation_steps=0), tmp_path, cache)
    start = trainer.learner.head.linear.weight.detach().clone()
    trainer.take(1)
    after = trainer.learner.head.linear.weight.detach().clone()
    with trainer.shipped() as learner:  # (1 + 1) / (10 + 1) of the mean is kept in the first step
        expected = start.lerp(after, 1 - 2 / 11)
        torch.testing.assert_close(learner.head.linear.weight.detach(), expected)
    assert torch.equal(trainer.learner.head.linear.weight, after)


def test_a_gradient_that_is_not_finite_changes_no_weight(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path, cache)
    trainer.take(1)
    with torch.no_grad():
        trainer.learner.head.linear.bias.fill_(float("nan"))
    before = weights(trainer)
    kept = {name: value.clone() for name, value in before.items() if "head.linear.bias" not in name}
    with pytest.raises(
        CheckpointError, match="gradient at step 1 is not finite; lower schedule.learning_rate"
    ):
        trainer.take(1)
    assert trainer.step == 1
    assert all(torch.equal(value, before[name]) for name, value in kept.items())


def test_learning_rate_warms_up_in_both_phases_and_ends_at_a_hundredth() -> None:
    schedule = ScheduleConfig(steps=1000, localisation_steps=400, warmup_steps=100, learning_rate=1.0)
    rates = np.array([rate_factor(step, schedule) for step in range(1001)])
    assert rates[0] == pytest.approx(0.01) and rates[400] < 0.01 < 0.5 < rates[399]  # warm-up again
    assert rates.argmax() == 99 and rates.max() > 0.97
    assert rates[1000] == pytest.approx(0.01)
    assert np.all(np.diff(rates[500:]) < 0)


def test_a_share_of_the_steps_can_be_the_warm_up() -> None:
    by_share = ScheduleConfig(steps=200, warmup_ratio=0.1, final_rate=0.0)
    by_steps = ScheduleConfig(steps=200, warmup_steps=20, final_rate=0.0)
    rates = [rate_factor(step, by_share) for step in range(200)]
    assert rates == [rate_factor(step, by_steps) for step in range(200)]
    assert max(rates) == pytest.approx(1.0, abs=0.03) and rates[-1] < 1e-4


def test_validation_must_not_share_seeds(train_set: Path, cache: Path, tmp_path: Path) -> None:
    record_demos(tmp_path / "validation", seeds=(200, 2))
    with pytest.raises(
        EpisodeError, match="seed 2 of Squares/pick is in training and in validation.*--first-seed"
    ):
        Trainer(small_recipe(train_set, tmp_path / "validation"), tmp_path / "run", cache)


def test_a_run_does_not_go_on_with_other_episodes(cache: Path, tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1, 2))
    recipe = small_recipe(tmp_path / "data", localisation_steps=0)
    recipe = replace(recipe, data=replace(recipe.data, stills_per_batch=0))
    kill_at(Trainer(recipe, tmp_path / "run", cache), 3)
    before = (tmp_path / "run" / "state.pt").read_bytes()
    record_demos(tmp_path / "data", seeds=(3,))
    with pytest.raises(CheckpointError, match="training data is not that which the run .* began with"):
        Trainer(recipe, tmp_path / "run", cache)
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_a_state_of_another_network_is_refused(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path, cache)
    trainer._directory.save_state({"step": 2, "learner": {}, "averaged": {}, "optimizer": {}})
    trainer.close()
    with pytest.raises(CheckpointError, match="is not of this network.*remove it to train from step 0"):
        Trainer(recipe, tmp_path, cache)


def test_a_mistake_in_the_recipe_leaves_the_directory_free_for_the_mended_one(
    recipe: Recipe, cache: Path, tmp_path: Path
) -> None:
    wrong = replace(recipe, model=replace(recipe.model, vision={"chanels": [8, 8, 16]}))
    with pytest.raises(ConfigError, match="unknown key 'chanels'"):
        Trainer(wrong, tmp_path, cache)
    assert Trainer(recipe, tmp_path, cache).step == 0
