"""Decoded episodes: bit-identical to live input, kept once, and never half there."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training.training_samples import (
    ACTIONS,
    POLICY,
    STEP_NS,
    contract,
    record,
    record_demos,
    record_stills,
    write_step,
)

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.episode import Dataset, DatasetCamera, EpisodeInfo, EpisodeWriter
from spatialbot_policy.errors import CheckpointError, EpisodeError
from spatialbot_policy.history import History
from spatialbot_policy.pipeline import ModelInputs, build_pipeline
from spatialbot_training import episode_cache
from spatialbot_training.episode_cache import open_store
from spatialbot_training.localisation import NAMES


def live_inputs(dataset: Path, policy: PolicyConfig) -> list[ModelInputs]:
    """Model inputs of every step, by pushing one observation after the other as a robot does."""
    pipeline, found = build_pipeline(policy), []
    for reader in Dataset(dataset).episodes():
        history = History(policy.history_length, policy.max_gap_ns)
        found += [pipeline(history.push(observation)) for observation in reader.observations()]
    return found


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("size", [32, 16])  # as recorded, and resized
def test_offline_inputs_are_those_of_live_code(train_set: Path, cache: Path, depth: bool, size: int) -> None:
    cameras = (CameraConfig("camera", size, size),)
    policy = replace(POLICY, cameras=cameras, depth_variant=POLICY.depth_variant if depth else None)
    pipeline, store = build_pipeline(policy), open_store((train_set,), policy, cache)
    live = live_inputs(train_set, policy)
    assert len(live) == len(store) == 3 * 7 + 2 * 4
    for row, inputs in enumerate(live):
        images = [image for past in store.history[row] for image in store.images(int(past), pipeline)]
        assert pipeline.prompt(store.instructions[row]) == inputs.prompt
        assert len(images) == len(inputs.images) == 4 * (1 + depth)
        for offline, online in zip(images, inputs.images, strict=True):
            np.testing.assert_array_equal(offline, online)


def test_the_other_columns_are_those_of_the_reader(train_set: Path, cache: Path) -> None:
    store = open_store((train_set,), POLICY, cache)
    readers = Dataset(train_set).episodes()
    actions = [step.as_vector() for reader in readers for _, step in reader.actions()]
    np.testing.assert_array_equal(store.actions, np.stack(actions))
    stamps = [observation.stamp_ns for reader in readers for observation in reader.observations()]
    assert store.stamps.tolist() == stamps
    assert store.stills.sum() == 8 and store.episode.max() == 4
    assert store.seeds == [("Squares", "pick", seed) for seed in (1, 2, 3, 4, 5)]
    assert store.terminate is None
    stills = np.flatnonzero(store.stills)
    assert np.array_equal(store.history[stills], np.repeat(stills[:, None], 4, axis=1))


def test_places_that_are_meant_are_seen_from_the_tool(train_set: Path, cache: Path) -> None:
    """In these recordings the target is where the tool is, and its board half as far from the base."""
    store = open_store((train_set,), POLICY, cache)
    states = [state for reader in Dataset(train_set).episodes() for state in reader.states()]
    places = np.stack([state.tcp_position_m for state in states])
    assert store.meant.dtype == np.float32
    np.testing.assert_allclose(store.meant[:, :3], 0, atol=1e-6)
    np.testing.assert_allclose(store.meant[:, 3:], -places[:, :2] / 2 / 0.1, atol=1e-5)


def test_facts_of_objects_are_read_and_changed_ones_read_again(tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1,))
    first = open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    column = NAMES.index("height_leftmost")
    assert np.isnan(first.targets[:, column]).all()
    path = tmp_path / "data" / "episodes" / "000000" / "episode.json"
    info = json.loads(path.read_text())
    facts = {"role": "target", "shape": "box", "color": "red", "radius_m": 0.03, "height_m": 0.07}
    path.write_text(json.dumps({**info, "extra": {**info["extra"], "objects": {"object": facts}}}))
    second = open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    np.testing.assert_allclose(second.targets[:, column], 1.0, atol=1e-5)
    assert second.fingerprint != first.fingerprint


def test_a_selection_is_decoded_once_and_another_one_apart(tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1, 2))
    told: list[tuple[int, int]] = []
    tell = lambda done, total: told.append((done, total))  # noqa: E731
    first = open_store((tmp_path / "data",), POLICY, tmp_path / "cache", tell)
    assert told == [(1, 2), (2, 2)]
    assert open_store((tmp_path / "data",), POLICY, tmp_path / "cache", tell).fingerprint == first.fingerprint
    assert len(told) == 2
    record_demos(tmp_path / "data", seeds=(3,))
    more = open_store((tmp_path / "data",), POLICY, tmp_path / "cache", tell)
    assert len(more) == len(first) + 7 and more.fingerprint != first.fingerprint
    shorter = replace(POLICY, history_length=2)
    assert open_store((tmp_path / "data",), shorter, tmp_path / "cache").history.shape == (21, 2)


def test_failed_episodes_are_not_learned_from(tmp_path: Path) -> None:
    record(tmp_path / "data", 1, "demo", 5)
    record(tmp_path / "data", 2, "demo", 6, success=False)
    assert len(open_store((tmp_path / "data",), POLICY, tmp_path / "cache")) == 5
    record(tmp_path / "bad", 2, "demo", 6, success=False)
    with pytest.raises(EpisodeError, match="no successful episode in .*bad; record some"):
        open_store((tmp_path / "bad",), POLICY, tmp_path / "cache")


def test_terminate_flags_are_kept_where_the_policy_has_them(tmp_path: Path, train_set: Path) -> None:
    space = replace(POLICY.action_space, kind="delta_pose_terminate")
    policy = replace(POLICY, action_space=space)
    with pytest.raises(CheckpointError, match="kind: delta_pose != delta_pose_terminate"):
        open_store((train_set,), policy, tmp_path / "cache")
    Dataset.create(tmp_path / "data", contract(action_space={**ACTIONS, "kind": "delta_pose_terminate"}))
    record_into_what_is_there(tmp_path / "data")
    store = open_store((tmp_path / "data",), policy, tmp_path / "cache")
    assert store.terminate is not None and store.terminate.tolist() == [False] * 4 + [True]


def record_into_what_is_there(directory: Path) -> None:
    """An episode in a data set whose contract is there already."""
    with EpisodeWriter(directory, 0, EpisodeInfo("pick up the red cup", "pick", "Squares", 1)) as writer:
        for step in range(5):
            write_step(writer, (step + 1) * STEP_NS, np.zeros(2), closed=False, terminate=step == 4)
        writer.commit({"success": True})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_hz": 20.0}, r"rate_hz: 20.0 != 10.0"),
        ({"action_space": {**ACTIONS, "translation_bound_m": 0.1}}, r"translation_bound_m: 0.1 != 0.05"),
        ({"action_space": {}}, r"rotation_bound_rad: None != 0.1"),
        ({"cameras": (DatasetCamera("wrist", 32, 32),)}, r"camera 'camera' is not among \['wrist'\]"),
        ({"cameras": (DatasetCamera("camera", 32, 32, depth=False),)}, "camera 'camera' has no depth"),
    ],
)
def test_a_contract_that_disagrees_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    Dataset.create(tmp_path / "data", contract(**changes))
    with pytest.raises(CheckpointError, match=f"{message}.*Change the recipe's policy"):
        open_store((tmp_path / "data",), POLICY, tmp_path / "cache")


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="nowhere is no data set.*spatialbot collect"):
        open_store((tmp_path / "nowhere",), POLICY, tmp_path / "cache")


def test_what_a_kill_left_in_the_cache_is_removed(tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1,))
    left = tmp_path / "cache" / ".store-abc"
    left.mkdir(parents=True)
    (left / "color-camera.npy").write_bytes(b"half")
    store = open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    assert len(store) == 7 and not left.exists()


def test_an_interruption_while_decoding_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_demos(tmp_path / "data", seeds=(1, 2))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_store((tmp_path / "data",), POLICY, tmp_path / "cache", interrupt)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_full_disk_is_an_error_before_any_frame_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_demos(tmp_path / "data", seeds=(1,))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(episode_cache.os, "posix_fallocate", full)
    with pytest.raises(EpisodeError, match="No space left on device; make room, or give another --cache"):
        open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_damaged_cache_names_the_folder_to_remove(tmp_path: Path) -> None:
    record_stills(tmp_path / "data", seeds=(1,))
    place = tmp_path / "cache" / open_store((tmp_path / "data",), POLICY, tmp_path / "cache").fingerprint
    os.truncate(place / "color-camera.npy", 200)
    with pytest.raises(EpisodeError, match=f"{place.name} are damaged.*remove the folder"):
        open_store((tmp_path / "data",), POLICY, tmp_path / "cache")


def test_an_episode_whose_length_disagrees_is_refused(tmp_path: Path) -> None:
    record_demos(tmp_path / "data", seeds=(1,))
    path = tmp_path / "data" / "episodes" / "000000" / "episode.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 9}))
    with pytest.raises(EpisodeError, match="has 7 steps, its episode.json says 9.*episodes validate"):
        open_store((tmp_path / "data",), POLICY, tmp_path / "cache")
