"""A raw recording that was cut anywhere is completed where it lies, and its index finds every message."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from tests.policy import episode_samples as samples
from tests.policy.episodes.test_episode_raw import info, write_streams

from spatialbot_policy.episode import Dataset, EpisodeWriter, recover
from spatialbot_policy.episodes import mcap_file as episode_file
from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.mcap_file import read_attachments, read_messages


@pytest.fixture(scope="module")
def abandoned(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("abandoned")
    samples.dataset(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episode_file, "_RAW_CHUNK_BYTES", 4000)
        with EpisodeWriter(directory, 0, info()) as writer:
            writer.attach("software.json", b"{}")
            write_streams(writer, frames=30)
            writer.attach("late.txt", b"x" * 300)
    return directory


def mcap_of(directory: Path) -> Path:
    return directory / "episodes/000000.partial/episode.mcap"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_raw_file_cut_anywhere_is_completed_in_place(abandoned, tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("cut")
    shutil.copytree(abandoned, directory, dirs_exist_ok=True)
    original = mcap_of(directory).read_bytes()
    length = data.draw(st.integers(0, len(original)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 4096, b"\xff" * 64]))  # what a power cut may leave
    mcap_of(directory).write_bytes(original[:length] + tail)
    inode = mcap_of(directory).stat().st_ino
    (result,) = recover(directory)
    if not result.recovered:
        assert length < len(original) * 0.3
        assert mcap_of(directory).read_bytes() == original[:length] + tail
    else:
        check(directory, original, inode)
        assert abs(result.steps / 10 - length / len(original)) < 0.35
    shutil.rmtree(directory)


def check(directory: Path, original: bytes, inode: int) -> None:
    """The beginning is what it was, and readers with and without the index find the same."""
    reader = Dataset(directory).episode(0)
    reader.verify()
    path = reader.path / "episode.mcap"
    assert path.stat().st_ino == inode
    found = path.read_bytes()
    common = next((at for at, pair in enumerate(zip(found, original, strict=False)) if pair[0] != pair[1]), 0)
    assert common == 0 or common > len(found) * 0.2
    in_order = [
        (message.topic, message.log_time_ns)
        for message in read_messages(path, topics.topic_types(("camera",)))
    ]
    with open(path, "rb") as file:
        by_index = make_reader(file, validate_crcs=True)
        summary = by_index.get_summary()
        listed = [(channel.topic, message.log_time) for _, channel, message in by_index.iter_messages()]
        names = [item.name for item in by_index.iter_attachments()]
    assert summary.statistics.message_count == len(in_order) == sum(reader.info.counts.values())
    assert sorted(listed) == sorted(in_order)
    assert sorted(names) == sorted(read_attachments(path)) == reader.info.extra["attachments"]


def test_what_lies_behind_a_hole_is_cut_off(abandoned, tmp_path):
    shutil.copytree(abandoned, tmp_path, dirs_exist_ok=True)
    data = bytearray(mcap_of(tmp_path).read_bytes())
    position, chunks, start = 8, 0, 0
    while chunks < 4:  # walk the records: opcode, length; 6 is a chunk
        opcode, length = data[position], int.from_bytes(data[position + 1 : position + 9], "little")
        chunks += opcode == 6
        start, position = position, position + 9 + length
    data[start] = 0x7F  # an opcode readers skip
    mcap_of(tmp_path).write_bytes(data)
    (result,) = recover(tmp_path)
    assert result.recovered and 0 < result.steps < 5
    Dataset(tmp_path).episode(0).verify()
