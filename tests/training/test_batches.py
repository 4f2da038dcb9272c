"""Batches: drawn by seed and step alone, and encoding each frame once changes no loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.training_samples import POLICY, record_demos, record_stills

from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.batch_parts import BatchParts, Sharing
from spatialbot_training.batches import RunDraws, Sampler, undecided, windows
from spatialbot_training.collate import Batch, Pick, collate
from spatialbot_training.episode_cache import open_store
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.learner import Learner
from spatialbot_training.localisation import NAMES
from spatialbot_training.network import build_network
from spatialbot_training.recipe import DataConfig, Recipe

ROWS = np.array([0, 1, 2, 9, 10, 13, 21, 25])  # a start, a stretch, another episode, two stills


@pytest.fixture(scope="module")
def store(train_set: Path, cache: Path) -> FrameStore:
    return open_store((train_set,), POLICY, cache)


@pytest.fixture
def source(store: FrameStore, recipe: Recipe) -> EpisodeExamples:
    torch.manual_seed(0)
    pipeline = build_pipeline(POLICY)
    _, processor = build_network(recipe, {pipeline.prompt(text) for text in store.instructions})
    return EpisodeExamples(store, pipeline, processor)


def batch_of(source: EpisodeExamples, rows: np.ndarray) -> Batch:
    return collate([Pick(0, int(row)) for row in rows], [source], source.processor)


@pytest.fixture
def learner(source: EpisodeExamples, recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    pipeline = source.pipeline
    model, _ = build_network(recipe, {pipeline.prompt(text) for text in source.store.instructions})
    return Learner(model, rotation_weight=0.3)


def test_each_distinct_frame_is_in_a_batch_once(source: EpisodeExamples) -> None:
    batch = batch_of(source, ROWS)
    distinct = sorted({int(row) for row in source.store.history[ROWS].ravel()})
    assert len(batch.targets) == len(distinct) < len(ROWS) * 4
    assert batch.pixel_values.shape == (2 * len(distinct), 3, 32, 32)
    shown = np.repeat(2 * np.searchsorted(distinct, source.store.history[ROWS]), 2, axis=1)
    shown[:, 1::2] += 1  # each colour image is followed by its depth image
    np.testing.assert_array_equal(batch.slots.view(len(ROWS), -1).numpy(), shown)
    np.testing.assert_array_equal(batch.targets.numpy(), source.store.targets[distinct])


def test_labels_are_the_recorded_actions(source: EpisodeExamples) -> None:
    labels = batch_of(source, ROWS).inputs["labels"]
    bins = labels[:, -8:-1].numpy() - source.processor.first_action_token_id
    expected = POLICY.action_space.encode_vectors(source.store.actions[ROWS])
    np.testing.assert_array_equal(bins, expected)
    assert set(labels[:, -1].tolist()) == {source.processor.tokenizer.eos_token_id}


def test_gathered_histories_give_the_loss_and_gradients_of_separate_ones(
    source: EpisodeExamples, learner: Learner
) -> None:
    batch = batch_of(source, ROWS)
    gathered, _ = learner(batch)
    gathered.backward()
    gradients = {name: value.grad.clone() for name, value in learner.model.named_parameters()}
    learner.zero_grad()

    images = [
        image
        for row in ROWS
        for past in source.store.history[row]
        for image in source.store.images(int(past), source.pipeline)
    ]
    separate = learner.model(
        **batch.inputs,
        pixel_values=source.processor.stack_images(images),
        loss_weights=_weights(batch.inputs["labels"]),
    ).loss
    separate.backward()
    assert gathered.item() == pytest.approx(separate.item(), rel=1e-5)
    for name, value in learner.model.named_parameters():
        torch.testing.assert_close(gradients[name], value.grad, rtol=1e-3, atol=1e-5, msg=name)


def _weights(labels: torch.Tensor) -> torch.Tensor:
    """1, and 0.3 for the three rotations of the answer at the end."""
    weights = torch.ones(labels.shape)
    weights[:, -8:] = torch.tensor([1.0] * 3 + [0.3] * 3 + [1.0] * 2)
    return weights


@pytest.mark.parametrize(("dimensions", "light"), [(7, [-5, -4, -3]), (8, [-6, -5, -4])])
def test_rotations_weigh_less_whether_or_not_a_flag_follows(
    source: EpisodeExamples, learner: Learner, dimensions: int, light: list[int]
) -> None:
    batch = batch_of(source, ROWS[:2])
    labels = torch.full((2, 12), -100)
    labels[:, -dimensions - 1 : -1] = learner.model.config.first_action_token_id + 7
    labels[:, -1] = source.processor.tokenizer.eos_token_id
    batch = replace(batch, inputs={**batch.inputs, "labels": labels}, weights=torch.tensor([1.0, 0.5]))
    weights = Learner(learner.model, 0.3, dimensions).token_weights(batch)
    expected = torch.ones(2, 12)
    expected[:, light] = 0.3
    assert torch.equal(weights, expected * torch.tensor([[1.0], [0.5]]))


def test_stretches_of_a_mixture_cover_every_step_of_the_demonstrations(store: FrameStore) -> None:
    found = windows(store, 3)
    assert np.all(np.diff(found) == 1) and all(len(set(store.episode[row])) == 1 for row in found)
    assert set(found.ravel().tolist()) == set(np.flatnonzero(~store.stills).tolist())
    assert len(found) == 9  # seven steps: 0..2, 3..5 and 4..6 of three demonstrations


def test_without_the_answer_the_language_model_is_left_alone(
    source: EpisodeExamples, learner: Learner
) -> None:
    answer, where = learner(batch_of(source, ROWS), localise_only=True)
    where.backward()
    assert answer.item() == 0 and where.item() > 0
    assert all(value.grad is None for value in learner.model.language_model.parameters())


def test_rows_are_a_function_of_seed_and_step(store: FrameStore, recipe: Recipe) -> None:
    one, same = (Sampler(store, recipe.data, seed=3) for _ in range(2))
    other = Sampler(store, recipe.data, seed=4)
    later = one.rows(5)  # asked out of order: no state
    drawn = [one.rows(step) for step in range(8)]
    np.testing.assert_array_equal(drawn[5], later)
    assert all(np.array_equal(rows, same.rows(step)) for step, rows in enumerate(drawn))
    assert not all(np.array_equal(rows, other.rows(step)) for step, rows in enumerate(drawn))
    assert len({tuple(rows) for rows in drawn}) > 4


def test_a_batch_is_stills_and_whole_windows_of_one_episode(store: FrameStore, recipe: Recipe) -> None:
    sampler = Sampler(store, recipe.data, seed=0)
    for step in range(50):
        rows = sampler.rows(step)
        assert store.stills[rows].tolist() == [True] * 2 + [False] * 6
        for window in rows[2:].reshape(2, 3):
            assert np.all(np.diff(window) == 1) and len(set(store.episode[window])) == 1
        assert store.stills[sampler.rows(step, localise=True)].tolist() == [True] * 3


def test_localisation_batches_may_hold_single_steps_of_demonstrations(
    store: FrameStore, source: EpisodeExamples, recipe: Recipe
) -> None:
    data = replace(recipe.data, demonstrations_per_localisation_batch=4)
    sampler, plain = (Sampler(store, config, seed=0, localise=True) for config in (data, recipe.data))
    drawn = [sampler.rows(step, localise=True) for step in range(60)]
    assert all(store.stills[rows].tolist() == [True] * 3 + [False] * 4 for rows in drawn)
    assert {int(row) for rows in drawn for row in rows[3:]} == set(np.flatnonzero(~store.stills).tolist())
    assert all(np.array_equal(rows[:3], plain.rows(step, True)) for step, rows in enumerate(drawn))
    parts = BatchParts(
        RunDraws(sampler, None, 2),
        [source],
        source.processor,
        Sharing(),
        (0, 3),
        localisation_steps=2,
        seed=0,
    )
    assert [len(parts[index].batch.targets) for index in range(len(parts))] == [
        len(set(rows)) for rows in drawn[:2]
    ] + [len(np.unique(store.history[sampler.rows(2)]))]  # without their histories


def test_demonstrations_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    record_stills(tmp_path / "data", seeds=(1,))
    store = open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    data = DataConfig((tmp_path,), windows_per_batch=0, demonstrations_per_localisation_batch=2)
    with pytest.raises(EpisodeError, match="no demonstration.*demonstrations_per_localisation_batch to 0"):
        Sampler(store, data, seed=0, localise=True)
    assert len(Sampler(store, data, seed=0).rows(0)) == 64


def test_every_window_is_reached_and_the_approach_more_often_when_asked(
    store: FrameStore, recipe: Recipe
) -> None:
    def open_share(weight: float) -> tuple[set[int], float]:
        data = replace(recipe.data, stills_per_batch=0, approach_weight=weight)
        sampler = Sampler(store, data, seed=0)
        starts = np.concatenate([sampler.rows(step).reshape(-1, 3)[:, 0] for step in range(300)])
        return set(starts.tolist()), float(np.mean(store.actions[starts, 6] < 0.5))

    reached, even = open_share(1.0)
    assert reached == {first + start for first in (0, 7, 14) for start in range(5)}
    assert open_share(4.0)[1] > even + 0.1


def test_stills_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1,))
    store = open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    with pytest.raises(EpisodeError, match="hold none; collect some with 'spatialbot collect --stills N'"):
        Sampler(store, DataConfig((tmp_path,)), seed=0)
    none = DataConfig((tmp_path,), stills_per_batch=0)
    assert len(Sampler(store, none, seed=0).rows(0)) == 32
    with pytest.raises(EpisodeError, match="schedule.localisation_steps to 0"):
        Sampler(store, none, seed=0, localise=True)


def test_windows_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1,), steps=3)
    record_stills(tmp_path / "data", seeds=(2,))
    store = open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    with pytest.raises(EpisodeError, match="no demonstration is 4 steps long.*data.windows_per_batch to 0"):
        Sampler(store, DataConfig((tmp_path,)), seed=0)
    assert len(Sampler(store, DataConfig((tmp_path,), windows_per_batch=0), seed=0).rows(0)) == 64


def with_choices(store: FrameStore, several: np.ndarray, away_m: np.ndarray) -> FrameStore:
    """The store with two objects 20 cm apart at the chosen steps, and the target so far from the tool."""
    targets = np.full_like(store.targets, np.nan)
    for place, side in (("leftmost", 1.0), ("rightmost", -1.0)):
        for axis, value in (("x", 0.0), ("y", side)):
            targets[:, NAMES.index(f"object_{place}_{axis}")] = np.where(several, value, 0.0)
    meant = np.zeros((len(store), 5), np.float32)
    meant[:, 0] = away_m / 0.1
    return replace(store, targets=targets, meant=meant)


def test_only_the_words_decide_between_several_objects_that_the_tool_is_away_from(store: FrameStore) -> None:
    several, away = np.arange(len(store)) % 2 == 0, np.where(np.arange(len(store)) % 3 == 0, 0.2, 0.03)
    chosen = undecided(with_choices(store, several, away))
    np.testing.assert_array_equal(chosen, several & (away > 0.06))
    assert not undecided(replace(store, meant=None)).any()
    assert not undecided(replace(store, meant=np.full((len(store), 5), np.nan, np.float32))).any()


def test_reading_weight_draws_undecided_steps_that_much_more_often(store: FrameStore, recipe: Recipe) -> None:
    rows = np.arange(len(store))
    several = rows % 2 == 0
    store = with_choices(store, several, np.full(len(store), 0.2))
    data = replace(recipe.data, stills_per_batch=40, windows_per_batch=40, window_steps=1, reading_weight=5.0)
    sampler = Sampler(store, data, seed=0)
    drawn = np.concatenate([sampler.rows(step) for step in range(60)])
    for stills in (True, False):
        own = rows[store.stills == stills]
        counts = np.bincount(drawn, minlength=len(store))
        often, seldom = counts[own[several[own]]].mean(), counts[own[~several[own]]].mean()
        assert 4.0 < often / seldom < 6.2
