"""A disk that fills while an episode is recorded: it ends there, can be saved, the rest is untouched."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
from tests.policy import episode_samples as samples
from tests.policy.episodes.test_episode_raw import info, write_streams

from spatialbot_policy.episode import Dataset, EpisodeReader, EpisodeWriter, Outcome, recover
from spatialbot_policy.episodes import mcap_file as episode_file
from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.provenance import sha256_of

FRAMES = 60
LAST = "the disk is full"


class Disk:
    """Room for so many bytes, shared by files and the reserve."""

    def __init__(self, room: int) -> None:
        self.room = room

    def take(self, size: int) -> int:
        """Bytes that fit; raises when none do."""
        if size and not self.room:
            raise OSError(errno.ENOSPC, LAST)
        taken = min(size, self.room)
        self.room -= taken
        return taken


@pytest.fixture
def disk(monkeypatch) -> Disk:
    made = Disk(10**9)

    class File(FileIO):
        def write(self, data) -> int:
            return super().write(memoryview(data)[: made.take(len(data))])

        def truncate(self, size=None) -> int:
            before = os.fstat(self.fileno()).st_size
            after = super().truncate(size)
            made.room += before - after
            return after

    class Reserve:
        def __init__(self, directory: Path, size: int) -> None:
            self._size = 0
            self.grow(size)

        def grow(self, size: int) -> None:
            if 2 * size - self._size > made.room:
                raise OSError(errno.ENOSPC, LAST)
            if size > self._size:
                made.room -= 2 * size - self._size
                self._size = 2 * size

        def free(self) -> None:
            made.room, self._size = made.room + self._size, 0

    monkeypatch.setattr(episode_file, "open_file", lambda path: File(path, "x+"))
    monkeypatch.setattr(episode_file, "DiskReserve", Reserve)
    monkeypatch.setattr(episode_file, "_RAW_CHUNK_BYTES", 3000)
    return made


@pytest.mark.parametrize("room", [2_000, 9_001, 17_777, 30_500, 45_123, 60_000])
def test_the_episode_ends_where_the_disk_does_and_can_be_saved(tmp_path, disk, room):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, info()) as writer:
        write_streams(writer)
        writer.commit({"success": True})
    older = sha256_of(tmp_path / "episodes/000000/episode.mcap")
    with EpisodeWriter(tmp_path, 1, info()) as writer:
        disk.room = room
        with pytest.raises(EpisodeError, match=f"episode.mcap ends at .*{LAST}; make room on the disk"):
            write_streams(writer, frames=FRAMES)
        assert LAST in writer.cut_off
        with pytest.raises(EpisodeError, match="make room"):
            writer.flush_old() or write_streams(writer, frames=1)
        if room < 12_000:
            with pytest.raises(EpisodeError, match="no complete step|no action|no message on|make room"):
                writer.commit({"success": True})
            return
        saved = writer.commit(Outcome(True))
    reader = EpisodeReader(writer.path)
    reader.verify()
    assert reader.info == saved and LAST in saved.extra["cut_off"]
    assert 0 < saved.steps < FRAMES / 3
    assert sha256_of(tmp_path / "episodes/000000/episode.mcap") == older
    Dataset(tmp_path).episode(0).verify()


def test_left_on_a_full_disk_it_is_recovered_without_a_second_copy(tmp_path, disk):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, info()) as writer:
        disk.room = 40_000
        with pytest.raises(EpisodeError, match=LAST):
            write_streams(writer, frames=FRAMES)
        disk.room = 0
    (result,) = recover(tmp_path)
    assert result.recovered and result.steps > 0
    Dataset(tmp_path).episode(0).verify()


def test_a_disk_that_is_full_before_the_start_refuses_the_episode(tmp_path, disk):
    samples.dataset(tmp_path)
    disk.room = 100
    with pytest.raises(EpisodeError, match="cannot be written .*make room"):
        EpisodeWriter(tmp_path, 0, info())
    assert Dataset(tmp_path).indices() == []


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_on_a_real_small_disk(small_disk):
    samples.dataset(small_disk, 96, 96)
    samples.record(small_disk, 0, 4, 96, 96)
    with EpisodeWriter(small_disk, 1, info()) as writer:
        with pytest.raises(EpisodeError, match="No space left on device; make room"):
            for step in range(1000):
                write_noise(writer, step)
        saved = writer.commit({"success": None})
    assert saved.steps > 10 and "No space left" in saved.extra["cut_off"]
    for reader in Dataset(small_disk).episodes():
        reader.verify()


def write_noise(writer: EpisodeWriter, step: int) -> None:
    """A step of 96 x 96 noise, raw."""
    frame, stamp = samples.frame(step, 96, 96), samples.stamp(step)
    if step == 0:
        writer.write_raw(topics.INSTRUCTION_TOPIC, stamp - 1, messages.encode_instruction("fill the disk"))
    writer.write_raw(topics.color_topic("camera"), stamp, messages.encode_color(frame))
    writer.write_raw(topics.depth_topic("camera"), stamp, messages.encode_depth(frame, frame.depth_mm))
    given = messages.encode_camera_info("camera", stamp, samples.intrinsics(96, 96))
    writer.write_raw(topics.camera_info_topic("camera"), stamp, given)
    writer.write_raw(topics.ACTION_TOPIC, stamp, messages.encode_action(stamp, samples.action(step)))
