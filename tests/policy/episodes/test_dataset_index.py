"""The index file: what it saves, and that it is never believed over the episodes."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.policy import episode_samples as samples

from spatialbot_policy.episode import Dataset, EpisodeWriter
from spatialbot_policy.episodes import dataset_index
from spatialbot_policy.episodes.dataset_index import INDEX_FILE, list_episodes, note_problems
from spatialbot_policy.episodes.dataset_stats import summarise
from spatialbot_policy.episodes.labels import Labels, relabel
from spatialbot_policy.episodes.stats import bounds_of


@pytest.fixture
def data_set(tmp_path):
    for index in range(3):
        samples.record(tmp_path / "data", index, steps=4 + index)
    return Dataset(tmp_path / "data")


@pytest.fixture
def scans(monkeypatch):
    """The numbers of the episodes whose messages were read."""
    read = []
    scan = dataset_index.scan_episode

    def counted(path, info, bounds):
        read.append(info.index)
        return scan(path, info, bounds)

    monkeypatch.setattr(dataset_index, "scan_episode", counted)
    return read


def test_a_second_listing_reads_nothing_again(data_set, scans, monkeypatch):
    first = list_episodes(data_set, statistics=True)
    assert scans == [0, 1, 2]
    assert [entry.info for entry in first.entries] == [item.info for item in data_set.episodes()]
    monkeypatch.setattr(dataset_index, "EpisodeReader", None)  # any use would fail
    assert list_episodes(data_set, statistics=True) == first
    assert scans == [0, 1, 2]


def test_a_changed_episode_is_read_again_and_a_changed_label_scans_nothing(data_set, scans):
    list_episodes(data_set, statistics=True)
    relabel(data_set.directory / "episodes/000001", Labels("lift the cup"), "now")
    entries = list_episodes(data_set, statistics=True).entries
    assert entries[1].info.instruction == "lift the cup" and entries[1].statistics is not None
    assert scans == [0, 1, 2]
    shutil.rmtree(data_set.directory / "episodes/000002")
    samples.record(data_set.directory, 2, steps=9)
    assert list_episodes(data_set, statistics=True).entries[2].statistics.actions == 9
    assert scans == [0, 1, 2, 2]


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "other version", "binary"])
def test_a_damaged_index_is_made_anew(data_set, damage):
    expected = list_episodes(data_set, statistics=True)
    path = data_set.directory / INDEX_FILE
    text = path.read_text()
    path.write_text(
        {
            "cut": text[: len(text) // 2],
            "flipped": text.replace('"steps": 5', '"steps": 7'),
            "foreign": "[1, 2]\n{}",
            "other version": text.replace('"format": 1', '"format": 99'),
            "binary": "\0\0",
        }[damage]
    )
    assert list_episodes(data_set, statistics=True) == expected


def test_removed_damaged_and_foreign_things_are_told_apart(data_set):
    list_episodes(data_set)
    episodes = data_set.directory / "episodes"
    shutil.rmtree(episodes / "000000")
    info = json.loads((episodes / "000001/episode.json").read_text())
    (episodes / "000001/episode.json").write_text(json.dumps({**info, "schema": 99}))
    (episodes / "copy of 000002").mkdir()
    listing = list_episodes(data_set)
    assert [entry.index for entry in listing.entries] == [2]
    assert "schema 99" in listing.damaged[1] and "update spatialbot" in listing.damaged[1]
    assert listing.foreign == ("copy of 000002",) and listing.missing() == [0]


def test_an_episode_without_an_instruction_is_named(data_set):
    path = data_set.directory / "episodes/000001/episode.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "instruction": " "}))
    assert list_episodes(data_set).damaged[1] == (
        f"{path}: an episode needs an instruction; pass the task in words"
    )


def test_a_read_only_data_set_lists_without_an_index(data_set, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert len(list_episodes(data_set, statistics=True).entries) == 3
    assert not (data_set.directory / INDEX_FILE).exists()
    assert not list(data_set.directory.glob(f"{INDEX_FILE}.*"))


def test_two_at_once_lose_nothing(data_set):
    with ThreadPoolExecutor(4) as pool:
        listings = list(
            pool.map(lambda number: list_episodes(data_set, statistics=number % 2 == 0), range(8))
        )
    assert all(len(listing.entries) == 3 for listing in listings)
    assert all(entry.statistics for entry in dataset_index._load(data_set).values())


def test_what_validate_found_holds_for_those_files_only(data_set):
    note_problems(data_set, {0: "", 1: "it is damaged"})
    assert [entry.problem for entry in list_episodes(data_set).entries] == ["", "it is damaged", None]
    list_episodes(data_set, statistics=True)
    assert list_episodes(data_set).entries[1].problem == "it is damaged"
    path = data_set.directory / "episodes/000001/episode.mcap"
    os.utime(path, ns=(1, 1))
    assert list_episodes(data_set).entries[1].problem is None


def test_an_episode_that_cannot_be_scanned_is_damaged(data_set):
    path = data_set.directory / "episodes/000001/episode.mcap"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    listing = list_episodes(data_set, statistics=True)
    assert [entry.index for entry in listing.entries] == [0, 2] and "damaged" in listing.damaged[1]


def test_statistics_add_up(data_set):
    with EpisodeWriter(data_set.directory, 3, samples.info(seed=3)) as writer:
        for step in (0, 1, 2, 5, 6):  # two pictures are missing
            samples.write_step(writer, step)
        writer.commit({"success": False, "failure": "dropped"})
    bounds = bounds_of(data_set.info.action_space)
    entries = list_episodes(data_set, statistics=True).entries
    found = summarise(entries, bounds)
    vectors = np.concatenate([item.arrays()["actions"] for item in data_set.episodes()])
    assert (found.episodes, found.steps, found.commands) == (4, 20, len(vectors))
    assert found.outcomes == {"success": 3, "dropped": 1} and found.relations == {"none": 4}
    for column, item in enumerate(found.dimensions):
        assert item.mean == pytest.approx(vectors[:, column].mean())
        assert item.deviation == pytest.approx(vectors[:, column].std())
        assert sum(item.histogram) == len(vectors)
        beyond = (np.abs(vectors[:, column]) >= item.high).mean() if item.name != "gripper" else 0
        assert item.saturated == pytest.approx(beyond)
    (color,) = [item for item in found.streams if item.topic.endswith("/color/image_raw")]
    assert (color.missing, color.gap_episode, color.messages) == (2, 3, 20)
    assert color.longest_gap_ms == pytest.approx(300) and color.slowest_hz == pytest.approx(10)
    json.dumps(found.to_dict())


def test_bounds_come_from_the_contract():
    assert bounds_of({"translation_bound_m": 0.02, "rotation_bound_rad": 0.3}) == (0.02, 0.3)
    assert bounds_of({"translation_bound_m": "wide"}) == (0.05, 0.1)
