"""A target appears whole or not at all, whatever ends the work."""

from __future__ import annotations

import errno
import resource

import pytest
from tests.policy.interchange import interchange_samples as samples

from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.lerobot_export import LeRobotOptions, export_lerobot
from spatialbot_policy.interchange.target_directory import new_directory


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x"), OSError(errno.ENOENT, "gone")])
def test_nothing_is_left_after_an_error(tmp_path, error):
    with pytest.raises(type(error)), new_directory(tmp_path / "out") as folder:
        (folder / "file").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(InterchangeError, match="make room"), new_directory(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_finds_no_room(tmp_path):
    samples.record(tmp_path / "data", steps=20)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InterchangeError, match="make room"):
            export_lerobot(tmp_path / "data", tmp_path / "out", LeRobotOptions(video=False))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(InterchangeError, match="meanwhile"), new_directory(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
