"""Changing data sets: trim, labels, trash, split and merge keep every message and lose no episode."""

from __future__ import annotations

import dataclasses
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy import episode_samples as samples
from tests.policy.episodes import test_episode_raw as raw

from spatialbot_policy.episode import Dataset, DatasetCamera, EpisodeReader, EpisodeWriter, Outcome
from spatialbot_policy.episodes.check import problems_of
from spatialbot_policy.episodes.dataset_index import list_episodes
from spatialbot_policy.episodes.dataset_merge import merge
from spatialbot_policy.episodes.dataset_split import choose_split, split
from spatialbot_policy.episodes.labels import Labels, history, marks, relabel
from spatialbot_policy.episodes.mcap_file import read_attachments
from spatialbot_policy.episodes.pictures import sample_pictures
from spatialbot_policy.episodes.relation import relation_of
from spatialbot_policy.episodes.trash import restore, set_aside, trashed
from spatialbot_policy.episodes.trim import trim
from spatialbot_policy.errors import EpisodeError

STEPS = 8


@pytest.fixture
def data_set(tmp_path):
    samples.record(tmp_path / "data", 0, STEPS)
    return Dataset(tmp_path / "data")


def same(left, right, rows=slice(None)) -> None:
    """Compare episodes array for array; of the right one only some rows."""
    for name in ("stamps", "tcp_pose", "closure", "joints", "actions", "terminate"):
        np.testing.assert_array_equal(left[name], right[name][rows], err_msg=name)
    for name in ("color", "depth", "transforms"):
        for camera, values in left[name].items():
            np.testing.assert_array_equal(values, right[name][camera][rows], err_msg=name)
    assert left["instructions"] == right["instructions"][rows]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, STEPS - 1), length=st.integers(1, STEPS - 1))
def test_trimmed_steps_are_those_of_the_whole(data_set, first, length):
    last = min(first + length, STEPS) - 1
    info = trim(data_set, 0, str(first), str(last), replace=False)
    reader = data_set.episode(info.index)
    reader.verify()
    same(reader.arrays(), data_set.episode(0).arrays(), slice(first, last + 1))
    assert info.extra["trimmed_from"]["steps"] == [first, last]
    assert "trimmed" in marks(info)


def test_trim_in_seconds_and_in_place(data_set):
    whole = data_set.episode(0).arrays()
    info = trim(data_set, 0, "0.25s", None, replace=True)
    assert info.index == 0 and data_set.indices() == [0] and trashed(data_set.directory) == ["000000"]
    same(data_set.episode(0).arrays(), whole, slice(3, None))
    assert data_set.episode(0).info.index == 0
    assert restore(data_set, "000000") == 1
    same(data_set.episode(1).arrays(), whole)


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        ("5", "2", "nothing is left"),
        ("99", None, "nothing is left from 99"),
        ("3.01s", "3.02s", "nothing is left"),
        (None, None, "nothing is cut"),
        ("0", "99", "nothing is cut"),
        ("soon", None, "--from 'soon' is no place"),
        (None, "-1", "--to '-1' is no place"),
    ],
)
def test_trim_refuses(data_set, start, end, reason):
    with pytest.raises(EpisodeError, match=reason):
        trim(data_set, 0, start, end, replace=True)
    assert data_set.indices() == [0] and not data_set.partials() and not trashed(data_set.directory)


