"""Open-loop validation: figures against what the recording holds, and the plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.training_samples import POLICY, record_stills, small_recipe

from spatialbot_policy.inference import ActionDecoder, LocalPolicy
from spatialbot_policy.inference.language_reader import LayerReader
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.open_loop import OpenLoopExample, plot_open_loop, validate
from spatialbot_training.recipe import Recipe
from spatialbot_training.trainer import Trainer


@pytest.fixture
def trainer(recipe: Recipe, cache: Path, tmp_path: Path) -> Trainer:
    return Trainer(recipe, tmp_path, cache)


def source_of(trainer: Trainer) -> EpisodeExamples:
    assert trainer.validation.episodes is not None
    return trainer.validation.episodes


def test_predictions_are_the_answers_of_the_policy(trainer: Trainer) -> None:
    _, example = validate(trainer.learner, source_of(trainer))
    policy = LocalPolicy(Checkpoint(trainer.learner.model, trainer.processor, POLICY))
    store = source_of(trainer).store
    demos = np.flatnonzero(~store.stills)
    live = [policy.act(store.observation(int(row))).steps[0].as_vector() for row in demos]
    np.testing.assert_array_equal(example.predicted, np.stack(live))
    np.testing.assert_array_equal(example.recorded, store.actions[demos])
    assert example.starts.tolist() == [0]


def test_a_run_with_parallel_decoding_answers_in_one_pass(
    recipe: Recipe, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parallel = replace(recipe, model=replace(recipe.model, action_decoding="parallel"))
    policy = LocalPolicy.from_checkpoint(Trainer(parallel, tmp_path / "run", cache).run())
    reads: list[int] = []
    read = LayerReader.read

    def count(self: LayerReader, embeds: torch.Tensor, *rest: object) -> torch.Tensor:
        reads.append(embeds.shape[1])
        return read(self, embeds, *rest)

    monkeypatch.setattr(LayerReader, "read", count)
    trainer = Trainer(recipe, tmp_path / "other", cache)  # for its episodes alone
    policy.act(source_of(trainer).store.observation(0))
    assert len(reads) == 1


def test_figures_of_a_perfect_answer(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(trainer)
    space, rows = POLICY.action_space, []
    prompt = EpisodeExamples.prompt

    def remember(self: EpisodeExamples, row: int) -> str:
        rows.append(row)
        return prompt(self, row)

    monkeypatch.setattr(EpisodeExamples, "prompt", remember)
    monkeypatch.setattr(
        ActionDecoder,
        "decode",
        lambda self, inputs, dimensions: torch.from_numpy(
            space.encode_vectors(source.store.actions[rows[-len(inputs["input_ids"]) :]])
        ),
    )
    report, _ = validate(trainer.learner, source)
    for kind in ("demo", "stills"):
        assert report[f"{kind}/gripper_right"] == 1
        assert all(report[f"{kind}/{axis}_mm"] <= 0.5 + 1e-6 for axis in ("dx", "dy", "dz"))  # half a bin
        assert {f"{kind}/where_{group}_mm" for group in ("tool", "closure", "boards", "objects")} <= set(
            report
        )


def test_validation_leaves_the_weights_alone_and_repeats_itself(trainer: Trainer) -> None:
    before = {name: value.clone() for name, value in trainer.learner.state_dict().items()}
    first, _ = validate(trainer.learner, source_of(trainer))
    second, _ = validate(trainer.learner, source_of(trainer))
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in trainer.learner.state_dict().items())
    assert all(value.grad is None for value in trainer.learner.parameters())


def test_a_set_of_stills_alone_has_figures_and_no_example(
    train_set: Path, cache: Path, tmp_path: Path
) -> None:
    record_stills(tmp_path / "stills", seeds=(300,))
    trainer = Trainer(small_recipe(train_set, tmp_path / "stills"), tmp_path / "run", cache)
    report, example = validate(trainer.learner, source_of(trainer))
    assert "stills/dx_mm" in report and "demo/dx_mm" not in report
    plot_open_loop(example, POLICY.action_space, tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_the_plot_replaces_the_one_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    example = OpenLoopExample(rng.normal(size=(12, 7)), rng.normal(size=(12, 7)), np.array([0, 5]))
    path = tmp_path / "plots" / "open_loop.png"
    for _ in range(2):
        plot_open_loop(example, POLICY.action_space, path, most_steps=10)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert [entry.name for entry in path.parent.iterdir()] == ["open_loop.png"]
