"""A file that one process at a time holds; the system frees it however that process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive lock on a file, held from its making to `release` or the end of a `with` block.

    Args:
        path: of the file.
        busy: makes the error to raise where another process holds it; it is given the file's text. Without
            it the lock is waited for.
        waiting: told once when the lock has to be waited for.
        make: make the file where it is not there.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy: Callable[[str], Exception] | None = None,
        waiting: Callable[[], None] | None = None,
        make: bool = True,
    ) -> None:
        flags = os.O_RDWR | os.O_CREAT if make else os.O_RDONLY
        self._handle = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            self._take(busy, waiting)
        except BaseException:
            self.release()
            raise

    def _take(self, busy: Callable[[str], Exception] | None, waiting: Callable[[], None] | None) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if busy is not None:
                raise busy(os.pread(self._handle, 200, 0).decode(errors="replace").strip()) from error
            if waiting is not None:
                waiting()
            fcntl.flock(self._handle, fcntl.LOCK_EX)

    def sign(self, text: str) -> None:
        """Leave a text in the file for whoever finds it held."""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text.encode(), 0)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def __enter__(self) -> FileLock:
        """Return the lock itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back."""
        self.release()
