"""Keys of the terminal, one at a time, read in a thread of their own; the terminal is put back at the end."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Callable

from spatialbot_policy.errors import ConfigError


class Keyboard:
    """Reads single keys without Enter, and without showing them.

    Args:
        on_key: told in the reading thread that `keys` has something; it must only wake somebody up.
        descriptor: of the terminal; None for standard input.

    Raises:
        ConfigError: it is no terminal.
    """

    def __init__(self, on_key: Callable[[], None], descriptor: int | None = None) -> None:
        self._on_key = on_key
        self._terminal = sys.stdin.fileno() if descriptor is None else descriptor
        if not os.isatty(self._terminal):
            raise ConfigError(
                "parameter 'source' is 'keyboard', which needs a terminal: start the node by itself (ros2 "
                "run spatialbot teleop_node), not from a launch file; allowed is also 'joy'"
            )
        self._keys: deque[str] = deque()
        self._saved = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal)  # Ctrl-C still ends the node
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._read, name="keyboard", daemon=True)
        self._thread.start()

    def keys(self) -> list[str]:
        """The keys pressed since the last call."""
        found = []
        while self._keys:
            found.append(self._keys.popleft())
        return found

    def close(self) -> None:
        """End the thread and put the terminal back as it was."""
        if not self._thread.is_alive() and self._stop_write < 0:
            return
        os.write(self._stop_write, b".")
        self._thread.join()
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._saved)
        os.close(self._stop_read)
        os.close(self._stop_write)
        self._stop_write = -1

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._terminal, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            data = os.read(self._terminal, 64)
            if not data:  # the terminal was closed
                return
            self._keys.extend(data.decode(errors="ignore"))
            self._on_key()
