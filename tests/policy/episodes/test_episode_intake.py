"""Odd messages of a raw recording: kept and marked, never lost, and the rest can be read."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from mcap.reader import make_reader
from tests.policy import episode_samples as samples
from tests.policy.episodes.test_episode_raw import COLOR, DEPTH, INFO, MS, START, frame, info, write_streams

from spatialbot_policy.episode import CameraIntrinsics, Dataset, EpisodeReader, EpisodeWriter, recover
from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.mcap_file import read_attachments
from spatialbot_policy.errors import EpisodeError

AFTER = START + 20 * 33 * MS


@pytest.fixture
def writer(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, info()) as made:
        write_streams(made)
        yield made


def commit(writer: EpisodeWriter) -> EpisodeReader:
    writer.commit({"success": None})
    reader = EpisodeReader(writer.path)
    reader.verify()
    return reader


def topics_of(reader: EpisodeReader) -> dict[str, int]:
    with open(reader.path / "episode.mcap", "rb") as file:
        summary = make_reader(file).get_summary()
    counts = summary.statistics.channel_message_counts
    return {channel.topic: counts[number] for number, channel in summary.channels.items()}


@pytest.mark.parametrize(
    ("topic", "data", "why"),
    [
        (COLOR, messages.encode_color(samples.frame(1, 32, 16)), "is 32 x 16, the data set says 24 x 16"),
        (DEPTH, b"\0\1\0\0 half", "cut off"),
        (COLOR, frame(5)[0][:-100], "rows of 72 bytes comes with"),
        (topics.JOINTS_TOPIC, messages.encode_action(START, samples.action(1)), "names .* are missing"),
        (
            INFO,
            messages.encode_camera_info("camera", START, CameraIntrinsics(24, 16, 9.0, 9.0, 12.0, 8.0)),
            "the calibration changes",
        ),
    ],
)
def test_a_message_that_does_not_fit_is_set_aside_and_the_rest_is_read(writer, topic, data, why):
    for number in range(3):
        writer.write_raw(topic, AFTER + number, data)
    reader = commit(writer)
    assert reader.info.steps == 3
    marked = reader.info.extra["set_aside"][topic]
    assert marked["messages"] == 3 and marked["first_ns"] == AFTER
    assert __import__("re").search(why, marked["why"])
    assert topics_of(reader)[f"{topic}/set_aside"] == 3
    assert f"{topic}/set_aside" not in reader.info.counts


def test_another_encoding_of_the_same_size_is_as_good(writer):
    made = samples.frame(9, stamp_ns=AFTER)
    turned = messages.decode(messages.encode_color(made), topics.IMAGE, COLOR)
    writer.write_raw(COLOR, AFTER, messages.to_cdr(type(turned)(**{**vars(turned), "encoding": "bgr8"})))
    assert "set_aside" not in commit(writer).info.extra


def test_stamps_that_jump_are_kept_and_marked(writer):
    back = START - 2_000 * MS
    for stamp, log in ((back, AFTER), (AFTER + 9_000 * MS, AFTER + 5 * MS)):
        joints, _ = messages.encode_state(samples.state(1, stamp_ns=stamp))
        writer.write_raw(topics.JOINTS_TOPIC, log, joints)
    reader = commit(writer)
    marks = reader.info.extra["clock_jumps"][topics.JOINTS_TOPIC]
    assert marks["backwards"] == 1 and marks["far"] == 1
    assert marks["far_largest_s"] == pytest.approx(8.995)
    assert reader.info.counts[topics.JOINTS_TOPIC] == 29


def test_a_receiving_clock_that_is_set_back_loses_nothing(writer):
    for number in range(3):
        stamp = AFTER + number * 33 * MS
        writer.write_raw(
            COLOR, stamp - 3_600_000 * MS, messages.encode_color(samples.frame(1, stamp_ns=stamp))
        )
    reader = commit(writer)
    assert reader.info.extra["clock_jumps"]["time of receipt"]["backwards"] == 1
    assert reader.info.counts[COLOR] == 12
    assert reader.info.end_ns >= reader.info.start_ns


def test_what_a_recovery_finds_is_marked_too(writer, tmp_path):
    joints, _ = messages.encode_state(samples.state(1, stamp_ns=START - 2_000 * MS))
    writer.write_raw(topics.JOINTS_TOPIC, AFTER, joints)
    writer.attach("robot_description.urdf", b"<robot/>")
    writer.leave()
    (result,) = recover(tmp_path)
    assert result.recovered
    reader = Dataset(tmp_path).episode(0)
    reader.verify()
    assert reader.info.extra["clock_jumps"][topics.JOINTS_TOPIC]["backwards"] == 1
    assert reader.info.extra["attachments"] == ["robot_description.urdf"]


def test_attachments_are_in_the_file_and_named(writer):
    writer.attach("robot_description.urdf", b"<robot/>", "application/xml")
    writer.attach("software.json", json.dumps({"numpy": np.__version__}).encode())
    reader = commit(writer)
    assert reader.info.extra["attachments"] == ["robot_description.urdf", "software.json"]
    found = read_attachments(reader.path / "episode.mcap")
    assert (
        found["robot_description.urdf"] == b"<robot/>" and sorted(found) == reader.info.extra["attachments"]
    )
    with open(reader.path / "episode.mcap", "rb") as file:
        names = [item.name for item in make_reader(file).iter_attachments()]
    assert sorted(names) == reader.info.extra["attachments"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_refused_by_name(tmp_path):
    samples.dataset(tmp_path)
    (tmp_path / "episodes").chmod(0o500)
    with pytest.raises(EpisodeError, match="see to the permission to write"):
        EpisodeWriter(tmp_path, 0, info())
    (tmp_path / "episodes").chmod(0o700)
