"""One recorder a data set: a lock that ends with its process, and room to write."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from spatialbot_policy.episodes.dataset import DATASET_FILE, DatasetConfig
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.errors import EpisodeError

LOCK_FILE = ".recorder.lock"


class DatasetLock:
    """Held by a recorder as long as it runs; the system frees it however the process ends.

    Args:
        directory: of the data set; made where it is not there.

    Raises:
        EpisodeError: another recorder holds it, nothing can be written there, or the data set is of a newer
            schema or damaged.
    """

    def __init__(self, directory: Path | str) -> None:
        self._path = Path(directory) / LOCK_FILE
        if (Path(directory) / DATASET_FILE).exists():
            DatasetConfig.load(Path(directory) / DATASET_FILE)  # refuses what this version cannot add to
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._path, busy=lambda holder: _busy(directory, holder))
            self._lock.sign(f"process {os.getpid()} on {socket.gethostname()}")
        except OSError as error:
            raise EpisodeError(
                f"cannot write to {directory} ({error.strerror}); give another directory, or write "
                f"permission on this one to user {os.getuid()}"
            ) from error

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        self._lock.release()


def _busy(directory: Path | str, holder: str) -> EpisodeError:
    return EpisodeError(
        f"{directory} is being recorded into by {holder or 'another process'}; end that recorder, or give "
        "this one another data set and merge them later"
    )
