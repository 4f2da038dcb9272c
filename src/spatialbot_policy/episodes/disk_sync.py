"""Brings a file to the disk now and then, in a thread of its own: a slow disk holds up no writer."""

from __future__ import annotations

import os
import threading
import time


class DiskSync:
    """Asks the system for what was written, at most once at a time.

    Args:
        handle: of the file, open until `wait` has returned.
        period_s: shortest time between two.
    """

    def __init__(self, handle: int, period_s: float) -> None:
        self._handle = handle
        self._period_s = period_s
        self._last_s = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def poke(self) -> None:
        """Begin if it is time.

        Raises:
            OSError: what was written before could not be brought to the disk.
        """
        if self._error is not None:
            raise self._error
        idle = self._thread is None or not self._thread.is_alive()
        if idle and time.monotonic() - self._last_s >= self._period_s:
            self._last_s = time.monotonic()
            self._thread = threading.Thread(target=self._sync, name="recorder sync", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait for what was begun."""
        if self._thread is not None:
            self._thread.join()

    def _sync(self) -> None:
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            self._error = error