def test_trim_keeps_the_instruction_that_holds(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        for step in range(6):
            if step == 2:
                writer.write_instruction(samples.stamp(2), "now the blue one")
            samples.write_step(writer, step)
        writer.commit({"success": True})
    info = trim(Dataset(tmp_path), 0, "3", None, replace=False)
    assert Dataset(tmp_path).episode(info.index).arrays()["instructions"] == ["now the blue one"] * 3


@pytest.mark.parametrize("packed", [{}, {"color_encoding": "jpeg", "depth_encoding": "delta"}])
def test_raw_recordings_are_trimmed_to_the_same_steps(tmp_path, monkeypatch, packed):
    plain = samples.config()
    config = dataclasses.replace(plain, cameras=(dataclasses.replace(plain.cameras[0], **packed),))
    monkeypatch.setattr(samples, "config", lambda *size: config)
    reader = raw.record(tmp_path, frames=21)
    dataset = Dataset(tmp_path)
    for first, last in ((0, 2), (2, 5), (4, 6), (3, 3)):
        info = trim(dataset, 0, str(first), str(last), replace=False)
        trimmed = dataset.episode(info.index)
        trimmed.verify()
        same(trimmed.arrays(), reader.arrays(), slice(first, last + 1))
        assert trimmed.info.mcap_bytes < reader.info.mcap_bytes
    pictures = sample_pictures(reader, 3)["camera"]
    assert len(pictures.color) == len(pictures.depth_mm) == 3
    np.testing.assert_array_equal(pictures.color[0], reader.arrays()["color"]["camera"][0])
    np.testing.assert_array_equal(pictures.depth_mm[0], reader.arrays()["depth"]["camera"][0])


def test_relabel_keeps_recording_and_history(data_set):
    path = data_set.directory / "episodes/000000"
    before = EpisodeReader(path)
    arrays = before.arrays()
    relabel(path, Labels(outcome=Outcome(False, "dropped"), note="wet"), "monday")
    info = relabel(path, Labels("lift the blue cup", note=""), "tuesday")
    assert info == EpisodeReader(path).info and info.checksum == before.info.checksum
    assert info.outcome == Outcome(False, "dropped") and "note" not in info.extra
    assert history(info) == [
        {"when": "monday", "outcome": dataclasses.asdict(Outcome(True)), "note": ""},
        {"when": "tuesday", "instruction": "pick up the red cup", "note": "wet"},
    ]
    reader = EpisodeReader(path)
    reader.verify()
    assert reader.arrays()["instructions"] == ["lift the blue cup"] * STEPS
    np.testing.assert_array_equal(reader.arrays()["actions"], arrays["actions"])


def test_relabel_refuses(data_set):
    path = data_set.directory / "episodes/000000"
    with pytest.raises(EpisodeError, match="has these labels already"):
        relabel(path, Labels("pick up the red cup", Outcome(True)), "now")
    with pytest.raises(EpisodeError, match="needs an instruction"):
        relabel(path, Labels(" "), "now")
    with pytest.raises(EpisodeError, match="no episode"):
        relabel(path.with_name("000009"), Labels("x"), "now")
    with EpisodeWriter(data_set.directory, 1, samples.info(kind="stills")) as writer:
        writer.write_frame(samples.frame(0), samples.intrinsics())
        writer.commit({"success": True})
    with pytest.raises(EpisodeError, match="stills"):
        relabel(path.with_name("000001"), Labels("x"), "now")
    relabel(path.with_name("000001"), Labels(note="x"), "now")


def test_a_new_instruction_removes_the_relation_that_was_noted(data_set):
    path = data_set.directory / "episodes/000000"
    assert relation_of(relabel(path, Labels(relation="upon"), "now")) == "upon"
    info = relabel(path, Labels("take the left cup"), "now")
    assert relation_of(info) == "left" and history(info)[-1]["relation"] == "upon"
    assert relation_of(relabel(path, Labels("take the big cup", relation="size"), "now")) == "size"
    assert relation_of(relabel(path, Labels(relation=""), "now")) == "larger"


def test_labels_given_at_once_are_all_kept(data_set):
    path = data_set.directory / "episodes/000000"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: relabel(path, Labels(note=f"note {number}"), "now"), range(16)))
    assert len(history(EpisodeReader(path).info)) == 16


