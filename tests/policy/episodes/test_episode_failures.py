"""Bad input to recording and reading: one clear error each, and files on disk stay as they were."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import Writer
from tests.policy import episode_samples as samples

from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeReader,
    EpisodeWriter,
)
from spatialbot_policy.episodes.cdr import schema_text
from spatialbot_policy.episodes.messages import encode_instruction
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.provenance import sha256_of
from spatialbot_policy.types import RgbdFrame


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def edit_json(path: Path, **changes: object) -> None:
    data = json.loads((path / "episode.json").read_text())
    (path / "episode.json").write_text(json.dumps({**data, **changes}))


def replace_mcap(path: Path, fill: Callable[[Writer], None]) -> None:
    """Put another MCAP file into an episode, as if `episode.json` had been made for it."""
    with open(path / "episode.mcap", "wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        fill(writer)
        writer.finish()
    mcap = path / "episode.mcap"
    edit_json(path, mcap_bytes=mcap.stat().st_size, checksum=sha256_of(mcap), counts={})


@pytest.fixture
def episode(tmp_path) -> Path:
    return samples.record(tmp_path)


def test_an_existing_index_is_refused_and_kept(tmp_path, episode):
    before = contents(tmp_path)
    with pytest.raises(EpisodeError, match="take another index"):
        EpisodeWriter(tmp_path, 0, samples.info())
    assert contents(tmp_path) == before
    assert not (tmp_path / "episodes/000000.partial").exists()


def test_an_index_in_use_is_refused(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 1, samples.info()) as writer:
        with pytest.raises(EpisodeError, match="another worker writes it"):
            EpisodeWriter(tmp_path, 1, samples.info())
        with pytest.raises(EpisodeError, match="being written by another process"):
            EpisodeWriter(tmp_path, 1, samples.info(), restart=True)
        writer.discard()
    assert Dataset(tmp_path).partials() == []


def test_restart_takes_over_the_same_scene_only(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 1, samples.info(seed=7)) as writer:
        samples.write_step(writer, 0)
    with pytest.raises(EpisodeError, match="holds seed 7.*not seed 8"):
        EpisodeWriter(tmp_path, 1, samples.info(seed=8), restart=True)
    with EpisodeWriter(tmp_path, 1, samples.info(seed=7), restart=True) as writer:
        samples.write_step(writer, 3)
        writer.commit({"success": True})
    assert EpisodeReader(writer.path).observations()[0].stamp_ns == samples.stamp(3)


def test_an_exception_leaves_the_partial(tmp_path):
    samples.dataset(tmp_path)
    with pytest.raises(RuntimeError, match="simulator"), EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        samples.write_step(writer, 0)
        raise RuntimeError("simulator")
    assert Dataset(tmp_path).partials() == [0] and Dataset(tmp_path).indices() == []


def test_a_closed_writer_refuses_more(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        samples.write_step(writer, 0)
        writer.commit({"success": True})
        with pytest.raises(EpisodeError, match="already committed"):
            samples.write_step(writer, 1)
        with pytest.raises(EpisodeError, match="already committed"):
            writer.commit({"success": True})
        with pytest.raises(EpisodeError, match="already committed"):
            writer.discard()
    assert EpisodeReader(writer.path).info.steps == 1


def test_no_data_set_and_other_contract(tmp_path):
    with pytest.raises(EpisodeError, match="no data set.*Dataset.create"):
        EpisodeWriter(tmp_path, 0, samples.info())
    samples.dataset(tmp_path)
    samples.dataset(tmp_path)  # the same contract again is no error
    before = contents(tmp_path)
    with pytest.raises(EpisodeError, match="another contract.*action_space"):
        Dataset.create(tmp_path, samples.config(bins=256))
    with pytest.raises(EpisodeError, match="another contract.*cameras"):
        Dataset.create(tmp_path, samples.config(width=32))
    assert contents(tmp_path) == before


def test_data_set_of_a_newer_schema_or_damaged(tmp_path):
    samples.dataset(tmp_path)
    path = tmp_path / "dataset.yaml"
    text = path.read_text()
    for wrong, message in [
        (text.replace("schema: 1", "schema: 3"), "schema 3.*update spatialbot"),
        (text + "colour: red\n", "colour"),
        (text.replace("- name: camera", "- nom: camera"), "nom"),
        (text.replace("/joint_states", "/joints"), "other topics"),
        ("{", "cannot be read"),
        ("robot", "schema None"),
    ]:
        path.write_text(wrong)
        with pytest.raises(EpisodeError, match=message):
            Dataset(tmp_path)


@pytest.mark.parametrize(
    ("frame", "intrinsics", "message"),
    [
        (samples.frame(0, 8, 8), samples.intrinsics(8, 8), "8 x 8 with depth, the data set says 24 x 16"),
        (RgbdFrame("wrist", 1, samples.frame(0).color), samples.intrinsics(), r"\['camera'\]"),
        (RgbdFrame("camera", 1, samples.frame(0).color), samples.intrinsics(), "with no depth"),
        (samples.frame(0), samples.intrinsics(8, 8), "do not fit"),
        (samples.frame(0, stamp_ns=-1), samples.intrinsics(), "no ROS time"),
        (
            RgbdFrame("camera", 1, samples.frame(0).color, np.full((16, 24), 2**24, np.uint32)),
            samples.intrinsics(),
            "16777216 mm cannot be recorded",
        ),
    ],
)
def test_frames_that_break_the_contract(tmp_path, frame, intrinsics, message):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        with pytest.raises(EpisodeError, match=message):
            writer.write_frame(frame, intrinsics)
        writer.discard()


def test_stamps_must_increase_and_steps_be_complete(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        with pytest.raises(EpisodeError, match="nothing was recorded"):
            writer.commit({"success": True})
        samples.write_step(writer, 1)
        with pytest.raises(EpisodeError, match="does not come after"):
            samples.write_step(writer, 0)
        with pytest.raises(EpisodeError, match="does not come after"):
            samples.write_step(writer, 1)
        writer.write_frame(samples.frame(2), samples.intrinsics())
        with pytest.raises(EpisodeError, match=f"{samples.stamp(2)} ns has no partner on /joint_states"):
            writer.commit({"success": True})
    assert Dataset(tmp_path).partials() == [0]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [({"success": "yes"}, "true, false or null"), ({}, "true, false or null"), ({"succes": True}, "succes")],
)
def test_wrong_outcomes(tmp_path, outcome, message):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        samples.write_step(writer, 0)
        with pytest.raises(EpisodeError, match=message):
            writer.commit(outcome)
        writer.commit({"success": True})


def test_wrong_facts():
    with pytest.raises(EpisodeError, match="kind is one of"):
        samples.info(kind="video")
    with pytest.raises(EpisodeError, match="five distortion"):
        CameraIntrinsics(4, 4, 1.0, 1.0, 2.0, 2.0, (0.0,))
    with pytest.raises(EpisodeError, match="different names"):
        DatasetConfig("fr3", (DatasetCamera("a", 1, 1), DatasetCamera("a", 2, 2)))


def test_facts_that_json_cannot_hold_leave_nothing(tmp_path):
    samples.dataset(tmp_path)
    facts = EpisodeInfo("pick", "pick", "T", 1, extra={"scene": object()})
    with pytest.raises(EpisodeError, match="'extra' cannot hold object"):
        EpisodeWriter(tmp_path, 0, facts)
    assert Dataset(tmp_path).partials() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2.*reads up to 1; update"),
        ({"schema": None}, "schema None"),
        ({"colour": 1}, r"unknown keys \['colour'\]"),
        ({"intrinsics": None}, "incomplete or damaged"),
        ({"checksum": ""}, "never committed.*episodes recover"),
        ({"mcap_bytes": 3}, "truncated or foreign"),
    ],
)
def test_wrong_episode_json(episode, changes, message):
    edit_json(episode, **changes)
    before = contents(episode)
    with pytest.raises(EpisodeError, match=message):
        EpisodeReader(episode)
    assert contents(episode) == before


def test_missing_files(tmp_path, episode):
    with pytest.raises(EpisodeError, match="no episode 9"):
        Dataset(tmp_path).episode(9)
    (episode / "episode.mcap").unlink()
    with pytest.raises(EpisodeError, match="is missing"):
        EpisodeReader(episode)
    with pytest.raises(EpisodeError, match="is no episode"):
        EpisodeReader(tmp_path)


def test_unfinished_json(episode):
    (episode / "episode.json").write_text('{"schema": 1,')
    with pytest.raises(EpisodeError, match="cannot be read"):
        EpisodeReader(episode)
    (episode / "episode.json").write_text("[]")
    with pytest.raises(EpisodeError, match="JSON object"):
        EpisodeReader(episode)


def test_foreign_recordings(episode):
    def other_topics(writer: Writer) -> None:
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", schema_text("std_msgs/msg/String"))
        channel = writer.register_channel("/chatter", "cdr", schema)
        writer.add_message(channel, 5, encode_instruction("hello"), 5)

    def wrong_type(writer: Writer) -> None:
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", schema_text("std_msgs/msg/String"))
        channel = writer.register_channel("/joint_states", "cdr", schema)
        writer.add_message(channel, 5, encode_instruction("hello"), 5)

    def wrong_encoding(writer: Writer) -> None:
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", schema_text("std_msgs/msg/String"))
        channel = writer.register_channel("/spatialbot/instruction", "json", schema)
        writer.add_message(channel, 5, b'{"data": "hello"}', 5)

    def not_cdr(writer: Writer) -> None:
        schema = writer.register_schema("sensor_msgs/msg/JointState", "ros2msg", b"")
        channel = writer.register_channel("/joint_states", "cdr", schema)
        writer.add_message(channel, 5, b"\x00\x01\x00\x00nonsense", 5)

    for fill, message in [
        (other_topics, "no messages on .*color/image_raw.*not an episode"),
        (wrong_type, "foreign recording.*/joint_states is std_msgs/msg/String.*remap"),
        (wrong_encoding, "/spatialbot/instruction is std_msgs/msg/String as 'json'"),
        (not_cdr, "/joint_states is no sensor_msgs/msg/JointState"),
    ]:
        replace_mcap(episode, fill)
        reader = EpisodeReader(episode)
        with pytest.raises(EpisodeError, match=message):
            reader.verify()


def test_counts_and_checksum_are_compared(episode):
    data = json.loads((episode / "episode.json").read_text())
    edit_json(episode, counts={**data["counts"], "/tf": 4})
    with pytest.raises(EpisodeError, match="/tf has 5 messages, episode.json says 4"):
        EpisodeReader(episode).arrays()
    edit_json(episode, counts=data["counts"], steps=6)
    with pytest.raises(EpisodeError, match="has 5 steps, episode.json says 6"):
        EpisodeReader(episode).verify()
    edit_json(episode, counts=data["counts"], steps=5, checksum="0" * 64)
    with pytest.raises(EpisodeError, match="was changed or damaged"):
        EpisodeReader(episode).verify()


def test_an_unknown_camera(episode):
    with pytest.raises(EpisodeError, match="no camera 'wrist'"):
        list(EpisodeReader(episode).frames("wrist"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_byte_never_changes_what_is_read(tmp_path, data):
    path = tmp_path / "episodes/000000"
    if not path.exists():
        samples.record(tmp_path)
        shutil.copytree(path, tmp_path / "good")
    original = (tmp_path / "good/episode.mcap").read_bytes()
    offset = data.draw(st.integers(0, len(original) - 1))
    damaged = bytearray(original)
    damaged[offset] ^= data.draw(st.integers(1, 255))
    (path / "episode.mcap").write_bytes(damaged)
    with pytest.raises(EpisodeError, match="changed or damaged"):
        EpisodeReader(path).verify()
    try:
        arrays = EpisodeReader(path).arrays()
    except EpisodeError:
        return
    good = EpisodeReader(tmp_path / "good").arrays()  # the damage was in the file's index, which is not read
    for key in ("color", "depth", "transforms"):
        np.testing.assert_equal(arrays[key], good[key])
    for key in ("stamps", "tcp_pose", "joints", "actions"):
        np.testing.assert_array_equal(arrays[key], good[key])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncated_episode_is_refused(tmp_path, data):
    path = tmp_path / "episodes/000000"
    if not path.exists():
        samples.record(tmp_path)
        shutil.copy(path / "episode.mcap", tmp_path / "good.mcap")
    original = (tmp_path / "good.mcap").read_bytes()
    length = data.draw(st.integers(0, len(original) - 1))
    (path / "episode.mcap").write_bytes(original[:length])
    with pytest.raises(EpisodeError, match="truncated or foreign"):
        EpisodeReader(path)
    edit_json(path, mcap_bytes=length)  # even if the size were right, the end of the file would be missing
    with pytest.raises(EpisodeError, match="truncated or damaged"):
        EpisodeReader(path).arrays()
