"""A tower that learned before: taken from its checkpoint, frozen, and its features computed once."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.training_samples import POLICY, VISION, small_recipe

from spatialbot_policy.config import CameraConfig
from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import CheckpointError, ConfigError, EpisodeError
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.model import load_checkpoint
from spatialbot_policy.model.conv_tower import ConvTower
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training import episode_cache
from spatialbot_training.collate import Pick, collate
from spatialbot_training.distributed import Processes
from spatialbot_training.feature_cache import open_features
from spatialbot_training.parts import PartsConfig
from spatialbot_training.recipe import Recipe, StartConfig
from spatialbot_training.trainer import Trainer

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def tower(train_set: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the localisation phase alone."""
    torch.set_num_threads(1)
    recipe = small_recipe(train_set, steps=3, localisation_steps=3, save_every=3, learning_rate=1e-2)
    data = replace(recipe.data, demonstrations_per_localisation_batch=2)
    trainer = Trainer(replace(recipe, data=data), tmp_path_factory.mktemp("tower"), cache, processes=ALONE)
    before = {name: value.clone() for name, value in trainer.learner.model.named_parameters()}
    result = trainer.run()
    weights = load_checkpoint(result).model.state_dict()
    assert torch.equal(weights["projector.linear_1.weight"], before["projector.linear_1.weight"])
    assert not torch.equal(weights["vision_tower.stem.weight"], before["vision_tower.stem.weight"])
    return result


def frozen_recipe(train: Path, tower: Path, validation: Path | None = None, keep: bool = False) -> Recipe:
    """The tower frozen, two phases, in float32."""
    recipe = small_recipe(
        train, validation, bf16=False, learning_rate=1e-2, intention_weight=0.5, log_every=1
    )
    return replace(
        recipe,
        data=replace(recipe.data, cache_features=keep),
        start=StartConfig(tower=tower),
        parts=PartsConfig(vision="frozen"),
        schedule=replace(recipe.schedule, tower_rate=7.0, projector_rate=3.0),
    )


