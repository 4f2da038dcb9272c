"""What a crash leaves: killed writers, cut-off files and half-done commits become whole episodes or stay."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy import episode_samples as samples

from spatialbot_policy.episode import Dataset, EpisodeReader, EpisodeWriter, Outcome, recover
from spatialbot_policy.errors import EpisodeError

SIZE = 96  # 96 x 96 noise: a chunk fills in about twelve steps
STEPS = 40

WRITER = """
import os, sys
from tests.policy import episode_samples as samples
from spatialbot_policy.episode import EpisodeWriter

directory, size, steps, die = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if die in ("rename", "replace", "fsync"):
    setattr(os, die, lambda *arguments: os.kill(os.getpid(), 9))
with EpisodeWriter(directory, 0, samples.info()) as writer:
    for step in range(steps):
        if die == str(step):
            os.kill(os.getpid(), 9)
        samples.write_step(writer, step, size, size)
    writer.commit({"success": True})
"""


def run_writer(directory: Path, die: str) -> None:
    """Write an episode in another process that kills itself, as by `kill -9`, at the given moment."""
    samples.dataset(directory, SIZE, SIZE)
    root, source = Path(__file__).parents[3], Path(sys.modules["spatialbot_policy"].__path__[0]).parent
    environment = {"PYTHONPATH": f"{root}:{source}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WRITER, str(directory), str(SIZE), str(STEPS), die]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == -9, result.stderr


def check_prefix(reader: EpisodeReader, size: int) -> None:
    """Every step that was saved is exactly what was written, and none is missing between them."""
    reader.verify()
    observations = reader.observations()
    for step, (observation, (_, action)) in enumerate(zip(observations, reader.actions(), strict=True)):
        frame = samples.frame(step, size, size)
        assert observation.stamp_ns == frame.stamp_ns
        np.testing.assert_array_equal(observation.frames["camera"].color, frame.color)
        np.testing.assert_array_equal(observation.frames["camera"].depth_mm, frame.depth_mm)
        np.testing.assert_array_equal(action.as_vector(), samples.action(step).as_vector())


@pytest.mark.parametrize("die", ["13", "25", "39"])
def test_a_killed_writer_loses_at_most_a_chunk(tmp_path, die):
    run_writer(tmp_path, die)
    assert Dataset(tmp_path).indices() == []
    (result,) = recover(tmp_path)
    assert result.recovered and int(die) - 13 <= result.steps <= int(die)
    reader = Dataset(tmp_path).episode(0)
    check_prefix(reader, SIZE)
    assert reader.info.steps == result.steps and reader.info.seed == 7
    assert reader.info.outcome == Outcome(None, recovered=True)
    assert recover(tmp_path) == []


@pytest.mark.parametrize("die", ["0", "1"])
def test_without_a_complete_chunk_the_partial_stays(tmp_path, die):
    run_writer(tmp_path, die)
    before = sorted((tmp_path / "episodes").rglob("*"))
    (result,) = recover(tmp_path)
    assert not result.recovered and "left as it is" in result.message
    assert sorted((tmp_path / "episodes").rglob("*")) == before
    assert Dataset(tmp_path).free_index() == 1


def test_killed_before_the_rename_only_the_rename_is_made_up(tmp_path):
    run_writer(tmp_path, "rename")
    (result,) = recover(tmp_path)
    assert result.recovered and result.steps == STEPS and "only renamed" in result.message
    reader = Dataset(tmp_path).episode(0)
    check_prefix(reader, SIZE)
    assert reader.info.outcome == Outcome(True)


def test_killed_while_the_file_goes_to_the_disk_every_step_is_there(tmp_path):
    run_writer(tmp_path, "fsync")
    (result,) = recover(tmp_path)
    assert result.recovered and result.steps == STEPS
    check_prefix(Dataset(tmp_path).episode(0), SIZE)


def test_killed_before_the_first_record_is_reported(tmp_path):
    run_writer(tmp_path, "replace")
    (result,) = recover(tmp_path)
    assert not result.recovered and "no episode.json, nothing was recorded; remove it" in result.message
    with EpisodeWriter(tmp_path, 0, samples.info(), restart=True) as writer:
        samples.write_step(writer, 0, SIZE, SIZE)
        writer.commit({"success": True})
    assert Dataset(tmp_path).partials() == []


@pytest.fixture(scope="module")
def abandoned(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("abandoned")
    samples.dataset(directory, SIZE, SIZE)
    with EpisodeWriter(directory, 0, samples.info()) as writer:
        for step in range(STEPS):
            samples.write_step(writer, step, SIZE, SIZE)
    return directory


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_cut_anywhere_gives_a_true_beginning_or_nothing(abandoned, tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("cut")
    shutil.copytree(abandoned, directory, dirs_exist_ok=True)
    mcap = directory / "episodes/000000.partial/episode.mcap"
    original = mcap.read_bytes()
    length = data.draw(st.integers(0, len(original)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 4096, b"\xff" * 64]))  # what a power cut may leave
    mcap.write_bytes(original[:length] + tail)
    (result,) = recover(directory)
    if result.recovered:
        check_prefix(Dataset(directory).episode(0), SIZE)
        assert abs(result.steps / STEPS - length / len(original)) < 0.4
    else:
        assert length < len(original) * 0.4
        assert mcap.read_bytes() == original[:length] + tail
    shutil.rmtree(directory)


def test_a_lost_chunk_in_the_middle_ends_the_episode_before_it(abandoned, tmp_path):
    shutil.copytree(abandoned, tmp_path, dirs_exist_ok=True)
    mcap = tmp_path / "episodes/000000.partial/episode.mcap"
    data = bytearray(mcap.read_bytes())
    position, chunks = 8, 0
    while chunks < 2:  # walk the records: opcode, length; 6 is a chunk
        opcode, length = data[position], int.from_bytes(data[position + 1 : position + 9], "little")
        chunks += opcode == 6
        start, position = position, position + 9 + length
    data[start] = 0x7F  # an opcode readers skip
    mcap.write_bytes(data)
    (result,) = recover(tmp_path)
    assert result.recovered and 0 < result.steps < STEPS / 2
    check_prefix(Dataset(tmp_path).episode(0), SIZE)


def test_an_episode_being_written_is_left_alone(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        samples.write_step(writer, 0)
        (result,) = recover(tmp_path)
        assert not result.recovered and "being written by another process" in result.message
        writer.commit({"success": True})
    assert Dataset(tmp_path).indices() == [0]


def test_recovery_never_replaces_an_episode(tmp_path, abandoned):
    shutil.copytree(abandoned, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "episodes/000000.partial", tmp_path / "episodes/000000")
    (result,) = recover(tmp_path)
    assert not result.recovered and "exists" in result.message
    assert Dataset(tmp_path).partials() == [0]


def test_a_recovery_that_was_cut_off_can_be_repeated(tmp_path, abandoned):
    shutil.copytree(abandoned, tmp_path, dirs_exist_ok=True)
    (tmp_path / "episodes/000000.partial/episode.recovered.mcap").write_bytes(b"half a copy")
    (result,) = recover(tmp_path)
    assert result.recovered and result.steps == STEPS
    assert sorted(path.name for path in (tmp_path / "episodes/000000").iterdir()) == [
        "episode.json",
        "episode.mcap",
    ]


def test_the_last_half_step_is_dropped(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        for step in range(3):
            samples.write_step(writer, step)
        writer.write_frame(samples.frame(3), samples.intrinsics())
    (result,) = recover(tmp_path)
    assert result.recovered and result.steps == 3
    assert len(Dataset(tmp_path).episode(0).actions()) == 3


def test_recover_needs_a_data_set(tmp_path):
    with pytest.raises(EpisodeError, match="no data set"):
        recover(tmp_path)
