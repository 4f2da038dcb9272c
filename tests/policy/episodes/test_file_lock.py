"""One lock for all: refused with a reason, waited for with a word, and given back."""

from __future__ import annotations

import threading

import pytest

from spatialbot_policy.episodes.file_lock import FileLock


def test_the_second_is_refused_with_what_the_first_one_signed(tmp_path):
    with FileLock(tmp_path / "lock") as lock:
        lock.sign("process 7")
        with pytest.raises(RuntimeError, match="held by process 7"):
            FileLock(tmp_path / "lock", busy=lambda text: RuntimeError(f"held by {text}"))
    with FileLock(tmp_path / "lock", busy=RuntimeError):
        pass
    lock.release()


def test_the_second_waits_and_says_so(tmp_path):
    first = FileLock(tmp_path / "lock")
    told, taken = threading.Event(), threading.Event()

    def wait() -> None:
        with FileLock(tmp_path / "lock", waiting=told.set):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert told.wait(10) and not taken.is_set()
    first.release()
    assert taken.wait(10)
    thread.join()


def test_a_file_that_must_be_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "lock", make=False)
    assert not list(tmp_path.iterdir())
