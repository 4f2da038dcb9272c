"""Raw recordings: streams at their own rates come back as steps, and what makes no step is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy import episode_samples as samples

from spatialbot_policy.episode import Dataset, EpisodeInfo, EpisodeReader, EpisodeWriter
from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.raw import align, header_stamp_ns
from spatialbot_policy.episodes.recovery import recover
from spatialbot_policy.errors import EpisodeError

MS = 1_000_000
START = 1_700_000_000_000_000_000
COLOR, DEPTH = topics.color_topic("camera"), topics.depth_topic("camera")
INFO = topics.camera_info_topic("camera")


def info(tolerance_ms: float = 20.0) -> EpisodeInfo:
    return EpisodeInfo("pick up the red cup", "", "table", None, join_tolerance_ms=tolerance_ms)


def frame(number: int, skew_ns: int = 0) -> tuple[bytes, bytes]:
    stamp = START + number * 33 * MS
    made = samples.frame(number, stamp_ns=stamp)
    depth = samples.frame(number, stamp_ns=stamp + skew_ns)
    return messages.encode_color(made), messages.encode_depth(depth, depth.depth_mm)


def write_streams(writer: EpisodeWriter, frames: int = 9, skew_ns: int = 3 * MS, every: int = 3) -> None:
    """30 Hz pictures with skewed depth, 100 Hz state, and an action for every third picture."""
    writer.write_raw(topics.INSTRUCTION_TOPIC, START - 1, messages.encode_instruction("stack it"))
    for number in range(frames):
        stamp = START + number * 33 * MS
        color, depth = frame(number, skew_ns)
        writer.write_raw(DEPTH, stamp + 20 * MS, depth)
        writer.write_raw(COLOR, stamp + 25 * MS, color)
        writer.write_raw(
            INFO, stamp + 25 * MS, messages.encode_camera_info("camera", stamp, samples.intrinsics())
        )
        for part in range(3):
            state_ns = stamp + part * 11 * MS
            joints, pose = messages.encode_state(samples.state(10 * number + part, stamp_ns=state_ns))
            writer.write_raw(topics.JOINTS_TOPIC, state_ns, joints)
            writer.write_raw(topics.POSE_TOPIC, state_ns, pose)
        if number % every == 0:
            data = messages.encode_action(stamp, samples.action(number))
            writer.write_raw(topics.ACTION_TOPIC, stamp + 60 * MS, data)
            writer.write_raw(topics.EXECUTED_TOPIC, stamp + 61 * MS, data)


def record(directory: Path, **options: int) -> EpisodeReader:
    samples.dataset(directory)
    with EpisodeWriter(directory, 0, info()) as writer:
        write_streams(writer, **options)
        writer.commit({"success": None})
    return EpisodeReader(writer.path)


def test_streams_at_their_own_rates_come_back_as_the_steps_that_had_an_action(tmp_path):
    reader = record(tmp_path)
    reader.verify()
    observations = reader.observations()
    assert [observation.stamp_ns for observation in observations] == [
        START + number * 33 * MS for number in (0, 3, 6)
    ]
    for number, observation in zip((0, 3, 6), observations, strict=True):
        made = samples.frame(number)
        assert np.array_equal(observation.frames["camera"].color, made.color)
        assert np.array_equal(observation.frames["camera"].depth_mm, made.depth_mm)
        assert observation.instruction == "stack it"
        assert np.array_equal(
            observation.state.joint_positions_rad, samples.state(10 * number).joint_positions_rad
        )
    for number, (stamp, action) in zip((0, 3, 6), reader.actions(), strict=True):
        assert stamp == START + number * 33 * MS
        assert np.array_equal(action.as_vector(), samples.action(number).as_vector())
    assert reader.actions(executed=True)[1][1].as_vector().tolist() == reader.arrays()["executed"][1].tolist()


def test_a_person_s_actions_have_stamps_of_their_own_and_belong_to_the_picture_before(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, info(tolerance_ms=40.0)) as writer:
        write_streams(writer, every=100)  # the policy's only action is for the first picture
        for number in (2, 5):
            data = messages.encode_action(START + number * 33 * MS + 21 * MS, samples.action(number))
            writer.write_raw(topics.EXECUTED_TOPIC, START + number * 33 * MS + 22 * MS, data)
        writer.commit({"success": None})
    reader = EpisodeReader(writer.path)
    assert [stamp for stamp, _ in reader.actions()] == [START + number * 33 * MS for number in (0, 2, 5)]
    assert reader.actions()[2][1].as_vector().tolist() == samples.action(5).as_vector().tolist()


def test_an_interrupted_raw_recording_is_recovered(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, info()) as writer:
        write_streams(writer)
    (result,) = recover(tmp_path)
    assert (result.recovered, result.steps) == (True, 3)
    reader = Dataset(tmp_path).episode(0)
    assert reader.info.outcome.recovered and len(reader.observations()) == 3


def test_two_messages_of_one_moment_are_both_kept(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, info()) as writer:
        write_streams(writer)
        for _ in range(2):
            joints, _ = messages.encode_state(samples.state(1, stamp_ns=START + 5 * MS))
            writer.write_raw(topics.JOINTS_TOPIC, START, joints)
        counted = writer.commit({"success": None}).counts[topics.JOINTS_TOPIC]
    assert counted == 29
    assert len(EpisodeReader(writer.path).observations()) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skew_ns": 30 * MS, "every": 100}, "aligned_depth_to_color/image_raw lacks near 1 of 1 pictures"),
        ({"frames": 0}, "no message on /camera/camera/color/camera_info"),
    ],
)
def test_a_recording_without_a_complete_step_is_refused_with_the_stream_that_lacks(
    tmp_path, options, message
):
    with pytest.raises(EpisodeError, match=message):
        record(tmp_path, **options)


def test_pictures_without_actions_are_no_episode(tmp_path):
    samples.dataset(tmp_path)
    with pytest.raises(EpisodeError, match="no action belongs to a picture"):
        with EpisodeWriter(tmp_path, 0, info()) as writer:
            color, depth = frame(0)
            writer.write_raw(COLOR, START, color)
            writer.write_raw(DEPTH, START, depth)
            writer.write_raw(INFO, START, messages.encode_camera_info("camera", START, samples.intrinsics()))
            writer.commit({"success": None})


def test_what_nobody_could_read_is_refused_at_its_first_message(tmp_path):
    samples.dataset(tmp_path, width=32)
    with EpisodeWriter(tmp_path, 0, info()) as writer:
        with pytest.raises(EpisodeError, match="is 24 x 16, the data set says 32 x 16"):
            writer.write_raw(COLOR, START, frame(0)[0])
        with pytest.raises(EpisodeError, match="/other is not in the topic contract"):
            writer.write_raw("/other", START, b"")
        with pytest.raises(EpisodeError, match="cut off"):
            writer.write_raw(topics.POSE_TOPIC, START, b"\x00\x01\x00\x00\x01")
        writer.discard()


def test_raw_messages_need_a_raw_episode(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        with pytest.raises(EpisodeError, match="join_tolerance_ms"):
            writer.write_raw(topics.INSTRUCTION_TOPIC, START, messages.encode_instruction("x"))
        writer.discard()


def test_stills_are_never_raw():
    with pytest.raises(EpisodeError, match="join_tolerance_ms is 20 for stills"):
        EpisodeInfo("look", "", "table", None, kind="stills", join_tolerance_ms=20.0)


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_a_header_s_stamp_is_read_without_decoding(seconds, nanoseconds):
    stamp = seconds * 10**9 + nanoseconds
    data = messages.encode_action(stamp, samples.action(0))
    assert header_stamp_ns(data, topics.JOINT_STATE, 5) == stamp
    transforms = messages.encode_transforms(stamp, {"cup": (np.zeros(3), samples.IDENTITY)})
    assert header_stamp_ns(transforms, topics.TF_MESSAGE, 5) == stamp
    assert header_stamp_ns(messages.encode_transforms(stamp, {}), topics.TF_MESSAGE, 5) == 5
    assert header_stamp_ns(messages.encode_instruction("x"), topics.STRING, 5) == 5


@given(
    st.lists(st.integers(0, 300), min_size=1),
    st.lists(st.integers(0, 300), min_size=1),
    st.lists(st.integers(0, 300), min_size=1),
    st.integers(1, 60),
)
def test_every_message_of_a_step_is_within_the_tolerance_and_the_nearest(colors, depths, actions, tolerance):
    stamps = {COLOR: colors, DEPTH: depths, topics.ACTION_TOPIC: actions}
    try:
        sources = align(stamps, {"camera": True}, tolerance, "here")
    except EpisodeError:
        return
    steps = list(sources[COLOR])
    assert steps and steps == sorted(steps) and all(list(chosen) == steps for chosen in sources.values())
    for step, depth in sources[DEPTH].items():
        assert abs(depth - step) == min(abs(value - step) for value in depths) <= tolerance
    for step, action in sources[topics.ACTION_TOPIC].items():
        assert 0 <= action - step <= tolerance and step == max(value for value in colors if value <= action)
