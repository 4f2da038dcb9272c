"""Room on the disk that is kept free, so that a file can be finished when the disk is full."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class DiskReserve:
    """Blocks of a nameless file: given back by `free`, and by the system when the process ends in any way.

    Args:
        directory: on the disk in question.
        size: bytes to begin with.

    Raises:
        OSError: there is no such room.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)
        self._size = 0
        try:
            self.grow(size)
        except OSError:
            self._file.close()
            raise

    def grow(self, size: int) -> None:
        """Hold at least so many bytes, and twice as many when it has to grow.

        Raises:
            OSError: there is no such room; what was held is still held.
        """
        if size > self._size:
            os.posix_fallocate(self._file.fileno(), 0, 2 * size)
            self._size = 2 * size

    def free(self) -> None:
        """Give the room back."""
        self._file.close()