def test_a_tower_is_taken_and_all_else_starts_fresh(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    trainer = Trainer(frozen_recipe(train_set, tower), tmp_path / "run", cache, processes=ALONE)
    fresh = Trainer(small_recipe(train_set), tmp_path / "fresh", cache, processes=ALONE).learner.model
    given = load_checkpoint(tower).model.state_dict()
    for name, value in trainer.learner.model.state_dict().items():
        expected = given if name.startswith("vision_tower.") else fresh.state_dict()
        assert torch.equal(value, expected[name]), name


def test_only_what_makes_tokens_of_the_features_learns_at_the_projectors_rate(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    trainer = Trainer(frozen_recipe(train_set, tower), tmp_path, cache, processes=ALONE)
    learner = trainer.learner
    trained = {name for name, value in learner.named_parameters() if value.requires_grad}
    assert {name for name in trained if "vision_tower" in name} == {
        "model.vision_tower.to_tokens.weight",
        "model.vision_tower.to_tokens.bias",
    }
    rates = {
        id(value): group["rate"] for group in trainer.loop.optimizer.param_groups for value in group["params"]
    }
    assert rates[id(learner.model.vision_tower.to_tokens.weight)] == 3.0
    assert rates[id(learner.model.projector.linear_1.weight)] == 3.0
    assert rates[id(learner.head.linear.weight)] == 7.0


def test_the_result_is_a_whole_checkpoint_with_the_frozen_tower(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    result = Trainer(frozen_recipe(train_set, tower, keep=True), tmp_path, cache, processes=ALONE).run()
    assert result.name == "checkpoint" and not (tmp_path / "adapter").exists()
    given, found = (load_checkpoint(place).model.vision_tower.state_dict() for place in (tower, result))
    assert torch.equal(found["stem.weight"], given["stem.weight"])
    assert not torch.equal(found["to_tokens.weight"], given["to_tokens.weight"])
    policy = LocalPolicy.from_checkpoint(result)
    observation = next(iter(Dataset(train_set).episode(0).observations()))
    assert np.abs(policy.act(observation).steps[0].translation_m).max() <= 0.05


def test_another_tower_or_no_checkpoint_is_refused_by_name(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = frozen_recipe(train_set, tower)
    vision = {**VISION, "keypoints": 5, "tokens_per_image": 3}
    other = replace(recipe, model=replace(recipe.model, vision=vision))
    with pytest.raises(
        ConfigError, match=r"not that of the recipe.*keypoints: 4 != 5; tokens_per_image: 2 != 3; set"
    ):
        Trainer(other, tmp_path / "other", cache, processes=ALONE)
    missing = replace(recipe, start=StartConfig(tower=tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        Trainer(missing, tmp_path / "missing", cache, processes=ALONE)


def test_kept_features_change_no_loss_and_the_tower_is_not_run(
    tower: Path, train_set: Path, validation_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    plain = Trainer(
        frozen_recipe(train_set, tower, validation_set),
        tmp_path / "plain",
        tmp_path / "cache",
        processes=ALONE,
    )
    kept = Trainer(
        frozen_recipe(train_set, tower, validation_set, keep=True), tmp_path / "kept", tmp_path / "cache",
        lambda *what: told.append(what), ALONE,
    )  # fmt: skip
    assert [what for what in told if what[0] == "encoding frames"] == [
        ("encoding frames", 29, 29),
        ("encoding frames", 11, 11),
    ]
    wanted, figures = plain.take(6), plain.validation.measure(plain.learner).figures
    monkeypatch.setattr(ConvTower, "frame_features", lambda *_: pytest.fail("the tower was run"))
    for one, other in zip(kept.take(6), wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    found = kept.validation.measure(kept.learner).figures
    assert found.keys() == figures.keys() and "target_mm" in found
    assert found["goal_mm"] == pytest.approx(figures["goal_mm"], rel=1e-2)


def test_two_cameras_are_gathered_as_their_images_are(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    """Each step has two tower frames, four images; the features find their places as the images do."""
    trainer = Trainer(frozen_recipe(train_set, tower), tmp_path / "run", cache, processes=ALONE)
    source, model = trainer.data.sources[0], trainer.learner.model
    store = source.store
    mirrored = {"camera": store.color["camera"], "wrist": store.color["camera"][:, ::-1]}
    depth = {"camera": store.depth_mm["camera"], "wrist": store.depth_mm["camera"][:, ::-1]}
    policy = replace(POLICY, cameras=(*POLICY.cameras, CameraConfig("wrist", 32, 32)))
    plain = replace(
        source, store=replace(store, color=mirrored, depth_mm=depth), pipeline=build_pipeline(policy)
    )
    kept = replace(plain, encoded=open_features(plain, model.vision_tower, tmp_path, ALONE.device))
    assert kept.encoded.shape[1] == 2
    picks = [Pick(0, row) for row in (0, 3, 9, 22)]
    seen, known = (collate(picks, [some], trainer.processor) for some in (plain, kept))
    assert torch.equal(seen.slots, known.slots) and torch.equal(seen.first_images, known.first_images)
    with torch.no_grad():
        for one, other in zip(trainer.learner(seen), trainer.learner(known), strict=True):
            assert float(one) == pytest.approx(float(other), rel=1e-5)


def features_of(trainer: Trainer, cache: Path, told: list[tuple[int, int]]) -> np.ndarray:
    source = replace(trainer.data.sources[0], encoded=None)
    return open_features(
        source, trainer.learner.model.vision_tower, cache, ALONE.device, lambda *what: told.append(what)
    )


def test_features_are_kept_once_and_others_apart(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    trainer = Trainer(frozen_recipe(train_set, tower), tmp_path / "run", cache, processes=ALONE)
    network, told = trainer.learner.model.vision_tower, []
    first = features_of(trainer, tmp_path, told)
    assert first.dtype == np.float32 and first.shape == (29, 1, network.config.frame_feature_size)
    batch = collate([Pick(0, 3)], trainer.data.sources, trainer.processor)
    with torch.no_grad():
        expected = network.eval().frame_features(batch.pixel_values)
        network.to_tokens.weight.add_(1.0)  # comes after the features
    torch.testing.assert_close(torch.from_numpy(first[sorted({0, 1, 2, 3}), 0]), expected)
    assert np.array_equal(features_of(trainer, tmp_path, told), first) and told == [(29, 29)]
    with torch.no_grad():
        network.stem.weight.add_(0.1)
    assert not np.array_equal(features_of(trainer, tmp_path, told), first) and len(told) == 2
    assert len(list(tmp_path.glob("features-*.npy"))) == 2 and not list(tmp_path.glob(".store-*"))


def test_an_interruption_and_a_full_disk_leave_nothing_and_damage_is_named(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(frozen_recipe(train_set, tower), tmp_path / "run", cache, processes=ALONE)
    source, network = trainer.data.sources[0], trainer.learner.model.vision_tower

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    place = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        open_features(source, network, place, ALONE.device, interrupt)
    assert [path.name for path in place.iterdir()] == [".lock"]
    with monkeypatch.context() as patch:
        patch.setattr(episode_cache.os, "posix_fallocate", _full)
        with pytest.raises(EpisodeError, match="No space left.*make room, or give another --cache"):
            open_features(source, network, place, ALONE.device)
    assert [path.name for path in place.iterdir()] == [".lock"]
    open_features(source, network, place, ALONE.device)
    (file,) = place.glob("features-*.npy")
    os.truncate(file, 300)
    with pytest.raises(EpisodeError, match=f"{file.name} are damaged.*remove the file"):
        open_features(source, network, place, ALONE.device)


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_killed_run_goes_on_with_kept_features(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = frozen_recipe(train_set, tower, keep=True)
    whole = Trainer(recipe, tmp_path / "whole", cache, processes=ALONE).take(5)
    first = Trainer(recipe, tmp_path / "half", cache, processes=ALONE)
    assert first.take(3) == whole[:3]
    first._save_state()
    first.close()
    assert Trainer(recipe, tmp_path / "half", cache, processes=ALONE).take(2) == whole[3:]


def test_accumulated_parts_of_kept_features_have_the_losses_of_the_whole(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = frozen_recipe(train_set, tower, keep=True)
    parts = replace(recipe, schedule=replace(recipe.schedule, micro_batch=3))
    losses = [
        Trainer(some, tmp_path / str(number), cache, processes=ALONE).take(4)
        for number, some in enumerate((recipe, parts))
    ]
    for one, other in zip(*losses, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


def test_a_resume_with_another_tower_is_refused(
    tower: Path, train_set: Path, cache: Path, tmp_path: Path
) -> None:
    shutil.copytree(tower, tmp_path / "tower")
    recipe = frozen_recipe(train_set, tmp_path / "tower")
    trainer = Trainer(recipe, tmp_path / "run", cache, processes=ALONE)
    trainer.take(1)
    trainer._save_state()
    trainer.close()
    checkpoint = load_checkpoint(tmp_path / "tower")
    with torch.no_grad():
        checkpoint.model.vision_tower.stem.weight.add_(0.1)
    checkpoint.model.save_pretrained(tmp_path / "tower")
    with pytest.raises(CheckpointError, match="started from have changed"):
        Trainer(recipe, tmp_path / "run", cache, processes=ALONE)