def test_relabel_says_what_a_read_only_episode_needs(data_set, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(EpisodeError, match="cannot be written.*set permissions"):
        relabel(data_set.directory / "episodes/000000", Labels("x"), "now")


def test_what_a_recorder_noted_is_a_mark():
    extra = {"warnings": [{"name": "slow"}, {"name": "slow"}], "clock_jumps": {"/tf": {}}, "audit": []}
    assert marks(dataclasses.replace(samples.info(), extra=extra)) == ["no depth", "clock", "slow"]


def test_trim_keeps_attached_files(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        writer.attach("robot.urdf", b"<robot/>")
        for step in range(4):
            samples.write_step(writer, step)
        writer.commit({"success": True})
    info = trim(Dataset(tmp_path), 0, "2", None, replace=False)
    assert info.extra["attachments"] == ["robot.urdf"]
    path = Dataset(tmp_path).episode(info.index).path / "episode.mcap"
    assert read_attachments(path) == {"robot.urdf": b"<robot/>"}


def test_a_recovered_episode_stays_marked(data_set):
    path = data_set.directory / "episodes/000000"
    dataclasses.replace(EpisodeReader(path).info, outcome=Outcome(None, recovered=True)).save(path)
    info = relabel(path, Labels(outcome=Outcome(True)), "now")
    assert info.outcome == Outcome(True, recovered=True) and "recovered" in marks(info)


def test_restore_takes_the_old_number_where_it_is_free(data_set):
    place = set_aside(data_set.directory, 0)
    assert data_set.indices() == []
    assert restore(data_set, place.name) == 0
    place = set_aside(data_set.directory, 0)
    samples.record(data_set.directory, 0)
    assert restore(data_set, place.name) == 1
    assert data_set.episode(1).info.index == 1
    with pytest.raises(EpisodeError, match="holds nothing"):
        restore(data_set, "000000")


def record_relations(directory, counts: dict[str, int], seeds_repeat: int = 1) -> Dataset:
    index = 0
    samples.dataset(directory)
    for word, count in counts.items():
        for number in range(count):
            info = dataclasses.replace(
                samples.info(seed=index // seeds_repeat), instruction=f"take the {word} cup {number % 2}"
            )
            with EpisodeWriter(directory, index, info) as writer:
                samples.write_step(writer, 0)
                writer.commit({"success": True})
            index += 1
    return Dataset(directory)


def test_split_balances_and_shares_the_recordings(tmp_path):
    dataset = record_relations(tmp_path / "all", {"left": 8, "right": 4, "big": 4})
    chosen = split(dataset, tmp_path / "train", tmp_path / "val", 0.25)
    assert len(chosen.train) == 12 and set(chosen.train) | set(chosen.val) == set(range(16))
    kinds = [index // 4 for index in chosen.val]
    assert sorted(min(kind, 3) if kind > 1 else 0 for kind in kinds) == [0, 0, 2, 3]
    for name, indices in (("train", chosen.train), ("val", chosen.val)):
        half = Dataset(tmp_path / name)
        assert half.indices() == list(range(len(indices)))
        for reader, index in zip(half.episodes(), indices, strict=True):
            reader.verify()
            assert reader.info.extra["copied_from"] == {"dataset": "all", "index": index}
            assert os.path.samefile(
                reader.path / "episode.mcap", dataset.episode(index).path / "episode.mcap"
            )
    with pytest.raises(EpisodeError, match="holds episodes already"):
        split(dataset, tmp_path / "train", tmp_path / "other", 0.25)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 5), balance=st.sampled_from(["relation", "none"]))
def test_a_scene_is_on_one_side_and_the_share_comes_out(entries, share, seed, balance):
    try:
        chosen = choose_split(entries, share, balance, seed)
    except EpisodeError as error:
        assert "leaves a half empty" in str(error)
        return
    assert chosen == choose_split(entries, share, balance, seed)
    scenes = [{index // 2 for index in half} for half in (chosen.train, chosen.val)]
    assert not scenes[0] & scenes[1]
    assert abs(len(chosen.val) - share * len(entries)) <= 2


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    directory = tmp_path_factory.mktemp("split")
    return list_episodes(record_relations(directory, {"left": 6, "right": 4, "near": 2}, 2)).entries


def test_split_refuses(entries, data_set, tmp_path):
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(EpisodeError, match="--share"):
            choose_split(entries, share)
    with pytest.raises(EpisodeError, match="choose from"):
        choose_split(entries, 0.5, "colour")
    with pytest.raises(EpisodeError, match="half empty"):
        split(data_set, tmp_path / "a", tmp_path / "b", 0.5)
    with pytest.raises(EpisodeError, match="three folders"):
        split(data_set, tmp_path / "a", tmp_path / "a", 0.5)
    assert not (tmp_path / "a").exists()


def test_merge_renumbers_and_can_be_run_again(tmp_path):
    for name, seeds in (("a", (0, 1)), ("b", (5,))):
        for index, seed in enumerate(seeds):
            samples.dataset(tmp_path / name)
            with EpisodeWriter(tmp_path / name, index * 7, samples.info(seed=seed)) as writer:
                samples.write_step(writer, seed)
                writer.commit({"success": True})
    sources = [tmp_path / "a", tmp_path / "b"]
    merged = merge(sources, tmp_path / "all")
    assert (merged.written, merged.doubles, merged.damaged) == (3, 0, ())
    dataset = Dataset(tmp_path / "all")
    assert [reader.info.seed for reader in dataset.episodes()] == [0, 1, 5]
    assert [reader.info.index for reader in dataset.episodes()] == [0, 1, 2]
    for reader in dataset.episodes():
        reader.verify()
    again = merge(sources, tmp_path / "all", link=False)
    assert (again.written, again.doubles) == (0, 3)


def test_merge_refuses(tmp_path):
    samples.record(tmp_path / "a")
    samples.record(tmp_path / "wide", width=32)
    with pytest.raises(EpisodeError, match="merged into itself"):
        merge([tmp_path / "a"], tmp_path / "." / "a")
    with pytest.raises(EpisodeError, match="each of them once"):
        merge([tmp_path / "a", tmp_path / "a"], tmp_path / "out")
    with pytest.raises(EpisodeError, match="another contract.*cameras: .*width=24.*width=32"):
        merge([tmp_path / "a", tmp_path / "wide"], tmp_path / "out")
    with pytest.raises(EpisodeError, match="another contract"):
        merge([tmp_path / "wide"], tmp_path / "a")
    with pytest.raises(EpisodeError, match="no data set"):
        merge([tmp_path / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merge_goes_on_past_a_damaged_episode(tmp_path):
    samples.record(tmp_path / "a", 0)
    samples.record(tmp_path / "a", 1)
    (tmp_path / "a/episodes/000000/episode.mcap").unlink()
    merged = merge([tmp_path / "a"], tmp_path / "out")
    assert merged.written == 1 and "is missing" in merged.damaged[0]
    assert Dataset(tmp_path / "out").episode(0).info.seed == 1


def test_a_failed_copy_leaves_nothing(tmp_path, monkeypatch):
    samples.record(tmp_path / "a")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(EpisodeError, match="make room"):
        merge([tmp_path / "a"], tmp_path / "out", link=False)
    assert not list((tmp_path / "out/episodes").iterdir())


def test_what_breaks_the_contract_is_named(data_set, tmp_path):
    assert problems_of(data_set, 0) == []
    other = samples.config(32, 16)
    cameras = (dataclasses.replace(other.cameras[0], depth=False), DatasetCamera("wrist", 32, 16))
    foreign = Dataset.create(tmp_path / "foreign", dataclasses.replace(other, cameras=cameras))
    shutil.copytree(data_set.directory / "episodes/000000", foreign.directory / "episodes/000004")
    named = "; ".join(problems_of(foreign, 4))
    for part in ("says it is episode 0", "the cameras ['camera']", "is 24 x 16", "has depth, the data set"):
        assert part in named
    (foreign.directory / "episodes/000004/episode.mcap").write_bytes(b"")
    assert "truncated" in problems_of(foreign, 4)[0]
    assert "no episode 9" in problems_of(foreign, 9)[0]
