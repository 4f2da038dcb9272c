"""A disk that fails while it is written in the background is told at the next message."""

from __future__ import annotations

import errno
import os

import pytest

from spatialbot_policy.episodes.disk_sync import DiskSync


def test_an_error_of_the_disk_is_told_later(tmp_path, monkeypatch):
    calls = []

    def fail(handle: int) -> None:
        calls.append(handle)
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fdatasync", fail)
    with open(tmp_path / "file", "wb") as file:
        sync = DiskSync(file.fileno(), 0.0)
        sync.poke()
        sync.wait()
        with pytest.raises(OSError, match="the disk is broken"):
            sync.poke()
    assert len(calls) == 1


def test_nothing_is_asked_before_it_is_time(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fdatasync", lambda handle: pytest.fail("too early"))
    with open(tmp_path / "file", "wb") as file:
        sync = DiskSync(file.fileno(), 3600.0)
        sync.poke()
        sync.wait()
