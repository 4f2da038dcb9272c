"""One recorder a data set: refused by name, and free again however the first one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tests.policy import episode_samples as samples

from spatialbot_policy.episodes.dataset_lock import DatasetLock
from spatialbot_policy.episodes.trash import set_aside
from spatialbot_policy.errors import EpisodeError

HOLD = """import sys
from spatialbot_policy.episodes.dataset_lock import DatasetLock
lock = DatasetLock(sys.argv[1])
print(1, flush=True)
input()"""


def test_a_second_recorder_is_refused_with_the_first_one_s_name(tmp_path):
    lock = DatasetLock(tmp_path / "new" / "data")
    with pytest.raises(EpisodeError, match=f"being recorded into by process {os.getpid()} on .*; end that"):
        DatasetLock(tmp_path / "new" / "data")
    lock.release()
    DatasetLock(tmp_path / "new" / "data").release()


def test_the_lock_dies_with_its_process(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        with pytest.raises(EpisodeError, match=f"by process {process.pid} on"):
            DatasetLock(tmp_path)
        process.send_signal(signal.SIGKILL)
    DatasetLock(tmp_path).release()


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodeError, match="cannot write to .*file/data .*; give another directory"):
        DatasetLock(tmp_path / "file" / "data")
    if os.getuid() != 0:  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(EpisodeError, match="Permission denied.*write permission on this one to user"):
            DatasetLock(tmp_path)


def test_a_newer_data_set_is_refused_and_left_as_it_is(tmp_path):
    samples.dataset(tmp_path)
    file = tmp_path / "dataset.yaml"
    file.write_text(file.read_text().replace("schema: ", "schema: 9"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(EpisodeError, match="has schema 9., this version reads up to .; update spatialbot"):
        DatasetLock(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_an_episode_set_aside_is_whole_and_never_replaces_another(tmp_path):
    places = []
    for _ in range(3):
        content = (samples.record(tmp_path) / "episode.mcap").read_bytes()
        places.append(set_aside(tmp_path, 0))
        assert (places[-1] / "episode.mcap").read_bytes() == content
    assert [place.name for place in places] == ["000000", "000000-2", "000000-3"]
    with pytest.raises(EpisodeError, match="000000 is not there; 'spatialbot episodes list"):
        set_aside(tmp_path, 0)
