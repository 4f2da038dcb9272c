"""Writes one episode in a thread of its own, so that a slow disk never holds up the graph."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from spatialbot_policy.episode import EpisodeInfo, EpisodeWriter, Outcome
from spatialbot_policy.errors import EpisodeError

_PAUSE_S = 0.1


class RecorderThread:
    """Takes messages at once and writes them later; a full queue drops what comes and counts it.

    Pictures are compressed in this thread, too, by code that lets others run meanwhile.

    Args:
        writer: of a raw episode; belongs to the thread until `commit`, `discard` or `leave`.
        queue_bytes: how much may wait.
        on_error: told once, in the thread, when the episode can no longer be written.
    """

    def __init__(self, writer: EpisodeWriter, queue_bytes: int, on_error: Callable[[], None]) -> None:
        self._writer = writer
        self._queue_bytes = queue_bytes
        self._on_error = on_error
        self._waiting: deque[tuple[str, int, bytes]] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        self.dropped = 0
        """Messages that found the queue full."""
        self.error = ""
        """Why nothing is written any more."""
        self.cpu_s = 0.0
        """Processor time that the thread took so far."""
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def put(self, topic: str, log_ns: int, data: bytes) -> None:
        """Hand over a message."""
        with self._changed:
            if self._waiting_bytes + len(data) > self._queue_bytes:
                self.dropped += 1
                return
            self._waiting.append((topic, log_ns, data))
            self._waiting_bytes += len(data)
            self._changed.notify()

    @property
    def waiting_bytes(self) -> int:
        """What waits for the disk."""
        return self._waiting_bytes

    def finish(self) -> None:
        """Wait until everything that was handed over is written; nothing is taken from then on."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def commit(self, outcome: Outcome, facts: Mapping[str, object]) -> EpisodeInfo:
        """Write what waits and complete the episode; where the disk is full, with what is on it.

        Raises:
            EpisodeError: it has no complete step, or could not be written; the `.partial` stays.
        """
        self.finish()
        if self.error and not self._writer.cut_off:
            raise EpisodeError(self.error)
        self._writer.annotate(facts)
        return self._writer.commit(outcome)

    def discard(self) -> None:
        """Remove the episode."""
        self._drop_waiting()
        self.finish()
        self._writer.discard()

    def leave(self) -> None:
        """Write what waits and leave the `.partial`, which `spatialbot episodes recover` completes."""
        self.finish()
        self._writer.leave()

    def _drop_waiting(self) -> None:
        with self._changed:
            self._waiting.clear()
            self._waiting_bytes = 0

    def _write(self) -> None:
        while (items := self._next()) is not None:
            if self.error:
                continue
            try:
                for item in items:
                    self._writer.write_raw(*item)
                if not items:
                    self._writer.flush_old()
            except (EpisodeError, OSError) as error:
                self.error = str(error)
                self._on_error()
            self.cpu_s = time.thread_time()

    def _next(self) -> list[tuple[str, int, bytes]] | None:
        """What waits, nothing after a pause, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, _PAUSE_S)
            if not self._waiting:
                return None if self._ended else []
            item = self._waiting.popleft()
            self._waiting_bytes -= len(item[2])
            return [item]
